//! Makes a failing schedule small: fewer faults, fewer clients, fewer members, shorter, as long as it fails.
//!
//! Delta debugging (Zeller, Hildebrandt: "Simplifying and isolating failure-inducing input", 2002) over the list of faults,
//! then the sizes. Only the same rule counts: what breaks another one is another failure.

use crate::runs::run;
use crate::schedule::Schedule;

/// So few faults are enough for a person to follow.
const SMALL: usize = 15;
/// Other seeds that are tried for a schedule with more.
const RESEEDINGS: usize = 100;

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest schedule found that fails.
    pub schedule: Schedule,
    /// Runs that it took.
    pub runs: usize,
    /// It fails under another seed than the one that was shrunk, which has more faults.
    pub is_reseeded: bool,
}

/// Shrinks within so many runs.
#[must_use]
pub fn shrink(failing: &Schedule, max_runs: usize) -> Shrunk {
    let rule = run(failing, false).violation.map(|violation| violation.rule);
    let mut shrinking = Shrinking { best: failing.clone(), rule, left: max_runs, next_seed: 0 };
    shrinking.cut_end();
    shrinking.drop_faults();
    shrinking.smaller();
    shrinking.drop_faults();
    shrinking.reseed();
    let is_reseeded = shrinking.best.seed != failing.seed;
    Shrunk { runs: max_runs - shrinking.left, schedule: shrinking.best, is_reseeded }
}

struct Shrinking {
    best: Schedule,
    /// What it breaks.
    rule: Option<String>,
    left: usize,
    /// The last one tried by reseeding.
    next_seed: u64,
}

impl Shrinking {
    /// Takes it over if it breaks the same rule.
    fn try_it(&mut self, schedule: Schedule) -> bool {
        if self.left == 0 || schedule == self.best {
            return false;
        }
        self.left -= 1;
        let broken = run(&schedule, false).violation.map(|violation| violation.rule);
        let fails = broken.is_some() && broken == self.rule;
        if fails {
            self.best = schedule;
        }
        fails
    }

    /// Nothing after the failure matters.
    fn cut_end(&mut self) {
        let Some(violation) = run(&self.best, false).violation else { return };
        let seconds = u32::try_from(violation.at / crate::world::SECOND + 1).unwrap_or(u32::MAX);
        if seconds < self.best.seconds {
            let mut shorter = Schedule { seconds, ..self.best.clone() };
            shorter.faults.retain(|fault| fault.at_ms <= u64::from(seconds) * 1_000);
            self.try_it(shorter);
        }
    }

    fn drop_faults(&mut self) {
        let mut chunk = self.best.faults.len().div_ceil(2);
        while chunk > 0 && self.left > 0 {
            let mut start = 0;
            let mut dropped = false;
            while start < self.best.faults.len() && self.left > 0 {
                let mut without = self.best.clone();
                let end = (start + chunk).min(without.faults.len());
                without.faults.drain(start..end);
                if self.try_it(without) {
                    dropped = true;
                } else {
                    start += chunk;
                }
            }
            // What was needed beside a fault that is gone may not be needed any more.
            if !dropped {
                chunk /= 2;
            }
        }
    }

    /// A bug that needs luck may need other faults where luck is another: the same list under other seeds.
    fn reseed(&mut self) {
        for _ in 0..RESEEDINGS {
            if self.best.faults.len() <= SMALL {
                return;
            }
            self.next_seed += 1;
            if self.try_it(Schedule { seed: self.next_seed, ..self.best.clone() }) {
                self.drop_faults();
            }
        }
    }

    fn smaller(&mut self) {
        for clients in 1..self.best.clients {
            if self.try_it(Schedule { clients, ..self.best.clone() }) {
                break;
            }
        }
        for replicas in [1, 3, 5] {
            if replicas < self.best.replicas && self.try_it(Schedule { replicas, ..self.best.clone() }) {
                break;
            }
        }
        let mut seconds = self.best.seconds / 2;
        while seconds > 0 && self.try_it(Schedule { seconds, ..self.best.clone() }) {
            seconds /= 2;
        }
    }
}
