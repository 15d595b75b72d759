//! What the operator writes: `status` of a `RaftCluster`.
//!
//! Members carry buckets (`lag: Small`), never counters: a counter would change on every write and turn each put of a user's
//! into a write to the API server. Ids are 16 hexadecimal digits, because JSON numbers lose integers above 2^53.
#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, where `pub` reaches nobody"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RaftClusterStatus {
    /// The generation of the spec that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The cluster's identity: latched once, for good.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The register that decides who founds, changed by compare-and-set only.
    #[serde(default)]
    pub founding: FoundingStatus,
    /// For people; machines read conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Members that are caught up and serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Members that vote.
    #[serde(default)]
    pub voters: i32,
    /// Members that do not vote.
    #[serde(default)]
    pub learners: i32,
    /// How many voters have to agree.
    #[serde(default)]
    pub quorum: i32,
    /// How many voters may be lost before writes stop; those that are not in step with the leader count as lost.
    #[serde(default)]
    pub fault_tolerance: i32,
    /// The pods' labels, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The size that the volumes have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub provisioned_storage: Option<String>,
    /// The software that the members run; several while they are rolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderStatus>,
    /// Every pod, as a member.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<MemberStatus>,
    /// What is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// What machines wait on.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The founding register. Which fields are set follows from `state`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FoundingStatus {
    /// Where founding stands.
    #[serde(default)]
    pub state: FoundingState,
    /// The cluster that was permitted, is latched, or is being abandoned.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The pod that founds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founder: Option<String>,
    /// The member id of the founder's disk.
    #[serde(default, rename = "founderMemberID", skip_serializing_if = "Option::is_none")]
    pub founder_member_id: Option<String>,
    /// How many initial voters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i32>,
}

/// Where founding stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FoundingState {
    /// Nothing was permitted yet.
    #[default]
    None,
    /// One named disk may found one named cluster.
    Permitted,
    /// The founder's disk was lost before the cluster was formed; every disk forgets it.
    Abandoning,
    /// The cluster exists; nothing is ever permitted again.
    Latched,
}

/// For people; machines read conditions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No cluster yet.
    Founding,
    /// All members serve.
    Healthy,
    /// Something is being changed.
    Reconciling,
    /// Something is wrong that only a person, or an edit, can mend: the condition `Stalled` says what. What is there goes on.
    Stalled,
    /// It serves, and tolerates fewer failures than it should.
    Degraded,
    /// A quorum answers, and nobody leads yet.
    Electing,
    /// Too few voters answer.
    QuorumLost,
    /// `spec.paused` is set.
    Paused,
}

/// Who leads.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LeaderStatus {
    /// The pod.
    pub name: String,
    /// The member.
    pub id: String,
    /// Its term.
    pub term: i64,
    /// Since when this member leads in this term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// One pod, as a member.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The pod.
    pub name: String,
    /// The member; absent while nobody has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is to the cluster.
    pub role: MemberRole,
    /// Whether it is well.
    pub health: Health,
    /// How far it is behind, in steps.
    pub lag: Lag,
    /// The sidecar's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it waits for or suffers from, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a member is to the cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// It leads.
    Leader,
    /// It votes and follows.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It does not vote.
    Learner,
    /// It is no member (yet, or any more).
    None,
    /// It did not answer.
    Unknown,
}

/// Whether a member is well.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Caught up and serving.
    Ready,
    /// Caught up and serving, and told never to lead again in this run.
    Draining,
    /// Up, and waiting to be let in.
    Waiting,
    /// A member that is still catching up, or not formed yet.
    CatchingUp,
    /// A member that answers, but that the leader does not hear from, or whose log it cannot match or bring forward.
    OutOfStep,
    /// It did not answer.
    Silent,
    /// It halted on a fault that needs its volume replaced.
    Faulted,
    /// Removed from the cluster, parked.
    Removed,
}

/// How far a member is behind the leader's commit, in steps.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// At most 1,024 entries.
    None,
    /// At most 4,096 entries.
    Small,
    /// More.
    Large,
    /// Nobody can tell.
    Unknown,
}

/// What is being done.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: OperationType,
    /// The member that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The step, or what is waited for.
    pub step: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// Kinds of operations.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationType {
    /// A cluster comes into being.
    Found,
    /// A cluster that was never formed is forgotten.
    Abandon,
    /// Voters are added.
    ScaleUp,
    /// Voters are removed.
    ScaleDown,
    /// A member's volume is replaced.
    Repair,
    /// Members are restarted with another configuration.
    Update,
}
