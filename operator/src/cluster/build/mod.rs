//! From what is wanted to the objects that carry it: one StatefulSet, two Services, a ConfigMap, a budget, a policy, two Secrets.
//!
//! Pure: the same input gives the same objects, byte for byte, so that an unchanged cluster is never written to. One file an
//! object. What each object must look like is told in ARCHITECTURE.md; who writes them is not known here.

mod config_map;
mod labels;
mod network_policy;
mod pdb;
mod pod;
mod secrets;
mod services;
mod stateful_set;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

pub use self::labels::{CLUSTER_ANNOTATION, CLUSTER_LABEL, all as labels_of, selector};
pub use self::pod::SIDECAR;
pub use self::secrets::secret;
use super::budget::Needed;
use super::ids::ClusterName;
use super::validate::Wanted;
use crate::crd::RaftClusterSpec;

/// Where clients are served.
pub const CLIENT_PORT: u16 = 2379;
/// Where peers and the operator are served.
pub const PEER_PORT: u16 = 2380;
/// Where probes and metrics are served.
pub const HTTP_PORT: u16 = 2381;

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The sidecar's image where a spec names none.
    pub sidecar_image: String,
    /// The DNS domain of the Kubernetes cluster.
    pub cluster_domain: String,
    /// The namespace that the operator runs in: the only other one that may reach the peer port.
    pub operator_namespace: String,
}

/// Everything that the objects are made from.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// The spec, read.
    pub wanted: &'a Wanted,
    /// The spec, as written.
    pub spec: &'a RaftClusterSpec,
    /// The resource, as its children name it.
    pub owner: &'a OwnerReference,
    /// How many pods are asked for at present.
    pub pods: u8,
    /// What the claim template asks for: the set's own, until it is made again for a larger one.
    pub claim_size: &'a str,
    /// How many pods an eviction has to leave.
    pub needed: Needed,
    /// What the operator was started with.
    pub settings: &'a Settings,
}

/// The objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// The pods. Raw, because the user's template is in it: its typos must reach the API server to be refused.
    pub stateful_set: Value,
    /// Gives every pod a name, ready or not.
    pub headless: Service,
    /// Where clients find the members that serve.
    pub client: Service,
    /// Tells applications elsewhere where that is.
    pub config: ConfigMap,
    /// Keeps evictions from taking the quorum.
    pub budget: Budget,
    /// Keeps strangers from the peer port.
    pub policy: NetworkPolicy,
}

/// What becomes of the disruption budget.
#[derive(Clone, Debug, PartialEq)]
pub enum Budget {
    /// It is to be so.
    Wanted(Box<PodDisruptionBudget>),
    /// There is to be none.
    Unwanted,
    /// Whatever there is stays.
    AsItIs,
}

/// Makes the objects.
#[must_use]
pub fn children(blueprint: Blueprint<'_>) -> Children {
    Children {
        stateful_set: stateful_set::stateful_set(blueprint),
        headless: services::headless(blueprint),
        client: services::client(blueprint),
        config: config_map::client(blueprint),
        budget: pdb::budget(blueprint),
        policy: network_policy::policy(blueprint),
    }
}

impl Blueprint<'_> {
    fn name(&self) -> &ClusterName {
        &self.wanted.name
    }

    fn zone(&self) -> String {
        zone(self.wanted, self.settings)
    }

    fn meta(&self, name: String) -> ObjectMeta {
        meta(self.wanted, self.owner, name)
    }
}

fn meta(wanted: &Wanted, owner: &OwnerReference, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(wanted.namespace.clone()),
        labels: Some(labels::all(&wanted.name)),
        owner_references: Some(vec![owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// The headless service's full name: the domain of the pods' names.
#[must_use]
pub fn zone(wanted: &Wanted, settings: &Settings) -> String {
    format!("{}.{}.svc.{}", headless_name(&wanted.name), wanted.namespace, settings.cluster_domain)
}

/// The client Service's full name.
#[must_use]
fn client_domain(wanted: &Wanted, settings: &Settings) -> String {
    format!("{}.{}.svc.{}", client_name(&wanted.name), wanted.namespace, settings.cluster_domain)
}

/// The StatefulSet's name, and so the pods' without their ordinals.
#[must_use]
pub fn stateful_set_name(name: &ClusterName) -> String {
    name.0.clone()
}

/// The headless service's name.
#[must_use]
pub fn headless_name(name: &ClusterName) -> String {
    format!("{name}-peers")
}

/// The client service's name, and that of the ConfigMap which tells of it.
#[must_use]
pub fn client_name(name: &ClusterName) -> String {
    format!("{name}-client")
}

/// The budget's name.
#[must_use]
pub fn budget_name(name: &ClusterName) -> String {
    format!("{name}-voters")
}

/// The policy's name.
#[must_use]
pub fn policy_name(name: &ClusterName) -> String {
    format!("{name}-peers")
}

/// The name of the authority's Secret: it signs certificates, and nobody but the operator needs it.
#[must_use]
pub fn authority_name(name: &ClusterName) -> String {
    format!("{name}-ca")
}

/// The name of the members' certificates' Secret.
#[must_use]
pub fn peer_tls_name(name: &ClusterName) -> String {
    format!("{name}-peer-tls")
}

/// A member's claim.
#[must_use]
pub fn claim_name(pod: &str) -> String {
    format!("{}-{pod}", pod::DATA)
}

#[cfg(test)]
mod tests;
