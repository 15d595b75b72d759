//! Whose turn it is to restart outdated pods: an upgrade of the operator makes the pods of all clusters outdated at once, and neither the
//! nodes nor whoever watches should have all of them restart together.
//!
//! Kept in memory alone: after the operator's own restart the clusters queue anew, and one that is half-way is as safe as before. May
//! import: nothing of the controller. Deliberately absent: which pod is next, and whether its turn is safe (`plan`).

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A roll that has not come forward for this long no longer keeps others waiting: it is broken by itself, and somebody has been told.
const HELD_UP: Duration = Duration::from_secs(600);

/// The clusters that roll.
#[derive(Debug)]
pub(super) struct Rolls {
    at_once: NonZeroU16,
    rolling: Mutex<HashMap<(String, String), Rolling>>,
}

/// How far one has come.
#[derive(Clone, Copy, Debug)]
struct Rolling {
    /// Pods that are still to be restarted.
    outdated: usize,
    /// When that last changed.
    since: Duration,
}

impl Rolls {
    /// At most so many at once.
    pub(super) fn new(at_once: NonZeroU16) -> Self {
        Self { at_once, rolling: Mutex::default() }
    }

    /// Whether a cluster with so many outdated pods may restart one; it has its turn until it leaves. `now` is on a monotonic clock.
    pub(super) fn may_roll(&self, cluster: (&str, &str), outdated: usize, now: Duration) -> bool {
        let key = (cluster.0.to_owned(), cluster.1.to_owned());
        let mut rolling = self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = rolling.get_mut(&key) {
            if held.outdated != outdated {
                *held = Rolling { outdated, since: now };
            }
            return true;
        }
        let coming_forward = rolling.values().filter(|held| now.saturating_sub(held.since) < HELD_UP).count();
        let may = outdated > 0 && coming_forward < usize::from(self.at_once.get());
        if may {
            rolling.insert(key, Rolling { outdated, since: now });
        }
        may
    }

    /// Its roll is over, or nothing may be restarted any more.
    pub(super) fn leave(&self, (namespace, name): (&str, &str)) {
        let mut rolling = self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        rolling.remove(&(namespace.to_owned(), name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn so_many_roll_at_once_and_the_next_when_one_is_done() {
        let rolls = Rolls::new(NonZeroU16::new(2).unwrap());
        assert!(rolls.may_roll(("shop", "a"), 3, at(0)));
        assert!(rolls.may_roll(("shop", "b"), 3, at(0)));
        assert!(!rolls.may_roll(("billing", "a"), 3, at(0)), "another namespace's cluster is another one");
        assert!(rolls.may_roll(("shop", "a"), 1, at(5)), "it has its turn until it leaves");
        assert!(rolls.may_roll(("shop", "a"), 0, at(6)), "its last pod is still coming up");
        rolls.leave(("shop", "a"));
        assert!(rolls.may_roll(("billing", "a"), 3, at(7)));
        assert!(!rolls.may_roll(("shop", "c"), 0, at(7)));
    }

    #[test]
    fn a_roll_that_is_held_up_keeps_nobody_waiting_for_ever() {
        let rolls = Rolls::new(NonZeroU16::MIN);
        assert!(rolls.may_roll(("shop", "broken"), 3, at(0)));
        assert!(rolls.may_roll(("shop", "broken"), 2, at(100)));
        assert!(!rolls.may_roll(("shop", "next"), 3, at(699)), "it came forward less than ten minutes ago");
        assert!(rolls.may_roll(("shop", "next"), 3, at(700)));
        assert!(rolls.may_roll(("shop", "broken"), 2, at(701)), "it goes on where it was");
        assert!(!rolls.may_roll(("shop", "third"), 3, at(702)), "one of them does come forward");
    }
}
