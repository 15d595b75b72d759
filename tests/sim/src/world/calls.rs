//! What clients ask for, as commands of the key space, and what a view of it answers.
//!
//! May import: core's key space, `history`. Deliberately absent: who asks, when, and whom.

use bytes::Bytes;
use outrigger_core::mvcc::{
    Command, Compact, Compare, CompareResult, CompareTarget, KeyRange, KvOp, Put, Range, Txn, TxnOp,
    TxnOperation, View,
};
use outrigger_core::types::Revision;

use crate::history::{Call, KeyId, Stored, ValueId};

/// Few, so that calls meet.
pub(super) const KEYS: usize = 4;

/// What a client wants done.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Call(Call),
    /// Keeps the history of the key space short; not recorded.
    Compact(i64),
}

/// Mostly small; some take several sectors of a disk, so that they can tear.
fn bytes_of(value: ValueId) -> Bytes {
    let size_bytes = if value.0.is_multiple_of(2) { 16 + (value.0 * 37 % 3_000) as usize } else { 16 };
    value.to_bytes(size_bytes)
}

fn key_of(key: usize) -> Bytes {
    Bytes::from(format!("k{key}"))
}

fn range(key: usize) -> KeyRange {
    KeyRange { key: key_of(key), end: Bytes::new() }
}

/// What a key holds.
pub(super) fn read(view: &View, key: usize) -> Option<Stored> {
    let found = view.range(&Range { range: range(key), ..Range::default() }).ok()?;
    let kv = found.kvs.first()?;
    Some(Stored { value: ValueId::from_bytes(&kv.value)?, mod_revision: Revision(kv.mod_revision) })
}

/// What all keys hold.
pub(super) fn stored(view: &View) -> impl Iterator<Item = (KeyId, Stored)> + '_ {
    (0..KEYS).filter_map(|key| Some((KeyId(key as u32), read(view, key)?)))
}

fn put(key: usize, value: ValueId) -> Put {
    Put { key: key_of(key), value: bytes_of(value), ..Put::default() }
}

/// The command of a call; a read has none.
pub(super) fn command(key: usize, what: What) -> Option<Command> {
    let op = match what {
        What::Call(Call::Get) => return None,
        What::Compact(revision) => KvOp::Compact(Compact { revision }),
        What::Call(Call::Put(value)) => KvOp::Put(put(key, value)),
        What::Call(Call::CompareAndSet { expected, new }) => {
            let target = match expected {
                Some(value) => CompareTarget::Value(bytes_of(value)),
                None => CompareTarget::Version(0),
            };
            let compare =
                Compare { range: range(key), result: CompareResult::Equal as i32, target: Some(target) };
            KvOp::Txn(Txn {
                compare: vec![compare],
                success: vec![TxnOperation { op: Some(TxnOp::Put(put(key, new))) }],
                failure: Vec::new(),
            })
        }
    };
    Some(Command { op: Some(op) })
}
