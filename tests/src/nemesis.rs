//! The one that kills: random members of a cluster, at random times out of a seed, while a workload runs.
//!
//! May import: `cluster`, `workload`. Deliberately absent: judgement.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cluster::{Cluster, STEP};
use crate::wait;
use crate::workload::Workload;

/// Writes that must be acknowledged between a restart and the next kill, so that each kill hits a cluster at work.
const PROGRESS: u64 = 20;

/// How much to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killing {
    /// How many kills.
    pub kills: u32,
    /// Spread over at least this time.
    pub duration: Duration,
    /// Chooses victims and instants.
    pub seed: u64,
}

impl Killing {
    /// `OUTRIGGER_KILLS` kills over `OUTRIGGER_KILL_SECONDS` with seed `OUTRIGGER_SEED`; for what is not set, 4 over
    /// 20 s and a seed of the clock, which the test prints.
    #[must_use]
    pub fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        Self {
            kills: number("OUTRIGGER_KILLS").and_then(|kills| u32::try_from(kills).ok()).unwrap_or(4),
            duration: Duration::from_secs(number("OUTRIGGER_KILL_SECONDS").unwrap_or(20)),
            seed: number("OUTRIGGER_SEED").unwrap_or_else(rand::random),
        }
    }
}

/// Kills and restarts members until the plan is done; gives the members killed at once, in order.
///
/// Each slot of the duration has one kill at a random instant in it. Of ten kills, about six hit one random member,
/// three the leader, and one hits all members together.
///
/// # Errors
/// When a member does not come back, or writes are no longer acknowledged.
pub async fn kill_at_random(
    cluster: &mut Cluster,
    load: &Workload,
    plan: Killing,
) -> Result<Vec<Vec<usize>>> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let slot = plan.duration / plan.kills.max(1);
    let mut killed = Vec::new();
    for number in 0..plan.kills {
        let slot_start = Instant::now();
        progress(load, &format!("before kill {number}")).await?;
        let due = slot.mul_f64(random.random_range(0.0..0.8));
        tokio::time::sleep(due.saturating_sub(slot_start.elapsed())).await;
        let members = cluster.members.len();
        let victims = match random.random_range(0..10_u8) {
            0..6 => vec![random.random_range(0..members.max(1))],
            6..9 => vec![cluster.leader().await?],
            _ => (0..members).collect(),
        };
        for victim in &victims {
            cluster.kill(*victim)?;
        }
        if victims.len() * 2 < members {
            progress(load, &format!("with {victims:?} dead")).await?;
        }
        for victim in &victims {
            cluster.spawn(*victim)?;
        }
        cluster.serving().await?;
        killed.push(victims);
        tokio::time::sleep(slot.saturating_sub(slot_start.elapsed())).await;
    }
    progress(load, "after the last kill").await?;
    Ok(killed)
}

/// Waits until more writes are acknowledged.
///
/// # Errors
/// When none are in time.
pub async fn progress(load: &Workload, when: &str) -> Result<()> {
    let wanted = load.acknowledged() + PROGRESS;
    let what = format!("{PROGRESS} more acknowledged writes {when}");
    wait::until(&what, STEP, async || (load.acknowledged() >= wanted).then_some(())).await
}
