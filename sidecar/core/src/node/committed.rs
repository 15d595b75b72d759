//! What a committed entry means: something for the applier, or for membership.
//!
//! May import: `wire`, `log`, raft's conf change types. Deliberately absent: doing it.

use prost::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use raft_proto::ConfChangeI as _;

use crate::applier::ApplyKind;
use crate::error::Fatal;
use crate::log::{Entry, EntryKind};
use crate::membership::Route;
use crate::wire::{self, MembershipCommand, MembershipOp, Payload};

/// raft-proto's getters panic on it, and a panic says neither which entry it was nor, at the next start, that the log is
/// whole.
const UNKNOWN_KIND: &str = "a conf change of a kind that is not known here";

/// A decoded committed entry.
#[derive(Debug)]
pub(crate) enum Change {
    /// The applier's.
    Apply(ApplyKind),
    /// The membership's.
    Membership(MembershipCommand),
    /// The configuration's.
    Configuration { change: ConfChangeV2, command: MembershipCommand },
}

pub(crate) fn decode(entry: &Entry) -> Result<Change, Fatal> {
    let index = entry.index;
    let bad = |reason| Fatal::UndecodableEntry { index, reason };
    let change = match entry.kind {
        EntryKind::Normal => {
            let payload = wire::decode_payload(&entry.data).ok_or_else(|| bad("not a payload of ours"))?;
            return Ok(match payload {
                Payload::Empty => Change::Apply(ApplyKind::Empty),
                Payload::Command { id, command } => Change::Apply(ApplyKind::Command { id, command }),
                Payload::Membership(command) => Change::Membership(command),
            });
        }
        EntryKind::ConfChange => {
            let change = ConfChange::decode(&*entry.data).map_err(|_| bad("not a conf change"))?;
            if !ConfChangeType::is_valid(change.change_type) {
                return Err(bad(UNKNOWN_KIND));
            }
            change.into_v2()
        }
        EntryKind::ConfChangeV2 => {
            ConfChangeV2::decode(&*entry.data).map_err(|_| bad("not a conf change"))?
        }
    };
    let are_known = change.changes.iter().all(|change| ConfChangeType::is_valid(change.change_type));
    if !are_known || !ConfChangeTransition::is_valid(change.transition) {
        return Err(bad(UNKNOWN_KIND));
    }
    let command =
        MembershipCommand::decode(&*entry.context).map_err(|_| bad("a conf change without its context"))?;
    Ok(Change::Configuration { change, command })
}

/// The learner that a conf change lets in, from its context.
pub(crate) fn learner_of(command: MembershipCommand) -> Option<Route> {
    match command.op {
        Some(MembershipOp::Learner(route)) => Some(route.into()),
        Some(
            MembershipOp::Admit(_)
            | MembershipOp::Form(_)
            | MembershipOp::Announce(_)
            | MembershipOp::Metadata(_),
        )
        | None => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raft::eraftpb::ConfChangeSingle;

    use super::*;
    use crate::types::{Index, Term};

    fn entry(kind: EntryKind, data: Vec<u8>) -> Entry {
        Entry { index: Index(7), term: Term(1), kind, data: Bytes::from(data), context: Bytes::new() }
    }

    #[test]
    fn a_change_of_an_unknown_kind_does_not_decode() {
        let first = |change_type| {
            let change = ConfChange { change_type, node_id: 3, ..ConfChange::default() };
            decode(&entry(EntryKind::ConfChange, change.encode_to_vec()))
        };
        let second = |change_type, transition| {
            let changes = vec![ConfChangeSingle { change_type, node_id: 3 }];
            let change = ConfChangeV2 { transition, changes, ..ConfChangeV2::default() };
            decode(&entry(EntryKind::ConfChangeV2, change.encode_to_vec()))
        };
        assert!(first(2).is_ok() && second(2, 2).is_ok());
        for refused in [first(3), second(3, 0), second(0, 3), second(-1, 0)] {
            let Err(Fatal::UndecodableEntry { index: Index(7), reason }) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(reason, UNKNOWN_KIND);
        }
    }
}
