//! What the headless service's DNS answers: pure, from the list of running pods to records.
//!
//! Names compare case-insensitively, as DNS does. Deliberately absent: sockets (`dns`), and any answer from memory: a
//! pod that stopped running is gone from the next answer, as with `publishNotReadyAddresses: true` in Kubernetes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::addresses::PEER_PORT;

/// Where a cluster's pods are found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    service: String,
    namespace: String,
}

impl ServiceName {
    /// The headless service `service` of `namespace`.
    #[must_use]
    pub fn new(service: &str, namespace: &str) -> Self {
        Self { service: service.to_ascii_lowercase(), namespace: namespace.to_ascii_lowercase() }
    }

    /// `<service>.<namespace>.svc.cluster.local`, without the final dot.
    #[must_use]
    pub fn fqdn(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.service, self.namespace)
    }

    /// The name of one pod behind the service.
    #[must_use]
    pub fn pod(&self, pod: &str) -> String {
        format!("{pod}.{}", self.fqdn())
    }

    /// `<pod>.<service…>:2380`, the address that a member goes by.
    #[must_use]
    pub fn peer_address(&self, pod: &str) -> String {
        format!("{}:{PEER_PORT}", self.pod(pod))
    }
}

/// The service and the pods that run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    service: ServiceName,
    pods: BTreeMap<String, Ipv4Addr>,
}

/// The kinds of question that the zone knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// Ports and names.
    Srv,
    /// Both, for `ANY`.
    Any,
    /// A kind that exists, but of which the zone has no records (AAAA, TXT, …).
    Other,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    A(Ipv4Addr),
    /// A port of a named pod.
    Srv {
        /// The TCP port.
        port: u16,
        /// The pod's full name.
        target: String,
    },
}

/// What to say to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// At least one record.
    Records(Vec<Record>),
    /// The name exists, without records of this kind.
    NoData,
    /// No such name in the zone.
    NoName,
    /// The name is outside the zone; it is not ours to deny.
    NotOurs,
}

impl Zone {
    /// A zone with no pod running.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self { service, pods: BTreeMap::new() }
    }

    /// The service that the zone stands for.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Replaces the running pods.
    pub fn set_pods(&mut self, pods: impl IntoIterator<Item = (String, Ipv4Addr)>) {
        self.pods = pods.into_iter().map(|(name, ip)| (name.to_ascii_lowercase(), ip)).collect();
    }

    /// Answers a question for `name` (with or without the final dot).
    #[must_use]
    pub fn answer(&self, name: &str, kind: Kind) -> Answer {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let service = self.service.fqdn();
        if name == service {
            return of_kind(kind, self.addresses(), Vec::new(), true);
        }
        if name == format!("_tcp.{service}") {
            return Answer::NoData;
        }
        if name == format!("_peer._tcp.{service}") {
            return of_kind(kind, Vec::new(), self.services(), true);
        }
        if let Some(pod) = name.strip_suffix(&format!(".{service}")) {
            let address = self.pods.get(pod).map(|ip| Record::A(*ip));
            let exists = address.is_some();
            return of_kind(kind, address.into_iter().collect(), Vec::new(), exists);
        }
        // The parents of the service exist, so that a resolver which asks for them does not conclude that nothing
        // below does (RFC 8020).
        if service.ends_with(&format!(".{name}")) {
            return Answer::NoData;
        }
        if name.ends_with(".cluster.local") { Answer::NoName } else { Answer::NotOurs }
    }

    fn addresses(&self) -> Vec<Record> {
        self.pods.values().map(|ip| Record::A(*ip)).collect()
    }

    fn services(&self) -> Vec<Record> {
        self.pods.keys().map(|pod| Record::Srv { port: PEER_PORT, target: self.service.pod(pod) }).collect()
    }
}

fn of_kind(kind: Kind, addresses: Vec<Record>, services: Vec<Record>, exists: bool) -> Answer {
    let records = match kind {
        Kind::A => addresses,
        Kind::Srv => services,
        Kind::Any => addresses.into_iter().chain(services).collect(),
        Kind::Other => Vec::new(),
    };
    match (records.is_empty(), exists) {
        (false, _) => Answer::Records(records),
        (true, true) => Answer::NoData,
        (true, false) => Answer::NoName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "orders-peers.default.svc.cluster.local";

    fn zone() -> Zone {
        let mut zone = Zone::new(ServiceName::new("orders-peers", "default"));
        zone.set_pods([
            ("orders-0".to_owned(), Ipv4Addr::new(127, 0, 1, 1)),
            ("orders-2".to_owned(), Ipv4Addr::new(127, 0, 1, 3)),
        ]);
        zone
    }

    fn a(last: u8) -> Record {
        Record::A(Ipv4Addr::new(127, 0, 1, last))
    }

    #[test]
    fn every_question_has_its_answer() {
        let srv = |pod: &str| Record::Srv { port: 2380, target: format!("{pod}.{SERVICE}") };
        let table = [
            (SERVICE.to_owned(), Kind::A, Answer::Records(vec![a(1), a(3)])),
            (SERVICE.to_uppercase(), Kind::A, Answer::Records(vec![a(1), a(3)])),
            (format!("{SERVICE}."), Kind::A, Answer::Records(vec![a(1), a(3)])),
            (SERVICE.to_owned(), Kind::Other, Answer::NoData),
            (format!("orders-2.{SERVICE}"), Kind::A, Answer::Records(vec![a(3)])),
            (format!("orders-2.{SERVICE}"), Kind::Srv, Answer::NoData),
            (format!("orders-1.{SERVICE}"), Kind::A, Answer::NoName),
            (format!("orders-1.{SERVICE}"), Kind::Other, Answer::NoName),
            (
                format!("_peer._tcp.{SERVICE}"),
                Kind::Srv,
                Answer::Records(vec![srv("orders-0"), srv("orders-2")]),
            ),
            (format!("_peer._tcp.{SERVICE}"), Kind::A, Answer::NoData),
            (format!("_client._tcp.{SERVICE}"), Kind::Srv, Answer::NoName),
            (format!("_tcp.{SERVICE}"), Kind::Srv, Answer::NoData),
            ("svc.cluster.local".to_owned(), Kind::A, Answer::NoData),
            ("other.default.svc.cluster.local".to_owned(), Kind::A, Answer::NoName),
            ("example.com".to_owned(), Kind::A, Answer::NotOurs),
        ];
        for (name, kind, expected) in table {
            assert_eq!(zone().answer(&name, kind), expected, "{name} {kind:?}");
        }
    }

    #[test]
    fn a_service_without_running_pods_exists_and_has_no_data() {
        let zone = Zone::new(ServiceName::new("orders-peers", "default"));
        assert_eq!(zone.answer(SERVICE, Kind::A), Answer::NoData);
        assert_eq!(zone.answer(&format!("_peer._tcp.{SERVICE}"), Kind::Srv), Answer::NoData);
    }
}
