//! Connections as the three ports take them in: how many at once, and how long one may say nothing.
//!
//! Whoever can reach a port can open connections; a member must outlive those who open many and say little. A gRPC
//! connection must have begun to speak HTTP/2 in [`Limits::opening`]; from then on pings find out who is gone. An HTTP/1
//! request's head must be there within the same time. What comes beyond [`Limits::connections`] is closed at once: then
//! there is always room to say so, and for those who are there already.
//!
//! May import: tokio, tonic's connection trait, rustix's limits. Deliberately absent: TLS (`tls`), and who is let in.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::tls::Caller;

/// Connections that one port serves at once, where the process may open so many files. One that says little costs 16 to
/// 23 KiB, most of it the transport's buffers: on all three ports 60 MiB, half of what a member may need beside its key space.
const MAX_CONNECTIONS: usize = 1024;
/// Files that are left to the log, the snapshots and the connections to peers.
const RESERVED_FILES: usize = 256;
/// Ports that share what is left.
const PORTS: usize = 3;
/// A client's connection preface (RFC 9113 §3.4) and the head of the settings that must follow it.
const HTTP2_OPENING_BYTES: usize = 24 + 9;
/// Before the next try, when the system has no more files or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What one port puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Until a gRPC connection speaks HTTP/2, and until an HTTP/1 request's head is whole.
    pub opening: Duration,
    /// How often a gRPC connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            opening: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The limits of this process: 1024 connections a port, or fewer where it may not open as many files. Asks the system
    /// for all files that it may have first: many start with a soft limit of 1024.
    #[must_use]
    pub fn of_process() -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
        let files = getrlimit(Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
        let limits = Self { connections: connections(files), ..Self::default() };
        if limits.connections < MAX_CONNECTIONS {
            tracing::info!(
                files,
                connections = limits.connections,
                "few files may be open: fewer connections a port"
            );
        }
        limits
    }
}

/// Connections a port, where so many files may be open.
fn connections(files: usize) -> usize {
    (files.saturating_sub(RESERVED_FILES) / PORTS).clamp(16, MAX_CONNECTIONS)
}

/// The connections of a gRPC port. Never ends: a failure to accept is waited out.
pub fn grpc(listener: TcpListener, limits: Limits) -> impl Stream<Item = io::Result<Connection>> {
    shared(Arc::new(Door::new(listener, limits)))
}

/// As [`grpc`], through a door that a later server may go on with; each connection's requests carry an `I` of its own.
pub fn shared<I: Default>(door: Arc<Door>) -> impl Stream<Item = io::Result<Connection<TcpStream, I>>> {
    futures::stream::unfold(door, |door| async move {
        let (stream, permit) = door.accept().await;
        Some((Ok(Connection::new(stream, permit, (door.limits, I::default()))), door))
    })
}

/// A listener that counts.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    free: Arc<Semaphore>,
    limits: Limits,
    /// Whether the last connection was turned away: the first of many is told of.
    is_full: AtomicBool,
}

impl Door {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(listener: TcpListener, limits: Limits) -> Self {
        Self {
            listener,
            free: Arc::new(Semaphore::new(limits.connections)),
            limits,
            is_full: AtomicBool::new(false),
        }
    }

    /// The next connection, and its place: the place is free again when the permit is dropped.
    pub async fn accept(&self) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                // Gone again before it was looked at.
                Err(error) if is_the_peers(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
                if !self.is_full.swap(true, Ordering::Relaxed) {
                    let port = self.listener.local_addr().map_or(0, |address| address.port());
                    tracing::warn!(
                        port,
                        connections = self.limits.connections,
                        "the port has all the connections that it serves; more are closed at once"
                    );
                }
                continue;
            };
            self.is_full.store(false, Ordering::Relaxed);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection's packets may wait for each other");
            }
            return (stream, permit);
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}

/// A gRPC connection that must begin to speak in time.
#[derive(Debug)]
pub struct Connection<S = TcpStream, I = Caller> {
    stream: S,
    info: I,
    /// `None` once it has.
    opening: Option<Opening>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Opening {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S, I> Connection<S, I> {
    /// Its time to speak begins now; every request on it carries `info`.
    pub fn new(stream: S, permit: OwnedSemaphorePermit, (limits, info): (Limits, I)) -> Self {
        let deadline = Box::pin(tokio::time::sleep(limits.opening));
        let opening = Some(Opening { missing: HTTP2_OPENING_BYTES, deadline });
        Self { stream, info, opening, _permit: permit }
    }
}

impl<S, I: Clone + Send + Sync + 'static> Connected for Connection<S, I> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<S: AsyncRead + Unpin, I: Unpin> AsyncRead for Connection<S, I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(opening) = &mut this.opening else { return Pin::new(&mut this.stream).poll_read(cx, buf) };
        // First, so that whoever sends a byte now and then wins nothing.
        if opening.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the connection did not speak in time",
            )));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
        opening.missing = opening.missing.saturating_sub(buf.filled().len() - before);
        if opening.missing == 0 {
            this.opening = None;
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin, I: Unpin> AsyncWrite for Connection<S, I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
pub(crate) mod tests;
