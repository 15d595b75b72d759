//! The `RaftCluster` resource: its types, its schema and the rules that a spec has to keep.
//!
//! Types only: nothing here talks to an API server, reads a file or knows a member. `cluster` reads these types, `bin/crdgen`
//! writes them out as YAML, and `local` checks a manifest against the very same schema and rules.

pub mod conditions;
pub mod load;
pub mod schema;
pub mod spec;
pub mod status;

pub use spec::{
    ConsensusSpec, DeletionPolicy, LogLevel, RaftCluster, RaftClusterSpec, RepairMode, RepairSpec,
    ResourceLimits, SidecarResources, SidecarSpec, StorageSpec, UpdateStrategy, UpdateStrategyType,
};
pub use status::{
    FoundingState, FoundingStatus, Health, Lag, LeaderStatus, MemberRole, MemberStatus, OperationStatus,
    OperationType, Phase, RaftClusterStatus,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of [`RaftCluster`].
pub const GROUP: &str = "outrigger.dev";
/// The API version that this crate reads and writes.
pub const API_VERSION: &str = "outrigger.dev/v1alpha1";
/// The kind of the resource.
pub const KIND: &str = "RaftCluster";

/// The definition as it is installed: `crds/raftclusters.outrigger.dev.yaml` holds exactly this.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    RaftCluster::crd()
}
