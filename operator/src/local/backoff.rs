//! How long a dead member waits before it is started again: a kubelet's rule, shortened for a person who watches.
//!
//! Pure: it is told how long the process was up. The first restart comes after 200 ms, each further one after twice the
//! wait before, at most 10 s; a process that was up for 10 s starts the count anew.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// The wait before the next restart of one member.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The wait after a process that was `up` for so long has died.
    pub fn next(&mut self, up: Duration) -> Duration {
        let wait = match self.last {
            Some(last) if up < FORGIVEN_AFTER => last.saturating_mul(2).min(LONGEST),
            Some(_) | None => FIRST,
        };
        self.last = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next(Duration::from_millis(1)).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn a_process_that_was_up_for_ten_seconds_starts_anew() {
        let mut backoff = Backoff::default();
        backoff.next(Duration::ZERO);
        assert_eq!(backoff.next(Duration::from_millis(9_999)), Duration::from_millis(400));
        assert_eq!(backoff.next(Duration::from_secs(10)), FIRST);
    }
}
