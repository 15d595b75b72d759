//! The members of a cluster in the private network: started, made to fail, healed.
//!
//! May import: `cluster`, `process`, `wait`. Deliberately absent: which fault comes when, and judgement.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::network::{Network, range};
use super::plan::{Kind, Strike};
use crate::cluster::{Cluster, ClusterMember, STEP};
use crate::process::Process;
use crate::wait;

/// Small segments and snapshots often, so that a short run meets new segments, releases, and snapshots sent.
const FLAGS: [&str; 6] =
    ["--max-request-bytes", "65536", "--wal-segment-bytes", "1048576", "--snapshot-every-bytes", "1048576"];
/// Names the file that the members' fail points follow; see the storage's `fail_point`.
const FAIL_POINTS: &str = "OUTRIGGER_FAIL_POINTS";
/// Of 100 packets between members, lost on a lossy network.
const LOSS_PERCENT: u8 = 20;
/// How a member ends that cannot go on; the sidecar's `fatal`.
const EXIT_STATUS: i32 = 70;
/// What a panic says; also one that ended the process when it was to end anyway.
const PANIC: &str = "panicked at";
const ALARM: &str = "outrigger_nospace{cause=\"disk\"}";

/// What faults leave behind, counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traces {
    /// Packets that were dropped.
    dropped: u64,
    /// Syncs of the victim's log that took longer than any does on a disk that works.
    slow_syncs: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Members {
    // Before the network: what runs in it ends first.
    pub(super) cluster: Cluster,
    network: Network,
    folder: PathBuf,
}

impl Members {
    /// A cluster of `size` members that serves clients on each.
    ///
    /// # Errors
    /// When the network cannot be made or a step of the founding is not seen in time.
    pub(super) async fn start(program: &std::path::Path, folder: &std::path::Path, size: u8) -> Result<Self> {
        let network = Network::build(size.into(), folder).await?;
        let mut cluster = Cluster::prepare_on(range(), program, folder, size).await?;
        cluster.extra_flags = FLAGS.map(str::to_owned).to_vec();
        let mut members = Self { cluster, network, folder: folder.to_owned() };
        for place in 0..size.into() {
            members.spawn(place)?;
        }
        members.cluster.found_and_form().await?;
        Ok(members)
    }

    /// What there was of a fault's traces before it.
    pub(super) async fn traces(&self, victim: usize) -> Result<Traces> {
        Ok(Traces {
            dropped: self.network.dropped()?,
            slow_syncs: slow_syncs(self.cluster.member(victim)?).await?,
        })
    }

    /// Lets it go wrong.
    pub(super) async fn strike(&mut self, strike: &Strike, victim: usize) -> Result<()> {
        let size = self.cluster.members.len();
        let others: Vec<usize> = (0..size).filter(|place| *place != victim).collect();
        match strike.kind {
            Kind::Kill => self.cluster.kill(victim)?,
            Kind::KillAll => self.cluster.kill_all()?,
            Kind::Pause => self.cluster.member_mut(victim)?.process()?.pause()?,
            Kind::Partition => others.iter().try_for_each(|other| {
                self.network.cut(victim, *other)?;
                self.network.cut(*other, victim)
            })?,
            Kind::OneWay => self.network.cut(victim, (victim + strike.towards) % size)?,
            Kind::LossyNetwork => {
                (0..size).try_for_each(|place| self.network.lose(place, LOSS_PERCENT))?;
            }
            Kind::FailedSync
            | Kind::FailedWrite
            | Kind::NoRoomToWrite
            | Kind::ShortWrite
            | Kind::FullDisk
            | Kind::SlowDisk => self.fail_point(victim, strike.kind.fail_point().unwrap_or_default()).await?,
        }
        Ok(())
    }

    /// Waits until the fault has shown: one that nobody felt is none.
    pub(super) async fn felt(&self, kind: Kind, victim: usize, before: Traces) -> Result<()> {
        let member = self.cluster.member(victim)?;
        match kind {
            Kind::Kill | Kind::KillAll => {
                let runs = member.process.as_ref().is_some_and(|process| !process.has_ended());
                ensure!(!runs, "{} was killed and runs", member.name);
                Ok(())
            }
            Kind::Pause => {
                let process = member.process.as_ref().context("no process")?;
                let is_stopped = async || process.is_stopped().then_some(());
                wait::until(&format!("{} to stand still", member.name), STEP, is_stopped).await
            }
            Kind::SlowDisk => {
                let is_felt = async || {
                    ensure!(slow_syncs(member).await? > before.slow_syncs, "no sync took long");
                    Ok(())
                };
                wait::until_ok(&format!("a slow sync of {}", member.name), STEP, is_felt).await
            }
            Kind::Partition | Kind::OneWay | Kind::LossyNetwork => {
                let is_felt = async || self.network.dropped().ok().filter(|count| *count > before.dropped);
                wait::until("packets dropped", STEP, is_felt).await.map(drop)
            }
            Kind::FailedSync | Kind::FailedWrite | Kind::NoRoomToWrite | Kind::ShortWrite => {
                let has_ended = || member.process.as_ref().is_some_and(Process::has_ended);
                let what = format!("the end of {}, whose log could not be written", member.name);
                wait::until(&what, STEP, async || has_ended().then_some(())).await
            }
            Kind::FullDisk => {
                let stands = async || {
                    ensure!(member.metric(ALARM).await? == 1, "{ALARM} is 0");
                    Ok(())
                };
                wait::until_ok(&format!("the alarm of {}", member.name), STEP, stands).await
            }
        }
    }

    /// Everything is well again: networks, disks, processes; and every member answers.
    pub(super) async fn heal(&mut self, kind: Kind, victim: usize) -> Result<()> {
        self.network.heal()?;
        if kind == Kind::Pause {
            self.cluster.member_mut(victim)?.process()?.resume()?;
        }
        for place in 0..self.cluster.members.len() {
            let may_end = place == victim && ends_the_process(kind);
            if !self.runs(place, may_end).await? {
                fs::write(self.fail_points(place)?, "").context("clearing a fail point")?;
                self.spawn(place)?;
            }
        }
        if kind.fail_point().is_some() {
            self.fail_point(victim, "").await?;
        }
        let member = self.cluster.member(victim)?;
        if kind == Kind::FullDisk {
            let is_over = async || {
                ensure!(member.metric(ALARM).await? == 0, "{ALARM} is 1");
                Ok(())
            };
            wait::until_ok(&format!("the end of the alarm of {}", member.name), STEP, is_over).await?;
        }
        self.cluster.serving().await
    }

    /// Whether the member runs. One that was not killed by this test runs, or has ended of its log's failure and says so.
    async fn runs(&mut self, place: usize, may_end: bool) -> Result<bool> {
        let member = self.cluster.member_mut(place)?;
        let Some(process) = &mut member.process else { return Ok(false) };
        if process.is_running() {
            return Ok(true);
        }
        let status = process.ended(STEP).await?;
        let is_due = may_end && status.code() == Some(EXIT_STATUS);
        ensure!(is_due, "{} ended by itself ({status}); {}", member.name, process.log_tail(20));
        Ok(false)
    }

    /// Every member runs, and none has ever panicked.
    ///
    /// # Errors
    /// Which has, with the end of its log.
    pub(super) async fn sound(&mut self) -> Result<()> {
        for place in 0..self.cluster.members.len() {
            let runs = self.runs(place, false).await?;
            let member = self.cluster.member_mut(place)?;
            ensure!(runs, "{} does not run", member.name);
            let name = member.name.clone();
            let process = member.process()?;
            ensure!(!process.log().contains(PANIC), "{name} panicked; {}", process.log_tail(40));
        }
        Ok(())
    }

    fn spawn(&mut self, place: usize) -> Result<()> {
        let spec = self.cluster.spec(place, self.cluster.members.len())?;
        let mut spec = self.network.inside(place, spec)?;
        spec.environment.push((FAIL_POINTS.into(), self.fail_points(place)?.into()));
        self.cluster.member_mut(place)?.process = Some(Process::spawn(spec)?);
        Ok(())
    }

    fn fail_points(&self, place: usize) -> Result<PathBuf> {
        Ok(self.folder.join(format!("{}.fail", self.cluster.member(place)?.name)))
    }

    /// Says what the member's log does from now on, and waits until it does.
    async fn fail_point(&self, place: usize, text: &str) -> Result<()> {
        let path = self.fail_points(place)?;
        let new = path.with_extension("new");
        fs::write(&new, text).context("writing a fail point")?;
        fs::rename(&new, &path).context("naming a fail point")?;
        let done = path.with_extension("fail.done");
        let member = self.cluster.member(place)?;
        let holds = async || {
            // A point that ends the process may have done so before it was told.
            let ended = member.process.as_ref().is_none_or(Process::has_ended);
            let said = fs::read_to_string(&done).unwrap_or_default();
            ensure!(ended || said == text, "it says {said:?}; was it built with the feature fail-points?");
            Ok(())
        };
        wait::until_ok(&format!("{} to take up {text:?}", member.name), STEP, holds).await
    }
}

/// Syncs that took longer than 0.1 s, by the member's own histogram.
async fn slow_syncs(member: &ClusterMember) -> Result<u64> {
    let all = member.metric("outrigger_wal_fsync_seconds_count").await?;
    let quick = member.metric("outrigger_wal_fsync_seconds_bucket{le=\"0.1024\"}").await?;
    Ok(all.saturating_sub(quick))
}

/// Whether a member ends when this befalls it.
const fn ends_the_process(kind: Kind) -> bool {
    match kind {
        Kind::FailedSync | Kind::FailedWrite | Kind::NoRoomToWrite | Kind::ShortWrite => true,
        Kind::Kill
        | Kind::KillAll
        | Kind::Pause
        | Kind::Partition
        | Kind::OneWay
        | Kind::LossyNetwork
        | Kind::FullDisk
        | Kind::SlowDisk => false,
    }
}
