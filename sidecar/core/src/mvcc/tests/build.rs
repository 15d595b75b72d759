//! Short ways to write commands and to read answers.

use bytes::Bytes;

use crate::mvcc::*;

pub(super) fn key_range(key: &str, end: &str) -> KeyRange {
    KeyRange { key: Bytes::copy_from_slice(key.as_bytes()), end: Bytes::copy_from_slice(end.as_bytes()) }
}

pub(super) fn get(key: &str, end: &str) -> Range {
    Range { range: key_range(key, end), ..Default::default() }
}

pub(super) fn put(key: &str, value: &str) -> Put {
    Put { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

pub(super) fn delete(key: &str, end: &str) -> DeleteRange {
    DeleteRange { range: key_range(key, end), prev_kv: false }
}

pub(super) fn compare(key: &str, end: &str, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { range: key_range(key, end), result: result as i32, target: Some(target) }
}

pub(super) fn op(op: TxnOp) -> TxnOperation {
    TxnOperation { op: Some(op) }
}

pub(super) fn txn(compare: Vec<Compare>, success: Vec<TxnOp>, failure: Vec<TxnOp>) -> Txn {
    let list = |ops: Vec<TxnOp>| ops.into_iter().map(op).collect();
    Txn { compare, success: list(success), failure: list(failure) }
}

pub(super) fn compact(revision: i64) -> KvOp {
    KvOp::Compact(Compact { revision })
}

pub(super) fn grant(id: i64) -> KvOp {
    KvOp::LeaseGrant(LeaseGrant { id, ttl_seconds: 60 })
}

impl KeySpace {
    /// Applies through the codec, as the log does.
    pub(super) fn run_op(&mut self, op: KvOp) -> Response {
        use crate::state_machine::{Output, StateMachine};
        let bytes = Command { op: Some(op) }.encode_to_bytes();
        let output = self.apply(crate::types::Index(1), &bytes);
        let Output::Kv(response) = output else { panic!("{output:?}") };
        response
    }

    pub(super) fn ok(&mut self, op: KvOp) -> OpResponse {
        self.run_op(op).result.unwrap()
    }

    pub(super) fn put(&mut self, key: &str, value: &str) -> i64 {
        self.ok(KvOp::Put(put(key, value)));
        self.now().revision().0
    }

    pub(super) fn now(&self) -> View {
        crate::state_machine::StateMachine::view(self)
    }
}

/// `key=value` of every pair.
pub(super) fn pairs(response: &RangeResponse) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    response.kvs.iter().map(|kv| format!("{}={}", text(&kv.key), text(&kv.value))).collect()
}
