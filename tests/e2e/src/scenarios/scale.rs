use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::subject::{Subject, number};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

pub(crate) async fn run(_world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let orders = Subject::create(kubectl, "scaled", &json!({})).await?;
    let writer = Writer::start(orders.service().await?)?;

    kubectl.run(&["scale", "raftcluster/scaled", "--replicas=5"]).await?;
    orders.until("the operation", |status| operates(status, "ScaleUp")).await?;
    Kubectl::new("outrigger-system")
        .run(&["delete", "pods", "-l", "app.kubernetes.io/name=outrigger-operator", "--wait=false"])
        .await?;
    let status = orders.ready().await?;
    ensure!(number(&status, "voters") == 5 && number(&status, "faultTolerance") == 2, "{status}");
    seen("3 → 5, with both operators killed on the way");

    kubectl.run(&["scale", "raftcluster/scaled", "--replicas=3"]).await?;
    let status = orders.ready().await?;
    ensure!(number(&status, "voters") == 3, "{status}");
    let budget = kubectl.run(&["get", "pdb", "scaled-voters", "-o", "jsonpath={.spec.minAvailable}"]).await?;
    ensure!(budget == "2", "the budget asks for {budget}");
    seen("5 → 3, and the budget asks for 2");

    for node in nodes(kubectl).await? {
        kubectl.run(&["cordon", &node]).await?;
    }
    let done = no_room(kubectl, &orders).await;
    for node in nodes(kubectl).await? {
        kubectl.run(&["uncordon", &node]).await?;
    }
    done?;
    seen("3 → 5 without room, taken back to 3");
    for reason in ["ScaleUpBegun", "ScaleUpEnded", "ScaleDownBegun", "RosterWritten"] {
        orders.was_told(reason).await?;
    }
    Outcome::of(writer.finish().await?).within(Duration::from_secs(5))
}

async fn no_room(kubectl: &Kubectl, orders: &Subject) -> Result<()> {
    kubectl.run(&["scale", "raftcluster/scaled", "--replicas=5"]).await?;
    orders
        .until("a pod without a node, named", |status| {
            let text = status.to_string();
            ensure!(text.contains("unschedulable"), "{text}");
            Ok(())
        })
        .await?;
    kubectl.run(&["scale", "raftcluster/scaled", "--replicas=3"]).await?;
    let status = orders.ready().await?;
    ensure!(number(&status, "voters") == 3, "{status}");
    Ok(())
}

fn operates(status: &Value, kind: &str) -> Result<()> {
    let found = status.pointer("/operation/type").and_then(Value::as_str);
    ensure!(found == Some(kind), "it does {found:?}");
    Ok(())
}

pub(crate) async fn nodes(kubectl: &Kubectl) -> Result<Vec<String>> {
    let out = kubectl.run(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]).await?;
    Ok(out.split_whitespace().map(str::to_owned).collect())
}
