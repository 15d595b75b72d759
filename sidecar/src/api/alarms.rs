//! The NOSPACE alarms that a member knows of: its own, and as a leader those of its peers' disks.
//!
//! Nobody raises or clears them by hand: each stands as long as its cause. May import: core's status. Deliberately
//! absent: rendering beyond a line of text.

use outrigger_core::status::NodeStatus;
use outrigger_core::types::MemberId;

/// What there is no space in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The member's disk cannot hold the reserve of log and snapshot.
    Disk,
    /// The reserve is used up, too.
    Log,
    /// The key space has reached its quota.
    Quota,
}

impl Cause {
    /// For machines.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Log => "log",
            Self::Quota => "quota",
        }
    }

    /// For people: what is the matter, and what to do.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Disk => {
                "the disk is full: free space or grow the volume; reads, deletes and compactions go on"
            }
            Self::Log => {
                "the disk and the log's reserve are full: free space or grow the volume; reads go on"
            }
            Self::Quota => {
                "the key space has reached --quota-bytes: delete keys and compact, or raise it; reads go on"
            }
        }
    }
}

/// One alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// Whose.
    pub(crate) member: MemberId,
    /// Why.
    pub(crate) cause: Cause,
}

impl Alarm {
    /// As etcd writes it in the errors of a status, and then what to do.
    pub(crate) fn text(&self) -> String {
        format!("memberID:{} alarm:NOSPACE ({})", self.member.0, self.cause.advice())
    }
}

/// All that this member knows of.
pub(crate) fn alarms(status: &NodeStatus) -> Vec<Alarm> {
    let own = status.shortage;
    let disk = match (own.disk, own.log) {
        (_, true) => Some(Cause::Log),
        (true, false) => Some(Cause::Disk),
        (false, false) => None,
    };
    let causes = disk.into_iter().chain(own.quota.then_some(Cause::Quota));
    let peers = status.members.iter().filter(|known| known.route.id != status.member);
    let full = peers.filter(|known| known.progress.is_some_and(|progress| progress.disk_full));
    let of_peers = full.map(|known| Alarm { member: known.route.id, cause: Cause::Disk });
    causes.map(|cause| Alarm { member: status.member, cause }).chain(of_peers).collect()
}

#[cfg(test)]
mod tests {
    use outrigger_core::status::Shortage;

    use super::*;
    use crate::api::testing;

    #[test]
    fn a_leader_knows_its_own_shortages_and_its_peers_disks() {
        let mut status = testing::leader_status();
        assert_eq!(alarms(&status), []);
        status.shortage = Shortage { disk: true, quota: true, log: false };
        status.members[2].progress.as_mut().unwrap().disk_full = true;
        let alarm = |id, cause| Alarm { member: MemberId(id), cause };
        assert_eq!(alarms(&status), [alarm(1, Cause::Disk), alarm(1, Cause::Quota), alarm(3, Cause::Disk)]);
        status.shortage = Shortage { disk: true, quota: false, log: true };
        assert_eq!(alarms(&status)[0], alarm(1, Cause::Log));
        assert!(alarms(&status)[0].text().starts_with("memberID:1 alarm:NOSPACE"));
    }
}
