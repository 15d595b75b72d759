//! Many runs on some threads, and what they add up to.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::generate::{self, Shape};
use crate::schedule::Schedule;
use crate::world::{Outcome, Time, Violation, World, diary};

/// One run. A panic in it is a violation like any other.
///
/// # Panics
/// The schedule names a planted bug that is not there: whoever reads one asks [`is_known`].
#[must_use]
pub fn run(schedule: &Schedule, log: bool) -> Outcome {
    let planted = plant(schedule.mutant.as_deref());
    assert_eq!(planted, Ok(()), "a planted bug");
    match catch_unwind(AssertUnwindSafe(|| World::new(schedule.clone(), log).run())) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "of an unknown kind".to_owned());
            let place = PLACE.take().unwrap_or_default();
            panicked(schedule, format!("{what}{place}"))
        }
    }
}

thread_local! {
    /// Where this thread panicked last.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// From now on the place of a panic is part of what is told of it; nothing else is printed if `is_quiet`.
pub fn note_panics(is_quiet: bool) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PLACE.set(info.location().map(|place| format!(" (at {}:{})", place.file(), place.line())));
        if !is_quiet {
            before(info);
        }
    }));
}

fn panicked(schedule: &Schedule, what: String) -> Outcome {
    let (at, log) = diary::left_behind();
    Outcome {
        schedule: schedule.clone(),
        violation: Some(Violation { rule: "nothing panics".to_owned(), what, at }),
        simulated: at,
        events: 0,
        operations: 0,
        coverage: Coverage::default(),
        digest: 0,
        log,
    }
}

/// Whether a planted bug of that name can be brought to life.
///
/// # Errors
/// Why not, and which can.
#[cfg(feature = "mutants")]
pub fn is_known(name: Option<&str>) -> Result<(), String> {
    match name {
        Some(name) if outrigger_mutants::by_name(name).is_none() => {
            let names: Vec<&str> =
                outrigger_mutants::Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
            Err(format!("there is no planted bug {name:?}, only {}", names.join(", ")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a planted bug of that name can be brought to life.
///
/// # Errors
/// None can in this build.
#[cfg(not(feature = "mutants"))]
pub fn is_known(name: Option<&str>) -> Result<(), String> {
    match name {
        Some(name) => Err(format!("{name:?} is a planted bug: build with --features mutants")),
        None => Ok(()),
    }
}

/// Brings the schedule's planted bug to life, and no other.
fn plant(name: Option<&str>) -> Result<(), String> {
    is_known(name)?;
    #[cfg(feature = "mutants")]
    outrigger_mutants::plant(name.and_then(outrigger_mutants::by_name));
    Ok(())
}

/// What many runs added up to.
#[derive(Debug, Default)]
pub struct Total {
    /// Seeds run to their end.
    pub seeds: u64,
    /// Simulated time, of all together.
    pub simulated: Time,
    /// Events.
    pub events: u64,
    /// Operations of clients, all judged.
    pub operations: u64,
    /// What was met.
    pub coverage: Coverage,
    /// Runs that broke something, in order of their seeds.
    pub failures: Vec<Outcome>,
    /// Real time.
    pub took: Duration,
}

/// Which seeds, and when to stop.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub first: u64,
    /// How many at the most.
    pub count: u64,
    /// No further one is begun after this.
    pub budget: Duration,
    /// Threads.
    pub threads: usize,
    /// Stop at the first failure.
    pub stop_at_failure: bool,
    /// Who hears of each run that has ended: of all so far, and of this one.
    pub observer: Option<fn(&Total, &Outcome)>,
}

/// Runs the seeds.
#[must_use]
pub fn run_seeds(plan: Plan, shape: Shape, mutant: Option<&str>) -> Total {
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(plan.first), AtomicBool::new(false));
    let end = plan.first.saturating_add(plan.count);
    let total = Mutex::new(Total::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) && begun.elapsed() < plan.budget {
            let following = |seed: u64| (seed < end).then(|| seed + 1);
            let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, following) else { return };
            let mutant = mutant.map(str::to_owned);
            let outcome = run(&Schedule { mutant, ..generate::schedule(seed, shape) }, false);
            let failed = outcome.violation.is_some();
            let mut all = total.lock().unwrap_or_else(PoisonError::into_inner);
            all.took = begun.elapsed();
            all.add(outcome, plan.observer);
            drop(all);
            if failed && plan.stop_at_failure {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.failures.sort_by_key(|outcome| outcome.schedule.seed);
    total.took = begun.elapsed();
    total
}

impl Total {
    fn add(&mut self, outcome: Outcome, observer: Option<fn(&Self, &Outcome)>) {
        self.seeds += 1;
        self.simulated += outcome.simulated;
        self.events += outcome.events;
        self.operations += outcome.operations as u64;
        self.coverage.merge(&outcome.coverage);
        if let Some(observer) = observer {
            observer(self, &outcome);
        }
        if outcome.violation.is_some() {
            self.failures.push(outcome);
        }
    }

    /// Takes another total in, but for its failures.
    pub fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.events += other.events;
        self.operations += other.operations;
        self.coverage.merge(&other.coverage);
        self.took += other.took;
    }

    /// Simulated hours.
    #[must_use]
    pub fn hours(&self) -> f64 {
        self.simulated as f64 / 3_600e6
    }
}
