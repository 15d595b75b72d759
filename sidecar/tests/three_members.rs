//! Three real processes: founded by the admin service, found by DNS, killed, wiped, stopped.
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "nobody links a test")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and indexes what it made"
)]

mod cluster;

use std::sync::Arc;

use cluster::Cluster;
use outrigger_core::log::{Batch, Entry, EntryKind};
use outrigger_core::types::{BatchNumber, ClusterId, MemberId};
use outrigger_proto::v1;
use outrigger_storage::fs::RealFs;
use outrigger_storage::{Wal, WalOptions};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_parks_and_returns_under_a_new_id_once_it_is_admitted_again() {
    let mut cluster = founded(86).await;
    cluster.put(0, "kept", "v").await;
    let removed = (cluster.leader().await + 1) % 3;
    let old = cluster.status(removed).await.unwrap();
    let keeps: Vec<usize> = (0..3).filter(|index| *index != removed).collect();
    cluster.admit(&keeps).await;
    let parked = cluster
        .until(removed, "parked under a new id", |status| {
            status.member_id != old.member_id && status.phase() == v1::Phase::Joining
        })
        .await;
    assert!(parked.waiting_for.contains("not admitted"), "{}", parked.waiting_for);
    let aside = cluster.dir(removed).join(format!("removed-{:016x}", old.member_id));
    assert!(aside.join("wal").is_dir(), "the old data is kept aside");
    cluster.admit(&[0, 1, 2]).await;
    let back = cluster
        .until(removed, "a voter again", |status| {
            status.conf_state.as_ref().is_some_and(|conf| {
                conf.voters.contains(&status.member_id) && conf.voters_outgoing.is_empty()
            })
        })
        .await;
    assert_eq!(back.member_id, parked.member_id);
    assert_eq!(cluster.get(removed, "kept").await.as_deref(), Some("v"));
    assert!(aside.is_dir(), "kept while the member has not started as a voter yet");
    // The second brings the word that the first is committed, and so is the member's promotion before it.
    for value in ["v", "w"] {
        cluster.put(removed, "kept", value).await;
    }
    cluster.kill(removed);
    cluster.start(removed);
    cluster.until(removed, "the old data given back", |_| !aside.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_let_in_and_removed_without_knowing_joins_under_another_id() {
    let mut cluster = founded(91).await;
    let removed = (cluster.leader().await + 1) % 3;
    let old = cluster.status(removed).await.unwrap();
    let keeps: Vec<usize> = (0..3).filter(|index| *index != removed).collect();
    cluster.admit(&keeps).await;
    let empty = cluster
        .until(removed, "empty under a new id", |status| {
            status.member_id != old.member_id && status.phase() == v1::Phase::Joining
        })
        .await;
    // Its answer is lost: it is let in while it is not there to hear of it.
    cluster.kill(removed);
    cluster.admit(&[0, 1, 2]).await;
    let request = v1::JoinRequest {
        cluster_id: old.cluster_id,
        member_id: empty.member_id,
        name: empty.name.clone(),
        address: empty.address.clone(),
        ..v1::JoinRequest::default()
    };
    cluster.admin(keeps[0]).await.unwrap().join(request).await.unwrap();
    cluster.admit(&keeps).await;
    cluster
        .until(keeps[0], "its id removed for ever", |status| status.tombstones.contains(&empty.member_id))
        .await;
    cluster.start(removed);
    cluster.until(removed, "another id", |status| status.member_id != empty.member_id).await;
    cluster.admit(&[0, 1, 2]).await;
    cluster
        .until(removed, "a voter again", |status| {
            status.conf_state.as_ref().is_some_and(|conf| {
                conf.voters.contains(&status.member_id) && conf.voters_outgoing.is_empty()
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founding_whose_founder_was_wiped_is_abandoned_and_founded_anew() {
    let mut cluster = Cluster::new(87, 3).await;
    (0..3).for_each(|index| cluster.start(index));
    cluster.assemble(0xA).await;
    cluster.kill(0);
    std::fs::remove_dir_all(cluster.dir(0)).unwrap();
    for index in [1, 2] {
        let mut admin = cluster.admin(index).await.unwrap();
        admin.abandon(v1::AbandonRequest { cluster_id: 0xA }).await.unwrap();
        let status = cluster.status(index).await.unwrap();
        assert_eq!(status.abandoned, [0xA]);
    }
    cluster.start(0);
    cluster.found(0xB).await;
    cluster.put(1, "k", "v").await;
    let formed = cluster.admin(2).await.unwrap().abandon(v1::AbandonRequest { cluster_id: 0xB }).await;
    assert!(formed.unwrap_err().message().contains("formed"), "a formed cluster is never abandoned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_a_rotten_log_says_where_and_neither_votes_nor_serves() {
    let mut cluster = founded(88).await;
    for number in 0..10 {
        cluster.put(0, &format!("k{number}"), "v").await;
    }
    let rotten = (cluster.leader().await + 1) % 3;
    cluster.kill(rotten);
    let wal = cluster.dir(rotten).join("wal");
    let mut segments: Vec<_> = std::fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    // Inside the first frame's payload; valid frames follow.
    bytes[4096 + 40] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();
    cluster.start(rotten);
    let status = cluster.until(rotten, "faulted", |status| status.phase() == v1::Phase::Faulted).await;
    let name = segments[0].file_name().unwrap().to_str().unwrap();
    assert!(status.fault.contains(name) && status.fault.contains("4096"), "{}", status.fault);
    let other = (rotten + 1) % 3;
    cluster.put(other, "after", "v").await;
}

/// Appends what a leader would have sent, and no majority has: the entry that forms the cluster.
fn append_formed(cluster: &Cluster, index: usize, status: &v1::StatusResponse) {
    let (id, member) = (ClusterId(status.cluster_id), MemberId(status.member_id));
    let options = WalOptions { segment_size_bytes: 8 << 20, must_exist: true, ..WalOptions::new(id, member) };
    let mut log = Wal::open(Arc::new(RealFs), &cluster.dir(index), options).unwrap();
    let entry = Entry {
        index: log.recovered.last_index.next(),
        term: log.recovered.hard_state.term,
        kind: EntryKind::Normal,
        // A membership entry (2) that holds an empty message in field 3.
        data: vec![2, 0x1a, 0].into(),
        context: Vec::new().into(),
    };
    let batch = Batch { number: BatchNumber(1), entries: vec![entry], ..Batch::default() };
    log.writer.append(&[batch]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_forming_is_in_the_log_and_not_applied_is_not_abandoned() {
    let mut cluster = Cluster::new(89, 3).await;
    (0..3).for_each(|index| cluster.start(index));
    cluster.assemble(0xA).await;
    let before = cluster.status(1).await.unwrap();
    (0..3).for_each(|index| cluster.kill(index));
    append_formed(&cluster, 1, &before);
    // Alone: nothing can be committed, so nothing more is applied.
    cluster.start(1);
    cluster.until(1, "a member again", |status| status.phase() == v1::Phase::Member).await;
    for _ in 0..2 {
        let refused = cluster.admin(1).await.unwrap().abandon(v1::AbandonRequest { cluster_id: 0xA }).await;
        let text = refused.unwrap_err().message().to_string();
        assert!(text.contains("in this member's log"), "{text}");
        let after = cluster.until(1, "a member still", |status| status.cluster_id == 0xA).await;
        assert_eq!((after.member_id, after.formed), (before.member_id, false));
    }
    (0..3).filter(|index| *index != 1).for_each(|index| cluster.start(index));
    cluster.until(0, "a member again", |status| status.phase() == v1::Phase::Member).await;
    // Whoever leads now: either it has the entry and the cluster is formed by it, or it is formed anew.
    cluster.form(0xA).await;
    cluster.put(1, "k", "v").await;
}
