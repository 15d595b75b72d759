//! `outrigger-operator local` as a person runs it: a manifest, the verbs of its command line, its status as JSON.
//!
//! May import: `binaries`, `addresses`, `process`, `wait`. Deliberately absent: the operator's own types. What is read
//! here is what the JSON says to any program, so a field that changes its name is noticed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::addresses::AddressRange;
use crate::binaries;
use crate::cluster::CLIENT_PORT;
use crate::etcd_wire::Client;
use crate::process::{Process, Spec};
use crate::wait;

/// Time for a change to be through: it may take a founding, four joins and the transfer of a snapshot each.
const SETTLED: Duration = Duration::from_secs(120);

/// Time for a verb to be answered: stopping waits for all members.
const ANSWERED: Duration = Duration::from_secs(90);

/// What `local status -o json` says, as far as tests ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// `spec.replicas`.
    pub replicas: usize,
    /// The resource's status.
    pub status: Status,
    /// What the last pass did or waits for.
    pub doing: String,
    /// One a process.
    pub members: Vec<Member>,
}

/// One process, as the runner knows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    /// Its process id, while it runs.
    pub process: Option<u32>,
}

/// The resource's status.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster's id, once it is certain.
    pub cluster_id: Option<String>,
    /// `Founding`, `Healthy`, …
    pub phase: String,
    /// Voters of the configuration.
    pub voters: usize,
    /// Learners of the configuration.
    pub learners: usize,
    /// Voters that serve and are caught up.
    pub ready_replicas: usize,
    /// One a process.
    #[serde(default)]
    pub members: Vec<MemberStatus>,
    /// What machines wait on.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One condition.
#[derive(Clone, Debug, Deserialize)]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// For people.
    pub message: String,
}

/// One process.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The pod.
    pub name: String,
    /// Its member id, once it answered.
    pub id: Option<String>,
    /// `Ready`, `CatchingUp`, …
    pub health: String,
}

impl View {
    /// The ids of the members, by ordinal.
    ///
    /// # Errors
    /// When one of them is not known.
    pub fn ids(&self) -> Result<Vec<String>> {
        let id = |member: &MemberStatus| member.id.clone().with_context(|| format!("no id of {member:?}"));
        self.status.members.iter().map(id).collect()
    }
}

/// A running `outrigger-operator local`; it and its members end when it is dropped.
#[derive(Debug)]
pub struct LocalRunner {
    /// Its loopback range.
    pub range: AddressRange,
    name: String,
    program: PathBuf,
    data: PathBuf,
    spec: Spec,
    process: Process,
}

impl LocalRunner {
    /// Runs `manifest` with its data below `folder`, on a loopback range of its own.
    ///
    /// # Errors
    /// When the manifest has no name, a program is missing, or no range is free.
    pub fn start(manifest: &Path, folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(manifest).with_context(|| format!("reading {}", manifest.display()))?;
        let name = serde_yaml::from_str::<Manifest>(&text).context("a manifest with a name")?.metadata.name;
        let range = AddressRange::claim()?;
        let network = format!("{}/24", range.address(0));
        let (program, data) = (binaries::operator()?, folder.join("data"));
        let spec = Spec::new("outrigger-operator", &program, folder.join("operator.log"))
            .argument("local")
            .flag("-f", manifest)
            .flag("--data-dir", &data)
            .flag("--loopback", network)
            .flag("--sidecar", binaries::outrigger()?)
            .argument("--plain");
        let process = Process::spawn(spec.clone())?;
        Ok(Self { range, name, program, data, spec, process })
    }

    /// Where the clients of the first `members` members speak to, by ordinal.
    #[must_use]
    pub fn endpoints(&self, members: u8) -> Vec<SocketAddr> {
        let addresses = (1..=members).map(|last| self.range.address(last));
        addresses.map(|address| SocketAddr::from((address, CLIENT_PORT))).collect()
    }

    /// A client of one member's etcd API.
    ///
    /// # Errors
    /// Never for an address of this form.
    pub fn etcd(&self, ordinal: u8) -> Result<Client> {
        let address = SocketAddr::from((self.range.address(ordinal + 1), CLIENT_PORT));
        Client::lazy(address).context("making a client")
    }

    /// A member's data directory.
    #[must_use]
    pub fn volume(&self, ordinal: u8) -> PathBuf {
        self.data.join("volumes").join(format!("{}-{ordinal}", self.name))
    }

    /// How `local VERB NAME …` ended, and what it printed.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub async fn outcome(&self, verb: &str, more: &[&str]) -> Result<Output> {
        let asked = Command::new(&self.program)
            .args(["local", verb, &self.name])
            .args(more)
            .arg("--data-dir")
            .arg(&self.data)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(ANSWERED, asked)
            .await
            .with_context(|| format!("local {verb}"))?
            .with_context(|| format!("local {verb}"))
    }

    /// What `local VERB NAME …` printed on standard output.
    ///
    /// # Errors
    /// When it did not succeed, with what it said.
    pub async fn verb(&self, verb: &str, more: &[&str]) -> Result<String> {
        let output = self.outcome(verb, more).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "local {verb} {more:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What stands.
    ///
    /// # Errors
    /// When the run does not answer yet, or in other words than [`View`]'s.
    pub async fn view(&self) -> Result<View> {
        parsed(&self.verb("status", &["-o", "json"]).await?)
    }

    /// `local scale NAME --replicas N`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn scale(&self, replicas: usize) -> Result<()> {
        self.verb("scale", &["--replicas", &replicas.to_string()]).await.map(drop)
    }

    /// Waits until the cluster is as a spec with so many `replicas` says: all voters, all ready, nothing else running.
    ///
    /// # Errors
    /// When it is not in time; the text carries the end of the run's output.
    pub async fn settled(&self, replicas: usize) -> Result<View> {
        let what = format!("{replicas} settled members");
        let settled = wait::until_ok(&what, SETTLED, async || {
            let view = self.view().await?;
            let Status { phase, voters, learners, ready_replicas, members, .. } = &view.status;
            ensure!(view.replicas == replicas && phase == "Healthy", "it is {phase}, and {}", view.doing);
            let counts = [*voters, *ready_replicas, members.len()];
            ensure!(counts == [replicas; 3] && *learners == 0, "it is {:?}", view.status);
            Ok(view)
        });
        settled.await.with_context(|| self.process.log_tail(40))
    }

    /// `kill -9`, and the same command again at once.
    ///
    /// # Errors
    /// When it cannot be killed or started.
    pub fn kill_and_start_again(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process = Process::spawn(self.spec.clone())?;
        Ok(())
    }

    /// `local stop NAME`, which must end the run with success.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_and_keep().await
    }

    /// The same; what is left can be spoken to.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub async fn stop_and_keep(&mut self) -> Result<()> {
        let said = self.verb("stop", &[]).await?;
        let status = self.process.ended(ANSWERED).await?;
        ensure!(status.success() && said.contains("stopped"), "it ended with {status} and said {said}");
        Ok(())
    }

    /// Where all its data is.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }
}

/// The one part of a manifest that is asked for here.
#[derive(Deserialize)]
struct Manifest {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

fn parsed<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).with_context(|| format!("reading {json}"))
}
