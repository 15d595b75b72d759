use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_tests::wait;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::subject::{CHANGE, Subject, ids};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

const OPERATOR: &str = "deployment/outrigger";

pub(crate) async fn run(_world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let orders = Subject::create(kubectl, "kept", &json!({})).await?;
    let writer = Writer::start(orders.service().await?)?;
    let before = orders.status().await?;
    lose(kubectl, "kept-0").await?;
    let after = renewed(&orders, &before, "kept-0").await?;
    seen("pod 0 and its claim are deleted: it is back under a new id, in the same cluster");
    let proof = writer.finish().await?;

    let operators = Kubectl::new("outrigger-system");
    operators.run(&["scale", OPERATOR, "--replicas=0"]).await?;
    operators.run(&["rollout", "status", OPERATOR, "--timeout=60s"]).await?;
    kubectl
        .run(&[
            "patch",
            "raftcluster/kept",
            "--subresource=status",
            "--type=json",
            "-p",
            r#"[{"op": "remove", "path": "/status"}]"#,
        ])
        .await?;
    let mut cordoned = Vec::new();
    for pod in ["kept-1", "kept-2"] {
        let node = kubectl.run(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"]).await?;
        kubectl.run(&["cordon", &node]).await?;
        cordoned.push(node);
        kubectl.run(&["delete", "pod", pod, "--wait=false"]).await?;
    }
    let trapped = trap(kubectl, &orders, &operators).await;
    for node in cordoned {
        kubectl.run(&["uncordon", &node]).await?;
    }
    trapped?;
    orders.ready().await?;
    renewed(&orders, &after, "kept-0").await?;
    seen("founder's volume and status lost, the others away: no second cluster; all return to the first");
    Outcome::of(proof).within(Duration::from_secs(5))
}

/// Deletes a pod and its claim, as somebody would who cleans up.
async fn lose(kubectl: &Kubectl, pod: &str) -> Result<()> {
    kubectl.run(&["delete", "pvc", &format!("outrigger-data-{pod}"), "--wait=false"]).await?;
    kubectl.run(&["delete", "pod", pod, "--wait=false"]).await.map(drop)
}

/// Waits until a member is back under another id, in the same cluster with the same others.
async fn renewed(orders: &Subject, before: &Value, pod: &str) -> Result<Value> {
    let old = ids(before);
    let id = old.get(pod).context("it had no id")?;
    orders
        .until("the member's new id", |status| {
            let new = ids(status);
            let renewed = new.get(pod).context("it has no id")?;
            ensure!(renewed != id, "it still has the old id {id}");
            let others = old.iter().filter(|(name, _)| name.as_str() != pod);
            for (name, id) in others {
                ensure!(new.get(name) == Some(id), "{name} is {:?} and was {id}", new.get(name));
            }
            ensure!(status.get("clusterID") == before.get("clusterID"), "another cluster: {status}");
            Ok(())
        })
        .await?;
    orders.ready().await
}

/// An empty founder, no status, and nobody who remembers but the claims of the other two.
async fn trap(kubectl: &Kubectl, orders: &Subject, operators: &Kubectl) -> Result<()> {
    lose(kubectl, "kept-0").await?;
    wait::until_ok("an empty kept-0", CHANGE, async || {
        let status = orders.outrigger("kept-0", &["status", "-o", "json"]).await?;
        let status: Value = serde_json::from_str(&status)?;
        let phase = status.get("phase").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        ensure!(phase == "empty", "it is {phase}");
        anyhow::Ok(())
    })
    .await?;
    operators.run(&["scale", OPERATOR, "--replicas=2"]).await?;
    let said = wait::until_ok("the operator's word", CHANGE, async || {
        let status = orders.status().await?;
        let text = status.to_string();
        ensure!(text.contains("VolumesCarryCluster") || text.contains("PodsSilent"), "{text}");
        anyhow::Ok(status)
    })
    .await?;
    ensure!(said.get("clusterID").is_none_or(Value::is_null), "it names a cluster: {said}");
    let status = orders.outrigger("kept-0", &["status", "-o", "json"]).await?;
    ensure!(status.to_lowercase().contains("empty"), "it was founded anew: {status}");
    Ok(())
}
