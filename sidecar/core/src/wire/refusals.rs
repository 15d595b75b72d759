//! Refusals on the wire: a code, up to three numbers and a text. A code is never reused.
//!
//! May import: `error`, `types`. Deliberately absent: what is refused, and why.

use super::RefusalWire;
use crate::error::{MembershipRefusal, Refusal};
use crate::types::{ClusterId, Index, MemberId};

pub(crate) fn refusal_to_wire(refusal: &Refusal) -> RefusalWire {
    use MembershipRefusal as M;
    let plain = |code| RefusalWire { code, ..RefusalWire::default() };
    let full = |code, numbers: &[u64], text: &str| RefusalWire {
        code,
        numbers: numbers.to_vec(),
        text: text.to_string(),
    };
    match refusal {
        Refusal::NoLeader => plain(1),
        Refusal::LeaderChanged => plain(2),
        Refusal::TooManyRequests => plain(3),
        Refusal::TooLarge { size_bytes, limit_bytes } => {
            full(4, &[*size_bytes as u64, *limit_bytes as u64], "")
        }
        Refusal::Timeout => plain(5),
        Refusal::OutcomeUnknown => plain(6),
        Refusal::NotFormed => plain(7),
        Refusal::Stopped => plain(8),
        Refusal::NoSpace => plain(9),
        Refusal::Membership(refusal) => match refusal {
            M::ConfChangeInProgress => plain(20),
            M::StaleConfiguration { expected, actual } => full(21, &[expected.0, actual.0], ""),
            M::WrongCluster { actual, given } => full(22, &[actual.0, given.0], ""),
            M::NotAdmitted { name } => full(23, &[], name),
            M::AlreadyExists { name, id } => full(24, &[id.0], name),
            M::HolderUndecided { name, id } => full(25, &[id.0], name),
            M::Tombstoned(id) => full(26, &[id.0], ""),
            M::MemberNotFound => plain(27),
            M::QuorumAtRisk { live, voters, quorum, silent } => {
                full(28, &[*live as u64, *voters as u64, *quorum as u64], silent)
            }
            M::InvalidRoster { reason } => full(29, &[], reason),
            M::NotReadyToForm { joined, expected } => full(30, &[*joined as u64, *expected as u64], ""),
            M::AlreadyFormed => plain(31),
            M::NoTransferee => plain(32),
            M::TransfereeDrains { name } => full(34, &[], name),
            M::NameHeldTwice { name, id, other } => full(35, &[id.0, other.0], name),
            M::InvalidMetadata { reason } => full(33, &[], reason),
        },
    }
}

pub(crate) fn refusal_from_wire(wire: &RefusalWire) -> Refusal {
    use MembershipRefusal as M;
    let number = |at: usize| wire.numbers.get(at).copied().unwrap_or_default();
    let size = |at: usize| usize::try_from(number(at)).unwrap_or(usize::MAX);
    let name = || wire.text.clone();
    let membership = match wire.code {
        1 => return Refusal::NoLeader,
        2 => return Refusal::LeaderChanged,
        3 => return Refusal::TooManyRequests,
        4 => return Refusal::TooLarge { size_bytes: size(0), limit_bytes: size(1) },
        5 => return Refusal::Timeout,
        7 => return Refusal::NotFormed,
        8 => return Refusal::Stopped,
        9 => return Refusal::NoSpace,
        20 => M::ConfChangeInProgress,
        21 => M::StaleConfiguration { expected: Index(number(0)), actual: Index(number(1)) },
        22 => M::WrongCluster { actual: ClusterId(number(0)), given: ClusterId(number(1)) },
        23 => M::NotAdmitted { name: name() },
        24 => M::AlreadyExists { name: name(), id: MemberId(number(0)) },
        25 => M::HolderUndecided { name: name(), id: MemberId(number(0)) },
        26 => M::Tombstoned(MemberId(number(0))),
        27 => M::MemberNotFound,
        28 => M::QuorumAtRisk { live: size(0), voters: size(1), quorum: size(2), silent: name() },
        29 => M::InvalidRoster { reason: name().into() },
        30 => M::NotReadyToForm { joined: size(0), expected: size(1) },
        31 => M::AlreadyFormed,
        32 => M::NoTransferee,
        34 => M::TransfereeDrains { name: name() },
        35 => M::NameHeldTwice { name: name(), id: MemberId(number(0)), other: MemberId(number(1)) },
        33 => M::InvalidMetadata { reason: name().into() },
        // 6, and whatever a newer version says: it may or may not have been done.
        _ => return Refusal::OutcomeUnknown,
    };
    Refusal::Membership(membership)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_arrives_as_it_was_sent() {
        use MembershipRefusal as M;
        let (name, id) = ("orders-3".to_string(), MemberId(7));
        let membership = [
            M::ConfChangeInProgress,
            M::StaleConfiguration { expected: Index(4), actual: Index(5) },
            M::WrongCluster { actual: ClusterId(1), given: ClusterId(u64::MAX) },
            M::NotAdmitted { name: name.clone() },
            M::AlreadyExists { name: name.clone(), id },
            M::HolderUndecided { name: name.clone(), id },
            M::Tombstoned(id),
            M::MemberNotFound,
            M::QuorumAtRisk { live: 1, voters: 3, quorum: 2, silent: "a, b".into() },
            M::InvalidRoster { reason: "twice".into() },
            M::NotReadyToForm { joined: 1, expected: 3 },
            M::AlreadyFormed,
            M::NoTransferee,
            M::TransfereeDrains { name: name.clone() },
            M::NameHeldTwice { name: name.clone(), id, other: MemberId(8) },
            M::InvalidMetadata { reason: "long".into() },
        ];
        let plain = [
            Refusal::NoLeader,
            Refusal::LeaderChanged,
            Refusal::TooManyRequests,
            Refusal::TooLarge { size_bytes: 9, limit_bytes: 8 },
            Refusal::Timeout,
            Refusal::OutcomeUnknown,
            Refusal::NotFormed,
            Refusal::Stopped,
            Refusal::NoSpace,
        ];
        let mut codes = std::collections::BTreeSet::new();
        for refusal in membership.into_iter().map(Refusal::from).chain(plain) {
            let wire = refusal_to_wire(&refusal);
            assert!(codes.insert(wire.code), "{refusal:?} shares its code");
            assert_eq!(refusal_from_wire(&wire), refusal);
        }
    }

    #[test]
    fn a_refusal_of_a_newer_version_leaves_the_outcome_open() {
        let wire = RefusalWire { code: 9_999, ..RefusalWire::default() };
        assert_eq!(refusal_from_wire(&wire), Refusal::OutcomeUnknown);
    }
}
