//! The client port: etcd v3 over gRPC.
//!
//! One dispatch by path in front of the generated services, with nothing between it and the connection: no router, no
//! layer, no span. It counts answers by method and code, and gives a text to what is not served.
//! May import: tonic, the wire, its own rooms. Deliberately absent: TLS (a later concern of the listener).

mod cluster;
mod dispatch;
mod door;
mod errors;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod hash_kv;
mod kv;
mod maintenance;
mod translate;
mod unfinished;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::transport::Server;

pub use door::ClientDoor;
pub use maintenance::PROTOCOL_VERSION;

use crate::listener::{self, Limits};

/// Calls in flight on one connection. More wait on the client's side; each costs some KiB here.
const MAX_STREAMS_PER_CONNECTION: u32 = 1024;
/// What a client may send ahead of what is read here, on one call and on all calls of one connection together. Calls are
/// read as fast as they come in (`unfinished` bounds what is read), so this covers the way to and fro: at 1 ms, 512 MiB a
/// second. A request of 1.5 MiB takes six of them.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
/// The headers of one call; etcd's clients send less than 1 KiB.
const HEADER_LIST_BYTES: u32 = 8 << 10;

/// Serves clients until `shutdown` resolves; then no new connection is accepted, calls in flight are answered and the
/// connections close.
///
/// Connections close in the same way when the member ceases to be one: who is connected through a Service would else be refused on and
/// on, for a connection that stands stays where it is. New ones are taken all the time; they are told why nothing is served.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_clients(
    listener: TcpListener,
    limits: Limits,
    door: ClientDoor,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let port = Arc::new(listener::Door::new(listener, limits));
    let mut shutdown = pin!(shutdown);
    let mut former = JoinSet::new();
    let dispatch = dispatch::Dispatch::new(door.clone());
    loop {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let mut server = Box::pin(serve(Arc::clone(&port), limits, dispatch.clone(), stopped));
        let is_over = tokio::select! {
            ended = &mut server => return ended,
            () = &mut shutdown => true,
            () = door.member.leaves() => false,
        };
        drop(stop);
        if is_over {
            let ended = server.await;
            former.join_all().await;
            return ended;
        }
        tracing::info!("no member any more: clients are sent elsewhere");
        former.spawn(server);
    }
}

/// Serves what comes in until `stopped` resolves, and what came in before to its end.
async fn serve(
    port: Arc<listener::Door>,
    limits: Limits,
    dispatch: dispatch::Dispatch,
    stopped: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .serve_with_incoming_shutdown(dispatch, listener::shared::<unfinished::Share>(port), stopped)
        .await
}

#[cfg(test)]
mod tests;
