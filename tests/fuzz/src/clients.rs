//! What clients ask for.

use std::sync::OnceLock;

use bytes::Bytes;
use outrigger_core::mvcc::KeySpace;
use outrigger_core::state_machine::StateMachine as _;
use outrigger_core::types::Index;
use outrigger_proto::etcdserverpb as pb;
use outrigger_sidecar::api::etcd::fuzz;
use prost::Message as _;

use crate::edited;

/// A committed command of any bytes is applied: every member must come to the same, and none may fall over.
pub fn command(bytes: &[u8]) {
    let (mut one, mut two) = (KeySpace::default(), KeySpace::default());
    for (index, part) in (1..).zip(bytes.chunks(64)) {
        let (first, second) = (one.apply(Index(index), part), two.apply(Index(index), part));
        assert_eq!(first, second, "one command, two answers");
    }
    assert_eq!(KeySpace::digest(&one.view()), KeySpace::digest(&two.view()), "one history, two states");
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
