//! What a node does not take in: commands that grow the state while space is short, appends and proposals while the
//! applier is far behind.
//!
//! Refusing is decided twice: where a proposal enters (its member knows its own disk), and at the leader (what others
//! forward, and the disks of the voters). One full disk of a minority does not stop the cluster, for the others can lose
//! that member; the leader stops what grows when no quorum of disks with room would be left, because the members with
//! full disks would end one by one and take reads and deletes with them. A member whose reserve is used up takes no entry
//! in at all: it falls behind, answers what it can, and catches up when there is space again, instead of ending.
//!
//! An append that is not taken in is a lost message: raft sends it again after the next heartbeat, so a follower whose
//! applier is behind slows its leader down, and heartbeats are never held up by it.
//!
//! May import: `mvcc`'s commands, `types`, `status`, `node`. Deliberately absent: measuring disk and state (the sidecar
//! does, and says so with events).

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::Entry;

use super::Node;
use super::peer::ForeignProposals;
use crate::error::Refusal;
use crate::event::AdminRequest;
use crate::mvcc;
use crate::status::Shortage;
use crate::types::{Index, MemberId};
use crate::wire::{self, Payload};

/// Committed entries that may wait for the applier, in bytes: what waits for it is held in memory.
pub(super) const MAX_BACKLOG_BYTES: u64 = 64 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// What this member is short of.
    pub(super) shortage: Shortage,
    /// Peers whose disk is full, as this leader was told.
    pub(super) full_peers: BTreeSet<MemberId>,
    /// A snapshot is wanted whatever the size of the log: only its release gives space back.
    pub(super) snapshot_due: bool,
    /// Tasks handed to the applier: the last index of each and its bytes.
    handed: VecDeque<(Index, u64)>,
    handed_bytes: u64,
    /// Bytes of appends taken in since the last flush, of which nothing is handed over yet.
    taken_in_bytes: u64,
}

impl Limits {
    pub(super) fn handed(&mut self, last: Index, bytes: u64) {
        self.handed.push_back((last, bytes));
        self.handed_bytes += bytes;
    }

    pub(super) fn applied(&mut self, index: Index) {
        while let Some((last, bytes)) = self.handed.front().copied() {
            if last > index {
                return;
            }
            self.handed.pop_front();
            self.handed_bytes = self.handed_bytes.saturating_sub(bytes);
        }
    }

    /// A snapshot replaces what was handed over before it.
    pub(super) fn installed(&mut self) {
        self.handed.clear();
        self.handed_bytes = 0;
    }

    pub(super) fn flushed(&mut self) {
        self.taken_in_bytes = 0;
    }

    /// Whether these entries of a leader may be taken in; counts them if so.
    pub(super) fn takes_in(&mut self, entries: &[Entry]) -> bool {
        if entries.is_empty() {
            return true;
        }
        if self.is_behind() || self.shortage.log {
            return false;
        }
        self.taken_in_bytes += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
        true
    }

    fn is_behind(&self) -> bool {
        self.handed_bytes + self.taken_in_bytes > MAX_BACKLOG_BYTES
    }
}

impl Node {
    pub(super) fn shortage(&mut self, shortage: Shortage) {
        self.limits.shortage = shortage;
    }

    /// Why the command is not taken in now, if so.
    pub(super) fn refuses(&self, command: &[u8]) -> Option<Refusal> {
        if self.limits.is_behind() {
            Some(Refusal::TooManyRequests)
        } else if self.limits.shortage.log || (self.is_short() && grows(command)) {
            Some(Refusal::NoSpace)
        } else {
            None
        }
    }

    /// The same for a membership or metadata request: only metadata that is set grows anything.
    pub(super) fn refuses_request(&self, request: &AdminRequest) -> bool {
        matches!(request, AdminRequest::SetMetadata { value: Some(_), .. }) && self.is_short()
    }

    /// Refuses those of the forwarded entries that are not taken in now, and gives the others.
    pub(super) fn admit_foreign(&mut self, foreign: ForeignProposals) -> ForeignProposals {
        if !self.limits.is_behind() && !self.is_short() {
            return foreign;
        }
        let ForeignProposals { from, attempt, entries } = foreign;
        let part = |entries: Vec<Bytes>| ForeignProposals { from, attempt, entries };
        let (mut admitted, mut behind, mut short) =
            (Vec::with_capacity(entries.len()), Vec::new(), Vec::new());
        for data in entries {
            let refusal = match wire::decode_payload(&data) {
                Some(Payload::Command { command, .. }) => self.refuses(&command),
                Some(Payload::Membership(_) | Payload::Empty) | None => None,
            };
            match refusal {
                None => admitted.push(data),
                Some(Refusal::NoSpace) => short.push(data),
                Some(_) => behind.push(data),
            }
        }
        for (entries, refusal) in [(behind, Refusal::TooManyRequests), (short, Refusal::NoSpace)] {
            if !entries.is_empty() {
                self.refuse_foreign(&part(entries), &refusal);
            }
        }
        part(admitted)
    }

    /// A peer's word on its disk.
    pub(super) fn peer_disk(&mut self, from: MemberId, is_full: bool) {
        if is_full {
            self.limits.full_peers.insert(from);
        } else {
            self.limits.full_peers.remove(&from);
        }
    }

    fn is_short(&self) -> bool {
        self.limits.shortage.any() || (self.is_leader() && !self.has_room_on_a_quorum())
    }

    fn has_room_on_a_quorum(&self) -> bool {
        let has_room = |voters: &Vec<MemberId>| {
            let with_room = voters.iter().filter(|id| !self.limits.full_peers.contains(id)).count();
            voters.is_empty() || with_room > voters.len() / 2
        };
        has_room(&self.conf_state.voters) && has_room(&self.conf_state.voters_outgoing)
    }
}

/// Whether a command of the built-in key space grows it. What cannot be read might.
fn grows(command: &[u8]) -> bool {
    mvcc::Command::decode(command).map_or(true, |command| command.grows())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_what_was_handed_over_and_not_applied() {
        let mut limits = Limits::default();
        limits.handed(Index(3), MAX_BACKLOG_BYTES);
        assert!(!limits.is_behind());
        limits.handed(Index(5), 1);
        assert!(limits.is_behind());
        limits.applied(Index(2));
        assert!(limits.is_behind(), "a task counts until its last entry is applied");
        limits.applied(Index(4));
        assert!(!limits.is_behind());
        limits.applied(Index(5));
        assert_eq!((limits.handed_bytes, limits.handed.len()), (0, 0));
    }

    #[test]
    fn appends_of_one_turn_count_before_any_of_them_is_committed() {
        let mut limits = Limits::default();
        let entry = Entry { data: vec![0; 1 << 20], ..Entry::default() };
        let taken = (0..300).filter(|_| limits.takes_in(std::slice::from_ref(&entry))).count();
        assert_eq!(taken, 65);
        assert!(limits.takes_in(&[]), "an append without entries carries the commit index");
        limits.flushed();
        assert!(limits.takes_in(&[entry]));
    }
}
