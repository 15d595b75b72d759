//! The RaftCluster that a scenario is about: its manifest, its status, its pods.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_tests::wait;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;

/// How long a change of members, with pods that start, may take on two cores.
pub(crate) const CHANGE: Duration = Duration::from_secs(150);
/// The port of clients.
const CLIENT_PORT: u16 = 2379;

/// One RaftCluster.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Where it is.
    pub(crate) kubectl: Kubectl,
    /// Its name.
    pub(crate) name: String,
}

/// A manifest: what a person would write, with volumes that fit this machine and a repair that does not wait for minutes.
#[must_use]
pub(crate) fn manifest(name: &str, spec: &Value) -> Value {
    let mut whole = json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "RaftCluster",
        "metadata": {"name": name},
        "spec": {
            "replicas": 3,
            "consensus": {"quota": "64Mi"},
            "storage": {"size": "1Gi"},
            "repair": {"policy": "Automatic", "unhealthyAfter": "20s"},
            "sidecar": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}},
            "template": {"spec": {
                "containers": [{
                    "name": "app",
                    "image": "localhost/outrigger-test/etcdctl:1",
                    "imagePullPolicy": "Never",
                    "command": ["/busybox", "sleep", "1000000"],
                    "env": [{"name": "ETCDCTL_ENDPOINTS", "value": "http://127.0.0.1:2379"}],
                }],
                "terminationGracePeriodSeconds": 1,
                "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"outrigger.dev/cluster": name}},
                    },
                }]}},
            }},
        },
    });
    if let Some(into) = whole.get_mut("spec") {
        merge(into, spec);
    }
    whole
}

/// A merge as `kubectl patch --type merge` does it.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

impl Subject {
    /// Applies a manifest and waits until it is Ready, as a person would.
    ///
    /// # Errors
    /// It is refused, or does not become Ready.
    pub(crate) async fn create(kubectl: &Kubectl, name: &str, spec: &Value) -> Result<Self> {
        let subject = Self { kubectl: kubectl.clone(), name: name.to_owned() };
        kubectl.apply(&manifest(name, spec).to_string()).await?;
        subject.ready().await?;
        Ok(subject)
    }

    fn resource(&self) -> String {
        format!("raftcluster/{}", self.name)
    }

    /// Waits for the condition `Ready` at the present generation.
    ///
    /// # Errors
    /// It does not become so; with its conditions.
    pub(crate) async fn ready(&self) -> Result<Value> {
        self.until("Ready", |status| {
            ensure!(condition(status, "Ready").is_some_and(|(holds, _)| holds), "{}", in_words(status));
            Ok(())
        })
        .await
    }

    /// Waits until the status of the present generation is as `wanted` says.
    ///
    /// # Errors
    /// It does not become so; with what it was.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> Result<()>) -> Result<Value> {
        wait::until_ok(&format!("{}: {what}", self.name), CHANGE, async || {
            let object = self.kubectl.get(&[&self.resource()]).await?;
            let status = object.get("status").cloned().context("it has no status yet")?;
            ensure!(
                status.get("observedGeneration") == object.pointer("/metadata/generation"),
                "the operator has not seen the newest generation"
            );
            wanted(&status)?;
            anyhow::Ok(status)
        })
        .await
    }

    /// The status as it is.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn status(&self) -> Result<Value> {
        let object = self.kubectl.get(&[&self.resource()]).await?;
        object.get("status").cloned().context("it has no status")
    }

    /// Waits until a condition holds; gives its message.
    ///
    /// # Errors
    /// It does not come to hold.
    pub(crate) async fn told(&self, kind: &str) -> Result<String> {
        let status = self
            .until(kind, |status| {
                ensure!(condition(status, kind).is_some_and(|(holds, _)| holds), "{}", in_words(status));
                Ok(())
            })
            .await?;
        Ok(condition(&status, kind).map(|(_, message)| message).unwrap_or_default())
    }

    /// The pod that leads, by the status.
    ///
    /// # Errors
    /// Nobody does.
    pub(crate) async fn leader(&self) -> Result<String> {
        let status = self.status().await?;
        let name = status.pointer("/leader/name").and_then(Value::as_str);
        name.map(str::to_owned).context("nobody leads")
    }

    /// Changes the spec.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) async fn patch(&self, spec: &Value) -> Result<()> {
        self.kubectl.patch(&self.resource(), &json!({"spec": spec})).await
    }

    /// Where the client Service is.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn service(&self) -> Result<SocketAddr> {
        let service = self.kubectl.get(&["service", &format!("{}-client", self.name)]).await?;
        let address =
            service.pointer("/spec/clusterIP").and_then(Value::as_str).context("it has no address")?;
        Ok(SocketAddr::new(address.parse().context("its address")?, CLIENT_PORT))
    }

    /// The reasons of the Events that were told of it.
    ///
    /// # Errors
    /// kubectl's.
    pub(crate) async fn event_reasons(&self) -> Result<Vec<String>> {
        let field = format!("involvedObject.name={},involvedObject.kind=RaftCluster", self.name);
        let events = self.kubectl.get(&["events", "--field-selector", &field]).await?;
        let events = events.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(events.iter().filter_map(|event| Some(event.get("reason")?.as_str()?.to_owned())).collect())
    }

    /// Demands that an Event of a reason was told.
    ///
    /// # Errors
    /// It was not.
    pub(crate) async fn was_told(&self, reason: &str) -> Result<()> {
        wait::until_ok(&format!("an Event {reason}"), Duration::from_secs(20), async || {
            let reasons = self.event_reasons().await?;
            ensure!(reasons.iter().any(|found| found == reason), "there are {reasons:?}");
            anyhow::Ok(())
        })
        .await
    }

    /// Runs the sidecar's own command in a pod.
    ///
    /// # Errors
    /// It fails.
    pub(crate) async fn outrigger(&self, pod: &str, args: &[&str]) -> Result<String> {
        let command = [&["exec", pod, "-c", "outrigger-sidecar", "--", "/outrigger"], args].concat();
        self.kubectl.run(&command).await
    }
}

/// The members' ids, by pod.
#[must_use]
pub(crate) fn ids(status: &Value) -> BTreeMap<String, String> {
    let members = status.get("members").and_then(Value::as_array).into_iter().flatten();
    members
        .filter_map(|member| {
            Some((member.get("name")?.as_str()?.to_owned(), member.get("id")?.as_str()?.to_owned()))
        })
        .collect()
}

/// Whether a condition holds, and its message.
#[must_use]
pub(crate) fn condition(status: &Value, kind: &str) -> Option<(bool, String)> {
    let conditions = status.get("conditions")?.as_array()?;
    let found = conditions.iter().find(|found| found.get("type").and_then(Value::as_str) == Some(kind))?;
    let message = found.get("message").and_then(Value::as_str).unwrap_or_default();
    Some((found.get("status").and_then(Value::as_str) == Some("True"), message.to_owned()))
}

/// A number in the status.
#[must_use]
pub(crate) fn number(status: &Value, field: &str) -> i64 {
    status.get(field).and_then(Value::as_i64).unwrap_or_default()
}

fn in_words(status: &Value) -> String {
    let all = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let said = all.filter(|found| found.get("status").and_then(Value::as_str) == Some("True")).map(|found| {
        let text = |field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{}: {}: {}", text("type"), text("reason"), text("message"))
    });
    format!("phase {}; {}", status.get("phase").unwrap_or(&Value::Null), said.collect::<Vec<_>>().join("; "))
}
