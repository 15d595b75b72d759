//! Dialling a peer: name to address, socket, TLS, HTTP/2.
//!
//! May import: `discovery`, `tls`, tonic. Deliberately absent: retries and their pace (`sender`), identity (the handshake).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use outrigger_tls::{ConnectError, Ends, Expected};
use tokio::net::TcpStream;
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::discovery::{Discovery, DiscoveryError};
use crate::tls::PeerTls;

/// One connection attempt's bound: a peer in the same cluster answers within milliseconds or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A machine that died without a reset is noticed after these two.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a peer could not be dialled.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Its name leads nowhere.
    #[error(transparent)]
    Resolve(#[from] DiscoveryError),
    /// No socket.
    #[error("cannot connect to {address} ({ip}): {source}")]
    Connect {
        /// As it was asked for.
        address: String,
        /// What it resolved to.
        ip: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address cannot be written as an URI.
    #[error("{address} is not host:port")]
    Malformed {
        /// The address.
        address: String,
    },
    /// A socket, but what answers there is not whom its certificate would have to name.
    #[error("{address} ({ip}) is not believed: {source}")]
    Tls {
        /// As it was asked for.
        address: String,
        /// What it resolved to.
        ip: SocketAddr,
        /// Why not.
        source: Box<ConnectError>,
    },
    /// A socket, but no HTTP/2 behind it.
    #[error("{address} does not speak HTTP/2: {reason}")]
    Protocol {
        /// As it was asked for.
        address: String,
        /// What tonic said.
        reason: String,
    },
}

impl DialError {
    /// Whether a machine answered that nothing listens there: the process is gone.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Opens connections to peers.
#[derive(Clone, Debug)]
pub struct Dialer {
    discovery: Arc<Discovery>,
    tls: Option<Arc<PeerTls>>,
}

impl Dialer {
    /// Resolves through `discovery`; speaks TLS if there is any.
    #[must_use]
    pub fn new(discovery: Arc<Discovery>, tls: Option<Arc<PeerTls>>) -> Self {
        Self { discovery, tls }
    }

    /// The member that is meant answered a handshake at this address: see [`Discovery::met`].
    pub fn met(&self, address: &str, at: SocketAddr) {
        self.discovery.met(address, at.ip());
    }

    /// Resolves `address` anew and connects to the first of its addresses that answers.
    ///
    /// # Errors
    /// [`DialError`]; the last address's if none answers.
    pub async fn dial(
        &self,
        address: &str,
        expected: Expected<'_>,
    ) -> Result<(Channel, SocketAddr), DialError> {
        let addresses = self.discovery.addresses(address).await?;
        let mut last = DialError::Resolve(DiscoveryError::Empty { name: address.to_string() });
        for ip in addresses {
            match self.dial_at(address, ip, expected).await {
                Ok(channel) => return Ok((channel, ip)),
                Err(error) => last = error,
            }
        }
        // It may have moved: the next dial asks DNS again instead of the cache.
        self.discovery.forget(address);
        Err(last)
    }

    /// Connects to a known address, to whom is expected; the address's name only stands in the requests.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial_at(
        &self,
        address: &str,
        ip: SocketAddr,
        expected: Expected<'_>,
    ) -> Result<Channel, DialError> {
        let ends = self.tls.as_ref().map(|tls| tls.ends());
        connect(address, ip, ends.as_deref().map(|ends| (ends, expected))).await
    }
}

/// Connects to a known address, plainly or to whom is expected.
///
/// # Errors
/// [`DialError`].
pub async fn connect(
    address: &str,
    ip: SocketAddr,
    tls: Option<(&Ends, Expected<'_>)>,
) -> Result<Channel, DialError> {
    let failed = |source| DialError::Connect { address: address.to_string(), ip, source };
    let socket = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(ip))
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    // Small frames must leave at once: a put waits for them.
    socket.set_nodelay(true).map_err(failed)?;
    let stream = match tls {
        None => Either::Left(socket),
        Some((ends, expected)) => {
            let shaken = tokio::time::timeout(CONNECT_TIMEOUT, ends.connect(socket, expected)).await;
            let stream = shaken.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?;
            let refused = |source| {
                let source = Box::new(source);
                DialError::Tls { address: address.to_string(), ip, source }
            };
            Either::Right(stream.map_err(refused)?)
        }
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| DialError::Malformed { address: address.to_string() })?
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20);
    // One socket, once: a broken connection is for `sender` to notice, not for the channel to hide by reconnecting.
    let socket = Mutex::new(Some(TokioIo::new(stream)));
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::future::ready(socket.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connector))
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(|error| DialError::Protocol { address: address.to_string(), reason: chain(&error) })
}

/// The error's texts from the outside in, for people: tonic's own `Display` says only "transport error".
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
