//! The HTTP port: probes, metrics, and the cluster as JSON, for people and Kubernetes.
//!
//! Verbs that change something answer on loopback only: there is no credential on this port. May import: axum, `inbox`,
//! `member`, `metrics`. Deliberately absent: any consensus decision.

mod cluster;
mod health;
mod metadata;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use outrigger_core::error::Refusal;
use serde_json::json;
use tokio::net::TcpListener;

use super::{Identity, refusals};
use crate::inbox::NodeHandle;
use crate::listener::{Door, Limits};
use crate::member::MemberHandle;
use crate::metrics::{Facts, Metrics};
use health::Readiness;

/// What one connection may have unread, a request's head among it; hyper's own limit is 400 KiB.
const BUFFER_BYTES: usize = 16 << 10;

/// The HTTP port's way in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpDoor {
    /// The process.
    pub member: MemberHandle,
    /// What it knows of itself.
    pub identity: Arc<Identity>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
}

/// A door with what readiness remembers from probe to probe.
#[derive(Clone, Debug)]
struct Shared {
    door: HttpDoor,
    readiness: Arc<Readiness>,
}

/// Serves probes and people until `shutdown` resolves; then no new connection is accepted, requests under way are
/// answered and the connections close.
pub async fn serve_http(
    listener: TcpListener,
    limits: Limits,
    door: HttpDoor,
    shutdown: impl Future<Output = ()> + Send,
) {
    let shared = Shared { door, readiness: Arc::default() };
    let app = router(shared.clone());
    let connections = GracefulShutdown::new();
    tokio::select! {
        never = health::watch(shared) => match never {},
        never = accept_all(Door::new(listener, limits), limits, &app, &connections) => match never {},
        () = shutdown => {}
    }
    connections.shutdown().await;
}

async fn accept_all(door: Door, limits: Limits, app: &Router, connections: &GracefulShutdown) -> Infallible {
    let mut server = Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(limits.opening).max_buf_size(BUFFER_BYTES);
    loop {
        let (stream, permit) = door.accept().await;
        let Ok(peer) = stream.peer_addr() else { continue };
        let service = TowerToHyperService::new(app.clone().layer(Extension(ConnectInfo(peer))));
        let served = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let served = connections.watch(served);
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(error, %peer, "an HTTP connection ended");
            }
            drop(permit);
        });
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics))
        .route("/cluster", get(cluster::show))
        .route("/cluster/peer/{id}", delete(cluster::remove_peer))
        .route("/cluster/metadata/keys", get(metadata::list))
        .route(
            "/cluster/metadata/keys/{key}",
            get(metadata::read).put(metadata::write).delete(metadata::remove),
        )
        .layer(middleware::from_fn(loopback_only_for_changes))
        .with_state(shared)
}

/// Whoever can reach this port over the network may look, and nothing more.
async fn loopback_only_for_changes(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    if looks || is_loopback(peer.ip()) {
        return next.run(request).await;
    }
    let text = format!(
        "{} {} came from {}: changes are taken from loopback only; run it inside the pod (kubectl exec), or use \
         `outrigger member` against the admin port",
        request.method(),
        request.uri().path(),
        peer.ip()
    );
    failure(StatusCode::FORBIDDEN, &text)
}

/// An IPv4 address may arrive mapped into IPv6 on a dual-stack listener.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let door = &shared.door;
    let node = door.member.node();
    let status = node.as_ref().map(|node| node.status());
    let published = node.as_ref().and_then(|node| node.summary());
    let text = door.metrics.render(&Facts {
        name: &door.identity.name,
        version: &door.identity.version,
        active_ticks: u64::from(door.identity.election_ticks),
        standing: &door.member.standing(),
        quota_bytes: door.identity.quota_bytes,
        node: status.as_deref(),
        published,
    });
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn failure(code: StatusCode, text: &str) -> Response {
    (code, Json(json!({ "error": text }))).into_response()
}

/// There is no node to ask: what the process says instead.
#[derive(Debug)]
struct Nodeless(String);

impl IntoResponse for Nodeless {
    fn into_response(self) -> Response {
        failure(StatusCode::SERVICE_UNAVAILABLE, &format!("no node runs here: {}", self.0))
    }
}

impl HttpDoor {
    /// # Errors
    /// What the process waits for, when it runs no node.
    fn node(&self) -> Result<Arc<NodeHandle>, Nodeless> {
        self.member.node().ok_or_else(|| Nodeless(self.member.standing().why_no_node().to_owned()))
    }

    fn refused(&self, refusal: &Refusal) -> Response {
        self.metrics.refused(refusals::reason(refusal));
        failure(refusals::http_code(refusal), &refusal.to_string())
    }
}

#[cfg(test)]
mod tests;
