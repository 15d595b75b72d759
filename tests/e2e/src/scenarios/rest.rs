use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use outrigger_tests::wait;
use serde_json::json;

use crate::audit::{self, Request};
use crate::kubectl::Kubectl;
use crate::subject::Subject;
use crate::{Outcome, World, seen};

/// How long the operator is watched doing nothing: several of its passes.
const WATCHED: Duration = Duration::from_secs(25);
/// It has come to rest once it has written nothing for this long: members are asked every 5 s.
const CALM: Duration = Duration::from_secs(8);

/// How long the namespaces of other scenarios may take to be deleted.
const GONE: Duration = Duration::from_secs(180);
/// How long it may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until the cluster's last news (an application's readiness comes after the cluster's) is written; what was asked by then.
async fn at_rest(log: &Path) -> Result<Vec<Request>> {
    let (began, mut since) = (Instant::now(), Instant::now());
    let mut seen = audit::of_the_operator(log).await?;
    while since.elapsed() < CALM {
        ensure!(began.elapsed() < PATIENCE, "it never came to rest: {:?}", seen.last());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = audit::of_the_operator(log).await?;
        if now.iter().skip(seen.len()).any(Request::is_write) {
            since = Instant::now();
        }
        seen = now;
    }
    Ok(seen)
}

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let Some(log) = &world.audit_log else {
        seen("skipped: the API server's audit log is not at hand");
        return Ok(Outcome::default());
    };
    wait::until_ok("the namespaces of other scenarios are gone", GONE, async || {
        let left = kubectl.run(&["get", "namespaces", "-o", "name"]).await?;
        let others =
            left.lines().filter(|name| name.contains("/e2e-") && !name.ends_with(kubectl.namespace()));
        let others: Vec<&str> = others.collect();
        ensure!(others.is_empty(), "{others:?}");
        anyhow::Ok(())
    })
    .await?;
    Subject::create(kubectl, "idle", &json!({})).await?;
    let before = at_rest(log).await?;
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
    forgotten(kubectl).await?;
    Ok(Outcome {
        notes: vec![format!("{} requests of the operator, none denied", after.len())],
        ..Outcome::default()
    })
}

/// A cluster that is gone is in no metric any more: an alert on it would never end.
async fn forgotten(kubectl: &Kubectl) -> Result<()> {
    let told = async || {
        let pods = ["get", "pods", "-l", "app.kubernetes.io/instance=outrigger", "-o", "name"];
        let mut all = String::new();
        let operators = Kubectl::new("outrigger-system");
        for pod in operators.run(&pods).await?.lines().filter_map(|pod| pod.strip_prefix("pod/")) {
            let path = format!("/api/v1/namespaces/outrigger-system/pods/{pod}:8080/proxy/metrics");
            all += &operators.run(&["get", "--raw", &path]).await?;
        }
        anyhow::Ok(all)
    };
    let named = r#"name="idle",condition="Available"} 1"#;
    wait::until_ok("the metrics of a cluster", GONE, async || {
        ensure!(told().await?.contains(named), "nobody tells of it");
        anyhow::Ok(())
    })
    .await?;
    kubectl.run(&["delete", "raftcluster/idle"]).await?;
    wait::until_ok("the end of the metrics of a cluster that is gone", GONE, async || {
        ensure!(!told().await?.contains(r#"name="idle""#), "they are still there");
        anyhow::Ok(())
    })
    .await?;
    seen("a cluster that is deleted is in no metric any more");
    Ok(())
}
