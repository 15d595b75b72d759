//! Waiting for a condition with a deadline: the only way in which a test here lets time pass.
//!
//! Deliberately absent: a sleep that is not followed by looking again.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a poll pauses before it looks again: short beside any deadline, long beside a loopback call.
const POLL: Duration = Duration::from_millis(10);

/// Asks `probe` until it gives `Some`, and returns that.
///
/// # Errors
/// At the deadline, naming `what` and the time that was given.
pub async fn until<T, F>(what: &str, within: Duration, mut probe: F) -> Result<T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if start.elapsed() >= within {
            bail!("not seen within {within:?}: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As [`until`], for a probe that can say why it is not there yet: the last reason is part of the error.
///
/// # Errors
/// At the deadline, naming `what` and the last reason.
pub async fn until_ok<T, E, F>(what: &str, within: Duration, mut probe: F) -> Result<T>
where
    E: Debug,
    F: AsyncFnMut() -> Result<T, E>,
{
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= within => {
                bail!("not seen within {within:?}: {what}; the last reason: {error:?}")
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_is_returned() {
        let mut calls = 0;
        let seen = until("three calls", Duration::from_secs(5), async || {
            calls += 1;
            (calls == 3).then_some(calls)
        })
        .await;
        assert_eq!(seen.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_deadline_names_what_was_missing_and_why() {
        let seen: Result<()> =
            until_ok("a second sun", Duration::from_millis(1), async || Err("only one")).await;
        let text = seen.unwrap_err().to_string();
        assert!(text.contains("a second sun") && text.contains("only one"), "{text}");
    }
}
