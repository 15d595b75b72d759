//! What `sim` does, and what it says of it.
//!
//! May import: `input`, `runs`, `shrink`. Deliberately absent: flags, and what is wrong with them (`input`).

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::coverage::{BOUNDARIES, STEPS};
#[cfg(feature = "mutants")]
use crate::generate::Shape;
use crate::input::{BadInput, Many, One, What, asked, make_room};
#[cfg(feature = "mutants")]
use crate::input::{SHRINKING_RUNS, ShapeArgs, chosen};
use crate::runs::{Plan, Total, note_panics, run, run_seeds};
use crate::schedule::{Kind, Schedule};
use crate::shrink::shrink;
use crate::world::{Outcome, SECOND};

/// A planted bug's failing seed has to shrink to so few.
#[cfg(feature = "mutants")]
const FEW_FAULTS: usize = 25;

/// Runs the command.
#[must_use]
pub fn main() -> ExitCode {
    // A violation that is a panic is told in one line; the way there is asked for with RUST_BACKTRACE.
    note_panics(std::env::var_os("RUST_BACKTRACE").is_none());
    match asked().map_err(anyhow::Error::new).and_then(carry_out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<BadInput>() => {
            complain(&format!("sim: {error:#}"));
            ExitCode::from(2)
        }
        Err(error) => {
            say(&format!("sim: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(what: What) -> anyhow::Result<()> {
    match what {
        What::Run(many) => many_runs(&many),
        What::Replay(one) => replay(&one),
        #[cfg(feature = "mutants")]
        What::Mutants { only, seeds, threads, shape } => mutants(&only, seeds, threads, shape),
        What::Shrink { one, out, max_runs } => shrink_one(&one, &out, max_runs),
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

#[allow(clippy::print_stderr, reason = "the one place that complains")]
fn complain(text: &str) {
    eprintln!("{text}");
}

fn many_runs(many: &Many) -> anyhow::Result<()> {
    if many.at_least > many.seeds {
        let (least, most) = (many.at_least, many.seeds);
        let what =
            format!("at least {least} seeds are due (AT_LEAST), and {most} are run at the most (SEEDS)");
        return Err(BadInput(what).into());
    }
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
        say(&format!("  replay: {}", replaying(&failure.schedule, many.shape.replicas)));
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
    let chosen = chosen(only)?;
    let tried = chosen.len();
    for mutant in chosen {
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
        let again = replaying(&found.schedule, self.shape.replicas);
        say(&format!("{:<26} replay: {again}", ""));
        let out = Path::new("target/sim").join(self.name).with_extension("json");
        let (faults, text) = shrunk_within(&found.schedule, &out, SHRINKING_RUNS)?;
        say(&format!("{:<26} {text}", ""));
        Ok(faults <= FEW_FAULTS)
    }
}

/// The command that runs a generated schedule again.
fn replaying(schedule: &Schedule, replicas: Option<u8>) -> String {
    let Schedule { seed, seconds, mutant, .. } = schedule;
    match (replicas, mutant) {
        (None, None) => format!("make sim SEED={seed} SECONDS_EACH={seconds}"),
        (None, Some(mutant)) => format!("make sim SEED={seed} SECONDS_EACH={seconds} MUTANT={mutant}"),
        (Some(replicas), mutant) => {
            let mutant = mutant.as_ref().map(|name| format!(" --mutant {name}")).unwrap_or_default();
            format!("target/sim/sim replay --seed {seed} --seconds {seconds} --replicas {replicas}{mutant}")
        }
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
    make_room(out)?;
    let outcome = run(&schedule, false);
    ensure!(outcome.violation.is_some(), "{}: there is nothing to shrink", told(&outcome));
    say(&shrunk_within(&schedule, out, max_runs)?.1);
    Ok(())
}

/// Shrinks a failing schedule into a file; gives how many faults are left, and what to say.
fn shrunk_within(schedule: &Schedule, out: &Path, max_runs: usize) -> anyhow::Result<(usize, String)> {
    let mut shrunk = shrink(schedule, max_runs);
    // They would be refused when the file is read again.
    shrunk.schedule.drop_late_faults();
    make_room(out)?;
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
