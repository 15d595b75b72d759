//! What an application elsewhere needs to find the cluster, in the variables that clients read by themselves.
//!
//! A member's own settings are in its pod's template, so that a change of them rolls. May import: k8s-openapi's types, this folder.
//! Deliberately absent: secrets; this may be read by anyone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Blueprint, CLIENT_PORT, client_domain, client_name};

/// For `envFrom`: the client Service's address, as `etcdctl` and `outrigger` take it.
pub(super) fn client(blueprint: Blueprint<'_>) -> ConfigMap {
    let host = client_domain(blueprint.wanted, blueprint.settings);
    let data = [
        ("ETCDCTL_ENDPOINTS", format!("http://{host}:{CLIENT_PORT}")),
        ("OUTRIGGER_ENDPOINT", format!("{host}:{CLIENT_PORT}")),
    ];
    ConfigMap {
        metadata: blueprint.meta(client_name(blueprint.name())),
        data: Some(data.map(|(key, value)| (key.to_owned(), value)).into_iter().collect::<BTreeMap<_, _>>()),
        ..ConfigMap::default()
    }
}
