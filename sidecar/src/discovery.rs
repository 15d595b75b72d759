//! DNS: who might be there (seeds), and where a peer's name leads (addresses).
//!
//! May import: hickory's resolver. Deliberately absent: any decision. What DNS says, or does not say, never founds a
//! cluster and never makes a member: a partial answer shows nobody, so it is only ever a hint whom to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

/// Asked first: a headless service publishes its pods' names under it.
const SRV_PREFIX: &str = "_peer._tcp.";
/// One attempt's bound. A resolver in the cluster answers within milliseconds or is down.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Everything that one question may take, retries and search domains included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);
/// A pod that has just appeared must not be hidden by the answer that it is not there.
const NEGATIVE_TTL: Duration = Duration::from_millis(250);
/// A pod that has moved must not be hidden for longer than this.
const POSITIVE_TTL: Duration = Duration::from_secs(30);

/// What a question to DNS came to, when it came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// No `--peers-dns` was given.
    #[error("no DNS name of the peers is configured: set --peers-dns")]
    NotConfigured,
    /// The name does not exist.
    #[error("DNS says that {name} does not exist (NXDOMAIN)")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// The name exists and has no address.
    #[error("DNS answers nothing for {name}: the name exists, but no address stands behind it")]
    Empty {
        /// The name.
        name: String,
    },
    /// Nobody answered.
    #[error("DNS did not answer for {name} within {LOOKUP_TIMEOUT:?}")]
    Timeout {
        /// The name.
        name: String,
    },
    /// The resolver failed otherwise.
    #[error("DNS failed for {name}: {reason}")]
    Failed {
        /// The name.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// An address is not `host:port`.
    #[error("{address} is not host:port")]
    Malformed {
        /// The address.
        address: String,
    },
    /// The system has no usable resolver configuration.
    #[error("the system's resolver configuration cannot be used: {reason}; give --dns-server")]
    NoResolver {
        /// Why.
        reason: String,
    },
}

/// Remembers, beside the log, where the member of each name was met last. A stale address is harmless: the handshake
/// names the member that is meant. One that was never met must not take its place: a wrong record of DNS would cost the
/// only way to a peer.
pub trait Remember: Send + Sync {
    /// The last addresses of `host`; empty if it was never met.
    fn recall(&self, host: &str) -> Vec<IpAddr>;
    /// Notes where `host` was met now. Failing to note it only costs a dial when DNS is silent.
    fn note(&self, host: &str, addresses: &[IpAddr]);
}

/// Remembers for the life of the process only.
#[derive(Debug, Default)]
pub struct InMemory(Mutex<BTreeMap<String, Vec<IpAddr>>>);

impl Remember for InMemory {
    fn recall(&self, host: &str) -> Vec<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned().unwrap_or_default()
    }

    fn note(&self, host: &str, addresses: &[IpAddr]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_string(), addresses.to_vec());
    }
}

/// The resolver, and what it is asked about.
pub struct Discovery {
    resolver: Result<TokioResolver, DiscoveryError>,
    peers_dns: Option<String>,
    /// For seeds that come as bare addresses.
    default_port: u16,
    memory: Box<dyn Remember>,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").field("peers_dns", &self.peers_dns).finish_non_exhaustive()
    }
}

impl Discovery {
    /// Asks `dns_server`, or the system's resolvers. `default_port` is the peers' port where DNS names none.
    #[must_use]
    pub fn new(
        peers_dns: Option<String>,
        dns_server: Option<SocketAddr>,
        default_port: u16,
        memory: Box<dyn Remember>,
    ) -> Self {
        Self { resolver: resolver(dns_server), peers_dns, default_port, memory }
    }

    /// The peers' `host:port`, sorted: SRV targets if the name has any, else its addresses.
    ///
    /// # Errors
    /// [`DiscoveryError`] tells an empty answer from a missing name from silence.
    pub async fn seeds(&self) -> Result<Vec<String>, DiscoveryError> {
        let name = self.peers_dns.as_deref().ok_or(DiscoveryError::NotConfigured)?;
        match self.service(name).await {
            Ok(targets) if !targets.is_empty() => return Ok(targets),
            // No SRV record is not an error: a plain name with addresses is enough.
            Ok(_) | Err(DiscoveryError::NoSuchName { .. } | DiscoveryError::Empty { .. }) => {}
            Err(error) => return Err(error),
        }
        let addresses = self.lookup(name).await?;
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, self.default_port).to_string()).collect())
    }

    /// Where `address` (`host:port`) leads now. When DNS is silent or knows nothing, where the host was met last.
    /// Nothing is remembered of the answer: DNS may be wrong. See [`Discovery::met`].
    ///
    /// # Errors
    /// [`DiscoveryError`] when neither DNS nor memory has an address.
    pub async fn addresses(&self, address: &str) -> Result<Vec<SocketAddr>, DiscoveryError> {
        if let Ok(literal) = address.parse::<SocketAddr>() {
            return Ok(vec![literal]);
        }
        let malformed = || DiscoveryError::Malformed { address: address.to_string() };
        let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse::<u16>().map_err(|_| malformed())?;
        if host.is_empty() {
            return Err(malformed());
        }
        let found = match self.lookup(host).await {
            Ok(found) => found,
            Err(error) => {
                let remembered = self.memory.recall(host);
                if remembered.is_empty() {
                    return Err(error);
                }
                tracing::debug!(host, %error, "dialling the last known address");
                remembered
            }
        };
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// The member that is meant answered at this address of the host of `address`, and proved it: worth remembering for
    /// when DNS is silent.
    pub fn met(&self, address: &str, at: IpAddr) {
        let is_literal = address.parse::<SocketAddr>().is_ok();
        if let Some((host, _)) = address.rsplit_once(':').filter(|_| !is_literal) {
            self.memory.note(host, &[at]);
        }
    }

    /// Drops what is cached of the host of `address`: a dial to it failed, so it may have moved.
    pub fn forget(&self, address: &str) {
        if let (Ok(resolver), Some((host, _))) = (&self.resolver, address.rsplit_once(':')) {
            resolver.clear_lookup_cache(host, RecordType::A);
            resolver.clear_lookup_cache(host, RecordType::AAAA);
        }
    }

    async fn service(&self, name: &str) -> Result<Vec<String>, DiscoveryError> {
        let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
        let question = format!("{SRV_PREFIX}{name}");
        let answer = bounded(&question, resolver.srv_lookup(question.as_str())).await?;
        let mut targets = BTreeSet::new();
        for record in answer.answers() {
            if let RData::SRV(srv) = &record.data {
                let host = srv.target.to_utf8();
                targets.insert(format!("{}:{}", host.trim_end_matches('.'), srv.port));
            }
        }
        Ok(targets.into_iter().collect())
    }

    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, DiscoveryError> {
        if let Ok(literal) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![literal]);
        }
        let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
        let answer = bounded(host, resolver.lookup_ip(host)).await?;
        let found: BTreeSet<IpAddr> = answer.iter().collect();
        if found.is_empty() {
            return Err(DiscoveryError::Empty { name: host.to_string() });
        }
        Ok(found.into_iter().collect())
    }
}

fn resolver(dns_server: Option<SocketAddr>) -> Result<TokioResolver, DiscoveryError> {
    let no_resolver = |error: NetError| DiscoveryError::NoResolver { reason: error.to_string() };
    let mut builder = match dns_server {
        None => TokioResolver::builder_tokio().map_err(no_resolver)?,
        Some(server) => {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (server.port(), server.port());
            let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    bound(builder.options_mut());
    builder.build().map_err(no_resolver)
}

fn bound(options: &mut ResolverOpts) {
    options.timeout = ATTEMPT_TIMEOUT;
    options.attempts = 2;
    options.cache_size = 256;
    options.positive_max_ttl = Some(POSITIVE_TTL);
    options.negative_max_ttl = Some(NEGATIVE_TTL);
}

async fn bounded<T>(
    name: &str,
    question: impl Future<Output = Result<T, NetError>>,
) -> Result<T, DiscoveryError> {
    let name = || name.to_string();
    match tokio::time::timeout(LOOKUP_TIMEOUT, question).await {
        Err(_) => Err(DiscoveryError::Timeout { name: name() }),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.is_nx_domain() => Err(DiscoveryError::NoSuchName { name: name() }),
        Ok(Err(error)) if error.is_no_records_found() => Err(DiscoveryError::Empty { name: name() }),
        Ok(Err(NetError::Timeout)) => Err(DiscoveryError::Timeout { name: name() }),
        Ok(Err(error)) => Err(DiscoveryError::Failed { name: name(), reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
