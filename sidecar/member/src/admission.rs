//! Who may speak to a member: judged before anything is stepped.
//!
//! May import: core's types. Deliberately absent: certificates (whose word a claim is), and what is said.

use outrigger_core::types::{ClusterId, MemberId};

/// What a caller says of itself and of whom it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The caller's cluster.
    pub cluster: ClusterId,
    /// The caller.
    pub from: MemberId,
    /// Whom it wants.
    pub to: MemberId,
}

/// What the judge has to know of the member that is called.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub member: MemberId,
    /// Ids that it knows as removed.
    pub tombstones: &'a [MemberId],
    /// It leads, and a majority has the newest configuration durable.
    pub removal_settled: bool,
}

/// Why the caller is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It belongs to another cluster.
    WrongCluster,
    /// It wants another member.
    WrongTarget,
    /// Nobody, or this member itself.
    ImpossibleSender,
    /// It was removed, as far as is known here, which it must not act upon.
    BeingRemoved,
    /// It was removed, which a majority has durable: it must move its data aside.
    Removed,
}

/// Whether the claim's sender may speak.
///
/// # Errors
/// Why it may not. What the removed do once they are told so cannot be undone, so only a leader tells them, and only what
/// a majority has durable.
pub fn judge(called: &Called<'_>, claim: &Claim) -> Result<MemberId, Refused> {
    if claim.cluster != called.cluster {
        return Err(Refused::WrongCluster);
    }
    if claim.to != called.member {
        return Err(Refused::WrongTarget);
    }
    if claim.from == MemberId(0) || claim.from == called.member {
        return Err(Refused::ImpossibleSender);
    }
    if called.tombstones.contains(&claim.from) {
        return Err(if called.removal_settled { Refused::Removed } else { Refused::BeingRemoved });
    }
    Ok(claim.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_of_this_cluster_that_means_this_one_and_was_not_removed_may_speak() {
        let tombstones = [MemberId(9)];
        let called = |removal_settled| Called {
            cluster: ClusterId(1),
            member: MemberId(2),
            tombstones: &tombstones,
            removal_settled,
        };
        let claim = Claim { cluster: ClusterId(1), from: MemberId(3), to: MemberId(2) };
        let rows = [
            (claim, true, Ok(MemberId(3))),
            (Claim { cluster: ClusterId(7), ..claim }, true, Err(Refused::WrongCluster)),
            (Claim { to: MemberId(4), ..claim }, true, Err(Refused::WrongTarget)),
            (Claim { from: MemberId(0), ..claim }, true, Err(Refused::ImpossibleSender)),
            (Claim { from: MemberId(2), ..claim }, true, Err(Refused::ImpossibleSender)),
            (Claim { from: MemberId(9), ..claim }, false, Err(Refused::BeingRemoved)),
            (Claim { from: MemberId(9), ..claim }, true, Err(Refused::Removed)),
        ];
        for (claim, settled, verdict) in rows {
            assert_eq!(judge(&called(settled), &claim), verdict, "{claim:?}");
        }
    }
}
