//! A client's request of any bytes, as far as it goes without a member: decoded, translated, checked, applied, answered.
//!
//! Only with the feature `fuzzing`. May import: what the key-value service does. Deliberately absent: the limit of a request's
//! size, which the connection has checked before.

use outrigger_core::mvcc::{self, Command, KeySpace, KvOp, OpResponse};
use outrigger_core::state_machine::{Output, StateMachine as _};
use outrigger_core::types::Index;
use outrigger_proto::etcdserverpb as pb;
use prost::Message as _;

use super::translate;

/// A range.
pub const RANGE: u8 = 0;
/// A put.
pub const PUT: u8 = 1;
/// A delete.
pub const DELETE_RANGE: u8 = 2;
/// A transaction.
pub const TXN: u8 = 3;
/// A compaction.
pub const COMPACT: u8 = 4;

/// Takes a request of this method (its remainder by 5) through everything, and its answer to bytes.
pub fn request(state: &mut KeySpace, index: Index, method: u8, bytes: &[u8]) {
    let op = match method % 5 {
        RANGE => return read(state, bytes),
        PUT => pb::PutRequest::decode(bytes).ok().map(|request| KvOp::Put(translate::put(request))),
        DELETE_RANGE => pb::DeleteRangeRequest::decode(bytes)
            .ok()
            .map(|request| KvOp::DeleteRange(translate::delete_range(request))),
        TXN => pb::TxnRequest::decode(bytes).ok().and_then(|request| {
            // Whatever it is, it is an answer.
            translate::is_serializable(&request);
            translate::txn(request).ok().map(KvOp::Txn)
        }),
        _ => pb::CompactionRequest::decode(bytes)
            .ok()
            .map(|request| KvOp::Compact(mvcc::Compact { revision: request.revision })),
    };
    let Some(command) = op.map(|op| Command { op: Some(op) }) else { return };
    if mvcc::validate(&command).is_err() {
        return;
    }
    if let Some(KvOp::Txn(txn)) = &command.op
        && txn.is_read_only()
    {
        drop(state.view().txn(txn).map(answered));
        return;
    }
    match state.apply(index, &command.encode_to_bytes()) {
        Output::Kv(response) => drop(response.result.map(answered)),
        Output::Opaque(_) | Output::Duplicate => {}
    }
}

fn read(state: &KeySpace, bytes: &[u8]) {
    let Ok(request) = pb::RangeRequest::decode(bytes) else { return };
    let range = translate::range(request);
    if mvcc::validate_range(&range).is_ok() {
        drop(state.view().range(&range).map(|answer| answered(OpResponse::Range(answer))));
    }
}

fn answered(response: OpResponse) -> Vec<u8> {
    translate::txn_response(true, vec![response], pb::ResponseHeader::default()).encode_to_vec()
}
