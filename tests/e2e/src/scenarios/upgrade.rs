use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::kubectl::{Kubectl, tell};
use crate::subject::{Subject, number};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let orders = Subject::create(kubectl, "steady", &json!({})).await?;
    let writer = Writer::start(orders.service().await?)?;
    let chart = world.chart.display().to_string();
    helm(&[
        "upgrade",
        "outrigger",
        &chart,
        "--reuse-values",
        "--set",
        "log.level=debug",
        "--wait",
        "--timeout=120s",
    ])
    .await?;
    seen("helm upgrade");
    helm(&["rollback", "outrigger", "--wait", "--timeout=120s"]).await?;
    seen("helm rollback");
    let values = helm(&["get", "values", "outrigger", "-o", "json"]).await?;
    helm(&["uninstall", "outrigger", "--wait", "--timeout=120s"]).await?;
    kubectl.run(&["get", "raftcluster/steady"]).await?;
    let before = writer.acknowledged();
    orders.outrigger("steady-0", &["put", "alone", "yes"]).await?;
    seen("helm uninstall: the definition, the RaftClusters and their members stay, and serve");
    let file = std::env::temp_dir().join(format!("outrigger-e2e-values-{}.json", std::process::id()));
    tokio::fs::write(&file, values).await?;
    helm(&[
        "install",
        "outrigger",
        &chart,
        "--values",
        &file.display().to_string(),
        "--wait",
        "--timeout=120s",
    ])
    .await?;
    tokio::fs::remove_file(&file).await?;
    kubectl.run(&["scale", "raftcluster/steady", "--replicas=1"]).await?;
    let status = orders.ready().await?;
    ensure!(number(&status, "voters") == 1, "{status}");
    ensure!(writer.acknowledged() > before, "nothing was written without an operator");
    seen("installed again: the operator goes on where it was, and scales 3 → 1");
    Outcome::of(writer.finish().await?).within(Duration::from_secs(5))
}

/// Runs Helm on the operator's release.
///
/// # Errors
/// It failed; with what it said.
pub(super) async fn helm(args: &[&str]) -> Result<String> {
    let said = tell("helm", &[&["--namespace", "outrigger-system"], args].concat(), None).await?;
    ensure!(said.ok, "helm {}: {}", args.join(" "), said.err.trim());
    Ok(said.out)
}
