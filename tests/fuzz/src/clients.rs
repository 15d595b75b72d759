//! What clients ask for.

use std::sync::OnceLock;

use bytes::Bytes;
use outrigger_core::mvcc::{self, Command, CompareTarget, KeySpace, KvOp, TxnOp};
#[cfg(test)]
use outrigger_core::state_machine::Output;
use outrigger_core::state_machine::StateMachine as _;
use outrigger_core::types::Index;
use outrigger_proto::etcdserverpb as pb;
use outrigger_sidecar::api::etcd::fuzz;
use prost::Message as _;

use crate::draw::{edited, framed, unframed};

/// A committed command of any bytes is applied: every member must come to the same, and none may fall over.
pub fn command(bytes: &[u8]) {
    let (mut one, mut two) = (KeySpace::default(), KeySpace::default());
    for (index, part) in (1..).zip(unframed(bytes)) {
        let (first, second) = (one.apply(Index(index), part), two.apply(Index(index), part));
        assert_eq!(first, second, "one command, two answers");
    }
    assert_eq!(KeySpace::digest(&one.view()), KeySpace::digest(&two.view()), "one history, two states");
}

/// Commands of every kind, one after the other, as the log has them.
pub(crate) fn command_seeds() -> Vec<Vec<u8>> {
    let of = |key: &'static [u8], end: &'static [u8]| mvcc::KeyRange {
        key: Bytes::from_static(key),
        end: Bytes::from_static(end),
    };
    let put = |key: &'static [u8], lease| mvcc::Put {
        key: Bytes::from_static(key),
        value: Bytes::from_static(b"value"),
        lease,
        ..mvcc::Put::default()
    };
    let range = mvcc::Range { range: of(b"a", b"z"), limit: 2, ..mvcc::Range::default() };
    let delete = mvcc::DeleteRange { range: of(b"b", b"d"), prev_kv: true };
    let operation = |op| mvcc::TxnOperation { op: Some(op) };
    let inner = mvcc::Txn { failure: vec![operation(TxnOp::Put(put(b"d", 0)))], ..mvcc::Txn::default() };
    let compare = |target| mvcc::Compare { range: of(b"a", b""), result: 1, target: Some(target) };
    let txn = mvcc::Txn {
        compare: vec![
            compare(CompareTarget::Version(0)),
            compare(CompareTarget::Value(Bytes::from_static(b"v"))),
        ],
        success: vec![
            operation(TxnOp::Put(put(b"c", 7))),
            operation(TxnOp::DeleteRange(mvcc::DeleteRange { range: of(b"e", b"g"), prev_kv: true })),
            operation(TxnOp::Range(range)),
            operation(TxnOp::Txn(inner)),
        ],
        failure: vec![operation(TxnOp::Put(put(b"b", 0)))],
    };
    let all = [
        KvOp::Put(put(b"a", 0)),
        KvOp::LeaseGrant(mvcc::LeaseGrant { id: 7, ttl_seconds: 60 }),
        KvOp::Put(put(b"b", 7)),
        KvOp::Txn(txn),
        KvOp::Put(put(b"a", 0)),
        KvOp::Compact(mvcc::Compact { revision: 3 }),
        KvOp::DeleteRange(delete),
        KvOp::LeaseRevoke(mvcc::LeaseRevoke { id: 7 }),
    ];
    let encoded: Vec<Bytes> = all.map(|op| Command { op: Some(op) }.encode_to_bytes()).into();
    let parts = || encoded.iter().map(|bytes| &bytes[..]);
    // Also by twos, so that each kind comes first, and shortly before every other.
    let twos = parts().flat_map(|first| parts().map(move |second| framed([first, second])));
    std::iter::once(framed(parts())).chain(twos).collect()
}

/// Whether each of these is applied as what it is.
#[cfg(test)]
pub(crate) fn are_commands(bytes: &[u8]) -> bool {
    let mut state = KeySpace::default();
    unframed(bytes).into_iter().zip(1..).all(|(part, index)| match state.apply(Index(index), part) {
        Output::Kv(response) => response.result.is_ok(),
        Output::Opaque(_) | Output::Duplicate => false,
    })
}

/// A transaction of every kind of operation, so deep.
fn txn(depth: usize) -> pb::TxnRequest {
    use pb::request_op::Request;
    let (key, range_end) = (Bytes::from_static(b"a"), Bytes::from_static(b"z"));
    let put =
        pb::PutRequest { key: key.clone(), value: key.clone(), prev_kv: true, ..pb::PutRequest::default() };
    let range =
        pb::RangeRequest { key: key.clone(), range_end: range_end.clone(), ..pb::RangeRequest::default() };
    let delete = pb::DeleteRangeRequest { key: Bytes::from_static(b"b"), range_end, prev_kv: true };
    let mut requests =
        vec![Request::RequestRange(range), Request::RequestPut(put), Request::RequestDeleteRange(delete)];
    if depth > 0 {
        requests.push(Request::RequestTxn(txn(depth - 1)));
    }
    let success = requests.into_iter().map(|request| pb::RequestOp { request: Some(request) }).collect();
    let compare = pb::Compare { key, ..pb::Compare::default() };
    pb::TxnRequest { compare: vec![compare], success, failure: Vec::new() }
}

/// Requests that are good, as they travel, by the method that takes them.
fn good() -> &'static [(u8, Vec<u8>)] {
    static GOOD: OnceLock<Vec<(u8, Vec<u8>)>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let key = Bytes::from_static(b"key");
        let range = pb::RangeRequest { key: key.clone(), limit: 3, ..pb::RangeRequest::default() };
        let put = pb::PutRequest { key: key.clone(), value: key.clone(), ..pb::PutRequest::default() };
        let delete = pb::DeleteRangeRequest { key, ..pb::DeleteRangeRequest::default() };
        vec![
            (fuzz::RANGE, range.encode_to_vec()),
            (fuzz::PUT, put.encode_to_vec()),
            (fuzz::DELETE_RANGE, delete.encode_to_vec()),
            (fuzz::TXN, txn(1).encode_to_vec()),
            (fuzz::TXN, txn(6).encode_to_vec()),
            (fuzz::COMPACT, pb::CompactionRequest { revision: 2, physical: false }.encode_to_vec()),
        ]
    })
}

/// A few requests, one after the other, each changed on its way or made up.
pub fn client_requests(script: &[u8]) {
    let mut state = KeySpace::default();
    for (index, part) in (1..).zip(script.chunks(24)) {
        let Some((which, script)) = part.split_first() else { continue };
        match good().get(usize::from(*which) % (2 * good().len())) {
            Some((method, original)) => {
                fuzz::request(&mut state, Index(index), *method, &edited(original, script));
            }
            None => fuzz::request(&mut state, Index(index), *which, script),
        }
    }
}
