use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_tests::wait;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::scenarios::upgrade::helm;
use crate::subject::{CHANGE, Subject};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

/// How long an authority is believed beside the next one: longer than the kubelets of the test cluster take to bring a Secret,
/// and longer than any kubelet with its own defaults does.
const OVERLAP: &str = "30s";
const OVERLAP_ELSEWHERE: &str = "180s";
/// Two overlaps of the longer kind.
const REPLACED: Duration = Duration::from_secs(480);
/// The members' Secret, and the authority's.
const MEMBERS: &str = "sealed-peer-tls";
const AUTHORITY: &str = "sealed-ca";

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let overlap = if world.audit_log.is_some() { OVERLAP } else { OVERLAP_ELSEWHERE };
    set_overlap(world, overlap).await?;
    let sealed = Subject::create(kubectl, "sealed", &json!({})).await?;
    let stranger = Subject::create(kubectl, "stranger", &json!({"replicas": 1})).await?;
    let at = pod_address(kubectl, "sealed-0").await?;
    who_may_what(&sealed, &stranger, &at).await?;
    kubectl.run(&["delete", "raftcluster/stranger", "--wait=false"]).await?;

    let writer = Writer::start(sealed.service().await?)?;
    let before = pods(kubectl).await?;
    let authority = file(kubectl, AUTHORITY, "ca.crt").await?;
    kubectl.run(&["delete", "secret", MEMBERS]).await?;
    wait::until_ok("the members' Secret", CHANGE, async || {
        ensure!(file(kubectl, MEMBERS, "ca.crt").await? == authority, "another authority is believed");
        anyhow::Ok(())
    })
    .await?;
    seen("the members' Secret, deleted by hand, is made anew under the same authority");

    kubectl.run(&["delete", "secret", AUTHORITY]).await?;
    believed(kubectl, 2).await?;
    seen("the authority's Secret is deleted: a new authority is believed beside the old one");
    believed(kubectl, 1).await?;
    ensure!(file(kubectl, MEMBERS, "ca.crt").await? != authority, "it is the old one that is left");
    let former = file(kubectl, AUTHORITY, "former.crt").await;
    ensure!(former.is_err(), "the old one is still kept");
    // New connections, under the new authority alone.
    let leader = sealed.leader().await?;
    kubectl.run(&["delete", "pod", &leader, "--wait=true"]).await?;
    sealed
        .until("another leader", |status| {
            let now = status.pointer("/leader/name").and_then(Value::as_str).context("nobody leads")?;
            ensure!(now != leader, "{leader} still leads");
            Ok(())
        })
        .await?;
    sealed.ready().await?;
    let after = pods(kubectl).await?;
    let restarted: Vec<_> =
        before.iter().filter(|(name, _)| *name != leader).filter(|pod| !after.contains(pod)).collect();
    ensure!(restarted.is_empty(), "restarted for a certificate: {restarted:?}, now {after:?}");
    seen("it is replaced in steps, no member is restarted for it, and a member that comes anew is let in");
    set_overlap(world, "1h").await?;
    Outcome::of(writer.finish().await?).within(Duration::from_secs(5))
}

/// The member's own certificate, another member's, another cluster's, and none.
async fn who_may_what(sealed: &Subject, stranger: &Subject, at: &str) -> Result<()> {
    let asked = |verb: &'static str| ["--admin-endpoint", at, verb];
    sealed.outrigger("sealed-0", &["status"]).await?;
    sealed.outrigger("sealed-1", &asked("status")).await?;
    let refused =
        sealed.outrigger("sealed-1", &asked("drain")).await.err().context("another member drained it")?;
    ensure!(refused.to_string().contains("PermissionDenied"), "{refused}");
    let refused = stranger.outrigger("stranger-0", &asked("status")).await.err();
    let refused = refused.context("another cluster's certificate is believed")?;
    ensure!(refused.to_string().contains("is not reached under the certificate"), "{refused}");
    // No certificate, and no TLS at all.
    let url = format!("http://{at}/");
    let plain = ["exec", "sealed-0", "-c", "app", "--", "/busybox", "wget", "-qO-", &url];
    let plain = sealed.kubectl.try_run(&plain, None).await?;
    ensure!(!plain.ok, "the peer port is plain: {}", plain.out);
    let metrics = sealed
        .kubectl
        .run(&[
            "exec",
            "sealed-0",
            "-c",
            "app",
            "--",
            "/busybox",
            "wget",
            "-qO-",
            "http://127.0.0.1:2381/metrics",
        ])
        .await?;
    let counted = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        line.with_context(|| format!("no metric {name}"))
    };
    ensure!(
        counted("outrigger_peer_tls_handshake_failures_total")? >= 2,
        "failed handshakes are not counted"
    );
    ensure!(
        counted("outrigger_peer_calls_refused_total{reason=\"wrong_certificate\"}")? >= 1,
        "refused calls are not counted"
    );
    seen(
        "a member's own certificate may ask it; another member's may not drain it; a stranger's and none are refused",
    );
    Ok(())
}

async fn set_overlap(world: &World, overlap: &str) -> Result<()> {
    let chart = world.chart.display().to_string();
    let value = format!("certificates.authorityOverlap={overlap}");
    helm(&["upgrade", "outrigger", &chart, "--reuse-values", "--set", &value, "--wait", "--timeout=120s"])
        .await
        .map(drop)
}

async fn pod_address(kubectl: &Kubectl, pod: &str) -> Result<String> {
    let ip = kubectl.run(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]).await?;
    Ok(format!("{}:2380", ip.trim()))
}

/// A file of a Secret, as it is encoded there.
async fn file(kubectl: &Kubectl, secret: &str, file: &str) -> Result<String> {
    let found = kubectl.get(&["secret", secret]).await?;
    let text = found.get("data").and_then(|data| data.get(file)).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("{secret} has no {file}"))
}

/// Waits until every member believes so many authorities, by its log, which is the last to know.
async fn believed(kubectl: &Kubectl, count: usize) -> Result<()> {
    wait::until_ok(&format!("{count} authorities are believed"), REPLACED, async || {
        for pod in ["sealed-0", "sealed-1", "sealed-2"] {
            let log = kubectl.run(&["logs", pod, "-c", "outrigger-sidecar"]).await?;
            let last = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let last = last.filter_map(|line| line.get("authorities").and_then(Value::as_u64)).next_back();
            ensure!(last == u64::try_from(count).ok(), "{pod} believes {last:?}");
        }
        anyhow::Ok(())
    })
    .await
}

/// Each pod with its uid and how often its containers were started.
async fn pods(kubectl: &Kubectl) -> Result<Vec<(String, String)>> {
    let found = kubectl.get(&["pods", "-l", "outrigger.dev/cluster=sealed"]).await?;
    let items = found.get("items").and_then(Value::as_array).into_iter().flatten();
    Ok(items
        .filter_map(|pod| {
            let name = pod.pointer("/metadata/name")?.as_str()?.to_owned();
            let restarts = pod.pointer("/status/initContainerStatuses/0/restartCount")?;
            Some((name, format!("{} {restarts}", pod.pointer("/metadata/uid")?)))
        })
        .collect())
}
