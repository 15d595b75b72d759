//! A real DNS server whose records and manners a test sets while it runs: right, empty, partial, stale, wrong, slow, mute.
//!
//! May import: hickory's server and protocol. Deliberately absent: recursion, zones of its own files, and any say in
//! what a resolver makes of an answer.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Metadata, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

/// How the server answers a question, whatever its records say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Manner {
    /// From the records; a name without any is answered NXDOMAIN.
    #[default]
    Records,
    /// NOERROR without a record.
    Empty,
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// Not at all.
    Silent,
    /// From the records, but only after this long.
    Slow(Duration),
}

#[derive(Debug, Default)]
struct Zone {
    records: HashMap<LowerName, Vec<RData>>,
    /// For names that have a manner of their own.
    manners: HashMap<LowerName, Manner>,
    /// For all others.
    manner: Manner,
    ttl_seconds: u32,
    questions: u64,
}

/// The server; it stops, and its port is closed, on drop. Records outlive [`DnsServer::stop`] and a restart.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    serving: Option<Serving>,
}

struct Serving(Server<Handler>);

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Serving")
    }
}

impl DnsServer {
    /// Starts a server without records on `address`, UDP and TCP.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr) -> Result<Self> {
        let zone = Arc::new(Mutex::new(Zone { ttl_seconds: 1, ..Zone::default() }));
        let mut server = Self { address, zone, serving: None };
        server.resume().await?;
        Ok(server)
    }

    /// Binds again after [`DnsServer::stop`]; no-op while it serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn resume(&mut self) -> Result<()> {
        if self.serving.is_some() {
            return Ok(());
        }
        let context = || format!("binding the DNS server to {}", self.address);
        let udp = UdpSocket::bind(self.address).await.with_context(context)?;
        let tcp = TcpListener::bind(self.address).await.with_context(context)?;
        let mut server = Server::new(Handler(Arc::clone(&self.zone)));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 1024);
        self.serving = Some(Serving(server));
        Ok(())
    }

    /// Closes the port: questions are refused by the kernel, as when a DNS pod is gone.
    ///
    /// # Errors
    /// When the server cannot be shut down in order.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut serving) = self.serving.take() {
            serving.0.shutdown_gracefully().await.context("stopping the DNS server")?;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets all A records of `name`; none removes them.
    ///
    /// # Errors
    /// When `name` is not a domain name.
    pub fn set_addresses(&self, name: &str, addresses: &[Ipv4Addr]) -> Result<()> {
        let records = addresses.iter().map(|address| RData::A(A(*address))).collect();
        self.set(name, records, |record| matches!(record, RData::A(_)))
    }

    /// Sets all SRV records of `name` to these targets and ports, of equal priority; none removes them.
    ///
    /// # Errors
    /// When `name` or a target is not a domain name.
    pub fn set_services(&self, name: &str, targets: &[(String, u16)]) -> Result<()> {
        let mut records = Vec::new();
        for (target, port) in targets {
            records.push(RData::SRV(SRV::new(0, 10, *port, fully_qualified(target)?)));
        }
        self.set(name, records, |record| matches!(record, RData::SRV(_)))
    }

    /// How every name without a manner of its own is answered from now on.
    pub fn set_manner(&self, manner: Manner) {
        self.lock().manner = manner;
    }

    /// How `name` is answered from now on; `None` gives it back to the common manner.
    ///
    /// # Errors
    /// When `name` is not a domain name.
    pub fn set_manner_of(&self, name: &str, manner: Option<Manner>) -> Result<()> {
        let name = LowerName::from(fully_qualified(name)?);
        let mut zone = self.lock();
        match manner {
            Some(manner) => zone.manners.insert(name, manner),
            None => zone.manners.remove(&name),
        };
        Ok(())
    }

    /// The time to live of every answer from now on, in seconds; 1 at first.
    pub fn set_ttl_seconds(&self, seconds: u32) {
        self.lock().ttl_seconds = seconds;
    }

    /// Questions that reached the server, answered or not.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.lock().questions
    }

    fn set(&self, name: &str, records: Vec<RData>, same: fn(&RData) -> bool) -> Result<()> {
        let name = LowerName::from(fully_qualified(name)?);
        let mut zone = self.lock();
        let standing = zone.records.entry(name.clone()).or_default();
        standing.retain(|record| !same(record));
        standing.extend(records);
        if standing.is_empty() {
            zone.records.remove(&name);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Zone> {
        lock(&self.zone)
    }
}

/// A panic while the lock is held leaves whole records behind: every change is one assignment.
fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fully_qualified(name: &str) -> Result<Name> {
    let mut parsed: Name = name.parse().with_context(|| format!("`{name}` is not a domain name"))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

struct Handler(Arc<Mutex<Zone>>);

/// What one question gets.
struct Answer {
    code: ResponseCode,
    records: Vec<Record>,
    after: Duration,
}

impl Handler {
    /// `None` is silence.
    fn answer(&self, name: &LowerName, kind: RecordType) -> Option<Answer> {
        let mut zone = lock(&self.0);
        zone.questions += 1;
        let manner = zone.manners.get(name).copied().unwrap_or(zone.manner);
        let bare = |code| Some(Answer { code, records: Vec::new(), after: Duration::ZERO });
        let after = match manner {
            Manner::Records => Duration::ZERO,
            Manner::Slow(after) => after,
            Manner::Empty => return bare(ResponseCode::NoError),
            Manner::NoSuchName => return bare(ResponseCode::NXDomain),
            Manner::Failure => return bare(ResponseCode::ServFail),
            Manner::Silent => return None,
        };
        let Some(standing) = zone.records.get(name) else {
            return Some(Answer { code: ResponseCode::NXDomain, records: Vec::new(), after });
        };
        let fitting = standing.iter().filter(|data| data.record_type() == kind);
        let records = fitting.map(|data| Record::from_rdata(name.into(), zone.ttl_seconds, data.clone()));
        Some(Answer { code: ResponseCode::NoError, records: records.collect(), after })
    }
}

#[tonic::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let nothing = || ResponseInfo::from(empty_header(request));
        let Ok(info) = request.request_info() else { return nothing() };
        let Some(answer) = self.answer(info.query.name(), info.query.query_type()) else {
            return nothing();
        };
        tokio::time::sleep(answer.after).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        metadata.response_code = answer.code;
        let message = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            &answer.records,
            &[],
            &[],
            &[],
        );
        // The asker may be gone by now; that is its affair.
        response.send_response(message).await.unwrap_or_else(|_| nothing())
    }
}

fn empty_header(request: &Request) -> hickory_proto::op::Header {
    hickory_proto::op::Header {
        metadata: Metadata::response_from_request(&request.metadata),
        counts: hickory_proto::op::HeaderCounts::default(),
    }
}

#[cfg(test)]
mod tests;
