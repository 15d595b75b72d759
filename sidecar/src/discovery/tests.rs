//! Discovery against a real DNS server on loopback.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use hickory_resolver::proto::rr::rdata::{A, SOA, SRV};
use hickory_resolver::proto::rr::{Name, Record};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::UdpSocket;

use super::*;

const ZONE: &str = "cluster.test.";
const PORT: u16 = 2380;

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

/// Serves the records (and the zone's SOA) until the server is dropped.
async fn serve(records: Vec<Record>) -> (Server<Catalog>, SocketAddr) {
    let mut zone = InMemoryZoneHandler::<hickory_resolver::net::runtime::TokioRuntimeProvider>::empty(
        name(ZONE),
        ZoneType::Primary,
        AxfrPolicy::Deny,
    );
    let soa = SOA::new(name("ns.cluster.test."), name("admin.cluster.test."), 1, 60, 60, 60, 0);
    assert!(zone.upsert_mut(Record::from_rdata(name(ZONE), 0, RData::SOA(soa)), 1));
    for record in records {
        assert!(zone.upsert_mut(record, 1));
    }
    let mut catalog = Catalog::new();
    catalog.upsert(name(ZONE).into(), vec![Arc::new(zone)]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let mut server = Server::new(catalog);
    server.register_socket(socket);
    (server, at)
}

fn address(host: &str, last: u8) -> Record {
    Record::from_rdata(name(host), 0, RData::A(A(Ipv4Addr::new(127, 0, 9, last))))
}

fn service(host: &str, port: u16, target: &str) -> Record {
    Record::from_rdata(name(host), 0, RData::SRV(SRV::new(0, 0, port, name(target))))
}

fn discovery(peers: &str, server: SocketAddr) -> Discovery {
    Discovery::new(Some(peers.to_string()), Some(server), PORT, Box::<InMemory>::default())
}

#[tokio::test]
async fn srv_records_give_names_and_ports() {
    let (_server, at) = serve(vec![
        service("_peer._tcp.orders.cluster.test.", 2390, "orders-1.orders.cluster.test."),
        service("_peer._tcp.orders.cluster.test.", 2380, "orders-0.orders.cluster.test."),
        address("orders.cluster.test.", 1),
    ])
    .await;
    let seeds = discovery("orders.cluster.test", at).seeds().await;
    let expected = ["orders-0.orders.cluster.test:2380", "orders-1.orders.cluster.test:2390"];
    assert_eq!(seeds, Ok(expected.map(str::to_string).to_vec()));
}

#[tokio::test]
async fn without_srv_records_the_addresses_are_the_seeds() {
    let (_server, at) =
        serve(vec![address("orders.cluster.test.", 2), address("orders.cluster.test.", 1)]).await;
    let seeds = discovery("orders.cluster.test", at).seeds().await;
    assert_eq!(seeds, Ok(vec!["127.0.9.1:2380".to_string(), "127.0.9.2:2380".to_string()]));
}

#[tokio::test]
async fn a_missing_name_an_empty_name_and_silence_are_told_apart() {
    let (_server, at) =
        serve(vec![address("pod.empty.cluster.test.", 1), address("orders.cluster.test.", 1)]).await;
    let missing = discovery("missing.cluster.test", at).seeds().await;
    assert_eq!(missing, Err(DiscoveryError::NoSuchName { name: "missing.cluster.test".to_string() }));
    // A name that only has names below it exists, and has no address.
    let empty = discovery("empty.cluster.test", at).seeds().await;
    assert_eq!(empty, Err(DiscoveryError::Empty { name: "empty.cluster.test".to_string() }));
    // A socket that takes questions and never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let silence = discovery("orders.cluster.test", at).seeds().await;
    assert!(
        matches!(silence, Err(DiscoveryError::Timeout { .. } | DiscoveryError::Failed { .. })),
        "{silence:?}"
    );
    let unset = Discovery::new(None, Some(at), PORT, Box::<InMemory>::default()).seeds().await;
    assert_eq!(unset, Err(DiscoveryError::NotConfigured));
}

#[tokio::test]
async fn a_name_resolves_to_its_address_with_the_port_that_was_asked_for() {
    let (_server, at) = serve(vec![address("orders-0.cluster.test.", 7)]).await;
    let discovery = discovery("orders.cluster.test", at);
    let found = discovery.addresses("orders-0.cluster.test:4711").await;
    assert_eq!(found, Ok(vec!["127.0.9.7:4711".parse().unwrap()]));
}

#[tokio::test]
async fn when_dns_is_silent_the_last_known_address_is_given() {
    let memory = InMemory::default();
    let known: IpAddr = "127.0.9.9".parse().unwrap();
    memory.note("orders-0.cluster.test", &[known]);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let discovery = Discovery::new(None, Some(silent.local_addr().unwrap()), PORT, Box::new(memory));
    let found = discovery.addresses("orders-0.cluster.test:1").await;
    assert_eq!(found, Ok(vec!["127.0.9.9:1".parse().unwrap()]));
    let unknown = discovery.addresses("orders-1.cluster.test:1").await;
    assert!(unknown.is_err(), "what was never resolved stays unknown: {unknown:?}");
}

#[tokio::test]
async fn what_dns_says_takes_the_place_of_a_met_address_only_once_it_was_met_itself() {
    let (server, at) = serve(vec![address("orders-0.cluster.test.", 66)]).await;
    let memory = InMemory::default();
    memory.note("orders-0.cluster.test", &["127.0.9.9".parse().unwrap()]);
    let discovery = Discovery::new(None, Some(at), PORT, Box::new(memory));
    let name = "orders-0.cluster.test:2380";
    // Somebody else's address: it is dialled, and whoever answers there is not the member that is meant.
    assert_eq!(discovery.addresses(name).await, Ok(vec!["127.0.9.66:2380".parse().unwrap()]));
    drop(server);
    discovery.forget(name);
    assert_eq!(discovery.addresses(name).await, Ok(vec!["127.0.9.9:2380".parse().unwrap()]));
    discovery.met(name, "127.0.9.67".parse().unwrap());
    assert_eq!(discovery.addresses(name).await, Ok(vec!["127.0.9.67:2380".parse().unwrap()]));
    discovery.met("127.0.9.1:2380", "127.0.9.1".parse().unwrap());
    assert!(discovery.memory.recall("127.0.9.1").is_empty(), "an address needs no memory");
}

#[tokio::test]
async fn addresses_that_are_no_names_ask_nobody() {
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let discovery = discovery("orders.cluster.test", nowhere);
    assert_eq!(discovery.addresses("10.0.0.1:5").await, Ok(vec!["10.0.0.1:5".parse().unwrap()]));
    assert_eq!(discovery.addresses("[::1]:5").await, Ok(vec!["[::1]:5".parse().unwrap()]));
    for malformed in ["", "host", ":5", "host:", "host:port", "host:70000"] {
        assert_eq!(
            discovery.addresses(malformed).await,
            Err(DiscoveryError::Malformed { address: malformed.to_string() })
        );
    }
}
