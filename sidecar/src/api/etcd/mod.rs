//! The client port: etcd v3 over gRPC.
//!
//! One dispatch by path in front of the generated services, with nothing between it and the connection: no router, no
//! layer, no span. It counts answers by method and code, and gives a text to what is not served.
//! May import: tonic, the wire, its own rooms. Deliberately absent: TLS (a later concern of the listener).

mod cluster;
mod dispatch;
mod door;
mod errors;
mod hash_kv;
mod kv;
mod maintenance;
mod translate;

use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::Server;

pub use door::ClientDoor;
pub use maintenance::PROTOCOL_VERSION;

use crate::listener::{self, Limits};

/// Calls in flight on one connection. More wait on the client's side; each costs a few hundred bytes here.
const MAX_STREAMS_PER_CONNECTION: u32 = 16_384;
/// What a client may send ahead on one call, and on all calls of one connection together: a request is at most
/// 1.5 MiB by default, so that a few large ones do not stall the many small ones.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Serves clients until `shutdown` resolves; then no new connection is accepted, calls in flight are answered and the
/// connections close.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_clients(
    listener: TcpListener,
    limits: Limits,
    door: ClientDoor,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .serve_with_incoming_shutdown(
            dispatch::Dispatch::new(door),
            listener::grpc(listener, limits),
            shutdown,
        )
        .await
}

#[cfg(test)]
mod tests;
