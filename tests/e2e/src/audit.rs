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
    /// The chart was uninstalled: its pods end after its rights do.
    has_no_rights: bool,
}

impl Request {
    /// Whether it would change something. The Lease is renewed at rest too: it is what tells a stand-by that somebody is alive.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && self.resource != "leases"
    }

    /// Whether the operator's own rights were too few; a quota's or a policy's refusal has the same code.
    pub(crate) fn was_denied(&self) -> bool {
        self.code == 403 && self.message.contains("cannot ") && !self.has_no_rights
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
    let mut requests = Vec::new();
    let mut has_no_rights = false;
    for event in events.filter(|event| of(event, "/stage") == "ResponseComplete") {
        let (user, verb, resource) =
            (of(&event, "/user/username"), of(&event, "/verb"), of(&event, "/objectRef/resource"));
        if user.starts_with("system:serviceaccount:outrigger-system:") {
            requests.push(Request {
                verb,
                resource,
                code: event.pointer("/responseStatus/code").and_then(Value::as_i64).unwrap_or_default(),
                message: of(&event, "/responseStatus/message"),
                has_no_rights,
            });
        } else if matches!(resource.as_str(), "rolebindings" | "clusterrolebindings")
            && of(&event, "/objectRef/name").starts_with("outrigger")
        {
            match verb.as_str() {
                "delete" => has_no_rights = true,
                "create" | "patch" | "update" => has_no_rights = false,
                _ => {}
            }
        }
    }
    Ok(requests)
}
