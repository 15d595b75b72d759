//! The DNS server of a local run: the zone's answers over UDP and TCP on one loopback address.
//!
//! It may import hickory and `zone`; every decision about an answer is the zone's. Deliberately absent: recursion,
//! and caching of any kind.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record as WireRecord, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use super::zone::{Answer, Kind, Record, Zone};

/// Seconds that a resolver may keep an answer: short, as addresses of restarted pods change.
const TTL_SECONDS: u32 = 5;
/// A TCP connection without a question for this long is closed.
const TCP_IDLE: Duration = Duration::from_secs(30);
/// Answers waiting to be sent on one TCP connection; past that the server waits for the client to read.
const TCP_RESPONSE_BUFFER: usize = 16;

/// A running DNS server; it stops when dropped.
pub struct DnsServer {
    server: Server<Handler>,
    address: SocketAddr,
}

impl std::fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve DNS on {address}; free the port or choose another with --dns-port")]
pub struct DnsError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl DnsServer {
    /// Serves what `zone` holds at the time of each question, on `ip:port` (port 0: any free one, the same for both
    /// transports).
    ///
    /// # Errors
    /// When the address cannot be bound for UDP or TCP.
    pub async fn start(ip: Ipv4Addr, port: u16, zone: watch::Receiver<Zone>) -> Result<Self, DnsError> {
        let wanted = SocketAddr::from((ip, port));
        let failed = |source| DnsError { address: wanted, source };
        let tcp = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let udp = UdpSocket::bind(address).await.map_err(failed)?;
        let mut server = Server::new(Handler { zone });
        server.register_socket(udp);
        server.register_listener(tcp, TCP_IDLE, TCP_RESPONSE_BUFFER);
        Ok(Self { server, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.server.shutdown_token().cancel();
    }
}

struct Handler {
    zone: watch::Receiver<Zone>,
}

/// A response before it is encoded.
struct Reply {
    code: ResponseCode,
    answers: Vec<WireRecord>,
    authority: Vec<WireRecord>,
}

impl Reply {
    fn refused(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authority: Vec::new() }
    }
}

impl Handler {
    fn reply(&self, request: &Request) -> Reply {
        let Ok(info) = request.request_info() else { return Reply::refused(ResponseCode::FormErr) };
        if request.metadata.op_code != OpCode::Query {
            return Reply::refused(ResponseCode::NotImp);
        }
        let asked = Name::from(info.query.name());
        let zone = Arc::new(self.zone.borrow().clone());
        let soa = || start_of_authority(&zone).into_iter().collect::<Vec<_>>();
        match zone.answer(&asked.to_ascii(), kind(info.query.query_type())) {
            Answer::Records(records) => Reply {
                code: ResponseCode::NoError,
                answers: records.iter().filter_map(|record| on_the_wire(&asked, record)).collect(),
                authority: Vec::new(),
            },
            Answer::NoData => Reply { code: ResponseCode::NoError, answers: Vec::new(), authority: soa() },
            Answer::NoName => Reply { code: ResponseCode::NXDomain, answers: Vec::new(), authority: soa() },
            Answer::NotOurs => Reply::refused(ResponseCode::Refused),
        }
    }
}

// The trait is written with `async_trait`; this is the same signature by hand, which spares the dependency.
impl RequestHandler for Handler {
    fn handle_request<'s, 'r, 'f, R, T>(
        &'s self,
        request: &'r Request,
        mut response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'f>>
    where
        R: ResponseHandler + 'f,
        T: Time + 'f,
        's: 'f,
        'r: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let reply = self.reply(request);
            let mut metadata = Metadata::response_from_request(&request.metadata);
            metadata.response_code = reply.code;
            metadata.authoritative = matches!(reply.code, ResponseCode::NoError | ResponseCode::NXDomain);
            let response = MessageResponseBuilder::from_message_request(request).build(
                metadata,
                &reply.answers,
                &[],
                &reply.authority,
                &[],
            );
            match response_handle.send_response(response).await {
                Ok(info) => info,
                Err(error) => {
                    tracing::debug!(%error, "a DNS answer could not be sent");
                    ResponseInfo::from(hickory_proto::op::Header { metadata, counts: Default::default() })
                }
            }
        })
    }
}

fn kind(asked: RecordType) -> Kind {
    if asked == RecordType::A {
        Kind::A
    } else if asked == RecordType::SRV {
        Kind::Srv
    } else if asked == RecordType::ANY {
        Kind::Any
    } else {
        Kind::Other
    }
}

/// `None` for a target that is no DNS name, which a valid cluster name cannot produce.
fn on_the_wire(name: &Name, record: &Record) -> Option<WireRecord> {
    let data = match record {
        Record::A(ip) => RData::A(A::from(*ip)),
        Record::Srv { port, target } => RData::SRV(SRV::new(0, 100, *port, absolute(target)?)),
    };
    Some(WireRecord::from_rdata(name.clone(), TTL_SECONDS, data))
}

/// The SOA that negative answers carry; its minimum bounds how long they are kept (RFC 2308).
fn start_of_authority(zone: &Zone) -> Option<WireRecord> {
    let origin = absolute(&zone.service().fqdn())?;
    let contact = absolute(&format!("hostmaster.{}", zone.service().fqdn()))?;
    let soa = SOA::new(origin.clone(), contact, 1, 5, 5, 60, TTL_SECONDS);
    Some(WireRecord::from_rdata(origin, TTL_SECONDS, RData::SOA(soa)))
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_str(&format!("{name}.")).ok()
}
