//! Connections to the peer port: taken in, the handshake done within the port's time, then handed to the server.
//!
//! A handshake holds one of the port's places and never holds up another: all are under way at once, each until the limit
//! for opening. May import: `listener`. Deliberately absent: what is asked on a connection (`gate`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use super::caller::Caller;
use super::reload::PeerTls;
use crate::listener::{Connection, Door, Limits};

/// A connection with a certificate.
type Secured = Connection<TlsStream<TcpStream>>;

/// Between two warnings of refused connections, in seconds: whoever reaches the port could else fill the log.
const QUIET_SECONDS: u64 = 10;

/// The connections of the peer port whose handshake succeeded. Never ends.
pub fn incoming(
    listener: TcpListener,
    limits: Limits,
    tls: Arc<PeerTls>,
) -> impl Stream<Item = io::Result<Secured>> {
    let told = Arc::new(Told { since: Instant::now(), last: AtomicU64::new(0) });
    let taken =
        Taken { door: Door::new(listener, limits), limits, tls, told, shaking: FuturesUnordered::new() };
    futures::stream::unfold(taken, |mut taken| async move {
        let connection = taken.next().await;
        Some((Ok(connection), taken))
    })
}

struct Taken {
    door: Door,
    limits: Limits,
    tls: Arc<PeerTls>,
    told: Arc<Told>,
    /// As many as the port has places.
    shaking: FuturesUnordered<BoxFuture<'static, Option<Secured>>>,
}

impl Taken {
    async fn next(&mut self) -> Secured {
        loop {
            tokio::select! {
                (socket, place) = self.door.accept() => {
                    let (tls, told) = (Arc::clone(&self.tls), Arc::clone(&self.told));
                    self.shaking.push(Box::pin(shake_hands(socket, place, (tls, told), self.limits)));
                }
                Some(shaken) = self.shaking.next() => {
                    if let Some(connection) = shaken {
                        return connection;
                    }
                }
            }
        }
    }
}

async fn shake_hands(
    socket: TcpStream,
    place: OwnedSemaphorePermit,
    (tls, told): (Arc<PeerTls>, Arc<Told>),
    limits: Limits,
) -> Option<Secured> {
    let from = socket.peer_addr().ok();
    // The newest set at the moment when the connection begins.
    let ends = tls.ends();
    let shaken = tokio::time::timeout(limits.opening, ends.accept(socket)).await;
    let refused = match shaken {
        Ok(Ok((stream, seen))) => {
            return Some(Connection::new(stream, place, (limits, Caller::Named(seen))));
        }
        Ok(Err(error)) => error,
        Err(_) => io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"),
    };
    tls.metrics().tls_handshake_failed();
    told.refused(from, &refused);
    None
}

/// When a refusal was last told of.
struct Told {
    since: Instant,
    last: AtomicU64,
}

impl Told {
    fn refused(&self, from: Option<SocketAddr>, error: &io::Error) {
        let from = from.map(|from| from.to_string());
        // One more than the seconds, so that 0 is "never".
        let now = self.since.elapsed().as_secs() + 1;
        let last = self.last.load(Ordering::Relaxed);
        if last == 0 || now >= last + QUIET_SECONDS {
            self.last.store(now, Ordering::Relaxed);
            tracing::warn!(from, %error, "a connection to the peer port was refused; more within 10 s are not told of");
        } else {
            tracing::debug!(from, %error, "a connection to the peer port was refused");
        }
    }
}

#[cfg(test)]
mod tests;
