//! Scaling 1 → 3 → 5 → 3 → 5 under load: no acknowledged write is lost, and the two that left come back.

use anyhow::{Context, Result, ensure};
use outrigger_proto::v1::{AdmitRequest, Phase, RosterEntry};
use outrigger_tests::cluster::{Cluster, STEP};
use outrigger_tests::nemesis::progress;
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{binaries, verdict, wait};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_to_three_to_five_to_three_to_five_loses_no_acknowledged_write() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 1).await?;
    // The clients know the first member only: it stays through all sizes, and forwards when it does not lead.
    let load = Workload::start(&Plan::contended(cluster.endpoints(), 21))?;
    progress(&load, "with one member").await?;
    for ordinal in 1..5 {
        cluster.add_member(ordinal);
    }
    cluster.publish()?;
    for place in 1..3 {
        cluster.spawn(place)?;
    }
    cluster.admit(3).await?;
    progress(&load, "with three").await?;
    for place in 3..5 {
        cluster.spawn(place)?;
    }
    cluster.admit(5).await?;
    progress(&load, "with five").await?;

    let mut left = Vec::new();
    for place in 3..5 {
        left.push(cluster.member(place)?.status().await?.member_id);
    }
    cluster.admit(3).await?;
    progress(&load, "with three again").await?;
    for place in 3..5 {
        let member = cluster.member(place)?;
        wait::until_ok(&format!("{} told that it is removed", member.name), STEP, async || {
            let status = member.status().await?;
            ensure!(status.phase() != Phase::Member, "it is {:?}", status.phase());
            Ok(())
        })
        .await?;
    }

    cluster.admit(5).await?;
    progress(&load, "with five again").await?;
    let settled = cluster.configured(5).await?;
    for (place, old) in (3..5).zip(left) {
        assert!(settled.tombstones.contains(&old), "{old:x} never counts again");
        assert_ne!(cluster.member(place)?.status().await?.member_id, old);
    }
    cluster.serving().await?;
    let history = load.finish().await?;
    verdict::demand(&history, &mut cluster.member(0)?.etcd()?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_that_leaves_no_live_quorum_is_refused_with_its_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let leader = cluster.leader().await?;
    let dead = (leader + 1) % 3;
    cluster.kill(dead)?;
    // Leader and the dead one would remain: two voters, of which one lives.
    let status = wait::until_ok("the dead member seen as dead", STEP, async || {
        let status = cluster.leader_status().await?;
        let dead = status.members.iter().find(|member| member.name == cluster.members[dead].name);
        ensure!(dead.is_some_and(|member| !member.active), "it is {dead:?}");
        Ok(status)
    })
    .await?;
    let keep = [leader, dead].map(|place| cluster.members[place].name.clone());
    let request = AdmitRequest {
        cluster_id: status.cluster_id,
        expected_configuration_index: status.configuration_index,
        roster: keep.map(|name| RosterEntry { name, learner: false }).to_vec(),
    };
    let refused = cluster.member(leader)?.admin()?.admit(request).await.err();
    let refused = refused.context("a configuration without a live quorum was taken")?;
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains(&cluster.members[dead].name), "it names who is missing: {refused}");
    cluster.spawn(dead)?;
    cluster.serving().await
}
