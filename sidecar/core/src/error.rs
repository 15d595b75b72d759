//! Refusals (answer the caller, say what to do instead) and fatal errors (the process ends).
//!
//! May import: `types`. Deliberately absent: retryable errors; what may be tried again is a refusal that says so.

use std::borrow::Cow;

use crate::types::{AdminId, ClusterId, Index, MemberId, Term};

/// Why a proposal, a read or a request was not done. Only [`Refusal::OutcomeUnknown`] and
/// [`Refusal::Timeout`] leave open whether it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No leader is known.
    #[error("no leader")]
    NoLeader,
    /// The leader refused because it is stepping down or has just changed; nothing was proposed.
    #[error("leader changed")]
    LeaderChanged,
    /// A bound is reached: try again later.
    #[error("too many requests")]
    TooManyRequests,
    /// The state has reached its quota, or disks are full: only what does not grow the state is taken in.
    #[error("no space: delete keys and compact, or raise --quota-bytes or the volume")]
    NoSpace,
    /// The command is larger than the limit.
    #[error("request is too large: {size_bytes} bytes, at most {limit_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The deadline passed; the outcome is unknown.
    #[error("request timed out")]
    Timeout,
    /// A snapshot was installed, or the leadership lost, while it was pending: it may or may not be applied.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// The cluster is not formed yet: no client is served.
    #[error("the cluster is not formed yet")]
    NotFormed,
    /// The member stops, or is no longer a member.
    #[error("server stopped")]
    Stopped,
    /// Membership says no.
    #[error(transparent)]
    Membership(#[from] MembershipRefusal),
}

/// Why a membership request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipRefusal {
    /// A change is under way; ask again when it is done.
    #[error("a configuration change is in progress: wait until it is applied, then ask again")]
    ConfChangeInProgress,
    /// The compare-and-set failed.
    #[error(
        "stale configuration index {expected}: it is {actual} now; read the status again and decide anew"
    )]
    StaleConfiguration {
        /// What the caller expected.
        expected: Index,
        /// What stands.
        actual: Index,
    },
    /// The cluster id is another's.
    #[error("cluster id mismatch: this is cluster {actual:016x}, the request names {given:016x}", actual = .actual.0, given = .given.0)]
    WrongCluster {
        /// This cluster.
        actual: ClusterId,
        /// The one named.
        given: ClusterId,
    },
    /// The name is not in the roster.
    #[error("{name} is not admitted: add it to the roster (scale the RaftCluster up) first")]
    NotAdmitted {
        /// The joiner's name.
        name: String,
    },
    /// The name is held by a member that is alive.
    #[error("{name} is held by member {id:016x}, which is alive: stop that process first", id = .id.0)]
    AlreadyExists {
        /// The name.
        name: String,
        /// Who holds it.
        id: MemberId,
    },
    /// The name's holder has not been silent for long enough to be replaced, or the leader is too fresh to know.
    #[error("{name} is held by member {id:016x}, of which it is not known yet whether it is gone: ask again", id = .id.0)]
    HolderUndecided {
        /// The name.
        name: String,
        /// Who holds it.
        id: MemberId,
    },
    /// The id was removed once and never counts again.
    #[error("member {id:016x} was removed: its data directory must be moved aside and a new id taken", id = .0.0)]
    Tombstoned(MemberId),
    /// No such member.
    #[error("member not found")]
    MemberNotFound,
    /// One id is to be removed, and a member that replaces it, or that it is to replace, would go with it.
    #[error(
        "{name} is held by member {other:016x} beside {id:016x}: the one whose process is gone goes by itself once the other \
         has caught up; name {name} to remove both",
        other = .other.0, id = .id.0
    )]
    NameHeldTwice {
        /// The name.
        name: String,
        /// Who was to be removed.
        id: MemberId,
        /// Who would go, too.
        other: MemberId,
    },
    /// The change would leave fewer live voters than a quorum.
    #[error(
        "refused: {live} of {voters} voters would be alive, {quorum} are needed; bring back first: {silent}"
    )]
    QuorumAtRisk {
        /// Live voters after the change.
        live: usize,
        /// All voters after the change.
        voters: usize,
        /// The quorum of those.
        quorum: usize,
        /// The names of those that are silent.
        silent: String,
    },
    /// The roster is empty, has a name twice, or has no voter.
    #[error("the roster is invalid: {reason}")]
    InvalidRoster {
        /// What is wrong.
        reason: Cow<'static, str>,
    },
    /// The initial configuration is not complete or still joint.
    #[error("the initial configuration is not complete yet: {joined} of {expected} voters are in it")]
    NotReadyToForm {
        /// Voters in the configuration.
        joined: usize,
        /// Voters in the roster.
        expected: usize,
    },
    /// Already formed: cannot be abandoned.
    #[error("the cluster is formed: it cannot be abandoned")]
    AlreadyFormed,
    /// Nobody can take the leadership over.
    #[error("no voter can take the leadership: each one is silent, too far behind, or draining")]
    NoTransferee,
    /// The one named will not take it.
    #[error("{name} is draining and takes no leadership until it is restarted: name another voter")]
    TransfereeDrains {
        /// The voter.
        name: String,
    },
    /// A key or value of the cluster metadata is out of bounds.
    #[error("cluster metadata refused: {reason}")]
    InvalidMetadata {
        /// What is wrong.
        reason: Cow<'static, str>,
    },
}

/// The process must end: going on could lose data.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// raft-rs refused what it must accept.
    #[error("raft failed")]
    Raft(#[from] raft::Error),
    /// A committed entry does not decode: another version's, or memory rot.
    #[error("committed entry {index} does not decode: {reason}")]
    UndecodableEntry {
        /// Where.
        index: Index,
        /// What did not fit.
        reason: &'static str,
    },
    /// A committed change of the configuration does not fit the one that stands: no leader that is sound proposes it.
    #[error("committed entry {index} changes the configuration into none that can be")]
    UnfitChange {
        /// Where.
        index: Index,
        /// raft-rs's verdict.
        #[source]
        source: raft::Error,
    },
    /// A configuration that raft gives and the one that replay gives differ.
    #[error("the configuration at {index} differs between raft and replay")]
    ConfigurationDiverged {
        /// Where.
        index: Index,
    },
    /// The leader's log is another than what is committed here.
    #[error(
        "entry {index} is committed here in term {held}, and leader {leader:016x} has another there, of term {told}: one of \
         the two lost acknowledged data. This member neither votes nor serves; look at what it has (outrigger wal dump) \
         before its volume is replaced, for nobody else may have it",
        leader = .leader.0
    )]
    Diverged {
        /// Who contradicts.
        leader: MemberId,
        /// The first entry that differs.
        index: Index,
        /// Its term here.
        held: Term,
        /// Its term there.
        told: Term,
    },
    /// An answer to what was never asked.
    #[error("admin request {0} was answered twice")]
    AnsweredTwice(AdminId),
}

impl Fatal {
    /// Whether it comes of what a leader has put into the log and a majority has committed. Of all that can end a node's
    /// consensus only this is in a peer's power, a leader's: raft believes who leads. Whatever else a peer says must be
    /// refused before it does harm.
    #[must_use]
    pub const fn is_of_committed_data(&self) -> bool {
        match self {
            Self::UndecodableEntry { .. } | Self::UnfitChange { .. } | Self::Diverged { .. } => true,
            Self::Raft(_) | Self::ConfigurationDiverged { .. } | Self::AnsweredTwice(_) => false,
        }
    }
}
