//! What a scrape shows.

use outrigger_core::membership::Route;
use outrigger_core::status::{MemberStatus, NodeStatus, ProgressStatus, Role, Shortage};
use outrigger_core::types::{ClusterId, Index, MemberId, Term};

use super::*;
use crate::member::{Phase, Standing};

fn member(id: u64, name: &str, matched: Option<u64>) -> MemberStatus {
    MemberStatus {
        route: Route { id: MemberId(id), name: name.to_owned(), ..Route::default() },
        voter: true,
        learner: false,
        progress: matched.map(|index| ProgressStatus {
            matched: Index(index),
            last_contact_ticks: Some(3),
            ..ProgressStatus::default()
        }),
    }
}

fn leader_status() -> NodeStatus {
    NodeStatus {
        cluster: ClusterId(0xc1),
        member: MemberId(1),
        role: Role::Leader,
        term: Term(7),
        leader: Some(MemberId(1)),
        commit: Index(100),
        applied: Index(99),
        campaigns: 2,
        shortage: Shortage { disk: true, ..Shortage::default() },
        refused_messages: 5,
        members: vec![member(1, "orders-0", None), member(2, "orders-1", Some(40))],
        ..NodeStatus::default()
    }
}

fn render(metrics: &Metrics, node: &NodeStatus) -> String {
    let standing =
        Standing { phase: Phase::Member, cluster: node.cluster, member: node.member, ..Standing::default() };
    metrics.render(&Facts {
        name: "orders-0",
        version: "0.1.0",
        active_ticks: 10,
        standing: &standing,
        quota_bytes: 2 << 30,
        node: Some(node),
        published: None,
    })
}

#[test]
fn a_scrape_shows_what_the_status_and_the_rooms_say() {
    let metrics = Metrics::new();
    metrics.frame_persisted(Duration::from_micros(120), 4096);
    metrics.applied(16, Duration::from_micros(30));
    metrics.wal_size(1 << 20, 3);
    metrics.snapshot_durable(90, 1000, Some(Duration::from_millis(5)));
    metrics.send_failed(MemberId(2), &"connection refused");
    metrics.send_failed(MemberId(2), &"connection reset");
    metrics.refused("no_leader");
    metrics.peer_refused("wrong_cluster");
    metrics.grpc_counter("Put", "Ok").inc();
    let text = render(&metrics, &leader_status());
    for line in [
        "outrigger_raft_is_leader 1",
        "outrigger_raft_has_leader 1",
        "outrigger_raft_leader{id=\"0000000000000001\",name=\"orders-0\"} 1",
        "outrigger_raft_role{role=\"leader\"} 1",
        "outrigger_raft_role{role=\"follower\"} 0",
        "outrigger_raft_term 7",
        "outrigger_raft_elections_started_total 2",
        "outrigger_peer_calls_refused_total{reason=\"wrong_cluster\"} 1",
        "outrigger_peer_messages_refused_total 5",
        "outrigger_raft_commit_index 100",
        "outrigger_nospace{cause=\"disk\"} 1",
        "outrigger_nospace{cause=\"quota\"} 0",
        "outrigger_kv_quota_bytes 2147483648",
        "outrigger_raft_applied_index 99",
        "outrigger_peer_lag_entries{peer_id=\"0000000000000002\",peer=\"orders-1\"} 60",
        "outrigger_peer_send_failures_total{peer_id=\"0000000000000002\",peer=\"orders-1\"} 2",
        "outrigger_wal_fsync_seconds_count 1",
        "outrigger_wal_frames_total 1",
        "outrigger_wal_size_bytes 1048576",
        "outrigger_snapshot_size_bytes 1000",
        "outrigger_apply_seconds_count 1",
        "outrigger_applied_entries_total 16",
        "outrigger_requests_refused_total{reason=\"no_leader\"} 1",
        "outrigger_grpc_requests_total{method=\"Put\",code=\"Ok\"} 1",
    ] {
        assert!(text.lines().any(|got| got == line), "{line} is missing from:\n{text}");
    }
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    assert_eq!(metrics.peer_failures(MemberId(2)).count, 2);
    let last = metrics.peer_failures(MemberId(2)).last.unwrap();
    assert_eq!(last.0, "connection reset");
    assert_eq!(metrics.wal_bytes(), 1 << 20);
}

#[test]
fn a_peer_that_is_gone_is_gone_from_the_next_scrape() {
    let metrics = Metrics::new();
    let mut status = leader_status();
    assert!(render(&metrics, &status).contains("peer=\"orders-1\""));
    status.members.truncate(1);
    assert!(!render(&metrics, &status).contains("peer=\"orders-1\""));
}
