//! The server as a real resolver sees it.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::*;
use crate::addresses::AddressRange;

const NAME: &str = "orders-0.orders-peers.test";
const SERVICE: &str = "_peer._tcp.orders-peers.test";

async fn server() -> (AddressRange, DnsServer, TokioResolver) {
    let range = AddressRange::claim().unwrap();
    let server = DnsServer::start(range.dns()).await.unwrap();
    server.set_addresses(NAME, &[range.address(1)]).unwrap();
    let mut upstream = NameServerConfig::udp_and_tcp(range.dns().ip());
    for connection in &mut upstream.connections {
        connection.port = range.dns().port();
    }
    let config = ResolverConfig::from_parts(None, vec![], vec![upstream]);
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(200);
    options.attempts = 1;
    options.cache_size = 0;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    (range, server, builder.build().unwrap())
}

async fn addresses(resolver: &TokioResolver, name: &str) -> Result<Vec<Ipv4Addr>, String> {
    let lookup = resolver.ipv4_lookup(format!("{name}.")).await.map_err(|error| error.to_string())?;
    let records = lookup.answers().iter();
    Ok(records.filter_map(|record| if let RData::A(a) = &record.data { Some(a.0) } else { None }).collect())
}

#[tokio::test]
async fn a_name_resolves_to_what_was_set_last() {
    let (range, server, resolver) = server().await;
    assert_eq!(addresses(&resolver, NAME).await, Ok(vec![range.address(1)]));
    server.set_addresses(NAME, &[range.address(7)]).unwrap();
    assert_eq!(addresses(&resolver, NAME).await, Ok(vec![range.address(7)]));
    server.set_addresses(NAME, &[]).unwrap();
    assert!(addresses(&resolver, NAME).await.is_err());
}

#[tokio::test]
async fn services_name_their_targets_and_ports() {
    let (_range, server, resolver) = server().await;
    server.set_services(SERVICE, &[(NAME.to_owned(), 2380)]).unwrap();
    let lookup = resolver.srv_lookup(format!("{SERVICE}.")).await.unwrap();
    let RData::SRV(srv) = &lookup.answers().first().unwrap().data else { panic!("an SRV record") };
    assert_eq!((srv.port, srv.target.to_string()), (2380, format!("{NAME}.")));
}

#[tokio::test]
async fn bad_manners_give_no_address_and_good_ones_come_back() {
    let (range, server, resolver) = server().await;
    for manner in [Manner::Empty, Manner::NoSuchName, Manner::Failure, Manner::Silent] {
        server.set_manner(manner);
        let before = server.questions();
        assert!(addresses(&resolver, NAME).await.is_err(), "{manner:?}");
        assert!(server.questions() > before, "{manner:?}: the question arrived");
    }
    server.set_manner(Manner::Slow(Duration::from_millis(20)));
    assert_eq!(addresses(&resolver, NAME).await, Ok(vec![range.address(1)]));
    server.set_manner(Manner::Silent);
    server.set_manner_of(NAME, Some(Manner::Records)).unwrap();
    assert_eq!(addresses(&resolver, NAME).await, Ok(vec![range.address(1)]));
}

#[tokio::test]
async fn a_stopped_server_answers_nobody_until_it_resumes() {
    let (range, mut server, resolver) = server().await;
    server.stop().await.unwrap();
    assert!(addresses(&resolver, NAME).await.is_err());
    server.resume().await.unwrap();
    assert_eq!(addresses(&resolver, NAME).await, Ok(vec![range.address(1)]));
}
