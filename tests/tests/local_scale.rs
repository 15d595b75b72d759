//! Scaling 1 → 3 → 5 → 3 → 5 with the local runner's own verb while clients write and read: no acknowledged write is
//! lost, and the two that left come back under new ids, with the data. `scale` has the same without the runner.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_tests::etcd_wire::{Client, RangeRequest, prefix_end};
use outrigger_tests::local_runner::LocalRunner;
use outrigger_tests::nemesis::progress;
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{verdict, wait};

const WITHIN: Duration = Duration::from_secs(30);

/// The example's manifest for another number of members.
fn manifest_of(replicas: u8, folder: &Path) -> Result<PathBuf> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders.yaml");
    let text = std::fs::read_to_string(&example).context("reading the example")?;
    let (three, wanted) = ("replicas: 3", format!("replicas: {replicas}"));
    ensure!(text.matches(three).count() == 1, "the example says `{three}` once");
    let path = folder.join("orders.yaml");
    std::fs::write(&path, text.replace(three, &wanted))?;
    Ok(path)
}

/// All pairs as a member's own state has them, without asking the leader.
async fn own_pairs(client: &mut Client) -> Result<Vec<(Vec<u8>, i64)>> {
    let request = RangeRequest {
        key: "run/".into(),
        range_end: prefix_end(b"run/"),
        serializable: true,
        ..RangeRequest::default()
    };
    let pairs = client.range(request, WITHIN).await?.kvs;
    Ok(pairs.into_iter().map(|pair| (pair.key.to_vec(), pair.mod_revision)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaled_by_the_runner_under_load_nothing_is_lost_and_the_two_that_left_return_with_the_data()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let runner = LocalRunner::start(&manifest_of(1, folder.path())?, folder.path())?;
    let cluster = runner.settled(1).await?.status.cluster_id;
    // The clients know all addresses from the start, those of members that are not there yet or no more too: a member
    // that left must not go on answering.
    let load = Workload::start(&Plan::contended(runner.endpoints(5), 31))?;
    progress(&load, "with one member").await?;

    for replicas in [3, 5] {
        runner.scale(replicas).await?;
        progress(&load, &format!("while it grows to {replicas}")).await?;
        runner.settled(replicas).await?;
        progress(&load, &format!("with {replicas}")).await?;
    }
    let before = runner.settled(5).await?.ids()?;
    runner.scale(3).await?;
    progress(&load, "while it shrinks to 3").await?;
    let three = runner.settled(3).await?.ids()?;
    assert_eq!(three, before[..3], "those that stay keep their ids");
    for gone in 3..5 {
        let answer = runner.etcd(gone)?.get(&"k".into(), true, WITHIN).await;
        assert!(answer.is_err(), "member {gone} left, and still answers");
    }
    progress(&load, "with three again").await?;

    runner.scale(5).await?;
    progress(&load, "while the two return").await?;
    let view = runner.settled(5).await?;
    progress(&load, "with five again").await?;
    let after = view.ids()?;
    assert_eq!(after[..3], before[..3]);
    let ever: BTreeSet<&String> = before.iter().chain(&after[3..]).collect();
    assert_eq!(ever.len(), 7, "each return is under a new id: before {before:?}, after {after:?}");
    assert_eq!(view.status.cluster_id, cluster, "there is one cluster");
    for (ordinal, old) in (3..5).zip(&before[3..]) {
        let aside = runner.volume(ordinal).join(format!("removed-{old}"));
        assert!(aside.is_dir(), "the old data of {ordinal} is kept in {}", aside.display());
    }

    let history = load.finish().await?;
    // Each of the two answers out of its own state, once that has what was acknowledged.
    for returned in 3..5 {
        let verdict = verdict::demand(&history, &mut runner.etcd(returned)?).await?;
        assert!(verdict.acknowledged > 0, "{verdict:?}");
    }
    let expected = own_pairs(&mut runner.etcd(0)?).await?;
    for returned in 3..5 {
        wait::until_ok(&format!("the data on {returned}"), WITHIN, async || {
            let found = own_pairs(&mut runner.etcd(returned)?).await?;
            ensure!(found == expected, "{} pairs of {}", found.len(), expected.len());
            Ok(())
        })
        .await?;
    }
    runner.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_was_killed_is_started_again_over_the_same_data_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut runner = LocalRunner::start(&manifest_of(3, folder.path())?, folder.path())?;
    let before = runner.settled(3).await?;
    let load = Workload::start(&Plan::contended(runner.endpoints(3), 32))?;
    progress(&load, "before the kill").await?;
    runner.kill_and_start_again()?;
    let after = runner.settled(3).await?;
    progress(&load, "after it").await?;
    assert_eq!(
        (before.status.cluster_id.clone(), before.ids()?),
        (after.status.cluster_id.clone(), after.ids()?)
    );
    let history = load.finish().await?;
    verdict::demand(&history, &mut runner.etcd(0)?).await?;
    runner.stop().await
}
