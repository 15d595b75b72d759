//! What is in a snapshot: its header, which also travels in raft's snapshot message, and its state.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_core::applier::{Applier, ApplyItem, ApplyKind};
use outrigger_core::log::ConfState;
use outrigger_core::membership::{Membership, RosterEntry, Route};
use outrigger_core::mvcc::{Command, Compact, DeleteRange, KeyRange, KeySpace, KvOp, LeaseGrant, Put};
use outrigger_core::snapshot::{SnapshotHeader, founding_header};
use outrigger_core::state_machine::{RestoreError, StateMachine as _};
use outrigger_core::types::{ClusterId, Index, InstallEpoch, MemberId, ProposalId, Term};

use crate::draw::{framed, unframed};

const CLUSTER: ClusterId = ClusterId(0xc1);

fn route(id: u64) -> Route {
    let (name, address) = (format!("orders-{id}"), format!("orders-{id}.orders-peers:2380"));
    Route { id: MemberId(id), name, address, ..Route::default() }
}

fn put(key: u8, lease: i64) -> KvOp {
    let (key, value) = (Bytes::copy_from_slice(&[b'k', key]), Bytes::from_static(b"value"));
    KvOp::Put(Put { key, value, lease, ..Put::default() })
}

/// A member's applier after a while: members that came and went, a joint configuration, writes with gaps between them.
pub(crate) fn applier() -> Applier<KeySpace> {
    let mut membership = Membership { cluster: CLUSTER, formed: true, ..Membership::default() };
    membership.routes = (1..=4).map(|id| (MemberId(id), route(id))).collect();
    membership.roster = (1..=4).map(|id| (route(id).name, id == 4)).collect();
    membership.tombstones = [MemberId(9)].into();
    membership.metadata.insert("key".to_owned(), Bytes::from_static(b"value"));
    membership.configuration_index = Index(1);
    let conf_state = ConfState {
        voters: vec![MemberId(1), MemberId(2)],
        learners: vec![MemberId(4)],
        voters_outgoing: vec![MemberId(1), MemberId(3)],
        learners_next: vec![MemberId(3)],
        auto_leave: false,
    };
    let (membership, conf_state) = (Arc::new(membership), Arc::new(conf_state));
    let every_key = KeyRange { key: Bytes::from_static(b"k\x02"), end: Bytes::from_static(b"k\x05") };
    let mut ops = vec![KvOp::LeaseGrant(LeaseGrant { id: 5, ttl_seconds: 60 })];
    ops.extend((0..24).map(|n| put(n % 8, i64::from(n % 3 == 0) * 5)));
    ops.push(KvOp::Compact(Compact { revision: 12 }));
    ops.push(KvOp::DeleteRange(DeleteRange { range: every_key, prev_kv: false }));
    ops.extend((0..6).map(|n| put(n, 0)));
    let commands = ops.into_iter().zip(2..).map(|(op, index)| {
        let (member, sequence) = (MemberId(1 + index % 3), index * 2);
        let id = ProposalId { member, boot: 2, nonce: 7, sequence };
        let kind = ApplyKind::Command { id, command: Command { op: Some(op) }.encode_to_bytes() };
        ApplyItem { index: Index(index), term: Term(2), kind }
    });
    let kind = ApplyKind::Membership { membership, conf_state };
    let first = ApplyItem { index: Index(1), term: Term(1), kind };
    let mut applier = Applier::empty(CLUSTER, KeySpace::default());
    applier.apply(InstallEpoch(0), std::iter::once(first).chain(commands).collect());
    applier
}

/// What travels in raft's snapshot message, and begins a snapshot's file.
pub fn snapshot_header(bytes: &[u8]) {
    if let Ok(header) = SnapshotHeader::decode(bytes) {
        let again = SnapshotHeader::decode(&header.encode());
        assert_eq!(again.as_ref(), Ok(&header), "a header survives its bytes");
    }
}

pub(crate) fn header_seeds() -> Vec<Vec<u8>> {
    let roster: Vec<RosterEntry> =
        (1..=3).map(|id| RosterEntry { name: route(id).name, learner: false }).collect();
    let headers = [founding_header(CLUSTER, &route(1), &roster), applier().header()];
    headers.iter().map(|header| header.encode().to_vec()).collect()
}

#[cfg(test)]
pub(crate) fn is_header(bytes: &[u8]) -> bool {
    SnapshotHeader::decode(bytes).is_ok()
}

fn restore(bytes: &[u8]) -> Result<KeySpace, RestoreError> {
    KeySpace::restore(&mut unframed(bytes).into_iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))))
}

/// Chunks that a file's checksums do not doubt. What they are restored to is a state to go on with, and to pass on.
pub fn snapshot_content(bytes: &[u8]) {
    let Ok(mut state) = restore(bytes) else { return };
    let view = state.view();
    let mut chunks = KeySpace::snapshot_chunks(&view).map(Ok);
    let again = KeySpace::restore(&mut chunks).map(|again| KeySpace::digest(&again.view()));
    let is_same = again.as_ref().is_ok_and(|digest| *digest == KeySpace::digest(&view));
    assert!(is_same, "what was restored is not what is passed on: {again:?}");
    for (op, index) in [put(1, 5), put(200, 0), KvOp::Compact(Compact { revision: 3 })].into_iter().zip(100..)
    {
        state.apply(Index(index), &Command { op: Some(op) }.encode_to_bytes());
    }
    while state.tidy() {}
    KeySpace::digest(&state.view());
}

pub(crate) fn content_seeds() -> Vec<Vec<u8>> {
    let of = |view| {
        let chunks: Vec<Bytes> = KeySpace::snapshot_chunks(&view).collect();
        framed(chunks.iter().map(|chunk| &chunk[..]))
    };
    vec![of(applier().view()), of(KeySpace::default().view())]
}

#[cfg(test)]
pub(crate) fn is_content(bytes: &[u8]) -> bool {
    restore(bytes).is_ok()
}
