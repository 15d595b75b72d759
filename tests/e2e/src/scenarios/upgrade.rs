use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::kubectl::{Kubectl, tell};
use crate::subject::{CHANGE, Subject, condition, manifest, number};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let orders = Subject::create(kubectl, "steady", &json!({})).await?;
    let writer = Writer::start(orders.service().await?)?;
    let chart = world.chart.display().to_string();
    upgrade(world, &["--set=log.level=debug"]).await?;
    seen("helm upgrade");
    helm(&["rollback", "outrigger", "--wait", "--timeout=120s"]).await?;
    seen("helm rollback");
    one_roll_at_a_time(world, kubectl).await?;
    one_namespace_only(world, kubectl).await?;
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

/// An operator that brings another sidecar rolls the clusters one after the other, if it is told so.
async fn one_roll_at_a_time(world: &World, kubectl: &Kubectl) -> Result<()> {
    let one = json!({"replicas": 1});
    let names = ["steady", "second", "third"];
    for name in &names[1..] {
        Subject::create(kubectl, name, &one).await?;
    }
    upgrade(world, &["--set=sidecar.image.tag=roll", "--set=rollsAtOnce=1"]).await?;
    let mut waited = false;
    until(async || {
        let mut rolling = Vec::new();
        let mut done = 0;
        for name in names {
            let roll = Roll::of(kubectl, name, ":roll").await?;
            waited |= roll.waits;
            done += usize::from(roll.is_done);
            rolling.extend(roll.is_under_way().then_some(name));
        }
        ensure!(rolling.len() <= 1, "{rolling:?} roll at the same time");
        Ok(done == names.len())
    })
    .await?;
    ensure!(waited, "nobody waited for its turn");
    kubectl.run(&["delete", "raftcluster/second", "raftcluster/third"]).await?;
    seen(
        "helm upgrade with another sidecar and rollsAtOnce=1: one cluster after the other, the others say RollQueued",
    );
    Ok(())
}

/// How far a cluster's roll has come.
struct Roll {
    has_begun: bool,
    is_done: bool,
    waits: bool,
}

impl Roll {
    /// By its pods' images, and its status.
    async fn of(kubectl: &Kubectl, name: &str, tag: &str) -> Result<Self> {
        let pods = kubectl.get(&["pods", "-l", &format!("outrigger.dev/cluster={name}")]).await?;
        let pods = pods.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let image = |pod: &Value| {
            pod.pointer("/spec/initContainers/0/image")?.as_str().map(|image| image.ends_with(tag))
        };
        let new = pods.iter().filter(|pod| image(pod) == Some(true)).count();
        let object = kubectl.get(&[&format!("raftcluster/{name}")]).await?;
        let status = object.get("status").unwrap_or(&Value::Null);
        let is_ready = condition(status, "Ready").is_some_and(|(holds, _)| holds);
        Ok(Self {
            has_begun: new > 0,
            is_done: new > 0 && new == pods.len() && is_ready,
            waits: status.to_string().contains("RollQueued"),
        })
    }

    fn is_under_way(&self) -> bool {
        self.has_begun && !self.is_done
    }
}

/// With `watchNamespaces` there are rights in those alone, and they suffice.
async fn one_namespace_only(world: &World, kubectl: &Kubectl) -> Result<()> {
    let here = kubectl.namespace();
    upgrade(world, &[&format!("--set-json=watchNamespaces=[\"{here}\"]")]).await?;
    let elsewhere = Kubectl::new(&format!("{here}-elsewhere"));
    let cleanup = ["delete", "namespace", elsewhere.namespace(), "--ignore-not-found"];
    kubectl.run(&cleanup).await?;
    kubectl.run(&["create", "namespace", elsewhere.namespace()]).await?;
    elsewhere.apply(&manifest("unwatched", &json!({"replicas": 1})).to_string()).await?;
    let watched = Subject::create(kubectl, "watched", &json!({})).await?;
    kubectl.run(&["scale", "raftcluster/watched", "--replicas=1"]).await?;
    ensure!(number(&watched.ready().await?, "voters") == 1, "it was not scaled");
    kubectl.run(&["delete", "raftcluster/watched"]).await?;
    let said = elsewhere.get(&["raftcluster/unwatched"]).await?;
    ensure!(said.get("status").is_none(), "another namespace's was looked after: {said}");
    let account = "--as=system:serviceaccount:outrigger-system:outrigger";
    let may = elsewhere.try_run(&["auth", "can-i", "get", "secrets", account], None).await?;
    ensure!(may.out.trim() == "no", "it may read Secrets of {}: {}", elsewhere.namespace(), may.out);
    upgrade(world, &["--set-json=watchNamespaces=[]", "--set=sidecar.image.tag=", "--set=rollsAtOnce=5"])
        .await?;
    until(async || Ok(Roll::of(kubectl, "steady", ":0.1.0").await?.is_done)).await?;
    let adopted = Subject { kubectl: elsewhere.clone(), name: "unwatched".to_owned() };
    adopted.ready().await?;
    kubectl.run(&[&cleanup[..], &["--wait=false"]].concat()).await?;
    seen(
        "helm upgrade with watchNamespaces: founded and scaled by the rights in one namespace; no other is looked at, until it is again",
    );
    Ok(())
}

/// Upgrades the operator's release, keeping the values it has.
async fn upgrade(world: &World, more: &[&str]) -> Result<()> {
    let chart = world.chart.display().to_string();
    let fixed = ["upgrade", "outrigger", &chart, "--reuse-values", "--wait", "--timeout=120s"];
    helm(&[&fixed[..], more].concat()).await.map(drop)
}

/// Asks again and again, for as long as a change of members may take.
async fn until(mut wanted: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + CHANGE;
    while !wanted().await? {
        ensure!(Instant::now() < end, "not within {CHANGE:?}");
    }
    Ok(())
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
