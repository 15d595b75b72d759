//! Words that come too late: of a boot before, of an attempt before, of a snapshot before.

use raft::eraftpb::{Message, MessageType};

use super::*;
use crate::wire::{ForwardRefusedWire, FromPeer};

const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);
const THREE: MemberId = MemberId(3);

fn reboot(cluster: &mut Cluster, id: MemberId, name: &str, rotten_entries: usize) {
    let mut disk = cluster.members[&id].disk.clone();
    disk.rot(rotten_entries);
    cluster.members.insert(id, Member::boot(route(id.0, name), disk));
}

/// Everything that is under way from one to the other, taken off the wires.
fn take_wires(cluster: &mut Cluster, from: MemberId, to: MemberId) -> Vec<Bytes> {
    let (taken, kept): (VecDeque<_>, VecDeque<_>) =
        cluster.wires.drain(..).partition(|wire| (wire.0, wire.1) == (from, to));
    cluster.wires = kept;
    taken.into_iter().map(|(_, _, bytes)| bytes).collect()
}

fn deliver(cluster: &mut Cluster, from: MemberId, to: MemberId, wires: Vec<Bytes>) {
    for bytes in wires {
        cluster.event(to, Event::Peer { from, bytes });
    }
}

fn raft_message(bytes: &Bytes) -> Option<(Envelope, Message)> {
    match wire::decode_peer(bytes) {
        Some((envelope, FromPeer::Raft(message))) => Some((envelope, *message)),
        Some((_, FromPeer::Core(_))) | None => None,
    }
}

/// An entry that the leader and member 3 have durably, of which the leader does not know it yet: gives member 3's answers.
fn answer_on_its_way(cluster: &mut Cluster) -> (ProposalId, Vec<Bytes>) {
    let id = cluster.start_put(1, "not yet");
    cluster.run(ONE);
    cluster.write(ONE);
    let append = take_wires(cluster, ONE, THREE);
    deliver(cluster, ONE, THREE, append);
    while cluster.run(THREE) || cluster.write(THREE) {}
    let answers = take_wires(cluster, THREE, ONE);
    assert!(!answers.is_empty());
    cluster.wires.clear();
    (id, answers)
}

#[test]
fn a_member_that_restarts_without_its_last_acknowledged_entries_is_brought_up_again() {
    for lost in [1, 4] {
        let mut cluster = Cluster::formed(&["a", "b", "c"]);
        for n in 0..5 {
            cluster.put(1, &format!("{n}")).unwrap();
        }
        reboot(&mut cluster, THREE, "c", lost);
        cluster.until("a leader again, and all entries", |c| {
            c.members[&THREE].node.leader() == Some(ONE) && c.journal(3) == c.journal(1)
        });
        assert_eq!(cluster.members[&ONE].node.leader(), Some(ONE), "the leader stayed");
        assert!(cluster.put(3, "after").is_ok());
    }
}

#[test]
fn what_an_earlier_boot_acknowledged_is_not_counted_for_the_one_that_lost_it() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let (id, late) = answer_on_its_way(&mut cluster);
    let before = cluster.members[&ONE].node.status().commit;
    reboot(&mut cluster, THREE, "c", 1);
    cluster.event(THREE, Event::Handshake(route(1, "a")));
    cluster.run(THREE);
    let hello = take_wires(&mut cluster, THREE, ONE);
    assert!(!hello.is_empty(), "a boot tells of itself with the handshake");
    deliver(&mut cluster, THREE, ONE, hello);
    deliver(&mut cluster, THREE, ONE, late.clone());
    cluster.run(ONE);
    assert_eq!(cluster.members[&ONE].node.status().commit, before);
    assert_eq!(cluster.outcome(1, id), None);
    // Once it has the entry anew it counts.
    cluster.settle();
    cluster.tick();
    cluster.until("done", |c| c.outcome(1, id).is_some_and(|outcome| outcome.is_ok()));
}

#[test]
fn an_answer_of_a_boot_that_goes_on_counts() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let (_, answers) = answer_on_its_way(&mut cluster);
    let before = cluster.members[&ONE].node.status().commit;
    deliver(&mut cluster, THREE, ONE, answers);
    cluster.run(ONE);
    assert!(cluster.members[&ONE].node.status().commit > before);
}

#[test]
fn a_restart_takes_back_what_was_matched_and_what_was_reported() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.put(1, "x").unwrap();
    let progress = |c: &Cluster| c.members[&ONE].node.raw.raft.prs().get(3).cloned().unwrap();
    assert!(progress(&cluster).matched > 0 && progress(&cluster).committed_index > 0);
    assert!(cluster.members[&ONE].node.leadership.reports.contains_key(&THREE));
    let last = cluster.members[&ONE].node.status().last;
    let from = Boot { count: 9, nonce: 9 };
    assert!(cluster.members.get_mut(&ONE).unwrap().node.note_boot(THREE, from));
    let fresh = progress(&cluster);
    assert_eq!((fresh.matched, fresh.committed_index, fresh.next_idx), (0, 0, last.0 + 1));
    assert!(!fresh.is_paused());
    assert!(!cluster.members[&ONE].node.leadership.reports.contains_key(&THREE));
}

#[test]
fn a_heartbeat_made_of_the_old_belief_is_not_sent_to_the_new_boot() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.put(1, "x").unwrap();
    reboot(&mut cluster, THREE, "c", 1);
    cluster.event(THREE, Event::Handshake(route(1, "a")));
    cluster.run(THREE);
    let hello = take_wires(&mut cluster, THREE, ONE);
    // The tick makes the heartbeat, the boot becomes known, and only then does anything leave.
    cluster.event(ONE, Event::Tick);
    deliver(&mut cluster, THREE, ONE, hello);
    cluster.event(ONE, Event::Tick);
    cluster.run(ONE);
    let sent = take_wires(&mut cluster, ONE, THREE);
    let beats: Vec<_> = sent
        .iter()
        .filter_map(raft_message)
        .filter(|(_, message)| message.get_msg_type() == MessageType::MsgHeartbeat)
        .collect();
    assert_eq!(beats.len(), 1);
    let nonce = cluster.members[&THREE].node.config.nonce;
    assert!(beats.iter().all(|(envelope, beat)| envelope.to_nonce == nonce && beat.commit == 0), "{beats:?}");
}

#[test]
fn a_heartbeat_to_another_boot_commits_nothing_and_is_answered() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    answer_on_its_way(&mut cluster);
    let status = cluster.members[&THREE].node.status();
    assert!(status.last > status.commit, "an entry that is not known to be committed");
    let good = forged_envelope(&cluster, 1, 3);
    for (envelope, commit, wanted) in [
        (Envelope { to_nonce: good.to_nonce + 1, ..good }, status.last.0, status.commit),
        (Envelope { to_nonce: 0, ..good }, status.last.0, status.commit),
        (good, status.last.0 + 1, status.commit),
        (good, status.last.0, status.last),
    ] {
        let mut beat = Message { from: 1, to: 3, term: status.term.0, commit, ..Message::default() };
        beat.set_msg_type(MessageType::MsgHeartbeat);
        deliver(&mut cluster, ONE, THREE, vec![wire::encode_raft(&envelope, &beat)]);
        cluster.run(THREE);
        assert_eq!(cluster.members[&THREE].node.status().commit, wanted, "{envelope:?}");
        let answers = take_wires(&mut cluster, THREE, ONE);
        let answered = answers.iter().filter_map(raft_message);
        let mut kinds = answered.map(|(_, answer)| answer.get_msg_type());
        assert!(kinds.any(|kind| kind == MessageType::MsgHeartbeatResponse), "{envelope:?}");
    }
}

/// A forward under way from member 2, and what a refusal of it would say.
fn forward_on_its_way(cluster: &mut Cluster) -> (ProposalId, Vec<Bytes>, ForwardRefusedWire) {
    let id = cluster.start_put(2, "once");
    cluster.run(TWO);
    let wires = take_wires(cluster, TWO, ONE);
    let forward = wires.iter().find_map(|bytes| match wire::decode_peer(bytes) {
        Some((_, FromPeer::Core(op))) => {
            if let PeerOp::Forward(forward) = *op {
                Some(forward)
            } else {
                None
            }
        }
        Some((_, FromPeer::Raft(_))) | None => None,
    });
    let forward = forward.expect("a forward");
    let refused = ForwardRefusedWire {
        sequences: vec![id.sequence],
        refusal: wire::refusal_to_wire(&Refusal::TooManyRequests),
        term: forward.term,
        nonce: id.nonce,
        attempt: forward.attempt,
    };
    (id, wires, refused)
}

#[test]
fn a_refusal_of_another_attempt_fails_no_proposal_that_commits() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let (id, forward, refused) = forward_on_its_way(&mut cluster);
    let stale = [
        ForwardRefusedWire { nonce: refused.nonce + 1, ..refused.clone() },
        ForwardRefusedWire { term: refused.term - 1, ..refused.clone() },
        ForwardRefusedWire { term: refused.term + 1, ..refused.clone() },
        ForwardRefusedWire { attempt: refused.attempt - 1, ..refused.clone() },
        ForwardRefusedWire { attempt: refused.attempt + 1, ..refused.clone() },
    ];
    let envelope = forged_envelope(&cluster, 1, 2);
    for stale in stale {
        let bytes = wire::encode_core(&envelope, PeerOp::ForwardRefused(stale));
        deliver(&mut cluster, ONE, TWO, vec![bytes]);
        cluster.run(TWO);
        assert_eq!(cluster.outcome(2, id), None);
    }
    deliver(&mut cluster, TWO, ONE, forward);
    cluster.until("a result", |c| c.outcome(2, id).is_some());
    assert!(cluster.outcome(2, id).unwrap().is_ok());
    assert_eq!(cluster.journal(1).len(), 1);
}

#[test]
fn a_refusal_of_the_very_attempt_is_definite() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let (id, _, refused) = forward_on_its_way(&mut cluster);
    let bytes = wire::encode_core(&forged_envelope(&cluster, 1, 2), PeerOp::ForwardRefused(refused));
    deliver(&mut cluster, ONE, TWO, vec![bytes]);
    cluster.run(TWO);
    assert_eq!(cluster.outcome(2, id), Some(Err(Refusal::TooManyRequests)));
}

#[test]
fn a_repeated_forward_is_neither_proposed_nor_refused() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let (id, forward, _) = forward_on_its_way(&mut cluster);
    deliver(&mut cluster, TWO, ONE, forward.clone());
    cluster.run(ONE);
    let last = cluster.members[&ONE].node.status().last;
    cluster.members.get_mut(&ONE).unwrap().node.config.max_command_bytes = 0;
    cluster.wires.retain(|(_, to, _)| *to != TWO);
    // The limit is lower now: a second look at the forward would refuse what is in the log already.
    deliver(&mut cluster, TWO, ONE, forward);
    cluster.run(ONE);
    assert_eq!(cluster.members[&ONE].node.status().last, last);
    cluster.until("a result", |c| c.outcome(2, id).is_some());
    assert!(cluster.outcome(2, id).unwrap().is_ok());
}

/// Member 3 is so far behind that only a snapshot helps, and the leader has applied more than its newest one holds.
pub(super) fn behind_the_log() -> Cluster {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    cluster.isolate(3);
    let big = "x".repeat(200_000);
    for _ in 0..20 {
        cluster.put(1, &big).unwrap();
    }
    cluster.put(1, "above the snapshot").unwrap();
    let status = cluster.members[&ONE].node.status();
    assert!(status.first > Index(10) && status.applied > status.snapshot, "{status:?}");
    cluster
}

#[test]
fn the_file_that_is_sent_is_the_one_that_its_message_announces() {
    let mut cluster = behind_the_log();
    cluster.cut.clear();
    for _ in 0..100 {
        for id in [ONE, TWO, THREE] {
            cluster.event(id, Event::Tick);
        }
        while let Some((from, to, bytes)) = cluster.wires.pop_front() {
            cluster.event(to, Event::Peer { from, bytes });
        }
        let leader = cluster.members.get_mut(&ONE).unwrap();
        let about = leader.node.raw.raft.msgs.iter().any(|m| m.get_msg_type() == MessageType::MsgSnapshot);
        if about {
            let before = leader.node.status().snapshot;
            let header = leader.applier.header();
            assert!(header.index > before);
            leader.node.handle(Event::SnapshotTaken { header, size_bytes: 1 });
            let sent = leader.node.flush().unwrap().send_snapshots.pop().unwrap();
            let (_, message) = raft_message(&sent.message).unwrap();
            assert_eq!(sent.header, SnapshotHeader::decode(&message.snapshot.unwrap().data).unwrap());
            assert_eq!(sent.header.index, before);
            return;
        }
        for id in [ONE, TWO, THREE] {
            while cluster.run(id) || cluster.write(id) {}
        }
    }
    panic!("no snapshot was sent");
}

#[test]
fn a_snapshot_whose_file_is_gone_is_replaced_by_a_new_one() {
    let mut cluster = behind_the_log();
    let leader = cluster.members.get_mut(&ONE).unwrap();
    leader.disk.files.clear();
    cluster.cut.clear();
    cluster.until("caught up", |c| c.journal(3) == c.journal(1));
    assert!(!cluster.members[&ONE].disk.files.is_empty(), "the newest is there again");
}

#[test]
fn a_stream_that_broke_asks_for_no_new_snapshot() {
    for (delivery, wanted) in
        [(Delivery::Broken, false), (Delivery::Delivered, false), (Delivery::NoFile, true)]
    {
        let mut cluster = behind_the_log();
        let node = &mut cluster.members.get_mut(&ONE).unwrap().node;
        let newest = node.status().snapshot;
        node.applying.streams.insert(THREE, newest);
        node.handle(Event::SnapshotSent { to: THREE, delivery });
        let effects = node.flush().unwrap();
        let taken = effects.apply.iter().any(|task| matches!(task, ApplyTask::TakeSnapshot));
        assert_eq!(taken, wanted, "{delivery:?}");
    }
}
