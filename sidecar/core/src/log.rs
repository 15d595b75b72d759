//! What the log holds: entries, hard state, conf state, snapshot marks and seeds, and the batch in which
//! core hands them to storage.
//!
//! May import: `types`. Deliberately absent: how any of it lies on disk (that is storage's `record`), and
//! raft-proto's types (they never leave core; `convert` holds the borders).

use bytes::Bytes;

use crate::types::{BatchNumber, Index, MemberId, Term};

/// What an entry carries, as raft distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command of ours, or empty: the first entry of a leader's term.
    Normal,
    /// A change of one member (`eraftpb.ConfChange`).
    ConfChange,
    /// A change of any number of members (`eraftpb.ConfChangeV2`).
    ConfChangeV2,
}

/// One entry of the raft log. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the log.
    pub index: Index,
    /// Term of the leader that proposed it.
    pub term: Term,
    /// What `data` is.
    pub kind: EntryKind,
    /// The command, or the encoded configuration change.
    pub data: Bytes,
    /// What travels beside it: a configuration change's own context.
    pub context: Bytes,
}

impl Entry {
    /// Bytes that the entry counts for against every limit in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.data.len() + self.context.len() + 48
    }
}

/// Raft's hard state: what a member may never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// Who got this member's vote in that term; id 0 for nobody.
    pub vote: MemberId,
    /// The newest index known to be committed. It may be behind on disk: losing it is harmless.
    pub commit: Index,
}

/// The configuration: who votes, who learns, and who did before a joint change that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// Voters (the incoming half of a joint configuration).
    pub voters: Vec<MemberId>,
    /// Learners.
    pub learners: Vec<MemberId>,
    /// Voters of the outgoing half; empty unless joint.
    pub voters_outgoing: Vec<MemberId>,
    /// Voters of the outgoing half that become learners at leave.
    pub learners_next: Vec<MemberId>,
    /// Whether the leader leaves the joint configuration by itself.
    pub auto_leave: bool,
}

impl ConfState {
    /// Whether a joint change is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether the member appears anywhere in it.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        self.voters.contains(&id)
            || self.learners.contains(&id)
            || self.voters_outgoing.contains(&id)
            || self.learners_next.contains(&id)
    }

    /// Whether the member's vote counts in either half.
    #[must_use]
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }
}

/// Whether a snapshot was made here or came from a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Made from this member's own state: the log goes on across it.
    Taken,
    /// Received: every entry before and after it in the log is void, the log restarts behind it.
    Installed,
}

/// The log's word that a snapshot file is to be used; a file without a mark is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMark {
    /// Where it came from.
    pub kind: SnapshotKind,
    /// The applied index that it holds.
    pub index: Index,
    /// The term of the entry at that index.
    pub term: Term,
}

/// A member that a process may dial before its log tells it more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seed {
    /// The member's id, 0 when only its name is known.
    pub id: MemberId,
    /// The pod's name.
    pub name: String,
    /// `host:port`; the host is a DNS name.
    pub address: String,
}

/// What one flush wants durable, in the order of the fields. Batches are made durable in order of `number`;
/// several may share one frame and one `fdatasync`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counted from 1 within a boot, without gaps.
    pub number: BatchNumber,
    /// An *installed* snapshot comes before the entries that follow it; a *taken* one may stand anywhere.
    pub mark: Option<SnapshotMark>,
    /// Entries to append. The first may overwrite: what lies at or above its index is void from here on.
    pub entries: Vec<Entry>,
    /// The configuration as of an applied index.
    pub conf_state: Option<(Index, ConfState)>,
    /// Members to dial at restart; replaces the ones before.
    pub seeds: Option<Vec<Seed>>,
    /// After the entries that it speaks of.
    pub hard_state: Option<HardState>,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mark.is_none()
            && self.entries.is_empty()
            && self.conf_state.is_none()
            && self.seeds.is_none()
            && self.hard_state.is_none()
    }
}

/// What recovery found in the log, besides the entries themselves (they are read by range).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last hard state, its commit clamped to \[snapshot, last\].
    pub hard_state: HardState,
    /// The newest snapshot that a durable mark names and whose file is whole.
    pub snapshot: Option<SnapshotMark>,
    /// The last configuration that was recorded, for `wal dump` and cross-checks; replay is what decides.
    pub conf_state: Option<(Index, ConfState)>,
    /// The last seeds recorded.
    pub seeds: Vec<Seed>,
    /// The first entry still held; `last_index.next()` if none is.
    pub first_index: Index,
    /// The last entry held, or the snapshot's index if none is.
    pub last_index: Index,
    /// Ascending (first index of the run, its term) over all entries held; empty if none is.
    pub term_runs: Vec<(Index, Term)>,
}
