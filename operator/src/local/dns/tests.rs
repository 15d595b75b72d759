use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::*;

const SERVICE: &str = "orders-peers.default.svc.cluster.local";

/// A resolver as a member has one: this server only, no cache.
fn resolver(server: SocketAddr, tcp: bool) -> TokioResolver {
    let mut connection = if tcp { ConnectionConfig::tcp() } else { ConnectionConfig::udp() };
    connection.port = server.port();
    let mut config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
    config.add_name_server(NameServerConfig::new(server.ip(), true, vec![connection]));
    let mut options = ResolverOpts::default();
    options.cache_size = 0;
    options.attempts = 1;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .unwrap()
}

/// A zone on a port that the system gave: UDP and TCP have to be free on the same one.
async fn serve(zone: &Zone) -> (SocketAddr, DnsServer) {
    loop {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        if let Ok(server) = zone.serve(address).await {
            return (address, server);
        }
    }
}

async fn addresses(resolver: &TokioResolver, name: &str) -> Vec<String> {
    match resolver.ipv4_lookup(format!("{name}.")).await {
        Ok(found) => {
            let mut found: Vec<String> =
                found.answers().iter().map(|record| record.data.to_string()).collect();
            found.sort();
            found
        }
        Err(error) => {
            assert!(error.is_no_records_found(), "{error}");
            Vec::new()
        }
    }
}

#[tokio::test]
async fn the_zone_answers_from_the_running_pods_over_udp_and_tcp() {
    let zone = Zone::new(SERVICE, 2380).await.unwrap();
    zone.publish("orders-0", Ipv4Addr::new(127, 0, 9, 1)).await.unwrap();
    zone.publish("orders-1", Ipv4Addr::new(127, 0, 9, 2)).await.unwrap();
    let (address, _server) = serve(&zone).await;
    for tcp in [false, true] {
        let resolver = resolver(address, tcp);
        assert_eq!(addresses(&resolver, SERVICE).await, ["127.0.9.1", "127.0.9.2"]);
        assert_eq!(addresses(&resolver, &format!("orders-1.{SERVICE}")).await, ["127.0.9.2"]);
        assert_eq!(addresses(&resolver, &format!("orders-2.{SERVICE}")).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn srv_records_name_each_pod_with_the_peer_port() {
    let zone = Zone::new(SERVICE, 2380).await.unwrap();
    zone.publish("orders-0", Ipv4Addr::new(127, 0, 9, 1)).await.unwrap();
    zone.publish("orders-1", Ipv4Addr::new(127, 0, 9, 2)).await.unwrap();
    let (address, _server) = serve(&zone).await;
    let found = resolver(address, false).srv_lookup(format!("_peer._tcp.{SERVICE}.")).await.unwrap();
    let mut targets: Vec<String> = found
        .answers()
        .iter()
        .filter_map(|record| {
            let RData::SRV(srv) = &record.data else { return None };
            Some(format!("{}:{}", srv.target, srv.port))
        })
        .collect();
    targets.sort();
    assert_eq!(targets, [format!("orders-0.{SERVICE}.:2380"), format!("orders-1.{SERVICE}.:2380")]);
}

#[tokio::test]
async fn a_pod_that_stopped_is_not_answered_any_more() {
    let zone = Zone::new(SERVICE, 2380).await.unwrap();
    zone.publish("orders-0", Ipv4Addr::new(127, 0, 9, 1)).await.unwrap();
    let (address, _server) = serve(&zone).await;
    let resolver = resolver(address, false);
    assert_eq!(addresses(&resolver, SERVICE).await, ["127.0.9.1"]);
    zone.withdraw("orders-0").await.unwrap();
    assert_eq!(addresses(&resolver, SERVICE).await, Vec::<String>::new());
    assert_eq!(addresses(&resolver, &format!("orders-0.{SERVICE}")).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_taken_port_is_said_with_the_fix() {
    let zone = Zone::new(SERVICE, 2380).await.unwrap();
    let (address, _server) = serve(&zone).await;
    let error = zone.serve(address).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--dns-port"), "{error}");
}
