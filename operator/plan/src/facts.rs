//! What was seen: the one snapshot of facts that the plan and the status are made from.
//!
//! Plain data. Who gathers it (an API server's objects, or processes on this machine) and when is not known here; ages are
//! measured by the caller and handed in as durations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::founding::Founding;
use crate::ids::{ClusterId, ClusterName, ConfigurationIndex, Index, MemberId, Ordinal, Term};

/// Everything that a decision is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The resource's name.
    pub name: ClusterName,
    /// `spec.replicas`: how many voters are wanted.
    pub replicas: u8,
    /// `spec.paused`: nothing may be changed.
    pub paused: bool,
    /// Whether lost volumes are replaced without a person, and after how long.
    pub repair: Repair,
    /// Whether changed members are restarted without a person.
    pub restart_outdated: bool,
    /// Whether it is this cluster's turn to restart changed members: many clusters do not do so all at once.
    pub may_roll: bool,
    /// The register, as read for this snapshot.
    pub founding: Founding,
    /// How many pods are asked for at present (a StatefulSet's `spec.replicas`); ordinals below it should exist.
    pub pods_wanted: u8,
    /// What each of them said. A pod that does not exist (yet) has no entry and counts as silent.
    pub pods: BTreeMap<Ordinal, Pod>,
    /// Cluster ids that are written on volumes, whether or not a pod uses them.
    pub volume_clusters: BTreeMap<Ordinal, ClusterId>,
    /// A fresh random id, used if this decision permits a founding and dropped otherwise.
    pub fresh_cluster: ClusterId,
}

/// Whether lost volumes are replaced without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// After the member was unhealthy for this long.
    After(Duration),
    /// Never.
    ByHand,
}

/// One pod (or process).
#[derive(Clone, Debug)]
pub struct Pod {
    /// What its member said.
    pub answer: Answer,
    /// It runs with another configuration than the spec asks for.
    pub outdated: bool,
    /// How long it has not been healthy; zero while it is.
    pub unhealthy_for: Duration,
    /// How long its log has stood still at the leader although entries are missing; zero while it advances or lacks none.
    pub stuck_for: Duration,
    /// Whoever runs it finds its member ready to serve, by the member's own probe: one that is silent, but serves, is out of reach of
    /// the asker alone, and not dead.
    pub serves: bool,
    /// The node that it is on, if that is known to be not ready: such a pod cannot be stopped in order, nor start elsewhere.
    pub lost_node: Option<String>,
}

/// What a member said.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing in time, or nothing that can be believed; the text says which.
    Silent(String),
    /// Its report.
    Report(Box<Report>),
}

/// Where a process stands between an empty disk and a serving member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPhase {
    /// An empty disk that waits to be founded or to find a cluster.
    Empty,
    /// It asked to join.
    Joining,
    /// It runs a raft node.
    Member,
    /// It was removed and parks.
    Removed,
    /// It halted on a fault that needs its volume replaced.
    Faulted,
}

/// What a member is in raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaftRole {
    /// None: it runs no raft node.
    None,
    /// It follows.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads, as far as it knows.
    Leader,
    /// It does not vote.
    Learner,
}

/// What a roster says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RosterRole {
    /// To become a voter.
    Voter,
    /// To stay a learner.
    Learner,
}

/// A set of names that may be members.
pub type Roster = BTreeMap<String, RosterRole>;

/// A configuration, as applied by the member that reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The voters; of a joint configuration, the incoming half.
    pub voters: BTreeSet<MemberId>,
    /// The learners.
    pub learners: BTreeSet<MemberId>,
    /// The outgoing half of a joint configuration; empty otherwise.
    pub voters_outgoing: BTreeSet<MemberId>,
    /// Voters of the outgoing half that become learners.
    pub learners_next: BTreeSet<MemberId>,
}

impl Configuration {
    /// Whether two majorities are needed at present.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty() || !self.learners_next.is_empty()
    }

    /// Whether an id plays any part in it.
    #[must_use]
    pub fn names(&self, id: MemberId) -> bool {
        self.voters.contains(&id)
            || self.learners.contains(&id)
            || self.voters_outgoing.contains(&id)
            || self.learners_next.contains(&id)
    }
}

/// One member, as another one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: MemberId,
    /// Its pod's name.
    pub name: String,
    /// Its address, `host:port`.
    pub address: String,
    /// How it follows; only a leader knows.
    pub progress: Option<Progress>,
}

/// How a member follows, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Up to where its log is known to be the leader's; 0 while it was never matched in the leader's term.
    pub matched: Index,
    /// Entries that `matched` is behind the leader's commit.
    pub lag: u64,
    /// How long ago the leader heard from it; absent if never in its term.
    pub last_contact: Option<Duration>,
    /// It was heard from within an election timeout.
    pub active: bool,
}

/// A member's whole report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where it stands.
    pub phase: MemberPhase,
    /// The cluster that is written on its disk.
    pub cluster: Option<ClusterId>,
    /// The member that is written on its disk.
    pub member: MemberId,
    /// The address that it goes by, `host:port`.
    pub address: String,
    /// Its software.
    pub version: String,
    /// What it is in raft.
    pub role: RaftRole,
    /// Its term.
    pub term: Term,
    /// Whom it believes to lead.
    pub leader: Option<MemberId>,
    /// What it knows to be committed.
    pub commit: Index,
    /// What it has applied.
    pub applied: Index,
    /// It applied the entry after which clients are served.
    pub formed: bool,
    /// The last membership entry that it applied.
    pub configuration_index: ConfigurationIndex,
    /// The highest membership entry whose commit is on its disk.
    pub durable_configuration_index: ConfigurationIndex,
    /// The configuration that it applied.
    pub configuration: Configuration,
    /// The members that it knows.
    pub peers: Vec<Peer>,
    /// The names that may be members.
    pub roster: Roster,
    /// Clusters that its disk has forgotten for ever.
    pub abandoned: BTreeSet<ClusterId>,
    /// It was told never to campaign again in this run.
    pub draining: bool,
    /// What it waits for, in its own words.
    pub waiting_for: String,
    /// What it halted on.
    pub fault: String,
}

impl Facts {
    /// The report of one pod, if it answered.
    #[must_use]
    pub fn report(&self, ordinal: Ordinal) -> Option<&Report> {
        match &self.pods.get(&ordinal)?.answer {
            Answer::Report(report) => Some(report),
            Answer::Silent(_) => None,
        }
    }

    /// All reports, by ordinal.
    pub fn reports(&self) -> impl Iterator<Item = (Ordinal, &Report)> {
        self.pods.keys().filter_map(|ordinal| Some((*ordinal, self.report(*ordinal)?)))
    }

    /// The reports of raft members of one cluster.
    pub fn members_of(&self, cluster: ClusterId) -> impl Iterator<Item = (Ordinal, &Report)> {
        self.reports()
            .filter(move |(_, report)| report.phase == MemberPhase::Member && report.cluster == Some(cluster))
    }

    /// Pods that should exist, or do, and did not answer. The order is theirs.
    #[must_use]
    pub fn silent(&self) -> Vec<String> {
        let wanted = (0..self.pods_wanted.max(self.replicas)).map(Ordinal);
        let ordinals: BTreeSet<Ordinal> = wanted.chain(self.pods.keys().copied()).collect();
        ordinals
            .into_iter()
            .filter(|ordinal| self.report(*ordinal).is_none())
            .map(|ordinal| self.name.pod(ordinal))
            .collect()
    }

    /// Who leads one cluster: who claims to, in the highest term that any member reports. A leader of an older term is
    /// cut off and does not know it yet; its configuration and its roster may be long out of date.
    #[must_use]
    pub fn leader_of(&self, cluster: ClusterId) -> Option<(Ordinal, &Report)> {
        let newest = self.members_of(cluster).map(|(_, report)| report.term).max()?;
        self.members_of(cluster).find(|(_, report)| report.role == RaftRole::Leader && report.term == newest)
    }

    /// The roster that the spec asks for.
    #[must_use]
    pub fn target_roster(&self) -> Roster {
        (0..self.replicas).map(|ordinal| (self.name.pod(Ordinal(ordinal)), RosterRole::Voter)).collect()
    }
}
