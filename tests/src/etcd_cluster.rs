//! A cluster of the real etcd on a loopback range, started as its own documentation says, at its default settings.
//!
//! May import: `binaries`, `addresses`, `process`, `etcd_wire`, `wait`. Deliberately absent: tuning. It is the peer
//! that we are compared with, so it runs as people run it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::addresses::AddressRange;
use crate::etcd_wire::Client;
use crate::process::{Process, Spec};
use crate::wait;

/// Time for a leader to appear after a start.
const START: Duration = Duration::from_secs(60);

/// Members of one etcd cluster; all end when it is dropped.
#[derive(Debug)]
pub struct EtcdCluster {
    range: AddressRange,
    program: PathBuf,
    folder: PathBuf,
    processes: Vec<Process>,
}

impl EtcdCluster {
    /// Starts `size` members of `program` with their data below `folder`, and waits until they have a leader and
    /// answer a linearizable read. Data that is already there is used.
    ///
    /// # Errors
    /// When a member cannot be started or no leader appears; the text carries the logs' ends.
    pub async fn start(program: &Path, folder: &Path, size: u8) -> Result<Self> {
        let range = AddressRange::claim()?;
        Self::start_on(range, program, folder, size).await
    }

    /// As [`EtcdCluster::start`], on a range that the data below `folder` was made on.
    ///
    /// # Errors
    /// As for [`EtcdCluster::start`].
    pub async fn start_on(range: AddressRange, program: &Path, folder: &Path, size: u8) -> Result<Self> {
        let mut cluster =
            Self { range, program: program.to_owned(), folder: folder.to_owned(), processes: Vec::new() };
        for ordinal in 0..size {
            let spec = cluster.spec(ordinal, size);
            cluster.processes.push(Process::spawn(spec)?);
        }
        cluster.serving().await?;
        Ok(cluster)
    }

    /// Waits until every member answers a linearizable read.
    ///
    /// # Errors
    /// When one does not in time.
    pub async fn serving(&self) -> Result<()> {
        for address in self.endpoints() {
            let mut client = Client::lazy(address).context("making a client")?;
            let probe = async || client.get(&"started?".into(), false, Duration::from_secs(1)).await;
            let seen = wait::until_ok(&format!("an answer of etcd at {address}"), START, probe).await;
            seen.with_context(|| {
                let logs: Vec<String> = self.processes.iter().map(|process| process.log_tail(10)).collect();
                logs.join("\n")
            })?;
        }
        Ok(())
    }

    /// The members' client addresses, by ordinal.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        let ordinals = (1..).take(self.processes.len());
        ordinals.map(|last| SocketAddr::from((self.range.address(last), 2379))).collect()
    }

    /// The members' processes, by ordinal.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The same, to signal them.
    pub fn processes_mut(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// Starts a member that has ended, on its data.
    ///
    /// # Errors
    /// When there is no such member, or it cannot be started.
    pub fn restart(&mut self, ordinal: usize) -> Result<()> {
        let process = self.processes.get_mut(ordinal).with_context(|| format!("no member {ordinal}"))?;
        ensure!(!process.is_running(), "etcd-{ordinal} is running already");
        *process = Process::spawn(process.spec().clone())?;
        Ok(())
    }

    /// Ends all members and gives the range back, for a later start on the same addresses.
    #[must_use]
    pub fn into_range(self) -> AddressRange {
        let Self { range, program: _, folder: _, processes } = self;
        drop(processes);
        range
    }

    fn spec(&self, ordinal: u8, size: u8) -> Spec {
        let url = |ordinal: u8, port: u16| format!("http://{}:{port}", self.range.address(ordinal + 1));
        let peers: Vec<String> = (0..size).map(|peer| format!("etcd-{peer}={}", url(peer, 2380))).collect();
        let name = format!("etcd-{ordinal}");
        Spec::new(&name, &self.program, self.folder.join(format!("{name}.log")))
            .flag("--name", name.as_str())
            .flag("--data-dir", self.folder.join(&name))
            .flag("--listen-client-urls", url(ordinal, 2379))
            .flag("--advertise-client-urls", url(ordinal, 2379))
            .flag("--listen-peer-urls", url(ordinal, 2380))
            .flag("--initial-advertise-peer-urls", url(ordinal, 2380))
            .flag("--initial-cluster", peers.join(","))
            .flag("--initial-cluster-token", "outrigger-tests")
            .flag("--log-level", "error")
    }
}
