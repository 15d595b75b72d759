//! The DNS server asked by a real resolver, over UDP and over TCP.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::{RData, RecordType};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::watch;

use crate::local::dns::DnsServer;
use crate::local::zone::{ServiceName, Zone};

const SERVICE: &str = "orders-peers.default.svc.cluster.local.";

fn zone_with(pods: &[(&str, u8)]) -> Zone {
    let mut zone = Zone::new(ServiceName::new("orders-peers", "default"));
    zone.set_pods(pods.iter().map(|(name, last)| ((*name).to_owned(), Ipv4Addr::new(127, 0, 1, *last))));
    zone
}

/// A resolver without a cache, so that each question reaches the server.
fn resolver(server: &DnsServer, mut connection: ConnectionConfig) -> TokioResolver {
    connection.port = server.address().port();
    let name_server = NameServerConfig::new(server.address().ip(), true, vec![connection]);
    let config = ResolverConfig::from_name_servers(vec![name_server]);
    let mut options = ResolverOpts::default();
    options.cache_size = 0;
    Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .unwrap()
}

async fn addresses(resolver: &TokioResolver, name: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = resolver.lookup_ip(name).await.unwrap().iter().collect();
    found.sort();
    found
}

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, last))
}

#[tokio::test]
async fn a_resolver_finds_running_pods_over_both_transports_and_sees_them_come_and_go() {
    let (publish, zone) = watch::channel(zone_with(&[("orders-0", 1), ("orders-1", 2)]));
    let server = DnsServer::start(Ipv4Addr::LOCALHOST, 0, zone).await.unwrap();
    for connection in [ConnectionConfig::udp(), ConnectionConfig::tcp()] {
        let resolver = resolver(&server, connection);
        publish.send_replace(zone_with(&[("orders-0", 1), ("orders-1", 2)]));
        assert_eq!(addresses(&resolver, SERVICE).await, [ip(1), ip(2)]);
        assert_eq!(addresses(&resolver, &format!("orders-1.{SERVICE}")).await, [ip(2)]);
        publish.send_replace(zone_with(&[("orders-1", 2), ("orders-2", 3)]));
        assert_eq!(addresses(&resolver, SERVICE).await, [ip(2), ip(3)]);
    }
}

#[tokio::test]
async fn srv_records_name_each_pod_and_its_peer_port() {
    let (_publish, zone) = watch::channel(zone_with(&[("orders-0", 1), ("orders-1", 2)]));
    let server = DnsServer::start(Ipv4Addr::LOCALHOST, 0, zone).await.unwrap();
    let resolver = resolver(&server, ConnectionConfig::udp());
    let lookup = resolver.lookup(format!("_peer._tcp.{SERVICE}"), RecordType::SRV).await.unwrap();
    let mut found = Vec::new();
    for record in lookup.answers() {
        if let RData::SRV(srv) = &record.data {
            found.push(format!("{} {}", srv.target, srv.port));
        }
        assert_eq!(record.ttl, 5);
    }
    found.sort();
    assert_eq!(found, [format!("orders-0.{SERVICE} 2380"), format!("orders-1.{SERVICE} 2380")]);
}

#[tokio::test]
async fn an_unknown_pod_is_nxdomain_and_a_missing_kind_is_no_data() {
    let (_publish, zone) = watch::channel(zone_with(&[("orders-0", 1)]));
    let server = DnsServer::start(Ipv4Addr::LOCALHOST, 0, zone).await.unwrap();
    let resolver = resolver(&server, ConnectionConfig::udp());
    let unknown = resolver.lookup(format!("orders-7.{SERVICE}"), RecordType::A).await.unwrap_err();
    assert!(unknown.is_nx_domain(), "{unknown}");
    let no_data = resolver.lookup(SERVICE, RecordType::AAAA).await.unwrap_err();
    assert!(no_data.is_no_records_found() && !no_data.is_nx_domain(), "{no_data}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let (_publish, zone) = watch::channel(zone_with(&[]));
    let first = DnsServer::start(Ipv4Addr::LOCALHOST, 0, zone.clone()).await.unwrap();
    let error = DnsServer::start(Ipv4Addr::LOCALHOST, first.address().port(), zone).await.unwrap_err();
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    assert!(error.to_string().contains("--dns-port"), "{error}");
}
