//! What the operator asked the API server for, by the server's own audit log.

use std::collections::BTreeSet;
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
    /// The chart was upgraded or uninstalled since this pod began: it ends soon, and its rights may have gone before it.
    is_outdated: bool,
}

impl Request {
    /// Whether it would change something. The Lease is renewed at rest too: it is what tells a stand-by that somebody is alive.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && self.resource != "leases"
    }

    /// Whether the operator's own rights were too few; a quota's or a policy's refusal has the same code.
    pub(crate) fn was_denied(&self) -> bool {
        self.code == 403 && self.message.contains("cannot ") && !self.is_outdated
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
    // Which of the operator's pods began before its rights were last written.
    let (mut pods, mut outdated) = (BTreeSet::new(), BTreeSet::new());
    for event in events.filter(|event| of(event, "/stage") == "ResponseComplete") {
        let (user, verb, resource) =
            (of(&event, "/user/username"), of(&event, "/verb"), of(&event, "/objectRef/resource"));
        if user.starts_with("system:serviceaccount:outrigger-system:") {
            let pod = of(&event, "/user/extra/authentication.kubernetes.io~1pod-name/0");
            let is_outdated = outdated.contains(&pod);
            pods.insert(pod);
            requests.push(Request {
                verb,
                resource,
                code: event.pointer("/responseStatus/code").and_then(Value::as_i64).unwrap_or_default(),
                message: of(&event, "/responseStatus/message"),
                is_outdated,
            });
        } else if matches!(
            resource.as_str(),
            "roles" | "clusterroles" | "rolebindings" | "clusterrolebindings"
        ) && of(&event, "/objectRef/name").starts_with("outrigger")
            && matches!(verb.as_str(), "create" | "patch" | "update" | "delete")
        {
            outdated.clone_from(&pods);
        }
    }
    Ok(requests)
}
