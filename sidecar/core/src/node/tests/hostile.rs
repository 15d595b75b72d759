//! What a peer that lies may bring about, and what it may not.

use prost::Message as _;
use raft::eraftpb::{self, ConfChangeV2, EntryType, Message, MessageType};

use super::safety::behind_the_log;
use super::*;
use crate::configuration::remove;
use crate::convert;
use crate::wire::MembershipCommand;

const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);
const THREE: MemberId = MemberId(3);

fn hear(cluster: &mut Cluster, to: MemberId, message: &Message) {
    let bytes = wire::encode_raft(&forged_envelope(cluster, message.from, to.0), message);
    cluster.event(to, Event::Peer { from: MemberId(message.from), bytes });
}

/// A leader commits a change that no configuration can follow: the member ends, and says at which entry.
#[test]
fn a_committed_change_that_leaves_no_voter_is_named() {
    let mut cluster = Cluster::formed(&["a", "b", "c"]);
    let status = cluster.members[&TWO].node.status();
    let changes = (1..=3).map(|id| remove(MemberId(id))).collect();
    let change = ConfChangeV2 { changes, ..ConfChangeV2::default() };
    let mut entry = eraftpb::Entry {
        index: status.last.0 + 1,
        term: status.term.0,
        data: change.encode_to_vec(),
        context: MembershipCommand { origin: 0, request: 0, op: None }.encode_to_vec(),
        ..eraftpb::Entry::default()
    };
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    let mut append = Message { from: 1, to: 2, term: status.term.0, ..Message::default() };
    append.set_msg_type(MessageType::MsgAppend);
    (append.index, append.log_term, append.commit) = (status.last.0, status.term.0, status.last.0 + 1);
    append.entries = vec![entry];
    hear(&mut cluster, TWO, &append);
    let node = &mut cluster.members.get_mut(&TWO).unwrap().node;
    let fatal = (0..5).find_map(|_| {
        let flushed = node.flush();
        if let Ok(Effects { persist: Some(batch), .. }) = &flushed {
            node.handle(Event::Persisted { batch: batch.number });
        }
        flushed.err()
    });
    let Some(fatal @ Fatal::UnfitChange { index, .. }) = &fatal else { panic!("{fatal:?}") };
    assert_eq!(*index, status.last.next());
    assert!(fatal.is_of_committed_data());
}

/// The message's header is what stands from now on, the file's what the next start reads.
#[test]
fn a_snapshot_whose_message_says_other_than_its_file_is_refused() {
    let mut cluster = behind_the_log();
    let term = cluster.members[&ONE].node.status().term;
    let header = cluster.members[&ONE].disk.files.values().next_back().unwrap().0.clone();
    let message = |header: &SnapshotHeader| {
        let metadata = eraftpb::SnapshotMetadata {
            conf_state: Some(convert::conf_state_to_raft(&header.conf_state)),
            index: header.index.0,
            term: header.term.0,
        };
        let data = header.encode().to_vec();
        let snapshot = Some(eraftpb::Snapshot { data, metadata: Some(metadata) });
        let mut message = Message { from: 1, to: 3, term: term.0, snapshot, ..Message::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        message
    };
    let mut membership = Membership::decode(&header.membership).unwrap();
    membership.tombstones.insert(TWO);
    let others = [
        SnapshotHeader { membership: membership.encode(), ..header.clone() },
        SnapshotHeader { windows: Bytes::new(), ..header.clone() },
        SnapshotHeader { term: Term(header.term.0 + 1), ..header.clone() },
    ];
    let refused = |cluster: &Cluster| cluster.members[&THREE].node.refused_messages;
    let before = refused(&cluster);
    hear(&mut cluster, THREE, &message(&header));
    assert_eq!(refused(&cluster), before + 1, "its file is not there");
    cluster.event(THREE, Event::SnapshotReceived { header: header.clone() });
    for other in &others {
        hear(&mut cluster, THREE, &message(other));
    }
    assert_eq!(refused(&cluster), before + 4);
    hear(&mut cluster, THREE, &message(&header));
    assert_eq!(refused(&cluster), before + 4);
    let effects = cluster.members.get_mut(&THREE).unwrap().node.flush().unwrap();
    assert!(effects.apply.iter().any(|task| matches!(task, ApplyTask::Install { .. })));
}
