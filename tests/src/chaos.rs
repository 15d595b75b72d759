//! Real processes under faults: killed, stopped, cut off from each other, their logs failing, full and slow; while clients
//! write, whose history is judged.
//!
//! May import: `cluster`, `workload`, `verdict`. Deliberately absent: the operator, and volumes that are lost; both have
//! tests of their own.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

mod members;
mod network;
mod plan;

use crate::history::{Operation, Outcome};
use crate::nemesis::progress;
use crate::workload::{Plan, Workload};
use crate::{binaries, verdict};
use members::Members;
use plan::{Strike, Victim};

/// Faults are seldom over within less, and clients need not be faster for that.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs a cluster of real processes under faults, and judges what clients saw. As root, in a network of its own.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaos")]
pub struct Options {
    /// The `outrigger` executable, built with the feature `fail-points`; beside this one if not given.
    #[arg(long, value_name = "PATH")]
    pub outrigger: Option<PathBuf>,
    /// Members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    pub members: u8,
    /// Faults, one after the other; from 12 on each kind comes.
    #[arg(
        long,
        default_value_t = 36,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000)
    )]
    pub strikes: usize,
    /// Of all choices; drawn if not given.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Runs all of it and prints one line.
///
/// # Errors
/// A fault that was not overcome in time, or a promise that was broken; with the command that repeats the run.
pub async fn run(options: Options, out: &mut dyn Write) -> Result<()> {
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let again =
        format!("again with: make chaos SEED={seed} STRIKES={} MEMBERS={}", options.strikes, options.members);
    let summary = run_seeded(&options, seed, out).await.context(again)?;
    writeln!(out, "{summary}")?;
    Ok(())
}

async fn run_seeded(options: &Options, seed: u64, out: &mut dyn Write) -> Result<String> {
    let program = options.outrigger.clone().map_or_else(binaries::outrigger, Ok)?;
    let folder = tempfile::tempdir().context("a folder for the data")?;
    let start = Instant::now();
    let mut members = Members::start(&program, folder.path(), options.members).await?;
    let clients = Plan { pause: PAUSE, ..Plan::contended(members.cluster.endpoints(), seed) };
    let load = Workload::start(&clients)?;
    let mut met: BTreeMap<&'static str, u32> = BTreeMap::new();
    for (number, strike) in plan::plan(seed, options.strikes, options.members.into()).iter().enumerate() {
        let struck = hit(&mut members, &load, strike).await;
        let victim = struck.with_context(|| format!("fault {number}: {strike:?}"))?;
        *met.entry(strike.kind.name()).or_default() += 1;
        let (after, kind) = (start.elapsed().as_secs(), strike.kind.name());
        writeln!(
            out,
            "{after:>4} s  {kind} of orders-{victim}: {} writes acknowledged",
            load.acknowledged()
        )?;
    }
    let history = load.finish().await?;
    members.sound().await?;
    let mut judged = verdict::demand(&history, &mut members.cluster.member(0)?.etcd()?).await?;
    for place in 1..options.members.into() {
        // Each answers from what it has applied itself.
        judged = verdict::demand(&history, &mut members.cluster.member(place)?.etcd()?)
            .await
            .with_context(|| format!("read through orders-{place}"))?;
    }
    let seconds = start.elapsed().as_secs();
    let kinds: Vec<String> = met.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    Ok(format!(
        "chaos: seed {seed}, {} members, {seconds} s, {} faults ({}), {} operations checked, {} acknowledged writes found, {:.1} s without one at the longest, 0 violations",
        options.members,
        options.strikes,
        kinds.join(", "),
        judged.operations,
        judged.acknowledged,
        longest_gap(&history).as_secs_f64(),
    ))
}

/// One fault, from its beginning until all is well; gives whom it hit.
async fn hit(members: &mut Members, load: &Workload, strike: &Strike) -> Result<usize> {
    progress(load, "before it").await?;
    let victim = match strike.victim {
        Victim::Leader => members.cluster.leader().await?,
        Victim::Member(place) => place,
    };
    let before = members.traces(victim).await?;
    members.strike(strike, victim).await?;
    if strike.kind.spares_a_majority() {
        progress(load, "while it lasts").await?;
    }
    // How long a fault lasts is part of it.
    tokio::time::sleep(strike.hold).await;
    members.felt(strike.kind, victim, before).await?;
    members.heal(strike.kind, victim).await?;
    Ok(victim)
}

/// The longest time in which no write was acknowledged, from the first one to the last.
fn longest_gap(history: &[Operation]) -> Duration {
    let is_written = |operation: &&Operation| matches!(operation.outcome, Outcome::Written { .. });
    let mut times: Vec<u64> = history.iter().filter(is_written).map(|operation| operation.returned).collect();
    times.sort_unstable();
    let gaps = times.iter().zip(times.iter().skip(1)).map(|(one, next)| next - one);
    Duration::from_nanos(gaps.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, KeyId, Revision, ValueId};

    #[test]
    fn the_longest_gap_is_between_acknowledged_writes_only() {
        let operation = |returned: u64, outcome| Operation {
            client: 0,
            key: KeyId(1),
            call: Call::Put(ValueId(returned)),
            outcome,
            invoked: 0,
            returned,
        };
        let written = |returned| operation(returned, Outcome::Written { revision: Revision(1) });
        let history = [written(90), written(10), operation(60, Outcome::Unknown), written(20)];
        assert_eq!(longest_gap(&history), Duration::from_nanos(70));
        assert_eq!(longest_gap(&history[..1]), Duration::ZERO);
    }
}
