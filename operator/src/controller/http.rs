//! `/livez`, `/readyz` and `/metrics` of the operator.
//!
//! A stand-by is ready: it has nothing to do but to wait. May import: axum. Deliberately absent: anything that changes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::errors::ControllerError;
use super::metrics::Metrics;

const PROMETHEUS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens, and serves in the background.
pub(super) async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> Result<(), ControllerError> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| ControllerError::Listen { address, source })?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .route("/metrics", get(text))
        .with_state(metrics);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP server ended");
        }
    });
    Ok(())
}

async fn text(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.text())
}
