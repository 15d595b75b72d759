//! Lost volumes: a wiped member comes back under a new id, and never as a second cluster.

use std::io::ErrorKind;

use anyhow::{Context, Result, ensure};
use outrigger_proto::v1::{AbandonRequest, Phase, StatusResponse};
use outrigger_tests::cluster::{Cluster, STEP};
use outrigger_tests::nemesis::progress;
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{binaries, verdict, wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wiped_member_the_founder_too_rejoins_under_a_new_id_and_nothing_is_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let cluster_id = cluster.member(0)?.status().await?.cluster_id;
    let load = Workload::start(&Plan::contended(cluster.endpoints(), 3))?;
    for place in 0..cluster.members.len() {
        progress(&load, &format!("before the wipe of {place}")).await?;
        let old = cluster.member(place)?.status().await?.member_id;
        cluster.kill(place)?;
        cluster.wipe(place)?;
        cluster.spawn(place)?;
        let back = back_as_a_new_voter(&cluster, place, old).await?;
        assert_ne!(back.member_id, old, "an empty disk is a new member");
        assert_eq!(back.cluster_id, cluster_id, "there is one cluster");
        let settled = cluster.configured(3).await?;
        assert!(
            settled.tombstones.contains(&old),
            "the old id never counts again: {:x?}",
            settled.tombstones
        );
        cluster.serving().await?;
    }
    progress(&load, "after the last wipe").await?;
    let history = load.finish().await?;
    verdict::demand(&history, &mut cluster.member(0)?.etcd()?).await?;
    Ok(())
}

/// Waits until the member votes under another id than `old`, which has no vote any more.
async fn back_as_a_new_voter(cluster: &Cluster, place: usize, old: u64) -> Result<StatusResponse> {
    let member = cluster.member(place)?;
    wait::until_ok(&format!("{} back as a voter", member.name), STEP, async || {
        let status = member.status().await?;
        let voters = &status.conf_state.as_ref().context("no configuration yet")?.voters;
        ensure!(status.phase() == Phase::Member && status.formed, "it is {:?}", status.phase());
        ensure!(voters.contains(&status.member_id) && !voters.contains(&old), "voters {voters:x?}");
        Ok(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_volume_is_deleted_under_it_ends_and_rejoins_and_nothing_is_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let load = Workload::start(&Plan::contended(cluster.endpoints(), 3))?;
    progress(&load, "before the deletion").await?;
    // The leader: it is the one that goes on acknowledging.
    let place = cluster.leader().await?;
    let old = cluster.member(place)?.status().await?.member_id;
    let member = cluster.member_mut(place)?;
    let data = member.data.clone();
    wait::until_ok("the deletion of a directory that is being written to", STEP, async || {
        match std::fs::remove_dir_all(&data) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    })
    .await?;
    let process = member.process()?;
    let status = process.ended(STEP).await?;
    let said = process.log();
    assert_eq!(status.code(), Some(70), "{said}");
    assert!(said.contains("was deleted while this member was running"), "{said}");
    assert!(said.contains(data.to_str().context("a path that is no text")?), "{said}");
    member.process = None;
    progress(&load, "without the member").await?;

    cluster.spawn(place)?;
    let back = back_as_a_new_voter(&cluster, place, old).await?;
    assert_ne!(back.member_id, old, "an empty disk is a new member");
    cluster.serving().await?;
    progress(&load, "with the new member").await?;
    let history = load.finish().await?;
    verdict::demand(&history, &mut cluster.member(0)?.etcd()?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_identity_is_damaged_stays_up_to_say_so_until_its_volume_is_replaced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let old = cluster.member(2)?.status().await?.member_id;
    cluster.kill(2)?;
    let identity = cluster.member(2)?.data.join("identity");
    let mut bytes = std::fs::read(&identity)?;
    *bytes.get_mut(20).context("a short identity")? ^= 0x40;
    std::fs::write(&identity, &bytes)?;
    cluster.spawn(2)?;
    let member = cluster.member(2)?;
    let status = wait::until_ok("an answer of the member", STEP, async || member.status().await).await?;
    assert_eq!(status.phase(), Phase::Faulted);
    assert!(status.fault.contains("identity is damaged"), "{}", status.fault);
    assert!(status.member_id != 0 && status.member_id != old, "{:x} is in no log", status.member_id);
    assert!(member.page("/livez").await?.starts_with("HTTP/1.1 200"));
    let page = member.page("/readyz").await?;
    assert!(page.starts_with("HTTP/1.1 503") && page.contains("identity is damaged"), "{page}");
    let within = std::time::Duration::from_secs(5);
    let refused = member.etcd()?.get(&"k".into(), true, within).await;
    let refused = format!("{refused:?}");
    assert!(refused.contains("this member is faulted") && !refused.contains("no leader"), "{refused}");
    // Nothing was repaired by guessing, and nobody else minds.
    assert_eq!(std::fs::read(&identity)?, bytes);
    cluster.member(0)?.etcd()?.get(&"k".into(), false, within).await?;

    cluster.kill(2)?;
    cluster.wipe(2)?;
    cluster.spawn(2)?;
    assert_ne!(back_as_a_new_voter(&cluster, 2, old).await?.member_id, old);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_wiped_before_the_cluster_is_formed_means_a_new_founding_and_no_client_was_served()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 3).await?;
    cluster.spawn_all()?;
    let first = cluster.found().await?;
    cluster.configured(3).await?;
    assert_no_client_is_served(&cluster).await?;

    cluster.kill(0)?;
    cluster.wipe(0)?;
    cluster.spawn(0)?;
    for place in 1..3 {
        let member = cluster.member(place)?;
        member.admin()?.abandon(AbandonRequest { cluster_id: first }).await?;
        let status = member.status().await?;
        assert!(status.abandoned.contains(&first), "{} abandoned it durably", member.name);
    }
    assert_no_client_is_served(&cluster).await?;
    let second = cluster.found_and_form().await?;
    assert_ne!(second, first);
    for member in &cluster.members {
        let status = member.status().await?;
        assert_eq!(status.cluster_id, second, "{}", member.name);
    }
    Ok(())
}

async fn assert_no_client_is_served(cluster: &Cluster) -> Result<()> {
    for member in &cluster.members {
        for serializable in [false, true] {
            let within = std::time::Duration::from_secs(2);
            let answer = member.etcd()?.get(&"k".into(), serializable, within).await;
            assert!(answer.is_err(), "{} served a client before the cluster was formed", member.name);
        }
    }
    Ok(())
}
