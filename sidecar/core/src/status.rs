//! What a node tells of itself: one consistent set of facts for the API, the status, the metrics and readiness.
//!
//! May import: `types`, `log`, `membership`. Deliberately absent: rendering.

use crate::log::ConfState;
use crate::membership::{RosterEntry, Route};
use crate::types::{ClusterId, Index, MemberId, Term};

/// What part the member plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows, or knows no leader.
    #[default]
    Follower,
    /// Asks for votes, or for pre-votes.
    Candidate,
    /// Leads.
    Leader,
    /// Never votes.
    Learner,
}

/// A member as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Id, name, address, version.
    pub route: Route,
    /// In either half of the configuration.
    pub voter: bool,
    /// Learner, now or after leaving a joint configuration.
    pub learner: bool,
    /// Known to the leader only.
    pub progress: Option<ProgressStatus>,
}

/// What a leader knows of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressStatus {
    /// Highest index known to be in its log.
    pub matched: Index,
    /// Highest commit index known to it.
    pub committed: Index,
    /// Ticks since it was last heard; `None` if never in this leader's term.
    pub last_contact_ticks: Option<u64>,
    /// Its own report of the applied configuration index, carried beside its messages.
    pub configuration_index: Index,
    /// Its own report that its disk has no room for the log's reserve.
    pub disk_full: bool,
    /// Its own report that it never campaigns again.
    pub draining: bool,
}

/// What callers act on at once, cheap enough to look at after every flush: a status is worth publishing when it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The part that the member plays.
    pub role: Role,
    /// The term.
    pub term: Term,
    /// Who leads, if known.
    pub leader: Option<MemberId>,
    /// Whether clients are served.
    pub formed: bool,
    /// Index of the last applied membership entry.
    pub configuration_index: Index,
    /// The same, durably committed.
    pub durable_configuration_index: Index,
    /// The counter of [`crate::node::Node::routes`].
    pub routes: u64,
    /// Whether it never campaigns again.
    pub draining: bool,
}

/// What a member is short of. While it is short of anything, only what does not grow the state is taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// The disk has no room for the reserve that log and snapshot need.
    pub disk: bool,
    /// The state has reached its quota.
    pub quota: bool,
    /// The reserve is used up, too: the log has no room left but for terms and votes, and takes no entry in.
    pub log: bool,
}

impl Shortage {
    /// Whether there is a shortage of any kind.
    #[must_use]
    pub const fn any(self) -> bool {
        self.disk || self.quota || self.log
    }
}

/// One consistent set of facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// This cluster.
    pub cluster: ClusterId,
    /// This member.
    pub member: MemberId,
    /// Its part.
    pub role: Role,
    /// The term.
    pub term: Term,
    /// Who leads, if known.
    pub leader: Option<MemberId>,
    /// Commit index.
    pub commit: Index,
    /// Index of the published view.
    pub applied: Index,
    /// Last index of the log.
    pub last: Index,
    /// First index of the log.
    pub first: Index,
    /// The snapshot below the log.
    pub snapshot: Index,
    /// Whether the `Formed` entry is applied.
    pub formed: bool,
    /// Index of the last applied membership entry.
    pub configuration_index: Index,
    /// The highest configuration index whose commit is durable on this disk.
    pub durable_configuration_index: Index,
    /// The configuration.
    pub conf_state: ConfState,
    /// Everyone in the address map.
    pub members: Vec<MemberStatus>,
    /// Admitted names.
    pub roster: Vec<RosterEntry>,
    /// Ids that never count again.
    pub tombstones: Vec<MemberId>,
    /// The cluster's metadata: JSON values by key.
    pub metadata: std::collections::BTreeMap<String, bytes::Bytes>,
    /// Ticks since a leader was last known; 0 while there is one.
    pub leaderless_ticks: u64,
    /// Elections started here since start.
    pub campaigns: u64,
    /// Leader changes seen since start.
    pub leader_changes: u64,
    /// Peers' messages since start that were garbage, or that no member of this version sends: dropped unread.
    pub refused_messages: u64,
    /// Proposals that await their result.
    pub pending_proposals: usize,
    /// Reads that await their index.
    pub pending_reads: usize,
    /// It leads, and a majority has the newest configuration durable: the removed may be told.
    pub removal_settled: bool,
    /// Whether it never campaigns again.
    pub draining: bool,
    /// What this member is short of.
    pub shortage: Shortage,
    /// Whether this member was removed.
    pub removed: bool,
}

impl NodeStatus {
    /// Voters needed for a decision in the larger half of the configuration.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.conf_state.voters.len().max(self.conf_state.voters_outgoing.len()) / 2 + 1
    }
}
