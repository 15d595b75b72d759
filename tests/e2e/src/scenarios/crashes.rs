use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use outrigger_tests::wal_damage;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::kubectl::{Kubectl, tell};
use crate::scenarios::story::kill_the_process;
use crate::subject::{Subject, condition, ids, manifest, number};
use crate::writer::Writer;
use crate::{Outcome, World, seen};

/// Where it dies, by turns: before a step that it has announced, and after one; in both, also after each object that it has written or
/// deleted on the way.
const TURNS: [&str; 2] = ["status-written", "step-taken"];
const ALWAYS: [&str; 4] = ["child-applied", "secret-written", "claim-deleted", "set-orphaned"];
/// How long a change may take an operator that dies all the time.
const LONGEST: Duration = Duration::from_secs(300);
const SYSTEM: &str = "outrigger-system";
const DEPLOYMENT: &str = "deployment/outrigger";

pub(crate) async fn run(world: &World, kubectl: &Kubectl) -> Result<Outcome> {
    let Some(operator) = &world.operator else {
        seen("skipped: no operator with fail points is at hand (--operator)");
        return Ok(Outcome::default());
    };
    let system = Kubectl::new(SYSTEM);
    system.run(&["scale", DEPLOYMENT, "--replicas=0"]).await?;
    system.run(&["rollout", "status", DEPLOYMENT, "--timeout=60s"]).await?;
    let kubeconfig = std::env::temp_dir().join(format!("outrigger-e2e-{}.json", std::process::id()));
    let done = with_the_deployment_away(kubectl, operator, &kubeconfig).await;
    system.run(&["scale", DEPLOYMENT, "--replicas=2"]).await?;
    tokio::fs::remove_file(&kubeconfig).await.ok();
    done
}

async fn with_the_deployment_away(kubectl: &Kubectl, operator: &Path, kubeconfig: &Path) -> Result<Outcome> {
    tokio::fs::write(kubeconfig, as_the_operator().await?.to_string()).await?;
    let subject = Subject { kubectl: kubectl.clone(), name: "mortal".to_owned() };
    let mut mortal = Mortal {
        subject: subject.clone(),
        operator: operator.to_owned(),
        kubeconfig: kubeconfig.to_owned(),
        turn: 0,
        deaths: BTreeMap::new(),
        cluster: None,
    };
    kubectl.apply(&manifest("mortal", &json!({})).to_string()).await?;
    mortal.until("founding", |status| number(status, "voters") == 3).await?;
    let writer = Writer::start(subject.service().await?)?;
    for replicas in [5, 3] {
        kubectl.run(&["scale", "raftcluster/mortal", &format!("--replicas={replicas}")]).await?;
        mortal
            .until(&format!("a scale to {replicas}"), |status| number(status, "voters") == replicas)
            .await?;
    }
    subject.patch(&json!({"sidecar": {"image": "docker.io/library/outrigger:roll"}})).await?;
    let rolled = async |_: &Value| pods_run(kubectl, "docker.io/library/outrigger:roll").await;
    mortal.until_seen("a roll", rolled).await?;
    subject.patch(&json!({"storage": {"size": "2Gi"}})).await?;
    mortal.until("growth", |status| status.get("provisionedStorage") == Some(&json!("2Gi"))).await?;
    let before = ids(&subject.status().await?);
    rot(kubectl, "mortal-1").await?;
    let replaced =
        |status: &Value| ids(status).len() == 3 && ids(status).get("mortal-1") != before.get("mortal-1");
    mortal.until("a replacement", replaced).await?;
    let proof = writer.finish().await?;
    mortal.ensure_everywhere()?;
    let mut outcome = Outcome::of(proof).within(Duration::from_secs(5))?;
    outcome.notes =
        mortal.deaths.iter().map(|(place, steps)| format!("died {place}: {}", summary(steps))).collect();
    Ok(outcome)
}

/// How often at which step.
fn summary(steps: &BTreeMap<String, u32>) -> String {
    steps.iter().map(|(step, count)| format!("{step} ×{count}")).collect::<Vec<_>>().join(", ")
}

/// What kubectl uses, as the operator's own account: all that it is denied, it is denied here too.
async fn as_the_operator() -> Result<Value> {
    let said =
        tell("kubectl", &["config", "view", "--raw", "--minify", "--flatten", "-o", "json"], None).await?;
    ensure!(said.ok, "{}", said.err);
    let mut config: Value = serde_json::from_str(&said.out)?;
    let token = Kubectl::new(SYSTEM).run(&["create", "token", "outrigger", "--duration=1h"]).await?;
    let users = config.get_mut("users").and_then(Value::as_array_mut).context("no users")?;
    for user in users {
        user["user"] = json!({"token": token.trim()});
    }
    Ok(config)
}

/// A bit of a member's log flips on its disk, and its process ends: it comes back as `Faulted`.
async fn rot(kubectl: &Kubectl, pod: &str) -> Result<()> {
    let claim = kubectl.get(&["pvc", &format!("outrigger-data-{pod}")]).await?;
    let volume =
        claim.pointer("/spec/volumeName").and_then(Value::as_str).context("the claim has no volume")?;
    let path = kubectl.run(&["get", "pv", volume, "-o", "jsonpath={.spec.local.path}"]).await?;
    let data = PathBuf::from(path).join("data");
    tokio::task::spawn_blocking(move || wal_damage::flip_a_bit_in_the_middle(&data)).await??;
    kill_the_process(kubectl, pod).await
}

async fn pods_run(kubectl: &Kubectl, image: &str) -> Result<bool> {
    let path = "{.items[*].spec.initContainers[0].image}";
    let images = kubectl
        .run(&["get", "pods", "-l", "outrigger.dev/cluster=mortal", "-o", &format!("jsonpath={path}")])
        .await?;
    Ok(images.split_whitespace().count() == 3 && images.split_whitespace().all(|found| found == image))
}

/// An operator that does not live long.
struct Mortal {
    subject: Subject,
    operator: PathBuf,
    kubeconfig: PathBuf,
    turn: usize,
    /// Where it died, at which steps, how often.
    deaths: BTreeMap<String, BTreeMap<String, u32>>,
    cluster: Option<String>,
}

impl Mortal {
    async fn until(&mut self, what: &str, is_done: impl Fn(&Value) -> bool) -> Result<()> {
        self.until_seen(what, async |status: &Value| Ok(is_done(status))).await
    }

    /// Starts it again and again, until the cluster is as it should be.
    async fn until_seen(&mut self, what: &str, is_done: impl AsyncFn(&Value) -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        let mut lives = 0;
        loop {
            let mut child = self.start().await?;
            lives += 1;
            let ended = loop {
                ensure!(began.elapsed() < LONGEST, "{what}: not done after {LONGEST:?} and {lives} lives");
                tokio::select! {
                    ended = child.wait() => break Some(ended?),
                    () = tokio::time::sleep(Duration::from_millis(250)) => {}
                }
                if self.is_settled(&is_done).await? {
                    break None;
                }
            };
            let Some(ended) = ended else {
                child.kill().await?;
                seen(&format!(
                    "{what}: done after {lives} lives of the operator, {} s",
                    began.elapsed().as_secs()
                ));
                return Ok(());
            };
            self.note_death(ended).await?;
        }
    }

    async fn start(&mut self) -> Result<Child> {
        let turn = TURNS.iter().cycle().nth(self.turn);
        let places: Vec<String> = ALWAYS.iter().chain(turn).map(|place| format!("{place}=return")).collect();
        self.turn += 1;
        let log = std::fs::File::create(self.log())?;
        let mut command = Command::new(&self.operator);
        command
            .args(["run", "--leader-election=false", "--sidecar-image=docker.io/library/outrigger:0.1.0"])
            .args(["--operator-namespace", SYSTEM, "--http-listen=127.0.0.1:18080", "--log-format=json"])
            .args(["--namespace", self.subject.kubectl.namespace()])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("FAILPOINTS", places.join(";"))
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .kill_on_drop(true);
        command.spawn().with_context(|| format!("starting {}", self.operator.display()))
    }

    fn log(&self) -> PathBuf {
        self.kubeconfig.with_extension("log")
    }

    /// It died at a place that was asked for, and nowhere else.
    async fn note_death(&mut self, ended: std::process::ExitStatus) -> Result<()> {
        let log = tokio::fs::read_to_string(self.log()).await?;
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let field = |name: &str| {
            let found = |line: &Value| {
                line.pointer(&format!("/fields/{name}")).and_then(Value::as_str).map(str::to_owned)
            };
            lines.iter().rev().find_map(found)
        };
        let Some(place) = field("place") else { bail!("the operator ended by itself ({ended}): {log}") };
        let step = match place.as_str() {
            "child-applied" => field("object").unwrap_or_default(),
            "secret-written" => field("secret").unwrap_or_default(),
            "set-orphaned" => String::new(),
            _ => field("step").unwrap_or_default(),
        };
        // The kind of step, without its numbers and names.
        let step = step.split([' ', ':']).next().unwrap_or_default().to_owned();
        *self.deaths.entry(place).or_default().entry(step).or_default() += 1;
        Ok(())
    }

    /// Whether all is as it should be; and there is never a second cluster.
    async fn is_settled(&mut self, is_done: &impl AsyncFn(&Value) -> Result<bool>) -> Result<bool> {
        let object = self.subject.kubectl.get(&["raftcluster/mortal"]).await?;
        let Some(status) = object.get("status") else { return Ok(false) };
        if let Some(cluster) = status.get("clusterId").and_then(Value::as_str) {
            let first = self.cluster.get_or_insert_with(|| cluster.to_owned());
            ensure!(first == cluster, "the cluster {first} became {cluster}");
        }
        let ready = condition(status, "Ready").is_some_and(|(holds, _)| holds);
        let current = status.get("observedGeneration") == object.pointer("/metadata/generation");
        Ok(ready && current && is_done(status).await?)
    }

    /// A place where it never died was not tested.
    fn ensure_everywhere(&self) -> Result<()> {
        let places = ALWAYS.iter().chain(&TURNS);
        let never: Vec<_> = places.filter(|place| !self.deaths.contains_key(**place)).collect();
        ensure!(never.is_empty(), "it never died at {never:?}");
        Ok(())
    }
}
