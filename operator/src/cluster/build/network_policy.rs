//! The network policy: the peer and admin port for the cluster's own pods and the operator, every other port for anyone.
//!
//! A policy that selects a pod denies all that it does not name, the user's application included; so all other ports are
//! named, as ranges. May import: k8s-openapi's types, this folder. Deliberately absent: egress.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Blueprint, PEER_PORT, labels, policy_name};

/// The label that Kubernetes itself puts on every namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn policy(blueprint: Blueprint<'_>) -> NetworkPolicy {
    let name = blueprint.name();
    let operator = (NAMESPACE_LABEL.to_owned(), blueprint.settings.operator_namespace.clone());
    let from = vec![
        NetworkPolicyPeer { pod_selector: Some(selecting(labels::matching(name))), ..Default::default() },
        NetworkPolicyPeer {
            namespace_selector: Some(selecting(BTreeMap::from([operator]))),
            ..Default::default()
        },
    ];
    let peers =
        NetworkPolicyIngressRule { from: Some(from), ports: Some(vec![range("TCP", PEER_PORT, PEER_PORT)]) };
    let anyone = NetworkPolicyIngressRule {
        from: None,
        ports: Some(vec![
            range("TCP", 1, PEER_PORT - 1),
            range("TCP", PEER_PORT + 1, u16::MAX),
            range("UDP", 1, u16::MAX),
            range("SCTP", 1, u16::MAX),
        ]),
    };
    NetworkPolicy {
        metadata: blueprint.meta(policy_name(name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selecting(labels::matching(name))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![peers, anyone]),
            ..NetworkPolicySpec::default()
        }),
    }
}

fn selecting(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn range(protocol: &str, first: u16, last: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(first))),
        end_port: (first < last).then(|| i32::from(last)),
    }
}
