//! How soon a cluster is looked at again: many of them must not cost the API server more than a few.
//!
//! May import: nothing of the controller but its intervals. Deliberately absent: what is looked at.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::pass::{AFTER_A_STEP, AT_REST};

/// The first wait after a failure, and the longest.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// See above.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How soon a cluster is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gait {
    /// It waits for something that a watch does not tell.
    Waiting,
    /// It is as it should be, or only a person can change anything.
    AtRest,
}

/// How many clusters have each gait.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waiting: AtomicUsize,
    at_rest: AtomicUsize,
}

impl Pace {
    fn of(&self, gait: Gait) -> &AtomicUsize {
        match gait {
            Gait::Waiting => &self.waiting,
            Gait::AtRest => &self.at_rest,
        }
    }

    pub(super) fn forget(&self, gait: &mut Option<Gait>) {
        if let Some(gait) = gait.take() {
            self.of(gait).fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes a cluster's gait; gives how many have it. One that takes steps is in nobody's way: it soon has taken them.
    pub(super) fn note(&self, gait: &mut Option<Gait>, again: Duration) -> usize {
        self.forget(gait);
        if again <= AFTER_A_STEP {
            return 0;
        }
        let now = if again < AT_REST { Gait::Waiting } else { Gait::AtRest };
        *gait = Some(now);
        self.of(now).fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Members are asked again and again, for no watch tells what they know. Many clusters of one gait are asked less often each, so
/// that all of them together cost the API server no more than this many passes a second; those that wait do not slow down for
/// those at rest. A change of objects or pods is looked at at once, whatever the pace.
pub(super) fn paced(again: Duration, clusters: usize) -> Duration {
    const PASSES_A_SECOND: u32 = 20;
    let clusters = u32::try_from(clusters).unwrap_or(u32::MAX);
    again.max(Duration::from_secs(1).saturating_mul(clusters) / PASSES_A_SECOND)
}

/// Twice as long after each failure.
pub(super) fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(10)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_clusters_of_one_gait_are_asked_less_often_and_hold_up_no_others() {
        let seconds = Duration::from_secs;
        let pace = Pace::default();
        let mut gaits = vec![None; 500];
        let mut last = 0;
        for gait in &mut gaits {
            last = pace.note(gait, seconds(5));
        }
        assert_eq!(paced(seconds(5), last), seconds(25));
        let mut one = None;
        assert_eq!(paced(seconds(1), pace.note(&mut one, seconds(1))), seconds(1), "it alone waits");
        assert_eq!(paced(seconds(1), 500), seconds(25));
        for _ in 0..3 {
            assert_eq!(pace.note(&mut one, seconds(1)), 1, "it is counted once");
        }
        assert_eq!(paced(AFTER_A_STEP, pace.note(&mut one, AFTER_A_STEP)), AFTER_A_STEP);
        assert_eq!(pace.note(&mut one, seconds(5)), 501);
        gaits.iter_mut().for_each(|gait| pace.forget(gait));
        assert_eq!(paced(seconds(5), pace.note(&mut one, seconds(5))), seconds(5));
    }

    #[test]
    fn failures_are_met_later_and_later_and_never_too_late() {
        let waits: Vec<u128> = (0..9).map(|failures| backoff(failures).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff(u32::MAX), LONGEST_BACKOFF);
    }
}
