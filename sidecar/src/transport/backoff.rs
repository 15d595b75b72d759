//! How long to wait between dials of a peer that does not answer.
//!
//! May import: nothing of ours. Deliberately absent: sleeping, and drawing the jitter (the caller hands it in).

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
/// A peer that is back is found within this, or sooner: it dials too, and its dialling wakes ours.
const LONGEST: Duration = Duration::from_secs(1);

/// Doubles from 20 ms to 1 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait. `jitter` in \[0, 1) takes up to a quarter off, so that members that lost one peer together do not
    /// dial it together.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
    }

    /// It answered: start from the shortest wait again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        for _ in 0..100 {
            assert_eq!(backoff.next(0.0), LONGEST, "no overflow however long it fails");
        }
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST);
    }

    #[test]
    fn jitter_takes_at_most_a_quarter_off() {
        for step in 0..=10 {
            let wait = Backoff::default().next(f64::from(step) / 10.0);
            assert!(wait <= FIRST && wait >= FIRST.mul_f64(0.75), "{wait:?}");
        }
    }
}
