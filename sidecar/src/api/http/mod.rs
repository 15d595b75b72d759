//! The HTTP port: probes, metrics, and the cluster as JSON, for people and Kubernetes.
//!
//! Verbs that change something answer on loopback only: there is no credential on this port. May import: axum, `inbox`,
//! `member`, `metrics`. Deliberately absent: any consensus decision.

mod cluster;
mod health;
mod metadata;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use outrigger_core::error::Refusal;
use serde_json::json;
use tokio::net::TcpListener;

use super::{Identity, refusals};
use crate::inbox::NodeHandle;
use crate::member::MemberHandle;
use crate::metrics::{Facts, Metrics};
use health::Readiness;

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

/// Serves probes and people until `shutdown` resolves.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_http(
    listener: TcpListener,
    door: HttpDoor,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = router(door).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

fn router(door: HttpDoor) -> Router {
    let shared = Shared { door, readiness: Arc::default() };
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
        self.member.node().ok_or_else(|| Nodeless(self.member.standing().waiting_for))
    }

    fn refused(&self, refusal: &Refusal) -> Response {
        self.metrics.refused(refusals::reason(refusal));
        failure(refusals::http_code(refusal), &refusal.to_string())
    }
}

#[cfg(test)]
mod tests;
