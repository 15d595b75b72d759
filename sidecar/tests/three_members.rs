//! Three real processes: founded by the admin service, found by DNS, killed, wiped, stopped.
#![allow(missing_docs, unreachable_pub, clippy::indexing_slicing, reason = "tests index what they made")]

mod cluster;

use cluster::Cluster;
use outrigger_proto::v1;

async fn founded(net: u8) -> Cluster {
    let mut cluster = Cluster::new(net, 3).await;
    (0..3).for_each(|index| cluster.start(index));
    cluster.found(0xC0FFEE + u64::from(net)).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn three_empty_disks_become_a_cluster_that_serves_through_every_member() {
    let cluster = founded(81).await;
    for index in 0..3 {
        cluster.put(index, &format!("k{index}"), &format!("v{index}")).await;
    }
    for index in 0..3 {
        for key in 0..3 {
            assert_eq!(cluster.get(index, &format!("k{key}")).await, Some(format!("v{key}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_by_another_and_comes_back() {
    let mut cluster = founded(82).await;
    cluster.put(0, "before", "1").await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let other = (leader + 1) % 3;
    cluster.put(other, "during", "2").await;
    cluster.start(leader);
    cluster.put(leader, "after", "3").await;
    for key in ["before", "during", "after"] {
        assert!(cluster.get(leader, key).await.is_some(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_restarted_find_each_other_again_and_keep_every_write() {
    let mut cluster = founded(83).await;
    for number in 0..20 {
        cluster.put(number % 3, &format!("k{number}"), "v").await;
    }
    (0..3).for_each(|index| cluster.kill(index));
    (0..3).for_each(|index| cluster.start(index));
    for number in 0..20 {
        assert_eq!(cluster.get(number % 3, &format!("k{number}")).await.as_deref(), Some("v"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_member_returns_under_a_new_id_and_holds_every_write() {
    let mut cluster = founded(84).await;
    cluster.put(0, "kept", "v").await;
    let leader = cluster.leader().await;
    let wiped = (leader + 1) % 3;
    let old = cluster.status(wiped).await.unwrap();
    cluster.kill(wiped);
    std::fs::remove_dir_all(cluster.dir(wiped)).unwrap();
    cluster.start(wiped);
    let new = cluster
        .until(wiped, "a voter again", |status| {
            status.phase() == v1::Phase::Member
                && status.conf_state.as_ref().is_some_and(|conf| {
                    conf.voters.contains(&status.member_id) && conf.voters_outgoing.is_empty()
                })
        })
        .await;
    assert_ne!(new.member_id, old.member_id);
    assert_eq!(new.cluster_id, old.cluster_id);
    assert_eq!(cluster.get(wiped, "kept").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_hands_over_and_exits_cleanly() {
    let mut cluster = founded(85).await;
    cluster.put(0, "k", "v").await;
    let leader = cluster.leader().await;
    let status = cluster.stop(leader);
    assert!(status.success(), "{status:?}\n{}", cluster.logs());
    let other = (leader + 1) % 3;
    assert_eq!(cluster.get(other, "k").await.as_deref(), Some("v"));
}
