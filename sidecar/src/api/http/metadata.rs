//! `/cluster/metadata/keys`: small JSON values about the cluster, replicated with its membership.
//!
//! May import: core's requests, serde_json. Deliberately absent: the limits' enforcement beyond what can be said
//! without asking the node, which holds them again.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use outrigger_core::event::AdminRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, failure};

/// Longest key in bytes.
const MAX_KEY_BYTES: usize = 256;
/// Largest value in bytes of its JSON.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// `?wait=false` answers once the change is queued; by default the answer comes when it is applied.
#[derive(Debug, Deserialize)]
pub(super) struct Wait {
    wait: Option<bool>,
}

pub(super) async fn list(State(shared): State<Shared>) -> Response {
    match shared.door.node() {
        Ok(node) => {
            let status = node.status();
            Json(json!({ "keys": status.metadata.keys().collect::<Vec<_>>() })).into_response()
        }
        Err(nodeless) => nodeless.into_response(),
    }
}

pub(super) async fn read(State(shared): State<Shared>, Path(key): Path<String>) -> Response {
    let node = match shared.door.node() {
        Ok(node) => node,
        Err(nodeless) => return nodeless.into_response(),
    };
    match node.status().metadata.get(&key) {
        // The value is JSON already: it was checked on its way in.
        Some(value) => ([(header::CONTENT_TYPE, "application/json")], value.clone()).into_response(),
        None => failure(
            StatusCode::NOT_FOUND,
            &format!("there is no key {key}: GET /cluster/metadata/keys lists them"),
        ),
    }
}

pub(super) async fn write(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    Query(wait): Query<Wait>,
    body: Bytes,
) -> Response {
    if key.len() > MAX_KEY_BYTES {
        let text = format!("the key has {} bytes: at most {MAX_KEY_BYTES}", key.len());
        return failure(StatusCode::BAD_REQUEST, &text);
    }
    if body.len() > MAX_VALUE_BYTES {
        let text = format!("the value has {} bytes: at most {MAX_VALUE_BYTES}", body.len());
        return failure(StatusCode::PAYLOAD_TOO_LARGE, &text);
    }
    if let Err(error) = serde_json::from_slice::<Value>(&body) {
        let text = format!("the value is not JSON ({error}): a text is sent with its quotes, as in \"blue\"");
        return failure(StatusCode::BAD_REQUEST, &text);
    }
    change(&shared, key, Some(body), wait).await
}

pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    Query(wait): Query<Wait>,
) -> Response {
    change(&shared, key, None, wait).await
}

async fn change(shared: &Shared, key: String, value: Option<Bytes>, wait: Wait) -> Response {
    let door = &shared.door;
    let node = match door.node() {
        Ok(node) => node,
        Err(nodeless) => return nodeless.into_response(),
    };
    let request = AdminRequest::SetMetadata { key: key.clone(), value };
    if wait.wait == Some(false) {
        // Nobody hears its refusal but the metric: that is what not to wait means.
        let door = door.clone();
        tokio::spawn(async move {
            if let Err(refusal) = node.admin(request).await {
                drop(door.refused(&refusal));
            }
        });
        return (StatusCode::ACCEPTED, Json(json!({ "key": key, "applied": false }))).into_response();
    }
    match node.admin(request).await {
        Ok(_) => Json(json!({ "key": key, "applied": true })).into_response(),
        Err(refusal) => door.refused(&refusal),
    }
}
