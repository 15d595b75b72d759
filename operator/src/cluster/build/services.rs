//! The two Services.
//!
//! May import: k8s-openapi's types, this folder. Deliberately absent: ports of the user's application; a Service for those is
//! the user's own.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Blueprint, CLIENT_PORT, HTTP_PORT, PEER_PORT, client_name, headless_name, labels};

/// Names for all pods, ready or not: members must find each other before any of them can be ready.
pub(super) fn headless(blueprint: Blueprint<'_>) -> Service {
    let name = blueprint.name();
    Service {
        metadata: blueprint.meta(headless_name(name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::matching(name)),
            ports: Some(vec![port("client", CLIENT_PORT), port("peer", PEER_PORT), port("http", HTTP_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The members that serve, whoever leads: any of them takes reads and writes.
pub(super) fn client(blueprint: Blueprint<'_>) -> Service {
    let name = blueprint.name();
    Service {
        metadata: blueprint.meta(client_name(name)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(labels::matching(name)),
            ports: Some(vec![port("client", CLIENT_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}
