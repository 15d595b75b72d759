use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::kubectl::{Kubectl, tell};
use crate::subject::{Subject, ids};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

/// Cuts a node of the test cluster off; there is no such thing elsewhere.
const LINK: &str = "tests/cluster/link";
/// The node by whose rules the machine reaches Service addresses (docs/testing.md).
const SERVICES_THROUGH: &str = "node-1";

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    if world.audit_log.is_none() {
        seen("skipped: only on the test cluster can a node be cut off");
        return Ok(Outcome::default());
    }
    let orders = Subject::create(kubectl, "moved", &json!({})).await?;
    let leader = orders.leader().await?;
    let before = ids(&orders.status().await?);
    let (victim, node) = victim(kubectl, before.keys().filter(|name| **name != leader)).await?;
    let writer = Writer::start(orders.service().await?)?;
    link("cut", &node).await?;
    let moved = orders
        .until("the member's new id", |status| {
            let id = ids(status).get(&victim).cloned().context("it has no id")?;
            ensure!(before.get(&victim) != Some(&id), "{victim} still has the old id");
            Ok(())
        })
        .await;
    let ready = orders.ready().await;
    let now_on = kubectl.run(&["get", "pod", &victim, "-o", "jsonpath={.spec.nodeName}"]).await;
    link("heal", &node).await?;
    moved?;
    ready?;
    ensure!(now_on? != node, "{victim} is still on {node}");
    orders.was_told("VolumeReplaced").await?;
    seen(&format!("{node} is cut off: {victim} is replaced on another node, under a new id"));
    // Calls to the lost member end only by their deadlines.
    Outcome::of(writer.finish().await?).within(Duration::from_secs(15))
}

/// A member and its node; not the node that the load comes through.
async fn victim(kubectl: &Kubectl, others: impl Iterator<Item = &String>) -> Result<(String, String)> {
    for pod in others {
        let node = kubectl.run(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"]).await?;
        if node != SERVICES_THROUGH {
            return Ok((pod.clone(), node));
        }
    }
    bail!("all members but the leader are on {SERVICES_THROUGH}")
}

async fn link(verb: &str, node: &str) -> Result<()> {
    let said = tell(LINK, &[verb, node], None).await?;
    ensure!(said.ok, "{LINK} {verb} {node}: {}", said.err);
    Ok(())
}
