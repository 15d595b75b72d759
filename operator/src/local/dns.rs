//! The headless service's zone, served over UDP and TCP on a loopback address.
//!
//! What Kubernetes answers for a headless service with `publishNotReadyAddresses`, from the processes that run: the service's
//! name has every running pod's address, each pod a name below it, and `_peer._tcp` below the service the pods' names with the
//! peer port. Everything else in the zone does not exist; everything outside it is refused. Nothing is cached: TTL 5.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::{A, NS, SOA, SRV};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordSet, RrKey};
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Mutex;

/// Seconds that an answer may be kept; CoreDNS's default for a cluster.
const TTL_SECONDS: u32 = 5;
/// Bytes of answers that may wait on one TCP connection.
const TCP_BUFFER_BYTES: usize = 4096;
/// How long a TCP connection may be idle.
const TCP_IDLE: Duration = Duration::from_secs(5);

/// Why the zone cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The service's name is no DNS name.
    #[error("{name:?} is not a DNS name: choose another --service or namespace")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        #[source]
        source: hickory_proto::ProtoError,
    },
    /// The port is taken.
    #[error(
        "the DNS server cannot listen on {address}: stop what has that port, or choose another with --dns-port {other}"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// A port to try.
        other: u16,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
}

/// The zone of one headless service.
pub struct Zone {
    origin: Name,
    service: Name,
    peer_port: u16,
    handler: Arc<InMemoryZoneHandler>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    serial: u32,
    pods: BTreeMap<String, Ipv4Addr>,
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Zone").field("service", &self.service.to_string()).finish_non_exhaustive()
    }
}

/// The server; it stops when dropped.
pub struct DnsServer {
    _server: Server<Catalog>,
}

impl std::fmt::Debug for DnsServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DnsServer").finish_non_exhaustive()
    }
}

/// The full name of a headless service.
#[must_use]
pub fn service_name(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc.cluster.local")
}

impl Zone {
    /// An empty zone for the service of this full name.
    ///
    /// # Errors
    /// The name is not a DNS name.
    pub async fn new(service: &str, peer_port: u16) -> Result<Self, DnsError> {
        let parse = |text: &str| {
            Name::from_ascii(text).map_err(|source| DnsError::Name { name: text.to_owned(), source })
        };
        let origin = parse("cluster.local.")?;
        let handler = InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let zone = Self {
            service: parse(&format!("{service}."))?,
            origin,
            peer_port,
            handler: Arc::new(handler),
            running: Mutex::default(),
        };
        let mut running = zone.running.lock().await;
        zone.rebuild(&mut running).await?;
        drop(running);
        Ok(zone)
    }

    /// A pod runs at this address.
    ///
    /// # Errors
    /// The pod's name is not a DNS label.
    pub async fn publish(&self, pod: &str, address: Ipv4Addr) -> Result<(), DnsError> {
        let mut running = self.running.lock().await;
        running.pods.insert(pod.to_owned(), address);
        self.rebuild(&mut running).await
    }

    /// A pod does not run any more.
    ///
    /// # Errors
    /// None in practice: the names that stay were accepted before.
    pub async fn withdraw(&self, pod: &str) -> Result<(), DnsError> {
        let mut running = self.running.lock().await;
        running.pods.remove(pod);
        self.rebuild(&mut running).await
    }

    /// Serves the zone until the result is dropped.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn serve(&self, address: SocketAddr) -> Result<DnsServer, DnsError> {
        let taken = |source| DnsError::Listen { address, other: address.port().saturating_add(1), source };
        let mut catalog = Catalog::new();
        let handler: Arc<dyn ZoneHandler> = Arc::clone(&self.handler) as Arc<dyn ZoneHandler>;
        catalog.upsert(LowerName::new(&self.origin), vec![handler]);
        let mut server = Server::new(catalog);
        server.register_socket(UdpSocket::bind(address).await.map_err(taken)?);
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        server.register_listener(listener, TCP_IDLE, TCP_BUFFER_BYTES);
        Ok(DnsServer { _server: server })
    }

    /// Makes all records anew: at most nine pods, and no record of a pod that went can be left behind.
    async fn rebuild(&self, running: &mut Running) -> Result<(), DnsError> {
        running.serial = running.serial.wrapping_add(1);
        let serial = running.serial;
        let below = |label: &str, name: &Name| {
            Name::from_ascii(label)
                .and_then(|label| label.append_domain(name))
                .map_err(|source| DnsError::Name { name: format!("{label}.{name}"), source })
        };
        let peers = below("_peer._tcp", &self.service)?;
        let ns = below("ns.dns", &self.origin)?;
        let ttl = i32::try_from(TTL_SECONDS).unwrap_or(5);
        let soa =
            SOA::new(ns.clone(), below("hostmaster", &self.origin)?, serial, 7200, 1800, 86400, ttl as u32);
        let mut records =
            vec![(self.origin.clone(), RData::SOA(soa)), (self.origin.clone(), RData::NS(NS(ns)))];
        for (pod, address) in &running.pods {
            let name = below(pod, &self.service)?;
            records.push((self.service.clone(), RData::A(A(*address))));
            records.push((name.clone(), RData::A(A(*address))));
            records.push((peers.clone(), RData::SRV(SRV::new(0, 100, self.peer_port, name))));
        }
        let mut sets: BTreeMap<RrKey, RecordSet> = BTreeMap::new();
        for (name, data) in records {
            let kind = data.record_type();
            sets.entry(RrKey::new(LowerName::new(&name), kind))
                .or_insert_with(|| RecordSet::with_ttl(name.clone(), kind, TTL_SECONDS))
                .insert(Record::from_rdata(name, TTL_SECONDS, data), serial);
        }
        *self.handler.records_mut().await = sets.into_iter().map(|(key, set)| (key, Arc::new(set))).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
