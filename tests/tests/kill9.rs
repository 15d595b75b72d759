//! `kill -9` of random members under load: nothing acknowledged is lost, and reads are linearizable.
//!
//! Four kills in 20 s unless `OUTRIGGER_KILLS`, `OUTRIGGER_KILL_SECONDS` and `OUTRIGGER_SEED` say otherwise; the full
//! run is 20 kills in 120 s.

use anyhow::{Context, Result};
use outrigger_tests::cluster::Cluster;
use outrigger_tests::nemesis::{Killing, kill_at_random};
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{binaries, verdict};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_killed_at_random_lose_no_acknowledged_write() -> Result<()> {
    let killing = Killing::from_environment();
    let again = format!(
        "again with: OUTRIGGER_KILLS={} OUTRIGGER_KILL_SECONDS={} OUTRIGGER_SEED={} cargo test -p outrigger-tests --test kill9",
        killing.kills,
        killing.duration.as_secs(),
        killing.seed
    );
    run(killing).await.context(again)
}

async fn run(killing: Killing) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let load = Workload::start(&Plan::contended(cluster.endpoints(), killing.seed))?;
    let killed = kill_at_random(&mut cluster, &load, killing).await?;
    assert_eq!(killed.len(), usize::try_from(killing.kills)?);
    let history = load.finish().await?;
    let verdict = verdict::demand(&history, &mut cluster.member(0)?.etcd()?).await?;
    assert!(verdict.acknowledged > 0, "{verdict:?}");
    Ok(())
}
