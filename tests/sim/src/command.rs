//! The command line of `sim`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};

use crate::coverage::{BOUNDARIES, STEPS};
use crate::generate::{self, Shape};
use crate::runs::{Plan, Total, run, run_seeds};
use crate::schedule::{Kind, Schedule};
use crate::shrink::shrink;
use crate::world::{Outcome, SECOND};

/// Runs that shrinking a schedule may take.
const SHRINKING_RUNS: usize = 600;
/// A planted bug's failing seed has to shrink to so few.
#[cfg(feature = "mutants")]
const FEW_FAULTS: usize = 25;

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
    /// Makes a failing seed or schedule small and writes it to a file
    Shrink {
        #[command(flatten)]
        one: One,
        /// Where the small schedule goes
        #[arg(long, default_value = "schedule.json")]
        out: PathBuf,
        /// Runs that it may take
        #[arg(long, default_value_t = SHRINKING_RUNS)]
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
    /// Runs that shrinking the first failure may take; 0: it is left as it is
    #[arg(long, default_value_t = SHRINKING_RUNS)]
    shrinking_runs: usize,
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

/// Of so many seeds it is told how far a run is.
const TOLD_EVERY: u64 = 200;

/// What a long run has come to so far, and what it has found, as soon as that is known.
fn tell_progress(total: &Total, outcome: &Outcome) {
    if outcome.violation.is_some() {
        say(&format!("found {}", told(outcome)));
    }
    if total.seeds.is_multiple_of(TOLD_EVERY) {
        say(&format!("so far {}", sums(total)));
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
        observer: Some(tell_progress),
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
    if let Some(failure) = total.failures.first().filter(|_| many.shrinking_runs > 0) {
        let out = format!("target/sim/seed-{}.json", failure.schedule.seed);
        say(&format!("  {}", shrunk_within(&failure.schedule, Path::new(&out), many.shrinking_runs)?.1));
    }
    ensure!(total.failures.is_empty(), "{} of {} seeds broke a rule", total.failures.len(), total.seeds);
    ensure!(total.seeds >= many.at_least, "{} seeds were run, {} are due", total.seeds, many.at_least);
    ensure!(!many.all_met || unmet.is_empty(), "not everything was met");
    Ok(())
}

#[cfg(feature = "mutants")]
fn mutants(only: &[String], seeds: u64, threads: usize, shape: ShapeArgs) -> anyhow::Result<()> {
    let (mut survivors, mut large) = (Vec::new(), Vec::new());
    let mut all_runs = Total::default();
    let all = outrigger_mutants::Mutant::ALL;
    let chosen = all.iter().filter(|mutant| only.is_empty() || only.iter().any(|name| name == mutant.name()));
    let mut tried = 0;
    for mutant in chosen {
        tried += 1;
        let mut hunt = Hunt { name: mutant.name(), next: 1, last: seeds, threads, shape: shape.into() };
        let mut total = hunt.next_failure();
        all_runs.merge(&total);
        if total.failures.is_empty() {
            say(&format!("{:<26} SURVIVED {} seeds:{}", mutant.name(), total.seeds, mutant.says()));
            survivors.push(mutant.name());
        }
        let mut small = true;
        // Of a seed that needs much luck no few faults are enough: then another one that finds the bug may do.
        while let Some(found) = total.failures.first() {
            small = hunt.shrinks(found, &total)?;
            if small {
                break;
            }
            total = hunt.next_failure();
        }
        if !small {
            large.push(mutant.name());
        }
    }
    say(&format!("mutants: {} of {tried} found; in all {}", tried - survivors.len(), sums(&all_runs)));
    ensure!(survivors.is_empty(), "survivors: {}", survivors.join(", "));
    ensure!(large.is_empty(), "not shrunk to {FEW_FAULTS} faults: {}", large.join(", "));
    Ok(())
}

/// The search for seeds that find one planted bug.
#[cfg(feature = "mutants")]
struct Hunt {
    name: &'static str,
    next: u64,
    last: u64,
    threads: usize,
    shape: Shape,
}

#[cfg(feature = "mutants")]
impl Hunt {
    /// Runs seeds up to the next that finds it.
    fn next_failure(&mut self) -> Total {
        let count = (self.last + 1).saturating_sub(self.next);
        let budget = Duration::from_secs(3_600);
        let (first, threads) = (self.next, self.threads);
        let plan = Plan { first, count, budget, threads, stop_at_failure: true, observer: None };
        let total = run_seeds(plan, self.shape, Some(self.name));
        self.next = total.failures.first().map_or(self.last + 1, |found| found.schedule.seed + 1);
        total
    }

    /// Whether what was found shrinks to few faults; all of it is told.
    fn shrinks(&self, found: &Outcome, total: &Total) -> anyhow::Result<bool> {
        say(&format!(
            "{:<26} found by seed {:>3} ({:.1} simulated h, {:.0} s): {}",
            self.name,
            found.schedule.seed,
            total.hours(),
            total.took.as_secs_f64(),
            told(found)
        ));
        let out = Path::new("target/sim").join(self.name).with_extension("json");
        let (faults, text) = shrunk_within(&found.schedule, &out, SHRINKING_RUNS)?;
        say(&format!("{:<26} {text}", ""));
        Ok(faults <= FEW_FAULTS)
    }
}

fn unmet(total: &Total) -> Vec<&'static str> {
    let all = Kind::NAMES.iter().chain(&STEPS).chain(&BOUNDARIES);
    all.filter(|what| total.coverage.of(what) == 0).copied().collect()
}

fn summary(total: &Total) -> String {
    let listed = |is_asked: &dyn Fn(&str) -> bool| {
        let asked = total.coverage.iter().filter(|(what, _)| is_asked(what));
        asked.map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
    };
    let (is_fault, is_end) =
        (|what: &str| Kind::NAMES.contains(&what), |what: &str| BOUNDARIES.contains(&what));
    let faults: u64 = Kind::NAMES.iter().map(|kind| total.coverage.of(kind)).sum();
    format!(
        "steps: {}\nends: {}\nsim: {}, {} violations; {faults} faults: {}",
        listed(&|what| !is_fault(what) && !is_end(what)),
        listed(&is_end),
        sums(total),
        total.failures.len(),
        listed(&is_fault)
    )
}

fn sums(total: &Total) -> String {
    let minutes = total.took.as_secs_f64() / 60.0;
    format!(
        "{} seeds, {:.1} simulated hours in {:.1} min ({:.1} h/min), {} events, {} operations checked",
        total.seeds,
        total.hours(),
        minutes,
        total.hours() / minutes.max(1e-9),
        total.events,
        total.operations
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

fn shrink_one(one: &One, out: &Path, max_runs: usize) -> anyhow::Result<()> {
    let schedule = one.schedule()?;
    ensure!(run(&schedule, false).violation.is_some(), "this schedule breaks nothing");
    say(&shrunk_within(&schedule, out, max_runs)?.1);
    Ok(())
}

/// Shrinks a failing schedule into a file; gives how many faults are left, and what to say.
fn shrunk_within(schedule: &Schedule, out: &Path, max_runs: usize) -> anyhow::Result<(usize, String)> {
    let shrunk = shrink(schedule, max_runs);
    let text = serde_json::to_string_pretty(&shrunk.schedule).context("a schedule is JSON")?;
    std::fs::write(out, text + "\n").with_context(|| format!("{} cannot be written", out.display()))?;
    let faults = shrunk.schedule.faults.len();
    let what = told(&run(&shrunk.schedule, false));
    for planted in [schedule, &shrunk.schedule] {
        ensure_planted(planted)?;
    }
    let other = if shrunk.is_reseeded { " under another seed" } else { "" };
    let said = format!(
        "shrunk in {} runs from {} to {faults} faults{other}, {} members, {} s; replay: make sim SCHEDULE={}; {what}",
        shrunk.runs,
        schedule.faults.len(),
        shrunk.schedule.replicas,
        shrunk.schedule.seconds,
        out.display()
    );
    Ok((faults, said))
}

/// A schedule that finds a planted bug has to break nothing without it: else it is something else that was found.
fn ensure_planted(schedule: &Schedule) -> anyhow::Result<()> {
    if let Some(mutant) = &schedule.mutant {
        let control = run(&Schedule { mutant: None, ..schedule.clone() }, false);
        ensure!(control.violation.is_none(), "without {mutant}, {}", told(&control));
    }
    Ok(())
}
