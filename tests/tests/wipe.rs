//! Lost volumes: a wiped member comes back under a new id, and never as a second cluster.

use anyhow::{Context, Result, ensure};
use outrigger_proto::v1::{AbandonRequest, Phase};
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
        let member = cluster.member(place)?;
        let back = wait::until_ok(&format!("{} back as a voter", member.name), STEP, async || {
            let status = member.status().await?;
            let voters = &status.conf_state.as_ref().context("no configuration yet")?.voters;
            ensure!(status.phase() == Phase::Member && status.formed, "it is {:?}", status.phase());
            ensure!(voters.contains(&status.member_id) && !voters.contains(&old), "voters {voters:x?}");
            Ok(status)
        })
        .await?;
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
