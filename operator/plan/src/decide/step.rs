//! What a plan can say: one step, or one reason to wait.

use std::time::Duration;

use crate::facts::{MemberPhase, Peer, Roster};
use crate::founding::{Founding, Permit};
use crate::ids::{ClusterId, ConfigurationIndex, MemberId, Ordinal};

/// The outcome of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do this, then look again.
    Act(Step),
    /// Nothing can be done; this is why.
    Wait(Wait),
    /// Everything is as the spec says.
    Settled,
}

/// One change. Each is safe to repeat: the register and the roster go by compare-and-set, the rest is idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for another number of pods; their volumes are not touched.
    SetPods {
        /// How many are asked for now.
        from: u8,
        /// How many are wanted.
        to: u8,
    },
    /// Change the register, if it still says `expected`.
    WriteFounding {
        /// What it said when this was decided.
        expected: Founding,
        /// What it shall say.
        next: Founding,
    },
    /// Tell the founder to found.
    Found {
        /// The founder.
        pod: Ordinal,
        /// The permit.
        permit: Permit,
        /// The initial roster.
        roster: Roster,
        /// How the initial members are reached.
        seeds: Vec<Peer>,
    },
    /// Tell a disk to forget a cluster that was never formed.
    Abandon {
        /// The pod.
        pod: Ordinal,
        /// The cluster.
        cluster: ClusterId,
    },
    /// Tell the leader that clients may be served.
    Form {
        /// The leader.
        pod: Ordinal,
        /// The cluster.
        cluster: ClusterId,
    },
    /// Write the whole roster, if the configuration is still the expected one.
    Admit {
        /// The leader.
        pod: Ordinal,
        /// The cluster.
        cluster: ClusterId,
        /// The configuration that this was decided on.
        expected: ConfigurationIndex,
        /// The target set.
        roster: Roster,
    },
    /// Move the leadership away from a member that is about to be restarted.
    Transfer {
        /// The leader.
        pod: Ordinal,
        /// The cluster.
        cluster: ClusterId,
        /// The pod that shall lead.
        to: Ordinal,
    },
    /// Give a member whose disk is beyond use, or out of reach, an empty one; it rejoins under a new id.
    ReplaceVolume {
        /// The pod.
        pod: Ordinal,
        /// Its node does not answer, so nobody would confirm the pod's end.
        lost_node: bool,
    },
    /// Restart a pod with the configuration that the spec asks for.
    RestartPod {
        /// The pod.
        pod: Ordinal,
    },
}

/// Why nothing is done. The texts go into the status, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    /// `spec.paused`.
    #[error("spec.paused is true: nothing is changed")]
    Paused,
    /// Founding needs every pod's answer.
    #[error("waiting for {} to answer: founding needs every pod, because a silent one may hold a cluster", pods.join(", "))]
    PodsSilent {
        /// The silent ones.
        pods: Vec<String>,
    },
    /// A pod is neither empty nor a member of anything that could be adopted.
    #[error(
        "{pod} is {phase:?} and belongs to no cluster that could be adopted; give it an empty volume to have a cluster founded"
    )]
    NotEmpty {
        /// The pod.
        pod: String,
        /// Where it stands.
        phase: MemberPhase,
    },
    /// The volumes carry the mark of a cluster, but no member reports it.
    #[error("the volumes of {} carry cluster {cluster}, but no member reports it: no second cluster is founded over it; restore the data, or delete the volumes", pods.join(", "))]
    VolumesCarryCluster {
        /// The cluster.
        cluster: ClusterId,
        /// The pods whose volumes say so.
        pods: Vec<String>,
    },
    /// Members report several clusters and the register does not say which is meant.
    #[error(
        "members report several clusters ({}) and status.founding names none; wipe the volumes of those that are not wanted",
        list(clusters)
    )]
    ConflictingClusters {
        /// The clusters.
        clusters: Vec<ClusterId>,
    },
    /// A cluster that was never formed is reported, but not who founded it.
    #[error(
        "members report cluster {cluster}, which was never formed, and none knows who founded it; wipe their volumes to found anew"
    )]
    UnknownFounder {
        /// The cluster.
        cluster: ClusterId,
    },
    /// The founder's disk refuses the cluster.
    #[error(
        "{pod} has abandoned cluster {cluster}, which it was permitted to found; wipe its volume to found anew"
    )]
    FounderAbandoned {
        /// The founder.
        pod: String,
        /// The cluster.
        cluster: ClusterId,
    },
    /// A pod halted on a fault.
    #[error("{pod} halted: {}", brief(fault))]
    PodFaulted {
        /// The pod.
        pod: String,
        /// The fault, in its words.
        fault: String,
    },
    /// The initial voters are joining.
    #[error(
        "founding cluster {cluster}: {reported} of {needed} needed voters have applied the final configuration"
    )]
    Forming {
        /// The cluster.
        cluster: ClusterId,
        /// How many have.
        reported: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A pod holds another cluster's data.
    #[error(
        "{pod} holds data of cluster {found}, which served clients; this cluster is {ours}: move that data away or wipe the volume"
    )]
    ForeignCluster {
        /// The pod.
        pod: String,
        /// Its cluster.
        found: ClusterId,
        /// The recorded one.
        ours: ClusterId,
    },
    /// Too few voters answer.
    #[error(
        "{answering} of the {needed} voters that a quorum needs answer: nothing is written{}{}",
        named("silent", silent),
        named("without the cluster's data", empty)
    )]
    QuorumSilent {
        /// How many answer.
        answering: usize,
        /// How many are needed.
        needed: usize,
        /// Who is silent.
        silent: Vec<String>,
        /// Who answers and has no data of this cluster: only its old volume, or the silent ones, bring the quorum back.
        empty: Vec<String>,
    },
    /// A quorum answers; nobody leads.
    #[error("a quorum answers ({answering} voters) and none of them leads yet")]
    NoLeader {
        /// How many answer.
        answering: usize,
    },
    /// A quorum answers, and all of it is drained: it votes for others and never campaigns.
    #[error(
        "nobody may lead: {} drained, which lasts until a restart: restart {first}",
        plural(pods),
        first = pods.first().map_or("it", String::as_str)
    )]
    AllDrained {
        /// The ones that answer.
        pods: Vec<String>,
    },
    /// A joint configuration has to be left first.
    #[error("a membership change is in flight")]
    ConfigurationChanging,
    /// The present configuration is not yet on a majority's disks.
    #[error("{reported} of {needed} needed voters have the present configuration on their disks")]
    ConfigurationNotDurable {
        /// How many have.
        reported: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A change of the voters needs all that stay.
    #[error("not scaling while {} of the voters that stay {} not in step: repair first", pods.join(", "), if pods.len() == 1 { "is" } else { "are" })]
    ScaleRefused {
        /// The ones that are silent, behind or not matched.
        pods: Vec<String>,
    },
    /// Rostered names that do not vote yet.
    #[error("{} joining: copied to first, promoted once caught up", plural(pods))]
    Joining {
        /// The names.
        pods: Vec<String>,
    },
    /// Members that the roster dropped and the configuration still has.
    #[error("{} leaving the configuration", plural(pods))]
    Leaving {
        /// The names.
        pods: Vec<String>,
    },
    /// The configuration has a member whose name nobody reports.
    #[error("the configuration has member {member}, whose name the leader does not report yet")]
    UnknownMember {
        /// Its id.
        member: MemberId,
    },
    /// Voters that are silent, behind or not matched by the leader while there is nothing else to do.
    #[error("{} not in step", plural(pods))]
    MembersUnwell {
        /// The names.
        pods: Vec<String>,
    },
    /// A faulted member, or one whose node is lost, is replaced later.
    #[error("{pod} {}; its volume is replaced once it has been so for {} s (spec.repair.unhealthyAfter)", brief(fault), after.as_secs())]
    RepairLater {
        /// The pod.
        pod: String,
        /// What happened to it, as the sentence goes on.
        fault: String,
        /// How long it is given: not what is left of that, for a status that counts would be written each second.
        after: Duration,
    },
    /// A faulted member is a person's to replace.
    #[error("{pod} {}; spec.repair.policy is Manual: replace its volume by hand", brief(fault))]
    RepairByHand {
        /// The pod.
        pod: String,
        /// What happened to it, as the sentence goes on.
        fault: String,
    },
    /// A faulted member cannot be replaced without losing the quorum.
    #[error(
        "{pod} {}; its volume is kept: {answering} others can be counted on and a quorum needs {needed}",
        brief(fault)
    )]
    RepairRefused {
        /// The pod.
        pod: String,
        /// What happened to it, as the sentence goes on.
        fault: String,
        /// How many others are in step; without a leader, how many answer.
        answering: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Outdated pods are restarted when fewer other clusters restart theirs.
    #[error(
        "pods run with an old template; it is not their turn yet: other clusters roll, and only so many at once (--rolls-at-once of the operator)"
    )]
    RollQueued,
    /// Outdated pods are a person's to restart.
    #[error("{} outdated; spec.updateStrategy.type is OnDelete: restart by hand", plural(pods))]
    RestartByHand {
        /// The names.
        pods: Vec<String>,
    },
}

impl Wait {
    /// Whether only a person can end it: the condition `Stalled`.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::NotEmpty { .. }
            | Self::VolumesCarryCluster { .. }
            | Self::ConflictingClusters { .. }
            | Self::UnknownFounder { .. }
            | Self::FounderAbandoned { .. }
            | Self::PodFaulted { .. }
            | Self::ForeignCluster { .. }
            | Self::AllDrained { .. }
            | Self::RepairByHand { .. }
            | Self::RepairRefused { .. } => true,
            // The silent ones would not be enough, if they came back.
            Self::QuorumSilent { answering, needed, silent, .. } => answering + silent.len() < *needed,
            Self::Paused
            | Self::PodsSilent { .. }
            | Self::Forming { .. }
            | Self::NoLeader { .. }
            | Self::ConfigurationChanging
            | Self::ConfigurationNotDurable { .. }
            | Self::ScaleRefused { .. }
            | Self::Joining { .. }
            | Self::Leaving { .. }
            | Self::UnknownMember { .. }
            | Self::MembersUnwell { .. }
            | Self::RepairLater { .. }
            | Self::RollQueued
            | Self::RestartByHand { .. } => false,
        }
    }

    /// One CamelCase word, for a condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::PodsSilent { .. } => "PodsSilent",
            Self::NotEmpty { .. } => "NotEmpty",
            Self::VolumesCarryCluster { .. } => "VolumesCarryCluster",
            Self::ConflictingClusters { .. } => "ConflictingClusters",
            Self::UnknownFounder { .. } => "UnknownFounder",
            Self::FounderAbandoned { .. } => "FounderAbandoned",
            Self::PodFaulted { .. } => "PodFaulted",
            Self::Forming { .. } => "Forming",
            Self::ForeignCluster { .. } => "ForeignCluster",
            Self::QuorumSilent { .. } => "QuorumSilent",
            Self::NoLeader { .. } => "NoLeader",
            Self::AllDrained { .. } => "AllDrained",
            Self::ConfigurationChanging => "ConfigurationChanging",
            Self::ConfigurationNotDurable { .. } => "ConfigurationNotDurable",
            Self::ScaleRefused { .. } => "ScaleRefused",
            Self::Joining { .. } => "Joining",
            Self::Leaving { .. } => "Leaving",
            Self::UnknownMember { .. } => "UnknownMember",
            Self::MembersUnwell { .. } => "MembersUnwell",
            Self::RepairLater { .. } => "RepairLater",
            Self::RepairByHand { .. } => "RepairByHand",
            Self::RepairRefused { .. } => "RepairRefused",
            Self::RollQueued => "RollQueued",
            Self::RestartByHand { .. } => "RestartByHand",
        }
    }
}

fn list(clusters: &[ClusterId]) -> String {
    clusters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn plural(pods: &[String]) -> String {
    format!("{} {}", pods.join(", "), if pods.len() == 1 { "is" } else { "are" })
}

fn named(what: &str, pods: &[String]) -> String {
    if pods.is_empty() { String::new() } else { format!("; {what}: {}", pods.join(", ")) }
}

/// A fault's beginning. The whole of it stands in the member's own row; here it would stand four times.
fn brief(fault: &str) -> String {
    const ENOUGH: usize = 100;
    match fault.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", fault.get(..end).unwrap_or(fault).trim_end()),
        None => fault.to_owned(),
    }
}
