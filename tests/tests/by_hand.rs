//! Founding by hand (`--found`), without an operator: one cluster comes of it, and no second one beside it.

use anyhow::{Context, Result, ensure};
use outrigger_proto::v1::{Phase, StatusResponse};
use outrigger_tests::binaries;
use outrigger_tests::cluster::Cluster;
use outrigger_tests::process::Process;

/// Starts a member with `--found` for a cluster of `members`.
fn spawn_founder(cluster: &mut Cluster, place: usize, members: &str) -> Result<()> {
    let size = cluster.members.len();
    let spec = cluster.spec(place, size)?.argument("--found").flag("--initial-members", members);
    cluster.member_mut(place)?.process = Some(Process::spawn(spec)?);
    Ok(())
}

/// Waits until the member says that it waits for this.
async fn waits_for(cluster: &Cluster, place: usize, text: &str) -> Result<StatusResponse> {
    let member = cluster.member(place)?;
    let probe = async || {
        let status = member.status().await?;
        ensure!(status.waiting_for.contains(text), "it waits for: {}", status.waiting_for);
        Ok(status)
    };
    cluster.seen(&format!("{} waiting for: {text}", member.name), probe).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_found_by_hand_once_all_three_answer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 3).await?;
    spawn_founder(&mut cluster, 0, "3")?;
    cluster.spawn(1)?;
    let waits = waits_for(&cluster, 0, "1 of the 3 seeds that DNS names do not answer").await?;
    assert_eq!((waits.phase(), waits.cluster_id), (Phase::Empty, 0));
    cluster.spawn(2)?;
    cluster.serving().await?;
    let status = cluster.configured(3).await?;
    assert!(status.formed);

    // On a founded disk the flag is nothing.
    cluster.kill(0)?;
    spawn_founder(&mut cluster, 0, "3")?;
    cluster.serving().await?;
    assert_eq!(cluster.member(0)?.status().await?.cluster_id, status.cluster_id);
    Ok(())
}

/// The flag stays where it was written once. What it does on an empty disk must not be a second cluster of the same name,
/// only because the first one's other members are silent for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_lost_its_disk_founds_nothing_beside_the_cluster_that_it_founded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 1).await?;
    spawn_founder(&mut cluster, 0, "1")?;
    cluster.serving().await?;
    for ordinal in 1..3 {
        let place = cluster.add_member(ordinal);
        cluster.publish()?;
        cluster.spawn(place)?;
    }
    cluster.admit(3).await?;
    cluster.serving().await?;
    let first = cluster.member(1)?.status().await?.cluster_id;

    for place in 1..3 {
        cluster.member_mut(place)?.process()?.pause()?;
    }
    cluster.kill(0)?;
    cluster.wipe(0)?;
    spawn_founder(&mut cluster, 0, "1")?;
    let waits = waits_for(&cluster, 0, "2 of the 3 seeds that DNS names do not answer").await?;
    assert_eq!((waits.phase(), waits.cluster_id), (Phase::Empty, 0));
    for place in 1..3 {
        cluster.member_mut(place)?.process()?.resume()?;
    }
    cluster.serving().await?;
    let back = cluster.configured(3).await.context("the founder back as a voter")?;
    assert_eq!(back.cluster_id, first);
    assert_eq!(cluster.member(0)?.status().await?.cluster_id, first);
    Ok(())
}
