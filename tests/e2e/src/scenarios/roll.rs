use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::subject::Subject;
use crate::writer::Writer;
use crate::{Outcome, World, seen};

/// The same binary under another tag.
const OTHER_IMAGE: &str = "docker.io/library/outrigger:roll";

pub(crate) async fn run(_world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let orders = Subject::create(kubectl, "rolled", &json!({})).await?;
    let writer = Writer::start(orders.service().await?)?;
    let leader = orders.leader().await?;
    let node = json!({"kubernetes.io/os": "linux"});
    orders
        .patch(&json!({"sidecar": {"image": OTHER_IMAGE}, "template": {"spec": {"nodeSelector": node}}}))
        .await?;
    // Whoever waits for it waits for the roll: it is not Ready at this generation before the roll has begun.
    orders.ready().await?;
    let pods = kubectl.get(&["pods", "-l", "outrigger.dev/cluster=rolled"]).await?;
    let pods = pods.get("items").and_then(Value::as_array).context("no pods")?;
    let mut started: Vec<(&str, &str)> = Vec::new();
    for pod in pods {
        let text =
            |path: &str| pod.pointer(path).and_then(Value::as_str).with_context(|| format!("no {path}"));
        ensure!(pod.to_string().contains(OTHER_IMAGE), "{} still has the old image", text("/metadata/name")?);
        started.push((text("/metadata/creationTimestamp")?, text("/metadata/name")?));
    }
    started.sort_unstable();
    ensure!(
        started.last().is_some_and(|(_, last)| *last == leader),
        "{leader} led, and the order was {started:?}"
    );
    orders.was_told("LeadershipTransferred").await?;
    seen("another image rolls, and the leader is last");

    orders.patch(&json!({"template": {"spec": {"nodeSelector": null}}})).await?;
    orders.ready().await?;
    let pods = kubectl.run(&["get", "pods", "-l", "outrigger.dev/cluster=rolled", "-o", "json"]).await?;
    ensure!(!pods.contains("kubernetes.io/os"), "a field that is gone from the spec is still on the pods");
    seen("a field that is taken out of the spec is taken out of the pods");

    let leader = orders.leader().await?;
    let node = kubectl.run(&["get", "pod", &leader, "-o", "jsonpath={.spec.nodeName}"]).await?;
    let drained = kubectl
        .run(&["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"])
        .await;
    kubectl.run(&["uncordon", &node]).await?;
    drained?;
    orders.ready().await?;
    seen("the leader's node is drained by eviction, and joins again");
    Outcome::of(writer.finish().await?).within(Duration::from_secs(5))
}
