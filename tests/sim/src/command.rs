//! The command line of `sim`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};

use crate::coverage::{BOUNDARIES, STEPS};
use crate::fuzz;
use crate::generate::{self, Shape};
use crate::runs::{Plan, Total, run, run_seeds};
use crate::schedule::{Kind, Schedule};
use crate::shrink::shrink;
use crate::world::{Outcome, SECOND};

/// Simulates clusters under faults, from seeds or schedule files.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs many seeds, and fails if one breaks a rule or something was never met
    Run(Many),
    /// Runs one seed or one schedule file, with all that happens
    Replay(One),
    /// Plants one bug after the other, and fails if one survives all seeds
    #[cfg(feature = "mutants")]
    Mutants {
        /// Only these
        #[arg(long)]
        only: Vec<String>,
        /// How many seeds each may survive at the most
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// Threads
        #[arg(long, default_value_t = 2)]
        threads: usize,
        #[command(flatten)]
        shape: ShapeArgs,
    },
    /// Gives bytes that nobody should have written or sent to the code that reads them
    Fuzz {
        /// Only these targets
        #[arg(long)]
        only: Vec<String>,
        /// Seconds a target
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// Of the inputs
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Makes a failing seed or schedule small and writes it to a file
    Shrink {
        #[command(flatten)]
        one: One,
        /// Where the small schedule goes
        #[arg(long, default_value = "schedule.json")]
        out: PathBuf,
        /// Runs that it may take
        #[arg(long, default_value_t = 400)]
        max_runs: usize,
    },
}

#[derive(Debug, Args)]
struct Many {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds at the most
    #[arg(long, default_value_t = u64::MAX)]
    seeds: u64,
    /// Begin no seed after so many seconds
    #[arg(long, default_value_t = 120)]
    budget_seconds: u64,
    /// Fail if fewer seeds were run
    #[arg(long, default_value_t = 1)]
    at_least: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Fail if a kind of fault, a step or a boundary was never met
    #[arg(long)]
    all_met: bool,
    #[command(flatten)]
    shape: ShapeArgs,
}

#[derive(Clone, Copy, Debug, Args)]
struct ShapeArgs {
    /// Simulated seconds of a seed's safety phase
    #[arg(long, default_value_t = 860)]
    seconds: u32,
    /// Replicas of every seed: 1, 3, 5 or 7; drawn if not given
    #[arg(long)]
    replicas: Option<u8>,
}

#[derive(Debug, Args)]
struct One {
    /// The seed
    #[arg(long, required_unless_present = "schedule", conflicts_with = "schedule")]
    seed: Option<u64>,
    /// A schedule file
    #[arg(long)]
    schedule: Option<PathBuf>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// A planted bug, for a seed
    #[arg(long)]
    mutant: Option<String>,
    /// Print all that happens
    #[arg(long)]
    log: bool,
}

impl From<ShapeArgs> for Shape {
    fn from(args: ShapeArgs) -> Self {
        Self { seconds: args.seconds, replicas: args.replicas }
    }
}

impl One {
    fn schedule(&self) -> anyhow::Result<Schedule> {
        if let Some(path) = &self.schedule {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            return serde_json::from_str(&text).with_context(|| format!("{} is no schedule", path.display()));
        }
        let schedule = generate::schedule(self.seed.unwrap_or(1), self.shape.into());
        Ok(Schedule { mutant: self.mutant.clone(), ..schedule })
    }
}

/// Runs the command.
#[must_use]
pub fn main() -> ExitCode {
    // A violation that is a panic is told in one line; where it came from is asked for with RUST_BACKTRACE.
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let outcome = match Command::parse().what {
        What::Run(many) => many_runs(&many),
        What::Replay(one) => replay(&one),
        #[cfg(feature = "mutants")]
        What::Mutants { only, seeds, threads, shape } => mutants(&only, seeds, threads, shape),
        What::Fuzz { only, seconds, seed } => fuzz(&only, seconds, seed),
        What::Shrink { one, out, max_runs } => shrink_one(&one, &out, max_runs),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("sim: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the one place that prints")]
fn say(text: &str) {
    println!("{text}");
}

fn many_runs(many: &Many) -> anyhow::Result<()> {
    let plan = Plan {
        first: many.first,
        count: many.seeds,
        budget: Duration::from_secs(many.budget_seconds),
        threads: many.threads,
        stop_at_failure: false,
    };
    let total = run_seeds(plan, many.shape.into(), None);
    say(&summary(&total));
    let unmet = unmet(&total);
    if !unmet.is_empty() {
        say(&format!("never met: {}", unmet.join(", ")));
    }
    for failure in total.failures.iter().take(10) {
        say(&told(failure));
        say(&format!(
            "  replay: make sim SEED={} SECONDS_EACH={}",
            failure.schedule.seed, failure.schedule.seconds
        ));
    }
    ensure!(total.failures.is_empty(), "{} of {} seeds broke a rule", total.failures.len(), total.seeds);
    ensure!(total.seeds >= many.at_least, "{} seeds were run, {} are due", total.seeds, many.at_least);
    ensure!(!many.all_met || unmet.is_empty(), "not everything was met");
    Ok(())
}

#[cfg(feature = "mutants")]
fn mutants(only: &[String], seeds: u64, threads: usize, shape: ShapeArgs) -> anyhow::Result<()> {
    let mut survivors = Vec::new();
    let all = outrigger_mutants::Mutant::ALL;
    let chosen = all.iter().filter(|mutant| only.is_empty() || only.iter().any(|name| name == mutant.name()));
    let mut tried = 0;
    for mutant in chosen {
        tried += 1;
        let budget = Duration::from_secs(3_600);
        let plan = Plan { first: 1, count: seeds, budget, threads, stop_at_failure: true };
        let total = run_seeds(plan, shape.into(), Some(mutant.name()));
        match total.failures.first() {
            Some(found) => say(&format!(
                "{:<26} found by seed {:>3} ({:.1} simulated h, {:.0} s): {}",
                mutant.name(),
                found.schedule.seed,
                total.hours(),
                total.took.as_secs_f64(),
                told(found)
            )),
            None => {
                say(&format!("{:<26} SURVIVED {} seeds:{}", mutant.name(), total.seeds, mutant.says()));
                survivors.push(mutant.name());
            }
        }
    }
    say(&format!("mutants: {} of {tried} found", tried - survivors.len()));
    ensure!(survivors.is_empty(), "survivors: {}", survivors.join(", "));
    Ok(())
}

fn unmet(total: &Total) -> Vec<&'static str> {
    let all = Kind::NAMES.iter().chain(&STEPS).chain(&BOUNDARIES);
    all.filter(|what| total.coverage.of(what) == 0).copied().collect()
}

fn summary(total: &Total) -> String {
    let minutes = total.took.as_secs_f64() / 60.0;
    let met: Vec<String> = total.coverage.iter().map(|(what, count)| format!("{what} {count}")).collect();
    format!(
        "met: {}\nsim: {} seeds, {:.1} simulated hours in {:.1} min ({:.1} h/min), {} events, {} operations checked, {} violations",
        met.join(", "),
        total.seeds,
        total.hours(),
        minutes,
        total.hours() / minutes.max(1e-9),
        total.events,
        total.operations,
        total.failures.len()
    )
}

fn told(outcome: &Outcome) -> String {
    let seed = outcome.schedule.seed;
    match &outcome.violation {
        Some(violation) => format!(
            "seed {seed}: at {:.3} s: {} is broken: {}",
            violation.at as f64 / SECOND as f64,
            violation.rule,
            violation.what
        ),
        None => format!(
            "seed {seed}: {} events, {} operations, no violation, digest {:016x}",
            outcome.events, outcome.operations, outcome.digest
        ),
    }
}

fn replay(one: &One) -> anyhow::Result<()> {
    let schedule = one.schedule()?;
    let outcome = run(&schedule, one.log);
    if let Some(log) = &outcome.log {
        say(log);
    }
    say(&told(&outcome));
    ensure!(outcome.violation.is_none(), "a rule is broken");
    Ok(())
}

/// The most that a target may ever take.
const FUZZ_PEAK_BYTES: u64 = 1 << 30;

fn fuzz(only: &[String], seconds: u64, seed: u64) -> anyhow::Result<()> {
    for (name, target) in
        fuzz::TARGETS.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|it| it == name))
    {
        let last = std::sync::Mutex::new(Vec::new());
        let keep = |input: &[u8]| {
            if let Ok(mut last) = last.lock() {
                last.clear();
                last.extend_from_slice(input);
            }
        };
        let budget = Duration::from_secs(seconds);
        let run = std::panic::AssertUnwindSafe(|| fuzz::drive(*target, seed, budget, keep));
        match std::panic::catch_unwind(run) {
            Ok(driven) => {
                let peak = driven.peak_bytes.unwrap_or(0);
                say(&format!("fuzz: {name}: {} inputs, peak {} MiB", driven.inputs, peak >> 20));
                ensure!(peak <= FUZZ_PEAK_BYTES, "{name} took {} MiB", peak >> 20);
            }
            Err(_) => {
                let input = last.into_inner().unwrap_or_default();
                let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
                anyhow::bail!("{name} panicked on {hex} (seed {seed}; RUST_BACKTRACE=1 shows where)");
            }
        }
    }
    Ok(())
}

fn shrink_one(one: &One, out: &std::path::Path, max_runs: usize) -> anyhow::Result<()> {
    let schedule = one.schedule()?;
    ensure!(run(&schedule, false).violation.is_some(), "this schedule breaks nothing");
    let shrunk = shrink(&schedule, max_runs);
    let text = serde_json::to_string_pretty(&shrunk.schedule).context("a schedule is JSON")?;
    std::fs::write(out, text + "\n").with_context(|| format!("{} cannot be written", out.display()))?;
    let outcome = run(&shrunk.schedule, false);
    say(&told(&outcome));
    say(&format!(
        "shrunk in {} runs from {} to {} faults; replay: make sim SCHEDULE={}",
        shrunk.runs,
        schedule.faults.len(),
        shrunk.schedule.faults.len(),
        out.display()
    ));
    Ok(())
}
