//! Malformed words at the peer port, well framed and from a sender of the right cluster: each is refused before raft sees
//! it and counted, no process ends, the term stands, and writes go on. `bad_input` has the bytes that are not even framed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use outrigger_core::mvcc::{Command, KvOp, Put};
use outrigger_proto::v1::{Hello, SnapshotChunk, SnapshotOffsetRequest, SnapshotTarget, StatusResponse};
use outrigger_tests::cluster::{Cluster, ClusterMember, STEP};
use outrigger_tests::fake_peer::{self, Boots, Entry, Kind, RaftMessage, forwarded, frame, hello, speak};
use outrigger_tests::nemesis::progress;
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{binaries, verdict, wait};
use tonic::{Code, Status};

const WITHIN: Duration = Duration::from_secs(10);
/// No member was ever called so.
const STRANGER: u64 = 0x7777;
/// Further than any log here reaches.
const FAR: u64 = 1 << 40;

/// A cluster under load with its leader and a follower, as they were when all was well.
struct Scene {
    cluster: Cluster,
    load: Workload,
    leader: usize,
    follower: usize,
    before: StatusResponse,
}

impl Scene {
    async fn set(folder: &std::path::Path, seed: u64) -> Result<Self> {
        let cluster = Cluster::start(&binaries::outrigger()?, folder, 3).await?;
        let load = Workload::start(&Plan::contended(cluster.endpoints(), seed))?;
        progress(&load, "at the start").await?;
        Self::look(cluster, load).await
    }

    async fn look(cluster: Cluster, load: Workload) -> Result<Self> {
        let leader = cluster.leader().await?;
        let before = cluster.member(leader)?.status().await?;
        Ok(Self { cluster, load, leader, follower: (leader + 1) % 3, before })
    }

    /// Who a true member of that id says that it is; a stranger says something too.
    fn hello(&self, from: u64, to: u64) -> Hello {
        let known = self.before.members.iter().find(|member| member.id == from).cloned().unwrap_or_default();
        Hello {
            cluster_id: self.before.cluster_id,
            from,
            to,
            name: known.name,
            address: known.address,
            client_url: known.client_url,
            boot_nonce: 1,
            ..Hello::default()
        }
    }

    /// The same leader in the same term, every process alive, and a history that nothing was lost from.
    async fn undisturbed(mut self) -> Result<()> {
        for place in 0..3 {
            assert!(self.cluster.member_mut(place)?.process()?.is_running(), "{place} ended");
            let status = self.cluster.member(place)?.status().await?;
            let stands = (status.term, status.leader_id);
            assert_eq!(stands, (self.before.term, self.before.leader_id), "on member {place}");
        }
        progress(&self.load, "after all that").await?;
        let history = self.load.finish().await?;
        verdict::demand(&history, &mut self.cluster.member(self.follower)?.etcd()?).await?;
        Ok(())
    }
}

/// Waits until the member has counted one more than `before`.
async fn counted(member: &ClusterMember, series: &str, before: u64, what: &str) -> Result<()> {
    wait::until_ok(&format!("{series} after {what}"), STEP, async || {
        let now = member.metric(series).await?;
        ensure!(now == before + 1, "{now} after {before}");
        Ok(())
    })
    .await
}

/// A member that has started once says it to another.
fn boots(from: &StatusResponse, to: &StatusResponse) -> Boots {
    Boots { count: 1, nonce: from.boot_nonce, to_nonce: to.boot_nonce }
}

/// The same of nobody.
fn strange_boots(to: &StatusResponse) -> Boots {
    Boots { count: 1, nonce: STRANGER, to_nonce: to.boot_nonce }
}

fn garbage(boots: Boots) -> Vec<(&'static str, Bytes)> {
    let right = fake_peer::garbage(true, boots, b"");
    vec![
        ("nothing at all", Bytes::new()),
        ("an unknown kind", Bytes::from([&[9], right.get(1..).unwrap_or_default()].concat())),
        ("a message that ends in its envelope", right.slice(..20)),
        ("raft's kind, then garbage", fake_peer::garbage(true, boots, b"\xff\xff\xff\xff")),
        ("our own kind, then garbage", fake_peer::garbage(false, boots, b"\xff\xff\xff\xff")),
        ("our own kind without a word", fake_peer::garbage(false, boots, b"")),
        ("another protocol", Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n")),
    ]
}

/// What no leader says to a follower.
fn of_a_leader(right: &RaftMessage, commit: u64) -> Vec<(&'static str, RaftMessage)> {
    let entry = |index: u64, term: u64| Entry { index, term, data: Bytes::new() };
    let (append, term) = (RaftMessage { kind: Kind::Append.into(), ..right.clone() }, right.term);
    let beat = RaftMessage { kind: Kind::Heartbeat.into(), ..right.clone() };
    let follows = RaftMessage { index: commit, log_term: term, ..append.clone() };
    let of_kind = |kind: Kind| RaftMessage { kind: kind.into(), ..right.clone() };
    vec![
        ("a message for another member", RaftMessage { to: STRANGER, ..beat.clone() }),
        ("a message in another's name", RaftMessage { from: STRANGER, ..beat.clone() }),
        ("a message of no term", RaftMessage { term: 0, ..beat }),
        (
            "a gap before the entries",
            RaftMessage { entries: vec![entry(commit + 2, term)], ..follows.clone() },
        ),
        (
            "a gap between the entries",
            RaftMessage {
                entries: vec![entry(commit + 1, term), entry(commit + 3, term)],
                ..follows.clone()
            },
        ),
        ("an entry of a later term", RaftMessage { entries: vec![entry(commit + 1, term + 1)], ..follows }),
        (
            "another entry for what is committed",
            RaftMessage { index: commit - 1, log_term: 1, entries: vec![entry(commit, 1)], ..append.clone() },
        ),
        ("a huge index of no term", RaftMessage { index: FAR, commit: FAR, ..append.clone() }),
        (
            "an entry at a huge index of no term",
            RaftMessage { index: FAR, entries: vec![entry(FAR + 1, term)], ..append.clone() },
        ),
        (
            "an entry behind the last index that there is",
            RaftMessage { index: u64::MAX, log_term: term, entries: vec![entry(0, term)], ..append },
        ),
        ("a snapshot of nothing", of_kind(Kind::Snapshot)),
        ("a campaign by order", of_kind(Kind::Hup)),
        ("a proposal without entries", of_kind(Kind::Propose)),
        ("a read without a context", of_kind(Kind::ReadIndex)),
    ]
}

/// What no follower says to its leader.
fn of_a_follower(right: &RaftMessage) -> Vec<(&'static str, RaftMessage)> {
    let answer = RaftMessage { kind: Kind::AppendResponse.into(), ..right.clone() };
    let of_kind = |kind: Kind| RaftMessage { kind: kind.into(), ..right.clone() };
    vec![
        ("an answer beyond the log", RaftMessage { index: FAR, ..answer.clone() }),
        ("an answer with a commit beyond it", RaftMessage { commit: FAR, ..answer.clone() }),
        ("a hint beyond the log", RaftMessage { reject: true, reject_hint: u64::MAX, ..answer.clone() }),
        ("a wish for a snapshot", RaftMessage { reject: true, request_snapshot: FAR, ..answer }),
        ("a beat's answer beyond the log", RaftMessage { commit: FAR, ..of_kind(Kind::HeartbeatResponse) }),
        ("a beat at the leader", of_kind(Kind::Heartbeat)),
        ("a hand-over to the leader", of_kind(Kind::TimeoutNow)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_raft_message_is_refused_before_it_is_stepped_and_counted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scene = Scene::set(folder.path(), 41).await?;
    let (leader, follower) = (scene.cluster.member(scene.leader)?, scene.cluster.member(scene.follower)?);
    let (lead, follow) = (leader.status().await?, follower.status().await?);
    assert!(lead.term > 1, "term 1 is the founder's: {}", lead.term);
    let from = |from: u64, to: u64| RaftMessage { from, to, term: lead.term, ..RaftMessage::default() };

    let mut table: Vec<(&str, &ClusterMember, u64, Bytes)> = Vec::new();
    let (down, up) = (boots(&lead, &follow), boots(&follow, &lead));
    table.extend(garbage(down).into_iter().map(|(what, bytes)| (what, follower, lead.member_id, bytes)));
    let strange = garbage(strange_boots(&lead));
    table.extend(strange.into_iter().map(|(what, bytes)| (what, leader, STRANGER, bytes)));
    let wrong = of_a_leader(&from(lead.member_id, follow.member_id), follow.commit_index);
    table.extend(wrong.into_iter().map(|(what, one)| (what, follower, lead.member_id, one.framed(down))));
    let wrong = of_a_follower(&from(follow.member_id, lead.member_id));
    table.extend(wrong.into_iter().map(|(what, one)| (what, leader, follow.member_id, one.framed(up))));
    // Well formed, but a term has one leader.
    for (what, kind) in [
        ("a stranger's beat", Kind::Heartbeat),
        ("a stranger's append", Kind::Append),
        ("a stranger's hand-over", Kind::TimeoutNow),
    ] {
        let one = RaftMessage { kind: kind.into(), ..from(STRANGER, follow.member_id) };
        table.push((what, follower, STRANGER, one.framed(strange_boots(&follow))));
    }

    let series = "outrigger_peer_messages_refused_total";
    for (what, member, sender, bytes) in table {
        let before = member.metric(series).await?;
        let to = if member.name == lead.name { lead.member_id } else { follow.member_id };
        let stream = vec![hello(scene.hello(sender, to)), frame(vec![bytes])];
        speak(member.peer(), stream).await.with_context(|| format!("the stream with {what}"))?;
        counted(member, series, before, what).await?;
    }
    scene.undisturbed().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_votes_move_no_term_and_its_proposal_does_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scene = Scene::set(folder.path(), 42).await?;
    let term = scene.before.term;
    let put = Put { key: "stranger".into(), value: "was here".into(), ..Put::default() };
    let command = Command { op: Some(KvOp::Put(put)) }.encode_to_bytes();
    for place in 0..3 {
        let member = scene.cluster.member(place)?;
        let status = member.status().await?;
        let (to, boots) = (status.member_id, strange_boots(&status));
        let ask = |kind: Kind| {
            let wanted =
                RaftMessage { kind: kind.into(), from: STRANGER, to, term: term + 5, ..<_>::default() };
            RaftMessage { index: FAR, log_term: term + 4, ..wanted }.framed(boots)
        };
        let words = vec![
            ask(Kind::RequestPreVote),
            ask(Kind::RequestVote),
            forwarded(term, STRANGER, boots, &command),
        ];
        speak(member.peer(), vec![hello(scene.hello(STRANGER, to)), frame(words)]).await?;
    }
    progress(&scene.load, "after the stranger's proposal").await?;
    for place in 0..3 {
        let (pair, _) = scene.cluster.member(place)?.etcd()?.get(&"stranger".into(), false, WITHIN).await?;
        assert_eq!(pair, None, "read on {place}");
    }
    scene.undisturbed().await
}

/// A cluster with one id that was tombstoned, because its disk was lost.
async fn with_a_tombstone(folder: &std::path::Path) -> Result<(Scene, u64)> {
    let Scene { mut cluster, load, leader, .. } = Scene::set(folder, 43).await?;
    let lost = (leader + 2) % 3;
    let old = cluster.member(lost)?.status().await?.member_id;
    cluster.kill(lost)?;
    cluster.wipe(lost)?;
    cluster.spawn(lost)?;
    wait::until_ok("the replacement", STEP, async || {
        let status = cluster.configured(3).await?;
        ensure!(status.tombstones.contains(&old), "{old:x} still counts");
        Ok(())
    })
    .await?;
    cluster.serving().await?;
    Ok((Scene::look(cluster, load).await?, old))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_speak_is_refused_at_the_door_and_counted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (scene, tombstoned) = with_a_tombstone(folder.path()).await?;
    let (leader, follower) = (scene.cluster.member(scene.leader)?, scene.cluster.member(scene.follower)?);
    let (lead, follow) = (leader.status().await?, follower.status().await?);
    let down = boots(&lead, &follow);
    let (lead, follow) = (lead.member_id, follow.member_id);
    let right = scene.hello(lead, follow);
    let beat = RaftMessage { kind: Kind::Heartbeat.into(), term: scene.before.term + 5, ..<_>::default() };
    let series = |reason: &str| format!("outrigger_peer_calls_refused_total{{reason=\"{reason}\"}}");
    for (member, forged, code, reason) in [
        (follower, Hello { cluster_id: 1, ..right.clone() }, Code::FailedPrecondition, "wrong_cluster"),
        (follower, Hello { to: STRANGER, ..right.clone() }, Code::FailedPrecondition, "wrong_target"),
        (follower, Hello { from: 0, ..right.clone() }, Code::InvalidArgument, "impossible_sender"),
        (follower, Hello { from: follow, ..right.clone() }, Code::InvalidArgument, "impossible_sender"),
        // Only a leader may tell the removed that they are: what they do then cannot be undone.
        (follower, Hello { from: tombstoned, ..right.clone() }, Code::Unavailable, "removed_sender"),
        (leader, scene.hello(tombstoned, lead), Code::PermissionDenied, "removed_sender"),
    ] {
        let before = member.metric(&series(reason)).await?;
        // Would move the term, if it were stepped.
        let evil = RaftMessage { from: forged.from, to: forged.to, ..beat.clone() }.framed(down);
        let answer = speak(member.peer(), vec![hello(forged.clone()), frame(vec![evil])]).await;
        let refused = answer.err().with_context(|| format!("{forged:?} was let in"))?;
        assert_eq!(refused.code(), code, "{forged:?}: {refused}");
        counted(member, &series(reason), before, reason).await?;
    }
    let evil = frame(vec![RaftMessage { from: lead, to: follow, ..beat }.framed(down)]);
    for stream in [vec![evil], vec![hello(right.clone()), hello(right)]] {
        let refused =
            speak(follower.peer(), stream).await.err().context("a stream out of order was let in")?;
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    scene.undisturbed().await
}

/// What the member answers to this one chunk.
async fn send_chunk(member: &ClusterMember, chunk: SnapshotChunk) -> Result<Status> {
    let mut client = fake_peer::client(member.peer())?;
    let mut request = tonic::Request::new(futures::stream::iter(vec![chunk]));
    request.set_timeout(WITHIN);
    client.send_snapshot(request).await.err().context("a snapshot of nothing was taken")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_snapshot_is_refused_and_installs_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scene = Scene::set(folder.path(), 44).await?;
    let follower = scene.cluster.member(scene.follower)?;
    let (from, to) = (scene.before.member_id, follower.status().await?.member_id);
    let data = Bytes::from_static(b"no snapshot at all");
    let total_bytes = u64::try_from(data.len())?;
    let target = SnapshotTarget {
        cluster_id: scene.before.cluster_id,
        from,
        to,
        index: FAR,
        term: scene.before.term,
        total_bytes,
        checksum: 7,
    };
    let chunk = SnapshotChunk { target: Some(target), offset: 0, data, checksum: 7, message: Bytes::new() };
    let aimed = |target: SnapshotTarget| SnapshotChunk { target: Some(target), ..chunk.clone() };
    for (what, wrong, code) in [
        ("another cluster's", aimed(SnapshotTarget { cluster_id: 1, ..target }), Code::FailedPrecondition),
        ("another member's", aimed(SnapshotTarget { to: STRANGER, ..target }), Code::FailedPrecondition),
        ("nobody's", aimed(SnapshotTarget { from: 0, ..target }), Code::InvalidArgument),
        ("one without a target", SnapshotChunk { target: None, ..chunk.clone() }, Code::InvalidArgument),
        ("one with a wrong checksum", chunk.clone(), Code::DataLoss),
        ("one that begins in its middle", SnapshotChunk { offset: 5, ..chunk.clone() }, Code::DataLoss),
        (
            "one of unheard-of length",
            aimed(SnapshotTarget { total_bytes: u64::MAX, ..target }),
            Code::DataLoss,
        ),
    ] {
        let refused = send_chunk(follower, wrong).await?;
        assert_eq!(refused.code(), code, "{what}: {refused}");
    }
    let wrong = SnapshotOffsetRequest { target: Some(SnapshotTarget { cluster_id: 1, ..target }) };
    let refused = fake_peer::client(follower.peer())?.snapshot_offset(wrong).await.err();
    assert_eq!(refused.map(|status| status.code()), Some(Code::FailedPrecondition));
    assert!(follower.status().await?.snapshot_index < FAR);
    scene.undisturbed().await
}
