//! The client port over a real connection, in front of a scripted node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_core::error::{MembershipRefusal, Refusal};
use outrigger_core::event::{AdminReply, AdminRequest, MemberSelector};
use outrigger_core::mvcc::{KvRefusal, OpResponse, Response};
use outrigger_core::state_machine::Output;
use outrigger_core::status::{NodeStatus, Role};
use outrigger_core::types::{Index, MemberId};
use outrigger_proto::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::api::testing;
use crate::inbox::Input;
use crate::member::{MemberHandle, Phase, Standing};
use crate::metrics::Metrics;

/// A served port; it ends with the test's runtime.
struct Port {
    channel: Channel,
    metrics: Arc<Metrics>,
}

async fn serve(member: MemberHandle, max_request_bytes: usize) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new());
    let door = ClientDoor {
        member,
        identity: testing::identity(),
        metrics: Arc::clone(&metrics),
        max_request_bytes,
    };
    tokio::spawn(serve_clients(listener, Limits::default(), door, std::future::pending()));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Port { channel, metrics }
}

/// Answers every proposal and read the same way.
fn always(result: Result<OpResponse, KvRefusal>) -> impl FnMut(Input) + Send + 'static {
    move |input| match input {
        Input::Propose { reply, .. } => {
            let response = Response { revision: 42, result: result.clone() };
            reply.send(Ok(Output::Kv(response))).unwrap();
        }
        Input::Read { reply } => reply.send(Ok(Index(100))).unwrap(),
        Input::Admin { .. } | Input::Event(_) => panic!("not asked for"),
    }
}

fn refusing(refusal: Refusal) -> impl FnMut(Input) + Send + 'static {
    move |input| match input {
        Input::Propose { reply, .. } => reply.send(Err(refusal.clone())).unwrap(),
        Input::Read { reply } => reply.send(Err(refusal.clone())).unwrap(),
        Input::Admin { reply, .. } => reply.send(Err(refusal.clone())).unwrap(),
        Input::Event(_) => panic!("not asked for"),
    }
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: Bytes::from_static(key.as_bytes()), ..Default::default() }
}

fn get(key: &'static str, serializable: bool) -> pb::RangeRequest {
    pb::RangeRequest { key: Bytes::from_static(key.as_bytes()), serializable, ..Default::default() }
}

const FULL_HEADER: pb::ResponseHeader =
    pb::ResponseHeader { cluster_id: 0xc1, member_id: 1, revision: 42, raft_term: 7 };

#[tokio::test]
async fn a_put_is_proposed_and_answered_with_a_full_header() {
    let member = testing::scripted(testing::leader_status(), always(Ok(OpResponse::Put { prev_kv: None })));
    let port = serve(member, 1024).await;
    let answer = KvClient::new(port.channel.clone()).put(put("a")).await.unwrap().into_inner();
    assert_eq!(answer.header, Some(FULL_HEADER));
    assert_eq!(port.metrics.grpc_counter("Put", "Ok").get(), 1);
}

#[tokio::test]
async fn a_linearizable_read_waits_for_the_barrier_and_a_serializable_one_does_not() {
    let member = testing::scripted(testing::leader_status(), refusing(Refusal::Timeout));
    let mut client = KvClient::new(serve(member, 1024).await.channel);
    let refused = client.range(get("a", false)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: request timed out"));
    let answer = client.range(get("a", true)).await.unwrap().into_inner();
    let header = answer.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id, header.raft_term), (0xc1, 1, 7));
    assert_eq!(header.revision, testing::empty_view().revision().0);
}

#[tokio::test]
async fn a_transaction_that_only_reads_is_a_read_and_one_that_may_write_is_proposed() {
    use pb::request_op::Request;
    let reads_only = |input: Input| match input {
        Input::Read { reply } => reply.send(Ok(Index(100))).unwrap(),
        Input::Propose { reply, .. } => reply.send(Err(Refusal::NoSpace)).unwrap(),
        Input::Admin { .. } | Input::Event(_) => panic!("not asked for"),
    };
    let member = testing::scripted(testing::leader_status(), reads_only);
    let mut client = KvClient::new(serve(member, 1024).await.channel);
    let op = |request| pb::RequestOp { request: Some(request) };
    let read = || op(Request::RequestRange(get("a", false)));
    let nested = |op| pb::TxnRequest { failure: vec![op], ..Default::default() };
    for only_reads in [nested(read()), nested(op(Request::RequestTxn(nested(read())))), nested(read())] {
        let answer = client.txn(only_reads).await.unwrap().into_inner();
        assert_eq!(answer.header.unwrap().revision, testing::empty_view().revision().0);
        assert!(answer.succeeded, "nothing is compared");
    }
    let write = || op(Request::RequestPut(put("a")));
    for writes in [nested(write()), nested(op(Request::RequestTxn(nested(write()))))] {
        assert_eq!(client.txn(writes).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    // Without a leader only a serializable one is answered.
    let member = testing::scripted(testing::leader_status(), refusing(Refusal::NoLeader));
    let mut client = KvClient::new(serve(member, 1024).await.channel);
    assert_eq!(client.txn(nested(read())).await.unwrap_err().code(), Code::Unavailable);
    let serializable = nested(op(Request::RequestRange(get("a", true))));
    assert!(client.txn(serializable).await.is_ok());
}

#[tokio::test]
async fn a_refusal_reaches_the_client_with_its_code_and_text_and_is_counted() {
    let member = testing::scripted(testing::leader_status(), refusing(Refusal::NoLeader));
    let port = serve(member, 1024).await;
    let refused = KvClient::new(port.channel.clone()).put(put("a")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: no leader"));
    assert_eq!(port.metrics.grpc_counter("Put", "Unavailable").get(), 1);

    let member = testing::scripted(testing::leader_status(), always(Err(KvRefusal::Compacted)));
    let mut client = KvClient::new(serve(member, 1024).await.channel);
    let refused = client.compact(pb::CompactionRequest { revision: 1, physical: true }).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
    );
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_too_large_whether_it_is_decoded_or_not() {
    let member = testing::scripted(testing::leader_status(), always(Ok(OpResponse::Put { prev_kv: None })));
    let mut client = KvClient::new(serve(member, 1024).await.channel);
    // The second is beyond what is even decoded.
    for size in [1025, 2 << 20] {
        let request = pb::PutRequest { value: Bytes::from(vec![b'v'; size]), ..put("a") };
        let refused = client.put(request).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "etcdserver: request is too large"),
            "{size} bytes"
        );
    }
    client.put(put("a")).await.unwrap();
}

#[tokio::test]
async fn a_member_that_does_not_serve_yet_says_what_it_waits_for() {
    let standing =
        Standing { waiting_for: "waiting to be founded: 2 of 3 answer".into(), ..Default::default() };
    let mut client = KvClient::new(serve(testing::nodeless(standing), 1024).await.channel);
    let refused = client.put(put("a")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "etcdserver: no leader: waiting to be founded: 2 of 3 answer")
    );
    let unformed = NodeStatus { formed: false, ..testing::leader_status() };
    let member = testing::scripted(unformed, always(Ok(OpResponse::Put { prev_kv: None })));
    let mut client = KvClient::new(serve(member, 1024).await.channel);
    let refused = client.range(get("a", true)).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "etcdserver: no leader: the cluster is not formed yet")
    );
}

#[tokio::test]
async fn the_member_list_names_everyone_with_urls_and_leaves_the_revision_at_zero() {
    let mut status = testing::leader_status();
    status.members[2].learner = true;
    let member = testing::scripted(status, always(Ok(OpResponse::Put { prev_kv: None })));
    let mut client = ClusterClient::new(serve(member, 1024).await.channel);
    let answer = client.member_list(pb::MemberListRequest { linearizable: true }).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().revision, 0);
    let third = &answer.members[2];
    assert_eq!((third.id, third.name.as_str(), third.is_learner), (3, "orders-2", true));
    assert_eq!(third.peer_ur_ls, ["http://orders-2.orders-peers:2380"]);
    assert_eq!(third.client_ur_ls, ["http://orders-2.orders-peers:2379"]);
    let refused = client.member_remove(pb::MemberRemoveRequest { id: 3 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_status_shows_leader_indexes_and_a_version_that_clients_accept() {
    let member = testing::scripted(testing::leader_status(), refusing(Refusal::Stopped));
    let mut client = MaintenanceClient::new(serve(member, 1024).await.channel);
    let answer = client.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((answer.leader, answer.raft_index, answer.raft_term), (1, 100, 7));
    assert_eq!((answer.raft_applied_index, answer.is_learner), (100, false));
    assert_eq!(answer.errors, Vec::<String>::new());
    assert!(answer.db_size > 0, "etcdctl divides by it");
    let parts: Vec<u32> = answer.version.split('.').map(|part| part.parse().unwrap()).collect();
    let parts: [u32; 3] = parts.try_into().unwrap();
    assert!(parts >= [3, 4, 31] && !([3, 5, 0]..=[3, 5, 12]).contains(&parts), "{parts:?}");
}

#[tokio::test]
async fn without_space_a_put_is_refused_as_etcd_does_and_the_status_says_so() {
    let mut status = testing::leader_status();
    status.shortage.disk = true;
    let member = testing::scripted(status, refusing(Refusal::NoSpace));
    let port = serve(member, 1024).await;
    let refused = KvClient::new(port.channel.clone()).put(put("a")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
    );
    let answer =
        MaintenanceClient::new(port.channel).status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert!(answer.errors[0].starts_with("memberID:1 alarm:NOSPACE"), "{:?}", answer.errors);
    assert_eq!(answer.db_size_quota, 2 << 30);
}

#[tokio::test]
async fn the_leader_moves_to_a_voter_and_only_on_the_leaders_word() {
    let moved = |input| match input {
        Input::Admin { request, reply } => {
            let wanted = AdminRequest::Transfer { to: Some(MemberSelector::Id(MemberId(2))) };
            assert_eq!(request, wanted);
            reply.send(Ok(AdminReply::Leader { id: MemberId(2) })).unwrap();
        }
        Input::Propose { .. } | Input::Read { .. } | Input::Event(_) => panic!("not asked for"),
    };
    let member = testing::scripted(testing::leader_status(), moved);
    let mut client = MaintenanceClient::new(serve(member, 1024).await.channel);
    client.move_leader(pb::MoveLeaderRequest { target_id: 2 }).await.unwrap();
    let refused = client.move_leader(pb::MoveLeaderRequest { target_id: 9 }).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::FailedPrecondition, "etcdserver: bad leader transferee")
    );

    let follower = NodeStatus { role: Role::Follower, ..testing::leader_status() };
    let member = testing::scripted(follower, refusing(MembershipRefusal::MemberNotFound.into()));
    let mut client = MaintenanceClient::new(serve(member, 1024).await.channel);
    let refused = client.move_leader(pb::MoveLeaderRequest { target_id: 2 }).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "etcdserver: not leader"));
}

#[tokio::test]
async fn what_is_not_served_says_so_by_name() {
    let member = testing::scripted(testing::leader_status(), refusing(Refusal::Stopped));
    let port = serve(member, 1024).await;
    let refused = LeaseClient::new(port.channel.clone())
        .lease_grant(pb::LeaseGrantRequest { ttl: 5, id: 0 })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("etcdserverpb.Lease/LeaseGrant"), "{}", refused.message());
    let refused =
        MaintenanceClient::new(port.channel.clone()).defragment(pb::DefragmentRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(port.metrics.grpc_counter("other", "Unimplemented").get(), 2);
}

/// `(member, alarm)` of everything that stands.
async fn alarms(
    client: &mut MaintenanceClient<Channel>,
    request: pb::AlarmRequest,
) -> Result<Vec<(u64, i32)>, tonic::Status> {
    let answer = client.alarm(request).await?.into_inner();
    assert_eq!(answer.header.unwrap().cluster_id, 0xc1);
    Ok(answer.alarms.iter().map(|alarm| (alarm.member_id, alarm.alarm)).collect())
}

#[tokio::test]
async fn alarms_are_listed_by_member_and_neither_raised_nor_cleared_by_hand() {
    use pb::AlarmType::{Corrupt, None, Nospace};
    use pb::alarm_request::AlarmAction::{Activate, Deactivate, Get};
    let calm = testing::scripted(testing::leader_status(), refusing(Refusal::Stopped));
    let mut client = MaintenanceClient::new(serve(calm, 1024).await.channel);
    assert_eq!(alarms(&mut client, pb::AlarmRequest::default()).await.unwrap(), []);

    let mut status = testing::leader_status();
    // Two causes of one member are one alarm to the protocol.
    (status.shortage.disk, status.shortage.quota) = (true, true);
    status.members[2].progress.as_mut().unwrap().disk_full = true;
    let member = testing::scripted(status, refusing(Refusal::Stopped));
    let mut client = MaintenanceClient::new(serve(member, 1024).await.channel);
    let asked = |action: pb::alarm_request::AlarmAction, member_id, alarm: pb::AlarmType| pb::AlarmRequest {
        action: action.into(),
        member_id,
        alarm: alarm.into(),
    };
    let nospace = i32::from(Nospace);
    let table = [
        (asked(Get, 0, None), vec![(1, nospace), (3, nospace)]),
        (asked(Get, 3, Nospace), vec![(3, nospace)]),
        (asked(Get, 2, None), vec![]),
        (asked(Get, 0, Corrupt), vec![]),
        // It stands as long as the disk is full: nothing was cleared, and that is no error.
        (asked(Deactivate, 0, None), vec![]),
    ];
    for (request, expected) in table {
        assert_eq!(alarms(&mut client, request).await.unwrap(), expected, "{request:?}");
    }
    let refused = alarms(&mut client, asked(Activate, 1, Nospace)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("raised and cleared by the member itself"), "{}", refused.message());
    let unknown = pb::AlarmRequest { action: 9, ..Default::default() };
    assert_eq!(alarms(&mut client, unknown).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_hash_is_of_this_members_own_state_and_needs_no_leader() {
    let member = testing::scripted(testing::leader_status(), refusing(Refusal::NoLeader));
    let mut client = MaintenanceClient::new(serve(member, 1024).await.channel);
    let answer = client.hash_kv(pb::HashKvRequest { revision: 0 }).await.unwrap().into_inner();
    assert_eq!((answer.hash, answer.hash_revision, answer.compact_revision), (0, 1, 0));
    let refused = client.hash_kv(pb::HashKvRequest { revision: 7 }).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
    );
}

#[tokio::test]
async fn a_snapshot_in_etcds_form_is_refused_with_the_command_that_takes_one() {
    let member = testing::scripted(testing::leader_status(), refusing(Refusal::Stopped));
    let mut client = MaintenanceClient::new(serve(member, 1024).await.channel);
    let refused = client.snapshot(pb::SnapshotRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("outrigger snapshot save"), "{}", refused.message());
}

#[tokio::test]
async fn the_port_closes_when_it_is_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = ClientDoor {
        member: testing::nodeless(Standing::default()),
        identity: testing::identity(),
        metrics: Arc::new(Metrics::new()),
        max_request_bytes: 1024,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let served =
        tokio::spawn(serve_clients(listener, Limits::default(), door, async move { drop(stopped.await) }));
    drop(stop);
    served.await.unwrap().unwrap();
}

/// Types of frames, RFC 9113 §6.
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Reads one frame; gives its type.
async fn frame(client: &mut TcpStream) -> u8 {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    client.read_exact(&mut payload).await.unwrap();
    head[3]
}

#[tokio::test]
async fn whoever_is_connected_to_a_member_that_was_removed_is_sent_elsewhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let as_in = |phase| Standing { phase, ..Standing::default() };
    let (standing, standings) = watch::channel(as_in(Phase::Member));
    let door = ClientDoor {
        member: MemberHandle::new(Arc::default(), standings),
        identity: testing::identity(),
        metrics: Arc::new(Metrics::new()),
        max_request_bytes: 1024,
    };
    tokio::spawn(serve_clients(listener, Limits::default(), door, std::future::pending()));
    for left in [Phase::Removed, Phase::Faulted] {
        let mut client = TcpStream::connect(address).await.unwrap();
        // RFC 9113 §3.4: the preface and empty settings.
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let settings = frame(&mut client).await;
        assert_eq!(settings, SETTINGS);
        standing.send_replace(as_in(left));
        let told = async { while frame(&mut client).await != GOAWAY {} };
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
        standing.send_replace(as_in(Phase::Member));
    }
}

#[tokio::test]
async fn what_no_state_could_make_legal_never_reaches_the_node() {
    let member = testing::scripted(testing::leader_status(), |input| panic!("not asked for: {input:?}"));
    let mut client = KvClient::new(serve(member, 1 << 20).await.channel);
    let mut texts = Vec::new();
    texts.push(client.put(put("")).await.unwrap_err());
    texts.push(client.range(get("", false)).await.unwrap_err());
    texts.push(client.range(pb::RangeRequest { sort_target: 9, ..get("a", false) }).await.unwrap_err());
    texts.push(client.delete_range(pb::DeleteRangeRequest::default()).await.unwrap_err());
    let op = |request| pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(request)) };
    let many = pb::TxnRequest { success: vec![op(put("a")); 129], ..Default::default() };
    texts.push(client.txn(many).await.unwrap_err());
    let twice = pb::TxnRequest { success: vec![op(put("a")); 2], ..Default::default() };
    texts.push(client.txn(twice).await.unwrap_err());
    let texts: Vec<(Code, &str)> = texts.iter().map(|status| (status.code(), status.message())).collect();
    let expected = [
        "etcdserver: key is not provided",
        "etcdserver: key is not provided",
        "etcdserver: invalid sort option",
        "etcdserver: key is not provided",
        "etcdserver: too many operations in txn request",
        "etcdserver: duplicate key given in txn request",
    ];
    assert_eq!(texts, expected.map(|text| (Code::InvalidArgument, text)));
}
