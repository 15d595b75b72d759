use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use outrigger_tests::proc_stat::Usage;
use outrigger_tests::wait;
use serde_json::{Value, json};

use crate::audit::{self, Request};
use crate::kubectl::Kubectl;
use crate::subject::manifest;
use crate::{Outcome, World, seen};

/// How long it may take until each has its objects and says what it waits for.
const CONVERGED: Duration = Duration::from_secs(400);
/// Between two looks at all of them.
const ASKED_EACH: Duration = Duration::from_secs(5);
/// How long nothing is written before it counts as rest, and for how long rest is then watched.
const CALM: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(30);

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let Some(log) = &world.audit_log else {
        seen("skipped: the API server's audit log is not at hand");
        return Ok(Outcome::default());
    };
    let count = world.many;
    // Nobody schedules their pods: what is measured is the operator, not the machine.
    let spec = json!({"template": {"spec": {"schedulerName": "nobody"}}});
    let items: Vec<Value> = (0..count).map(|number| manifest(&format!("many-{number}"), &spec)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let began = Instant::now();
    kubectl.apply(&list.to_string()).await?;
    let applied = began.elapsed();
    wait::until_ok("all of them have their objects", CONVERGED, async || has_converged(kubectl, count).await)
        .await?;
    let converged = began.elapsed();
    seen(&format!(
        "{count} applied in {} s, and converged {} s later",
        applied.as_secs(),
        (converged - applied).as_secs()
    ));

    let before = at_rest(log).await?;
    let process = operator().await?;
    let used = Usage::of(process)?.cpu;
    // There is no condition to wait for: that nothing happens takes time to see.
    tokio::time::sleep(WATCHED).await;
    let requests = audit::of_the_operator(log).await?.split_off(before);
    let writes: Vec<&Request> = requests.iter().filter(|request| request.is_write()).collect();
    ensure!(writes.is_empty(), "it wrote while nothing changed: {writes:?}");
    let now = Usage::of(process)?;
    let cpu = (now.cpu - used).as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    let (memory, rate) = (now.rss_bytes >> 20, u64::try_from(requests.len())? / WATCHED.as_secs());
    let note = format!("at rest with {count}: {rate} reads/s, no write, {cpu:.0} % of a core, {memory} MiB");
    seen(&note);
    Ok(Outcome {
        notes: vec![format!("converged {} s after the apply", (converged - applied).as_secs()), note],
        ..Outcome::default()
    })
}

async fn has_converged(kubectl: &Kubectl, count: usize) -> Result<()> {
    // Whoever asks for all of them again and again is what it measures.
    tokio::time::sleep(ASKED_EACH).await;
    let found = kubectl.get(&["raftclusters"]).await?;
    let items = found.get("items").and_then(Value::as_array).context("no items")?;
    let told = items.iter().filter(|item| item.pointer("/status/observedGeneration").is_some()).count();
    let sets = kubectl.run(&["get", "statefulsets", "-o", "name"]).await?.lines().count();
    ensure!(told == count && sets == count, "{told} of {count} have a status, {sets} a StatefulSet");
    Ok(())
}

/// Waits until nothing is written any more; how many requests there were by then.
async fn at_rest(log: &std::path::Path) -> Result<usize> {
    let (began, mut since) = (Instant::now(), Instant::now());
    let mut seen = audit::of_the_operator(log).await?.len();
    while since.elapsed() < CALM {
        ensure!(began.elapsed() < CONVERGED, "it never came to rest");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = audit::of_the_operator(log).await?;
        if now.iter().skip(seen).any(Request::is_write) {
            since = Instant::now();
        }
        seen = now.len();
    }
    Ok(seen)
}

/// The process of the operator that leads: it is the one that has more in its hands.
async fn operator() -> Result<u32> {
    let mut processes = tokio::fs::read_dir("/proc").await?;
    let mut found = Vec::new();
    while let Some(entry) = processes.next_entry().await? {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let command = tokio::fs::read_to_string(entry.path().join("cmdline")).await.unwrap_or_default();
        if command.starts_with("/outrigger-operator\0run") {
            found.push((Usage::of(process)?.rss_bytes, process));
        }
    }
    found.into_iter().max().map(|(_, process)| process).context("no operator runs on this machine")
}
