//! What a user writes: `spec` of a `RaftCluster`, with its defaults and the CEL rules that an API server and the local
//! runner both enforce.
//!
//! A field enters with the feature that reads it. Strings that appear in a rule carry a `maxLength`: without one an API
//! server assumes the longest string a request can hold and may refuse the whole definition for its estimated cost.
#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, where `pub` reaches nobody"
)]

use std::fmt;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::status::RaftClusterStatus;

/// A replicated, quorum-backed sidecar cluster: its size, its pods and how it heals.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "RaftCluster",
    plural = "raftclusters",
    singular = "raftcluster",
    shortname = "rcl",
    namespaced,
    cel,
    doc = "A consensus cluster that runs as sidecars of your pods.",
    status = "RaftClusterStatus",
    derive = "PartialEq",
    selectable = ".status.phase",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Voters",
        type_ = "integer",
        json_path = ".status.voters",
        description = "Members that vote"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Members that are caught up and serve"
    ),
    printcolumn(
        name = "Leader",
        type_ = "string",
        json_path = ".status.leader.name",
        description = "The member that leads"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "For people; machines read conditions"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "The software that the members run"
    ),
    printcolumn(
        name = "Term",
        type_ = "integer",
        json_path = ".status.leader.term",
        description = "The leader's term",
        priority = 1
    ),
    printcolumn(
        name = "Fault-tolerance",
        type_ = "integer",
        json_path = ".status.faultTolerance",
        description = "Members that may be lost before writes stop",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')")
        .message("metadata.name must be at most 40 characters and hold no dot: pod names and labels take the rest of a name's 63 characters")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.status) || !has(self.status.provisionedStorage) || !isQuantity(self.spec.storage.size) || quantity(self.spec.storage.size).compareTo(quantity(self.status.provisionedStorage)) >= 0")
        .message("spec.storage.size must not be below what is already provisioned (status.provisionedStorage): volumes only grow")
        .field_path(".spec.storage.size")
        .reason(Reason::FieldValueInvalid)
)]
#[x_kube(
    validation = Rule::new("!isQuantity(self.storage.size) || !isQuantity(self.consensus.quota) || !quantity(self.storage.size).isInteger() || !quantity(self.consensus.quota).isInteger() || quantity(self.storage.size).asInteger() >= 4 * quantity(self.consensus.quota).asInteger() + 536870912")
        .message("spec.storage.size must be at least 4 × spec.consensus.quota + 512Mi: the log, two snapshots and one being received share the volume")
        .field_path(".storage.size")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.sidecar.resources) || !has(self.sidecar.resources.limits) || !has(self.sidecar.resources.limits.memory) || !isQuantity(self.sidecar.resources.limits.memory) || !isQuantity(self.consensus.quota) || !quantity(self.sidecar.resources.limits.memory).isInteger() || !quantity(self.consensus.quota).isInteger() || quantity(self.sidecar.resources.limits.memory).asInteger() >= 2 * quantity(self.consensus.quota).asInteger() + 134217728")
        .message("spec.sidecar.resources.limits.memory must be at least 2 × spec.consensus.quota + 128Mi: the key space and a snapshot of it are in memory at once")
        .field_path(".sidecar.resources.limits.memory")
        .reason(Reason::FieldValueInvalid)
)]
#[serde(rename_all = "camelCase")]
pub struct RaftClusterSpec {
    /// How many members vote: 1, 3, 5, 7 or 9. An even number costs a member and tolerates no more failures.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 9))]
    #[x_kube(validation = Rule::new("self % 2 == 1 && self >= 1 && self <= 9")
        .message("spec.replicas must be 1, 3, 5, 7 or 9: an even number of voters tolerates no more failures than the odd number below it")
        .reason(Reason::FieldValueInvalid))]
    pub replicas: i32,

    /// While true nothing is changed; the status stays live.
    #[serde(default)]
    pub paused: bool,

    /// What becomes of the volumes when the RaftCluster is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// The pod that the sidecar runs beside: a pod template as in a Deployment. Names that begin with `outrigger-` and the
    /// ports 2379 to 2381 are the sidecar's.
    #[serde(default = "empty_object")]
    #[schemars(schema_with = "schemaless_object")]
    pub template: serde_json::Value,

    /// The sidecar itself.
    #[serde(default)]
    pub sidecar: SidecarSpec,

    /// Timing and limits of the consensus group.
    #[serde(default)]
    pub consensus: ConsensusSpec,

    /// Each member's volume.
    #[serde(default)]
    pub storage: StorageSpec,

    /// How changed members are restarted.
    #[serde(default)]
    pub update_strategy: UpdateStrategy,

    /// What is done about a member that does not come back.
    #[serde(default)]
    pub repair: RepairSpec,
}

/// What becomes of the volumes when the RaftCluster is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The volumes stay.
    #[default]
    Retain,
    /// The volumes go with the resource.
    Delete,
}

/// The sidecar: its image, what it may use and how much it logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SidecarSpec {
    /// The image; the operator's own version's image when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<SidecarResources>,
    /// How much it logs.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// Requests and limits, as in a container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SidecarResources {
    /// What is set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceLimits>,
    /// What must not be exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
}

/// Processor and memory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLimits {
    /// For example `500m` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<IntOrString>,
    /// For example `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isInteger() && quantity(self).compareTo(quantity('0')) >= 0")
        .message("must be a whole number of bytes, such as 1Gi or 512Mi")
        .reason(Reason::FieldValueInvalid))]
    pub memory: Option<String>,
}

/// How much the sidecar logs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Data at risk, or a person is needed.
    Error,
    /// The unexpected, even if recovered from.
    Warn,
    /// Role, membership, start and stop.
    #[default]
    Info,
    /// What a developer wants to see.
    Debug,
    /// Everything.
    Trace,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

/// Timing and limits of the consensus group.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.electionTimeout.matches('^([0-9]+(ms|s|m))+$') || !self.heartbeatInterval.matches('^([0-9]+(ms|s|m))+$') || duration(self.electionTimeout) >= duration(self.heartbeatInterval) + duration(self.heartbeatInterval) + duration(self.heartbeatInterval) + duration(self.heartbeatInterval) + duration(self.heartbeatInterval)")
        .message("spec.consensus.electionTimeout must be at least 5 × spec.consensus.heartbeatInterval: one late heartbeat must not depose a leader")
        .field_path(".electionTimeout")
        .reason(Reason::FieldValueInvalid)
)]
pub struct ConsensusSpec {
    /// How long a silent leader is waited for, 100ms to 60s.
    #[serde(default = "default_election_timeout")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(ms|s|m))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('60s')")
        .message("must be a duration from 100ms to 60s, such as 1s or 500ms")
        .reason(Reason::FieldValueInvalid))]
    pub election_timeout: String,
    /// How often a leader is heard from, 10ms to 5s.
    #[serde(default = "default_heartbeat_interval")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(ms|s|m))+$') && duration(self) >= duration('10ms') && duration(self) <= duration('5s')")
        .message("must be a duration from 10ms to 5s, such as 100ms")
        .reason(Reason::FieldValueInvalid))]
    pub heartbeat_interval: String,
    /// How large the key space may grow.
    #[serde(default = "default_quota")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isInteger() && quantity(self).compareTo(quantity('16Mi')) >= 0 && quantity(self).compareTo(quantity('64Gi')) <= 0")
        .message("must be a whole number of bytes from 16Mi to 64Gi, such as 512Mi")
        .reason(Reason::FieldValueInvalid))]
    pub quota: String,
}

impl Default for ConsensusSpec {
    fn default() -> Self {
        Self {
            election_timeout: default_election_timeout(),
            heartbeat_interval: default_heartbeat_interval(),
            quota: default_quota(),
        }
    }
}

/// Each member's volume.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("spec.storage.storageClassName is immutable: volumes stay in the class that they were made in; make a new RaftCluster and move the data")
        .field_path(".storageClassName")
        .reason(Reason::FieldValueForbidden)
)]
pub struct StorageSpec {
    /// The volume's size; it may grow later, never shrink.
    #[serde(default = "default_storage_size")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isInteger() && quantity(self).compareTo(quantity('0')) > 0 && quantity(self).compareTo(quantity('64Ti')) <= 0")
        .message("must be a whole number of bytes of at most 64Ti, such as 4Gi")
        .reason(Reason::FieldValueInvalid))]
    pub size: String,
    /// The storage class; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

impl Default for StorageSpec {
    fn default() -> Self {
        Self { size: default_storage_size(), storage_class_name: None }
    }
}

/// How changed members are restarted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateStrategy {
    /// The order.
    #[serde(default, rename = "type")]
    pub kind: UpdateStrategyType,
}

/// The order in which changed members are restarted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateStrategyType {
    /// One at a time: dead ones first, the leader last, after it handed over its leadership.
    #[default]
    LeaderLast,
    /// Only when a person deletes the pod.
    OnDelete,
}

/// What is done about a member that does not come back.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RepairSpec {
    /// Whether a lost member's volume is replaced without a person.
    #[serde(default)]
    pub policy: RepairMode,
    /// How long a member is given to come back before its volume is replaced.
    #[serde(default = "default_unhealthy_after")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("must be a duration from 1s to 24h, such as 5m")
        .reason(Reason::FieldValueInvalid))]
    pub unhealthy_after: String,
}

impl Default for RepairSpec {
    fn default() -> Self {
        Self { policy: RepairMode::default(), unhealthy_after: default_unhealthy_after() }
    }
}

/// Whether a lost member's volume is replaced without a person.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepairMode {
    /// After `unhealthyAfter`, and only while the rest has a quorum.
    #[default]
    Automatic,
    /// Never; the status says what stands.
    Manual,
}

fn default_replicas() -> i32 {
    3
}
fn default_election_timeout() -> String {
    "1s".to_owned()
}
fn default_heartbeat_interval() -> String {
    "100ms".to_owned()
}
fn default_quota() -> String {
    "512Mi".to_owned()
}
fn default_storage_size() -> String {
    "4Gi".to_owned()
}
fn default_unhealthy_after() -> String {
    "5m".to_owned()
}
fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// A pod template's own schema would be larger than what `kubectl apply` can annotate, and it would go stale with every
/// Kubernetes release; the operator applies it with strict field validation instead.
fn schemaless_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
