use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_tests::wait;
use serde_json::Value;

use crate::kubectl::{Kubectl, tell};
use crate::subject::{CHANGE, Subject, condition, number};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

/// A pod with etcd's own `etcdctl`, which knows of the cluster by the ConfigMap alone.
const TOOLBOX: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "toolbox"}, "spec": {
  "terminationGracePeriodSeconds": 0,
  "containers": [{"name": "etcdctl", "image": "localhost/outrigger-test/etcdctl:1", "imagePullPolicy": "Never",
                  "envFrom": [{"configMapRef": {"name": "orders-client"}}],
                  "command": ["/busybox", "sleep", "1000000"]}]}}"#;

pub(crate) async fn run(_world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let orders = Subject { kubectl: kubectl.clone(), name: "orders".to_owned() };
    kubectl.run(&["apply", "-f", "examples/orders.yaml"]).await?;
    kubectl.run(&["wait", "--for=condition=Ready", "raftcluster/orders", "--timeout=120s"]).await?;
    let status = orders.status().await?;
    ensure!(number(&status, "voters") == 3 && number(&status, "faultTolerance") == 1, "{status}");
    ensure!(condition(&status, "Available").is_some_and(|(holds, _)| holds), "{status}");
    seen("founded, and Ready");

    kubectl.apply(TOOLBOX).await?;
    kubectl.run(&["wait", "--for=condition=Ready", "pod/toolbox", "--timeout=60s"]).await?;
    etcdctl(kubectl, &["put", "greeting", "ahoy"]).await?;
    let got = etcdctl(kubectl, &["get", "greeting", "--print-value-only"]).await?;
    ensure!(got.trim() == "ahoy", "etcdctl got {got}");
    seen("stock etcdctl writes and reads through the client Service");

    let writer = Writer::start(orders.service().await?)?;
    let leader = orders.leader().await?;
    let before = writer.acknowledged();
    kill_the_process(kubectl, &leader).await?;
    let led = orders.until("another leader", |status| other_leader(status, &leader)).await?;
    orders.ready().await?;
    ensure!(writer.acknowledged() > before, "nothing was written after the leader's process died");
    seen(&format!(
        "the leader's process is killed: {} leads",
        led.pointer("/leader/name").unwrap_or(&Value::Null)
    ));

    let leader = orders.leader().await?;
    kubectl.run(&["delete", "pod", &leader, "--wait=false"]).await?;
    orders.until("another leader", |status| other_leader(status, &leader)).await?;
    orders.ready().await?;
    seen("the leader's pod is deleted: another one leads, and it comes back");

    for reason in ["Founded", "LeaderElected", "Ready", "PodsScaled"] {
        orders.was_told(reason).await?;
    }
    Outcome::of(writer.finish().await?).within(Duration::from_secs(5))
}

fn other_leader(status: &Value, than: &str) -> Result<()> {
    let leader = status.pointer("/leader/name").and_then(Value::as_str).context("nobody leads")?;
    ensure!(leader != than, "{leader} still leads");
    Ok(())
}

async fn etcdctl(kubectl: &Kubectl, args: &[&str]) -> Result<String> {
    let fixed = ["exec", "toolbox", "--", "/etcdctl"];
    kubectl.run(&[&fixed[..], args].concat()).await
}

/// Kills a sidecar as the kernel's out-of-memory killer would: the process is on this machine, or else the pod is ended.
pub(crate) async fn kill_the_process(kubectl: &Kubectl, pod: &str) -> Result<()> {
    let uid = kubectl.run(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"]).await?;
    match process_of(&uid).await? {
        Some(process) => {
            let said = tell("kill", &["-9", &process], None).await?;
            ensure!(said.ok, "killing {process}: {}", said.err);
            let restarted = async || {
                let pod = kubectl.get(&["pod", pod]).await?;
                ensure!(
                    pod.to_string().contains("\"restartCount\":1"),
                    "its container was not started again yet"
                );
                anyhow::Ok(())
            };
            wait::until_ok("the container's restart", CHANGE, restarted).await
        }
        None => kubectl.run(&["delete", "pod", pod, "--grace-period=0", "--force"]).await.map(drop),
    }
}

/// The sidecar's process in a pod, by the pod's uid in its control group.
async fn process_of(uid: &str) -> Result<Option<String>> {
    let mut processes = tokio::fs::read_dir("/proc").await?;
    while let Some(entry) = processes.next_entry().await? {
        let folder = entry.path();
        let read = async |file: &str| tokio::fs::read_to_string(folder.join(file)).await.unwrap_or_default();
        let is_sidecar = read("cmdline").await.starts_with("/outrigger\0run");
        if is_sidecar && read("cgroup").await.contains(uid) {
            return Ok(entry.file_name().to_str().map(str::to_owned));
        }
    }
    Ok(None)
}
