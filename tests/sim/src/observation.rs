//! What the invariants are told of a run: plain facts, in the order in which they happened.
//!
//! May import: core's types. Deliberately absent: judgement.

use outrigger_core::log::HardState;
use outrigger_core::types::{ClusterId, Index, MemberId, Term};

/// Something that a run saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A process opened a data directory.
    Opened {
        /// The id that is written there.
        member: MemberId,
        /// Which disk, in truth.
        disk: u64,
        /// The clusters that it says it has abandoned.
        abandoned: Vec<ClusterId>,
    },
    /// A disk said that it has abandoned a cluster.
    Abandoned {
        /// Which disk.
        disk: u64,
        /// Which cluster.
        cluster: ClusterId,
    },
    /// A process is about to give its directory another id, in so many words: it was removed, or gives its cluster up.
    GivesUp {
        /// The id that ends.
        member: MemberId,
        /// Which disk.
        disk: u64,
    },
    /// The process that had it is gone.
    Closed {
        /// Its id.
        member: MemberId,
    },
    /// A node handed a batch to its log.
    Issued {
        /// Whose.
        member: MemberId,
        /// What.
        change: LogChange,
        /// The term that it leads in, if it leads.
        leads: Option<Term>,
        /// What it knows to be committed.
        commit: Index,
    },
    /// The batch is durable.
    Persisted {
        /// Whose.
        member: MemberId,
        /// What.
        change: LogChange,
    },
    /// A process began to write these, in order, and ended before it said how far it came.
    Interrupted {
        /// Whose.
        member: MemberId,
        /// What.
        changes: Vec<LogChange>,
    },
    /// A log was read back.
    Recovered {
        /// Whose.
        member: MemberId,
        /// What it says.
        log: LogState,
    },
    /// A node leads since now.
    Leads {
        /// Which.
        member: MemberId,
        /// In which term.
        term: Term,
        /// The highest index that any node knows to be committed.
        at: Index,
        /// That entry's term.
        committed: Term,
        /// What the leader has there.
        holds: Holds,
    },
    /// A leader knows more to be committed.
    Commits {
        /// Which.
        member: MemberId,
        /// Up to here.
        index: Index,
        /// The entry's term.
        term: Term,
        /// By which voters, and those of the outgoing half of a joint configuration; several where the configuration changed
        /// just then.
        decided_by: Vec<(Vec<MemberId>, Vec<MemberId>)>,
    },
    /// A committed entry is handed to an applier.
    Handed {
        /// By whom.
        member: MemberId,
        /// Where.
        index: Index,
        /// The entry's term.
        term: Term,
        /// A digest of what it says.
        digest: u64,
    },
    /// Where a node stands after a turn.
    Progress {
        /// Which.
        member: MemberId,
        /// Counts its starts.
        boot: u64,
        /// The first index of its log.
        first: Index,
        /// Its snapshot's.
        snapshot: Index,
        /// Published.
        applied: Index,
        /// Known to be committed.
        commit: Index,
        /// The log's end.
        last: Index,
    },
    /// A state, by its digest.
    State {
        /// Whose.
        member: MemberId,
        /// With everything up to here applied.
        index: Index,
        /// Its digest.
        digest: u64,
    },
    /// A configuration was applied.
    Configured {
        /// By whom.
        member: MemberId,
        /// Of which cluster.
        cluster: ClusterId,
        /// The index of the entry that made it so.
        index: Index,
        /// Everyone in it, in whatever part.
        members: Vec<MemberId>,
        /// Who never counts again.
        tombstones: Vec<MemberId>,
        /// Whether clients are served.
        formed: bool,
    },
    /// A client was told that its write is done, or what it read.
    Served {
        /// By a member of this cluster.
        cluster: ClusterId,
        /// By which.
        member: MemberId,
        /// Whether it knows its cluster to be formed.
        formed: bool,
    },
}

/// An entry, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub index: Index,
    /// Of which term.
    pub term: Term,
    /// A digest of what it says.
    pub digest: u64,
    /// Whether it changes the configuration.
    pub is_change: bool,
}

/// What one batch does to a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChange {
    /// A received snapshot that replaces everything: index and term.
    pub installed: Option<(Index, Term)>,
    /// Appended; the first may overwrite.
    pub entries: Vec<Line>,
    /// The newest hard state.
    pub hard_state: Option<HardState>,
    /// More than one frame of the log holds: some of its entries may be durable without those behind them.
    pub is_large: bool,
}

/// What a log says when it is read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Term and vote (and a commit index, which may be behind).
    pub hard_state: HardState,
    /// The entries held, ascending: index and term.
    pub entries: Vec<(Index, Term)>,
    /// The last index, or the snapshot's.
    pub last: Index,
}

/// What a log has at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// An entry of this term.
    Entry(Term),
    /// It is below the log's beginning, in the snapshot.
    Compacted,
    /// Nothing.
    Nothing,
}
