//! Labels: what marks an object as a cluster's, and what selects its pods.
//!
//! May import: `ids`. Deliberately absent: anything that changes with the spec, for a selector never can.

use std::collections::BTreeMap;

use crate::cluster::ids::ClusterName;

/// Which cluster an object belongs to.
pub const CLUSTER_LABEL: &str = "outrigger.dev/cluster";
/// On a claim: the cluster whose data is on the volume.
pub const CLUSTER_ANNOTATION: &str = "outrigger.dev/cluster-id";

/// What selects a cluster's pods, claims and children.
#[must_use]
pub fn selector(name: &ClusterName) -> String {
    format!("{CLUSTER_LABEL}={name}")
}

pub(super) fn matching(name: &ClusterName) -> BTreeMap<String, String> {
    BTreeMap::from([(CLUSTER_LABEL.to_owned(), name.0.clone())])
}

/// The labels of every object that is made for a cluster of this name, and of nothing else.
#[must_use]
pub fn all(name: &ClusterName) -> BTreeMap<String, String> {
    let mut labels = matching(name);
    let more = [
        ("app.kubernetes.io/name", "outrigger"),
        ("app.kubernetes.io/instance", name.0.as_str()),
        ("app.kubernetes.io/managed-by", "outrigger-operator"),
    ];
    labels.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
    labels
}
