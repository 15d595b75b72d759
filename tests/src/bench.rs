//! The benchmark: etcd and Outrigger, interleaved in one run, driven by one load generator, printed as one table.
//!
//! A repetition runs each group of measurements on one system and then on the other, each on a fresh cluster, in an
//! order that alternates; only ratios inside one run mean something. A measurement in which others took more than
//! `NOISE_LIMIT` of a core is repeated up to `--retries` times, and marked if that does not help.
//!
//! May import: `load`, `cluster`, `etcd_cluster`, `proc_stat`. Deliberately absent: any verdict; it prints numbers.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

mod lifecycle;
mod system;
mod table;
mod throughput;

pub use system::{Kind, Side, System};
pub use table::{Better, Table};

/// Others' share of one core above which a measurement is repeated.
pub const NOISE_LIMIT: f64 = 0.25;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Puts at each number of clients.
    Puts,
    /// Linearizable and serializable reads at each number of clients.
    Reads,
    /// Idle memory and CPU, then memory with many keys.
    Memory,
    /// `kill -9` of the leader until the first write is accepted.
    Failover,
    /// Start after many puts.
    Restart,
}

/// Compares Outrigger with the real etcd on this machine.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// The `outrigger` executable; beside this one if not given.
    #[arg(long, value_name = "PATH")]
    pub outrigger: Option<PathBuf>,
    /// The `etcd` executable; built from its pinned Go module if not given.
    #[arg(long, value_name = "PATH")]
    pub etcd: Option<PathBuf>,
    /// Which systems, the base of the ratios first; the same one twice shows the noise.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Etcd, Kind::Outrigger])]
    pub systems: Vec<Kind>,
    /// Only these groups.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Group>,
    /// Repetitions of everything.
    #[arg(long, default_value_t = 3)]
    pub repetitions: u32,
    /// How often a measurement that others disturbed is taken again.
    #[arg(long, default_value_t = 2)]
    pub retries: u32,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    pub clients: Vec<u32>,
    /// Clients that share one HTTP/2 connection.
    #[arg(long, default_value_t = 64)]
    pub clients_per_connection: u32,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    pub client_threads: usize,
    /// Size of a value, in bytes.
    #[arg(long, default_value_t = 256)]
    pub value_size: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds before each measurement.
    #[arg(long, default_value_t = 1.5)]
    pub warm_up: f64,
    /// Seconds over which idle CPU is taken.
    #[arg(long, default_value_t = 30.0)]
    pub idle_seconds: f64,
    /// Keys for the memory measurement, and the key set of puts and reads.
    #[arg(long, default_value_t = 100_000)]
    pub keys: u32,
    /// Puts before the restart is measured.
    #[arg(long, default_value_t = 1_000_000)]
    pub restart_puts: u64,
    /// Leader kills in each repetition.
    #[arg(long, default_value_t = 3)]
    pub kills: u32,
    /// Where the clusters' data goes; a temporary folder beside the system's if not given. Must be a real disk.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A look in a minute instead of a measurement: one repetition, short times, few keys.
    #[arg(long)]
    pub quick: bool,
}

impl Options {
    /// The options with what `--quick` means.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        if self.quick {
            self.repetitions = 1;
            self.retries = 0;
            self.seconds = 1.0;
            self.warm_up = 0.5;
            self.idle_seconds = 3.0;
            self.keys = 5_000;
            self.restart_puts = 20_000;
            self.kills = 1;
        }
        self
    }

    fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.1, 3600.0))
    }

    fn wants(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }

    fn sides(&self) -> Result<Vec<Side>> {
        let mut sides: Vec<Side> = Vec::new();
        for kind in &self.systems {
            let (program, flag) = match kind {
                Kind::Etcd => (self.etcd.clone().map_or_else(crate::binaries::etcd, Ok), "--etcd"),
                Kind::Outrigger => {
                    (self.outrigger.clone().map_or_else(crate::binaries::outrigger, Ok), "--outrigger")
                }
            };
            let program = program.with_context(|| format!("no executable; {flag} names one"))?;
            let twice = sides.iter().any(|side| side.kind == *kind);
            sides.push(Side::new(*kind, program, twice)?);
        }
        if sides.len() != 2 {
            bail!("--systems takes two systems, not {}: for example etcd,outrigger", sides.len());
        }
        Ok(sides)
    }
}

/// Everything that a group of measurements needs.
#[derive(Debug)]
pub struct Run {
    /// As given, with `--quick` resolved.
    pub options: Options,
    /// Numbers so far.
    pub table: Table,
    /// Where data goes.
    pub folder: PathBuf,
    /// Clusters made so far, which names their folders.
    pub clusters: u32,
}

impl Run {
    /// A folder for one more cluster's data.
    pub fn fresh_folder(&mut self) -> PathBuf {
        self.clusters += 1;
        self.folder.join(format!("cluster-{}", self.clusters))
    }
}

/// Runs the benchmark, tells its progress to `progress` and writes the table to `out`.
///
/// # Errors
/// When a system cannot be started or stops serving.
pub async fn run(options: Options, out: &mut dyn Write, progress: &mut dyn Write) -> Result<()> {
    let options = options.resolved();
    let sides = options.sides()?;
    let folder = match &options.data {
        Some(parent) => {
            std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            tempfile::tempdir_in(parent)
        }
        None => tempfile::tempdir(),
    };
    let folder = folder.context("making a folder for the clusters' data")?;
    let names = sides.iter().map(|side| side.title.clone()).collect();
    let mut run = Run { table: Table::new(names), folder: folder.path().to_owned(), clusters: 0, options };

    let repetitions = run.options.repetitions;
    for repetition in 0..repetitions {
        for group in Group::value_variants().iter().filter(|group| **group != Group::Restart) {
            if !run.options.wants(*group) {
                continue;
            }
            for place in order(repetition) {
                let Some(side) = sides.get(place) else { continue };
                writeln!(
                    progress,
                    "repetition {} of {repetitions}: {group:?}, {}",
                    repetition + 1,
                    side.title
                )?;
                measure(&mut run, *group, side, place).await?;
            }
        }
    }
    if run.options.wants(Group::Restart) {
        writeln!(progress, "restart after {} puts", run.options.restart_puts)?;
        lifecycle::restart(&mut run, &sides).await?;
    }
    run.table.write(&run.options, out)
}

/// Which side goes first alternates, so that neither always meets a machine that the other has warmed or worn.
fn order(repetition: u32) -> [usize; 2] {
    if repetition.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

async fn measure(run: &mut Run, group: Group, side: &Side, place: usize) -> Result<()> {
    let folder = run.fresh_folder();
    let mut system = System::start(side, &folder).await?;
    match group {
        Group::Puts => throughput::puts(run, &system, place).await?,
        Group::Reads => throughput::reads(run, &system, place).await?,
        Group::Memory => lifecycle::memory(run, &system, place).await?,
        Group::Failover => lifecycle::failover(run, &mut system, place).await?,
        Group::Restart => {}
    }
    drop(system);
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))
}
