//! The admin service, called as a trait, in front of a scripted node and a scripted lifecycle.

use bytes::Bytes;
use outrigger_core::event::MemberSelector;
use outrigger_core::membership::{RosterEntry, Route};
use outrigger_core::types::Index;
use tokio_stream::StreamExt;
use tonic::Code;

use super::*;
use crate::api::testing;
use crate::inbox::Input;
use crate::member::{Phase, Standing};

fn door(member: MemberHandle) -> (AdminDoor, mpsc::Receiver<LifecycleCommand>) {
    let (lifecycle, commands) = mpsc::channel(4);
    let door =
        AdminDoor { member, identity: testing::identity(), metrics: Arc::new(Metrics::new()), lifecycle };
    (door, commands)
}

/// A node that expects one admin request and answers it.
fn expecting(
    wanted: AdminRequest,
    answer: Result<AdminReply, Refusal>,
) -> (AdminDoor, mpsc::Receiver<LifecycleCommand>) {
    door(testing::scripted(testing::leader_status(), move |input| match input {
        Input::Admin { request, reply } => {
            assert_eq!(request, wanted);
            reply.send(answer.clone()).unwrap();
        }
        Input::Propose { .. } | Input::Read { .. } | Input::Event(_) => panic!("not asked for"),
    }))
}

#[tokio::test]
async fn the_status_answers_on_an_empty_disk_and_says_what_it_waits_for() {
    let standing = Standing {
        phase: Phase::Empty,
        member: MemberId(9),
        waiting_for: "waiting to be founded".into(),
        abandoned: vec![ClusterId(5)],
        boot_nonce: 3,
        ..Standing::default()
    };
    let (door, _commands) = door(testing::nodeless(standing));
    let answer = door.status(Request::new(v1::StatusRequest {})).await.unwrap().into_inner();
    assert_eq!(answer.phase(), v1::Phase::Empty);
    assert_eq!((answer.cluster_id, answer.member_id, answer.boot_nonce), (0, 9, 3));
    assert_eq!((answer.name.as_str(), answer.address.as_str()), ("orders-0", "orders-0.orders-peers:2380"));
    assert_eq!((answer.waiting_for.as_str(), &answer.abandoned), ("waiting to be founded", &vec![5]));
    assert_eq!(answer.role(), v1::Role::Unspecified);
}

#[tokio::test]
async fn the_leaders_status_tells_lag_contact_failures_and_applied_configurations() {
    let (door, _commands) =
        door(testing::scripted(testing::leader_status(), |input| panic!("not asked for: {input:?}")));
    door.metrics.send_failed(MemberId(2), &"connection refused");
    door.metrics.wal_size(4096, 1);
    let answer = door.status(Request::new(v1::StatusRequest {})).await.unwrap().into_inner();
    assert_eq!((answer.phase(), answer.role()), (v1::Phase::Member, v1::Role::Leader));
    assert_eq!((answer.term, answer.leader_id, answer.commit_index), (7, 1, 100));
    assert_eq!((answer.formed, answer.configuration_index, answer.wal_bytes), (true, 5, 4096));
    assert_eq!(answer.conf_state.unwrap().voters, [1, 2, 3]);
    let own = &answer.members[0];
    assert_eq!((own.match_index, own.lag, own.last_contact_ms, own.active), (100, 0, 0, true));
    let second = &answer.members[1];
    assert_eq!((second.match_index, second.lag, second.last_contact_ms, second.active), (90, 10, 200, true));
    assert_eq!((second.send_failures, second.last_send_error.as_str()), (1, "connection refused"));
    assert_eq!(answer.members[2].send_failures, 0);
    assert_eq!(answer.configurations.len(), 3);
    assert!(answer.configurations.iter().all(|one| one.configuration_index == 5));
}

#[tokio::test]
async fn admit_hands_on_the_whole_roster_and_the_expected_index() {
    let roster = vec![
        RosterEntry { name: "orders-0".into(), learner: false },
        RosterEntry { name: "orders-1".into(), learner: true },
    ];
    let wanted =
        AdminRequest::Admit { cluster: testing::CLUSTER, expected: Some(Index(5)), roster: roster.clone() };
    let (door, _commands) = expecting(wanted, Ok(AdminReply::Configuration { index: Index(8) }));
    let request = v1::AdmitRequest {
        cluster_id: testing::CLUSTER.0,
        expected_configuration_index: 5,
        roster: roster
            .into_iter()
            .map(|entry| v1::RosterEntry { name: entry.name, learner: entry.learner })
            .collect(),
    };
    let answer = door.admit(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(answer.configuration_index, 8);
}

#[tokio::test]
async fn a_roster_with_a_name_twice_or_none_never_reaches_the_node() {
    let (door, _commands) =
        door(testing::scripted(testing::leader_status(), |input| panic!("not asked for: {input:?}")));
    let entry = |name: &str| v1::RosterEntry { name: name.into(), learner: false };
    for (roster, text) in [
        (vec![entry("a"), entry("b"), entry("a")], "the roster names a twice"),
        (vec![entry("a"), entry("")], "the roster has an entry without a name"),
    ] {
        let request =
            v1::AdmitRequest { cluster_id: testing::CLUSTER.0, roster, expected_configuration_index: 0 };
        let refused = door.admit(Request::new(request)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, text));
    }
}

#[tokio::test]
async fn a_stale_configuration_is_aborted_with_both_indexes() {
    let wanted = AdminRequest::Remove {
        cluster: testing::CLUSTER,
        target: MemberSelector::Name("orders-2".into()),
        expected: Some(Index(4)),
    };
    let refusal = MembershipRefusal::StaleConfiguration { expected: Index(4), actual: Index(5) };
    let (door, _commands) = expecting(wanted, Err(refusal.into()));
    let request = v1::RemoveRequest {
        cluster_id: testing::CLUSTER.0,
        member_id: 0,
        name: "orders-2".into(),
        expected_configuration_index: 4,
    };
    let refused = door.remove(Request::new(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("stale configuration index 4: it is 5 now"), "{}", refused.message());
}

#[tokio::test]
async fn remove_wants_exactly_one_of_id_and_name() {
    let (door, _commands) =
        door(testing::scripted(testing::leader_status(), |input| panic!("not asked for: {input:?}")));
    for (member_id, name) in [(0, ""), (3, "orders-2")] {
        let request = v1::RemoveRequest {
            cluster_id: testing::CLUSTER.0,
            member_id,
            name: name.into(),
            expected_configuration_index: 0,
        };
        let refused = door.remove(Request::new(request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{member_id} {name}");
    }
}

#[tokio::test]
async fn join_hands_on_the_route_and_answers_with_everyones_address() {
    let route = Route {
        id: MemberId(4),
        name: "orders-3".into(),
        address: "orders-3.orders-peers:2380".into(),
        address_version: 0,
        version: "0.1.0".into(),
        client_url: String::new(),
    };
    let wanted =
        AdminRequest::Join { cluster: ClusterId(0), route: route.clone(), abandoned: vec![ClusterId(5)] };
    let joined = AdminReply::Joined { cluster: testing::CLUSTER, members: vec![route] };
    let (door, _commands) = expecting(wanted, Ok(joined));
    let request = v1::JoinRequest {
        cluster_id: 0,
        member_id: 4,
        name: "orders-3".into(),
        address: "orders-3.orders-peers:2380".into(),
        version: "0.1.0".into(),
        abandoned: vec![5],
        client_url: String::new(),
    };
    let answer = door.join(Request::new(request.clone())).await.unwrap().into_inner();
    assert_eq!((answer.cluster_id, answer.members[0].id), (testing::CLUSTER.0, 4));
    let nameless = v1::JoinRequest { name: String::new(), ..request };
    let refused = door.join(Request::new(nameless)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_transfer_for_another_cluster_is_refused() {
    let wanted = AdminRequest::Transfer { to: None };
    let (door, _commands) = expecting(wanted, Ok(AdminReply::Leader { id: MemberId(2) }));
    let request =
        |cluster_id| Request::new(v1::TransferRequest { cluster_id, to: 0, to_name: String::new() });
    let answer = door.transfer(request(testing::CLUSTER.0)).await.unwrap().into_inner();
    assert_eq!(answer.leader_id, 2);
    let refused = door.transfer(request(0xbad)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("cluster id mismatch"), "{}", refused.message());
}

#[tokio::test]
async fn drain_reaches_the_node_and_is_no_error_without_one() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let (door_with_node, _commands) =
        door(testing::scripted(testing::leader_status(), move |input| match input {
            Input::Event(event) => told.send(event).unwrap(),
            Input::Propose { .. } | Input::Read { .. } | Input::Admin { .. } => panic!("not asked for"),
        }));
    door_with_node.drain(Request::new(v1::DrainRequest {})).await.unwrap();
    assert!(matches!(heard.recv().await, Some(Event::Drain)));
    let (without, _commands) = door(testing::nodeless(Standing::default()));
    without.drain(Request::new(v1::DrainRequest {})).await.unwrap();
}

#[tokio::test]
async fn founding_goes_to_the_lifecycle_and_its_refusals_come_back_with_their_codes() {
    let (door, mut commands) = door(testing::nodeless(Standing::default()));
    let lifecycle = tokio::spawn(async move {
        let Some(LifecycleCommand::Found { founding, reply }) = commands.recv().await else {
            panic!("no founding")
        };
        assert_eq!((founding.cluster, founding.member), (ClusterId(6), MemberId(1)));
        assert_eq!(founding.seeds[0].name, "orders-1");
        reply.send(Ok(())).unwrap();
        let Some(LifecycleCommand::Abandon { cluster, reply }) = commands.recv().await else {
            panic!("no abandoning")
        };
        reply.send(Err(LifecycleRefusal::Formed { cluster })).unwrap();
    });
    let request = v1::FoundRequest {
        cluster_id: 6,
        member_id: 1,
        roster: vec![v1::RosterEntry { name: "orders-0".into(), learner: false }],
        seeds: vec![v1::Member { name: "orders-1".into(), ..Default::default() }],
    };
    door.found(Request::new(request)).await.unwrap();
    let refused = door.abandon(Request::new(v1::AbandonRequest { cluster_id: 6 })).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("it cannot be abandoned"), "{}", refused.message());
    lifecycle.await.unwrap();
    // The lifecycle is gone now.
    let refused = door.abandon(Request::new(v1::AbandonRequest { cluster_id: 6 })).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let refused = door.abandon(Request::new(v1::AbandonRequest { cluster_id: 0 })).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_snapshot_is_streamed_with_its_length_in_every_chunk_and_a_read_error_ends_it() {
    let (door, mut commands) = door(testing::nodeless(Standing::default()));
    tokio::spawn(async move {
        let Some(LifecycleCommand::Snapshot { reply }) = commands.recv().await else { panic!("no snapshot") };
        let (send, chunks) = mpsc::channel(1);
        reply.send(Ok(SnapshotFile { total_bytes: 6, chunks })).unwrap();
        send.send(Ok(Bytes::from_static(b"abc"))).await.unwrap();
        send.send(Err(std::io::Error::other("bad sector"))).await.unwrap();
    });
    let mut stream = door.snapshot(Request::new(v1::SnapshotRequest {})).await.unwrap().into_inner();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!((first.total_bytes, first.chunk.as_ref()), (6, b"abc".as_ref()));
    let failed = stream.next().await.unwrap().unwrap_err();
    assert_eq!(failed.code(), Code::DataLoss);
    assert!(stream.next().await.is_none());
}
