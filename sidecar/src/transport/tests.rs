//! Two members' transports against each other over real sockets on loopback; the nodes are inboxes that the tests read.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of event among many")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use outrigger_core::effects::MessageClass;
use outrigger_core::event::{Delivery, Event};
use outrigger_core::status::NodeStatus;
use outrigger_core::types::{Index, Term};
use outrigger_proto::v1::peer_client::PeerClient;
use outrigger_proto::v1::peer_server::PeerServer;
use outrigger_proto::v1::{ExchangeRequest, Frame, exchange_request};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::receiver::{Acceptor, PeerService};
use super::*;
use crate::discovery::{Discovery, InMemory};
use crate::inbox::Input;

const CLUSTER: ClusterId = ClusterId(0xC1);
/// Far beyond what any of this takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Snapshots that nobody asks for here.
fn nowhere() -> crate::snapshots::Snapshots {
    crate::snapshots::tests::in_dir(std::path::Path::new("/nonexistent"), CLUSTER)
}

/// A member whose node is the test.
struct Member {
    local: Local,
    inputs: mpsc::Receiver<Input>,
    status: watch::Sender<Arc<NodeStatus>>,
    tombstoned: watch::Receiver<bool>,
}

impl Member {
    fn new(id: u64, address: SocketAddr, boot_nonce: u64) -> Self {
        let (sender, inputs) = mpsc::channel(64);
        let (status, published) = watch::channel(Arc::default());
        let (tombstone, tombstoned) = watch::channel(false);
        let own = Route {
            id: MemberId(id),
            name: format!("orders-{id}"),
            address: address.to_string(),
            ..Route::default()
        };
        let node = NodeHandle::new(sender, Arc::default(), published);
        let local = Local {
            cluster: CLUSTER,
            own,
            boot_nonce,
            node,
            tombstoned: tombstone,
            pokes: Pokes::default(),
            metrics: Arc::default(),
        };
        Self { local, inputs, status, tombstoned }
    }

    fn transport(&self) -> Transport {
        self.transport_with(nowhere())
    }

    fn transport_with(&self, files: crate::snapshots::Snapshots) -> Transport {
        let discovery = Discovery::new(None, None, 0, Box::<InMemory>::default());
        let dialer = Dialer::new(Arc::new(discovery), None);
        Transport::new(self.local.clone(), dialer, snapshot::SnapshotSender::new(files))
    }

    async fn next(&mut self) -> Event {
        match tokio::time::timeout(PATIENCE, self.inputs.recv()).await.expect("an event") {
            Some(Input::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    /// The first event that `pick` takes; those before it are dropped.
    async fn until<T>(&mut self, pick: impl Fn(Event) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = pick(self.next().await) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the event")
    }
}

fn handshake(event: Event) -> Option<Route> {
    match event {
        Event::Handshake(route) => Some(route),
        _ => None,
    }
}

fn peer_bytes(event: Event) -> Option<Bytes> {
    match event {
        Event::Peer { bytes, .. } => Some(bytes),
        _ => None,
    }
}

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// A process that serves the member's `Peer` service: a runtime on a thread of its own, so that its end closes every
/// socket at once, as a process's does.
struct Process {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    fn start(member: &Member, listener: &std::net::TcpListener) -> Self {
        Self::receiving(member, listener, nowhere())
    }

    fn receiving(
        member: &Member,
        listener: &std::net::TcpListener,
        files: crate::snapshots::Snapshots,
    ) -> Self {
        let service = PeerService::default();
        let snapshots = snapshot::SnapshotReceiver::new(files);
        service.set(Some(Arc::new(Acceptor { local: member.local.clone(), snapshots })));
        let listener = listener.try_clone().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
                let server = tonic::transport::Server::builder()
                    .add_service(PeerServer::new(service))
                    .serve_with_incoming(incoming);
                tokio::select! {
                    () = stopped.cancelled() => {}
                    served = server => served.unwrap(),
                }
            });
        });
        Self { stop, thread: Some(thread) }
    }

    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn raft(to: u64, text: &'static str) -> Outgoing {
    Outgoing { to: MemberId(to), class: MessageClass::Raft, bytes: Bytes::from_static(text.as_bytes()) }
}

#[tokio::test]
async fn messages_arrive_in_order_under_the_sender_that_the_handshake_named() {
    let (listener, at) = listen();
    let mut receiver = Member::new(2, at, 22);
    let _process = Process::start(&receiver, &listener);
    let mut sender = Member::new(1, at, 11);
    let mut transport = sender.transport();
    assert!(!transport.send(raft(2, "early")), "no route yet");
    transport.set_routes(std::slice::from_ref(&receiver.local.own));
    let seen = sender.until(handshake).await;
    assert_eq!(seen, receiver.local.own);
    assert_eq!(receiver.until(handshake).await, sender.local.own);
    for text in ["a", "b", "c"] {
        assert!(transport.send(raft(2, text)));
    }
    for text in ["a", "b", "c"] {
        match receiver.next().await {
            Event::Peer { from, bytes } => assert_eq!((from, bytes), (MemberId(1), Bytes::from(text))),
            other => panic!("{other:?}"),
        }
    }
}

/// What the peer answers to these requests.
async fn exchange(at: SocketAddr, requests: Vec<ExchangeRequest>) -> Result<(), tonic::Status> {
    let channel = dial::connect("peer.test:1", at, None).await.unwrap();
    let mut answers = PeerClient::new(channel).exchange(futures::stream::iter(requests)).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

fn hello(hello: Hello) -> ExchangeRequest {
    ExchangeRequest { kind: Some(exchange_request::Kind::Hello(hello)) }
}

fn frame(text: &'static str) -> ExchangeRequest {
    let messages = vec![Bytes::from_static(text.as_bytes())];
    ExchangeRequest { kind: Some(exchange_request::Kind::Frame(Frame { messages })) }
}

#[tokio::test]
async fn who_may_not_speak_is_refused_before_anything_is_stepped() {
    let (listener, at) = listen();
    let mut receiver = Member::new(2, at, 22);
    receiver.status.send_replace(Arc::new(NodeStatus {
        tombstones: vec![MemberId(9)],
        removal_settled: true,
        ..<_>::default()
    }));
    let _process = Process::start(&receiver, &listener);
    let good = Hello { cluster_id: CLUSTER.0, from: 1, to: 2, ..Hello::default() };
    let refused = [
        (Hello { cluster_id: 0xBAD, ..good.clone() }, Code::FailedPrecondition, "cluster id mismatch"),
        (Hello { to: 3, ..good.clone() }, Code::FailedPrecondition, "member id mismatch"),
        (Hello { from: 9, ..good.clone() }, Code::PermissionDenied, "was removed"),
        (Hello { from: 2, ..good.clone() }, Code::InvalidArgument, "cannot be the sender"),
        (Hello { from: 0, ..good.clone() }, Code::InvalidArgument, "cannot be the sender"),
    ];
    for (forged, code, text) in refused {
        let status = exchange(at, vec![hello(forged.clone()), frame("evil")]).await.unwrap_err();
        assert_eq!(status.code(), code, "{forged:?}");
        assert!(status.message().contains(text), "{status:?}");
    }
    let status = exchange(at, vec![frame("no hello")]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let twice = vec![hello(good.clone()), frame("fine"), hello(good)];
    assert_eq!(exchange(at, twice).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(receiver.until(peer_bytes).await, "fine", "only the verified stream's message came through");
}

#[tokio::test]
async fn a_process_without_a_node_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(PeerServer::new(PeerService::default()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let _server = tokio::spawn(server);
    let status = exchange(at, vec![hello(Hello::default())]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_removed_member_learns_it_from_a_peer() {
    let (listener, at) = listen();
    let receiver = Member::new(2, at, 22);
    receiver.status.send_replace(Arc::new(NodeStatus {
        tombstones: vec![MemberId(1)],
        removal_settled: true,
        ..<_>::default()
    }));
    let _process = Process::start(&receiver, &listener);
    let mut removed = Member::new(1, at, 11);
    let mut transport = removed.transport();
    transport.set_routes(std::slice::from_ref(&receiver.local.own));
    tokio::time::timeout(PATIENCE, removed.tombstoned.wait_for(|told| *told)).await.unwrap().unwrap();
}

fn leads(member: &Member, leader: u64, term: u64) {
    let status = NodeStatus { leader: Some(MemberId(leader)), term: Term(term), ..NodeStatus::default() };
    member.status.send_replace(Arc::new(status));
}

fn gone(event: Event) -> Option<Term> {
    match event {
        Event::LeaderGone { term } => Some(term),
        _ => None,
    }
}

/// A follower that is connected to its leader, and the leader's process.
async fn follower_of(boot_nonce: u64) -> (Member, Transport, Process, std::net::TcpListener, SocketAddr) {
    let (listener, at) = listen();
    let leader = Member::new(2, at, boot_nonce);
    let process = Process::start(&leader, &listener);
    let mut follower = Member::new(1, at, 11);
    let mut transport = follower.transport();
    transport.set_routes(std::slice::from_ref(&leader.local.own));
    follower.until(handshake).await;
    leads(&follower, 2, 7);
    (follower, transport, process, listener, at)
}

#[tokio::test]
async fn a_dead_leader_process_is_noticed_by_the_refused_reconnect() {
    let (mut follower, _transport, process, listener, _) = follower_of(22).await;
    drop(listener);
    process.kill();
    assert_eq!(follower.until(gone).await, Term(7));
}

#[tokio::test]
async fn a_restarted_leader_process_is_noticed_by_its_other_boot() {
    let (mut follower, _transport, process, listener, at) = follower_of(22).await;
    process.kill();
    // The listener never closed: no dial is refused.
    let other_boot = Member::new(2, at, 23);
    let _restarted = Process::start(&other_boot, &listener);
    assert_eq!(follower.until(gone).await, Term(7));
}

#[tokio::test]
async fn a_broken_stream_to_the_same_process_deposes_nobody() {
    let (mut follower, mut transport, process, listener, at) = follower_of(22).await;
    process.kill();
    let mut same = Member::new(2, at, 22);
    let _same = Process::start(&same, &listener);
    same.until(handshake).await;
    let mut events = Vec::new();
    loop {
        match follower.next().await {
            Event::Handshake(_) => break,
            other => events.push(other),
        }
    }
    assert!(transport.send(raft(2, "again")), "the new stream carries messages");
    assert_eq!(same.until(peer_bytes).await, "again");
    while let Ok(Input::Event(event)) = follower.inputs.try_recv() {
        events.push(event);
    }
    assert!(events.iter().any(|event| matches!(event, Event::Unreachable { .. })), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::LeaderGone { .. })), "{events:?}");
}

#[tokio::test]
async fn a_follower_that_dies_deposes_nobody() {
    let (mut follower, _transport, process, listener, _) = follower_of(22).await;
    leads(&follower, 1, 7);
    drop(listener);
    process.kill();
    let mut unreachable = 0;
    while unreachable < 3 {
        match follower.next().await {
            Event::Unreachable { .. } => unreachable += 1,
            other => panic!("{other:?}"),
        }
    }
    let failures = follower.local.metrics.peer_failures(MemberId(2));
    assert!(failures.count >= 3, "{failures:?}");
    assert!(failures.last.unwrap().0.contains("refused"));
}

fn sent(event: Event) -> Option<Delivery> {
    match event {
        Event::SnapshotSent { delivery, .. } => Some(delivery),
        _ => None,
    }
}

/// A snapshot of several pieces, written by the sender.
fn written(files: &crate::snapshots::Snapshots) -> outrigger_core::effects::SendSnapshot {
    let founder = Route { id: MemberId(1), name: "orders-1".to_string(), ..Route::default() };
    let roster = [outrigger_core::membership::RosterEntry { name: "orders-1".to_string(), learner: false }];
    let header = outrigger_core::snapshot::founding_header(CLUSTER, &founder, &roster);
    let chunks = || (0..9_u8).map(|fill| Bytes::from(vec![fill; 200 << 10]));
    files.write(&header, chunks).unwrap();
    outrigger_core::effects::SendSnapshot {
        to: MemberId(2),
        header,
        message: Bytes::from_static(b"announce"),
    }
}

#[tokio::test]
async fn a_snapshot_is_durable_before_its_message_reaches_the_node() {
    let (listener, at) = listen();
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sending = crate::snapshots::tests::in_dir(from.path(), CLUSTER);
    let receiving = crate::snapshots::tests::in_dir(to.path(), CLUSTER);
    let snapshot = written(&sending);
    // What an earlier stream left is not sent again.
    let file = crate::snapshots::open(&sending, snapshot.header.index, snapshot.header.term).await.unwrap();
    let first = file.read(0, 300_000).await.unwrap();
    let begun = crate::snapshots::receive(&receiving, file.transfer()).await.unwrap();
    let checksum = crc32c::crc32c(&first);
    assert_eq!(begun.write(0, first, checksum).await.unwrap().offset(), 300_000);

    let mut receiver = Member::new(2, at, 22);
    let _process = Process::receiving(&receiver, &listener, receiving.clone());
    let mut sender = Member::new(1, at, 11);
    let mut transport = sender.transport_with(sending);
    transport.set_routes(std::slice::from_ref(&receiver.local.own));
    transport.send_snapshot(snapshot.clone());
    let header = receiver
        .until(|event| match event {
            Event::SnapshotReceived { header } => Some(header),
            _ => None,
        })
        .await;
    assert_eq!(header, snapshot.header);
    assert_eq!(receiver.until(peer_bytes).await, "announce");
    assert_eq!(sender.until(sent).await, Delivery::Delivered);
    let there = crate::snapshots::open(&receiving, header.index, header.term).await.unwrap();
    assert_eq!(there.transfer(), file.transfer());
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_sent_is_reported_too() {
    let (_listener, at) = listen();
    let from = tempfile::tempdir().unwrap();
    let sending = crate::snapshots::tests::in_dir(from.path(), CLUSTER);
    let snapshot = written(&sending);
    let mut sender = Member::new(1, at, 11);
    let mut transport = sender.transport_with(sending);
    transport.send_snapshot(snapshot.clone());
    assert_eq!(sender.until(sent).await, Delivery::Broken, "nobody knows the peer's address");
    let peer = Route { id: MemberId(2), address: at.to_string(), ..Route::default() };
    transport.set_routes(std::slice::from_ref(&peer));
    let gone = outrigger_core::snapshot::SnapshotHeader { index: Index(9), ..snapshot.header.clone() };
    transport.send_snapshot(outrigger_core::effects::SendSnapshot { header: gone, ..snapshot });
    assert_eq!(sender.until(sent).await, Delivery::NoFile, "there is no such file");
}
