//! What the operator asked the API server for, by the server's own audit log.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    verb: String,
    resource: String,
    code: i64,
    message: String,
}

impl Request {
    /// Whether it would change something. The Lease is renewed at rest too: it is what tells a stand-by that somebody is alive.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && self.resource != "leases"
    }

    /// Whether the operator's own rights were too few; a quota's or a policy's refusal has the same code.
    pub(crate) fn was_denied(&self) -> bool {
        self.code == 403 && self.message.contains("cannot ")
    }
}

/// All requests under the chart's account, in their order.
///
/// # Errors
/// The log cannot be read.
pub(crate) async fn of_the_operator(log: &Path) -> Result<Vec<Request>> {
    let text = tokio::fs::read_to_string(log).await.with_context(|| format!("reading {}", log.display()))?;
    // The last line may be half-written.
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of = |event: &Value, path: &str| {
        event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Ok(events
        .filter(|event| event.get("stage").and_then(Value::as_str) == Some("ResponseComplete"))
        .filter(|event| of(event, "/user/username").starts_with("system:serviceaccount:outrigger-system:"))
        .map(|event| Request {
            verb: of(&event, "/verb"),
            resource: of(&event, "/objectRef/resource"),
            code: event.pointer("/responseStatus/code").and_then(Value::as_i64).unwrap_or_default(),
            message: of(&event, "/responseStatus/message"),
        })
        .collect())
}
