use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::audit::{self, Request};
use crate::kubectl::Kubectl;
use crate::subject::Subject;
use crate::{Outcome, World, seen};

/// How long the operator is watched doing nothing: several of its passes.
const WATCHED: Duration = Duration::from_secs(25);

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let Some(log) = &world.audit_log else {
        seen("skipped: the API server's audit log is not at hand");
        return Ok(Outcome::default());
    };
    Subject::create(kubectl, "idle", &json!({})).await?;
    let before = audit::of_the_operator(log).await?;
    // There is no condition to wait for: that nothing happens takes time to see.
    tokio::time::sleep(WATCHED).await;
    let after = audit::of_the_operator(log).await?;
    let writes: Vec<&Request> =
        after.iter().skip(before.len()).filter(|request| request.is_write()).collect();
    ensure!(writes.is_empty(), "it wrote while nothing changed: {writes:?}");
    seen(&format!(
        "{} requests in {} s at rest, and none of them writes",
        after.len() - before.len(),
        WATCHED.as_secs()
    ));
    let denied: Vec<&Request> = after.iter().filter(|request| request.was_denied()).collect();
    ensure!(denied.is_empty(), "it was denied what it needs: {denied:?}");
    seen(&format!("{} requests in all, and none was denied", after.len()));
    Ok(Outcome {
        notes: vec![format!("{} requests of the operator, none denied", after.len())],
        ..Outcome::default()
    })
}
