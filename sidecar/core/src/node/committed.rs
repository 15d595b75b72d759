//! What a committed entry means: something for the applier, or for membership.
//!
//! May import: `wire`, `log`, raft's conf change types. Deliberately absent: doing it.

use prost::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2};
use raft_proto::ConfChangeI as _;

use crate::applier::ApplyKind;
use crate::error::Fatal;
use crate::log::{Entry, EntryKind};
use crate::membership::Route;
use crate::wire::{self, MembershipCommand, MembershipOp, Payload};

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
            ConfChange::decode(&*entry.data).map_err(|_| bad("not a conf change"))?.into_v2()
        }
        EntryKind::ConfChangeV2 => {
            ConfChangeV2::decode(&*entry.data).map_err(|_| bad("not a conf change"))?
        }
    };
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
