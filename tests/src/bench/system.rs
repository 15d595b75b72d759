//! One system under measurement, behind what both have in common: endpoints, pids, a leader, a way to kill it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::addresses::AddressRange;
use crate::cluster::Cluster;
use crate::etcd_cluster::EtcdCluster;
use crate::etcd_wire::Client;
use crate::process::Process;
use crate::wait;

/// Members of every measured cluster.
pub(super) const MEMBERS: u8 = 3;

/// Time to stop in order.
const STOP: Duration = Duration::from_secs(60);

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The real etcd.
    Etcd,
    /// This project.
    Outrigger,
}

/// A system and its executable.
#[derive(Clone, Debug)]
pub struct Side {
    /// Which.
    pub kind: Kind,
    /// Its executable.
    pub program: PathBuf,
    /// What the table calls it, with its version.
    pub title: String,
}

impl Side {
    /// Asks the executable for its version.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn new(kind: Kind, program: PathBuf, again: bool) -> Result<Self> {
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("asking {} for its version", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().and_then(|line| line.split_whitespace().last());
        let version = version.with_context(|| format!("{} tells no version", program.display()))?;
        let name = match kind {
            Kind::Etcd => "etcd",
            Kind::Outrigger => "outrigger",
        };
        let again = if again { " (again)" } else { "" };
        Ok(Self { kind, program, title: format!("{name} {version}{again}") })
    }
}

/// A running cluster of either kind.
#[derive(Debug)]
pub enum System {
    /// The real etcd.
    Etcd(Box<EtcdCluster>),
    /// This project.
    Outrigger(Box<Cluster>),
}

impl System {
    /// A new cluster that serves on every member.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(side: &Side, folder: &Path) -> Result<Self> {
        Ok(match side.kind {
            Kind::Etcd => Self::Etcd(Box::new(EtcdCluster::start(&side.program, folder, MEMBERS).await?)),
            Kind::Outrigger => {
                Self::Outrigger(Box::new(Cluster::start(&side.program, folder, MEMBERS).await?))
            }
        })
    }

    /// Members on data that a stopped cluster left, on the same addresses, until all serve again.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn start_again(side: &Side, range: AddressRange, folder: &Path) -> Result<Self> {
        Ok(match side.kind {
            Kind::Etcd => {
                let cluster = EtcdCluster::start_on(range, &side.program, folder, MEMBERS).await?;
                Self::Etcd(Box::new(cluster))
            }
            Kind::Outrigger => {
                let mut cluster = Cluster::prepare_on(range, &side.program, folder, MEMBERS).await?;
                cluster.spawn_all()?;
                cluster.serving().await?;
                Self::Outrigger(Box::new(cluster))
            }
        })
    }

    /// Stops every member in order and gives the addresses back.
    ///
    /// # Errors
    /// When a member does not end.
    pub async fn stop(mut self) -> Result<AddressRange> {
        for process in self.processes_mut() {
            process.terminate(STOP).await?;
        }
        match self {
            Self::Etcd(cluster) => Ok(cluster.into_range()),
            Self::Outrigger(cluster) => cluster.into_range().await,
        }
    }

    /// Where clients reach the members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        match self {
            Self::Etcd(cluster) => cluster.endpoints(),
            Self::Outrigger(cluster) => cluster.endpoints(),
        }
    }

    /// The members' pids.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        match self {
            Self::Etcd(cluster) => cluster.processes().iter().map(Process::pid).collect(),
            Self::Outrigger(cluster) => {
                cluster.members.iter().filter_map(|member| Some(member.process.as_ref()?.pid())).collect()
            }
        }
    }

    fn processes_mut(&mut self) -> Vec<&mut Process> {
        match self {
            Self::Etcd(cluster) => cluster.processes_mut().iter_mut().collect(),
            Self::Outrigger(cluster) => {
                cluster.members.iter_mut().filter_map(|member| member.process.as_mut()).collect()
            }
        }
    }

    /// The ordinal of the leader, asked through the etcd API of each member.
    ///
    /// # Errors
    /// When no member says that it leads.
    pub async fn leader(&self) -> Result<usize> {
        wait::until("a leader", Duration::from_secs(60), async || {
            for (ordinal, endpoint) in self.endpoints().into_iter().enumerate() {
                let status = Client::lazy(endpoint).ok()?.status(Duration::from_secs(1)).await;
                if status.is_ok_and(|status| status.is_leader()) {
                    return Some(ordinal);
                }
            }
            None
        })
        .await
    }

    /// Where clients reach the leader.
    ///
    /// # Errors
    /// As for [`System::leader`].
    pub async fn leader_endpoint(&self) -> Result<SocketAddr> {
        let leader = self.leader().await?;
        self.endpoints().get(leader).copied().context("the leader's address")
    }

    /// `kill -9` of one member.
    ///
    /// # Errors
    /// When it is down already.
    pub fn kill(&mut self, ordinal: usize) -> Result<()> {
        match self {
            Self::Etcd(cluster) => {
                let process = cluster.processes_mut().get_mut(ordinal).context("no such member")?;
                ensure!(process.is_running(), "etcd-{ordinal} is down already");
                process.kill()
            }
            Self::Outrigger(cluster) => cluster.kill(ordinal),
        }
    }

    /// Starts a killed member again and waits until every member serves.
    ///
    /// # Errors
    /// When one does not.
    pub async fn revive(&mut self, ordinal: usize) -> Result<()> {
        match self {
            Self::Etcd(cluster) => {
                cluster.restart(ordinal)?;
                cluster.serving().await
            }
            Self::Outrigger(cluster) => {
                cluster.spawn(ordinal)?;
                cluster.serving().await
            }
        }
    }
}
