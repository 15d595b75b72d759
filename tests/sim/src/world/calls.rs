//! What clients ask for, as commands of the key space, and what a view of it answers.
//!
//! May import: core's key space, `history`. Deliberately absent: who asks, when, and whom.

use bytes::Bytes;
use outrigger_core::mvcc::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, KvOp, LeaseGrant,
    LeaseRevoke, Put, Range, Txn, TxnOp, TxnOperation, View,
};
use outrigger_core::types::Revision;

use crate::history::{Call, KeyId, Stored, ValueId};

/// Few, so that calls meet.
pub(super) const KEYS: usize = 4;
/// The one that is deleted, too: where a key may be gone, whether a write was lost can be told less often.
pub(super) const DELETED_KEY: usize = KEYS - 1;

/// What a client wants done.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Call(Call),
    /// Keeps the history of the key space short; not recorded.
    Compact(i64),
    /// Writes two keys in one transaction; not recorded. The number is in both.
    Pair(ValueId),
    /// Reads both in one.
    ReadPair,
    /// Something else that the key space can do, drawn by the number; not recorded, but all members have to agree on it.
    Other(u64),
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

/// The two keys of [`What::Pair`], in one range.
const PAIR: [&str; 2] = ["p0", "p1"];

fn txn_put(put: Put) -> TxnOperation {
    TxnOperation { op: Some(TxnOp::Put(put)) }
}

/// Leases, deletes of ranges, and transactions with branches, on keys of their own.
fn other(draw: u64) -> KvOp {
    let (kind, lease, which) = (draw % 6, (draw / 6 % 4) as i64 + 1, draw / 24 % 8);
    let key = Bytes::from(format!("o{which}"));
    let all = KeyRange { key: Bytes::from_static(b"o2"), end: Bytes::from_static(b"o5") };
    let put = Put { key: key.clone(), value: bytes_of(ValueId(draw)), ..Put::default() };
    match kind {
        0 => KvOp::LeaseGrant(LeaseGrant { id: lease, ttl_seconds: 60 }),
        1 => KvOp::LeaseRevoke(LeaseRevoke { id: lease }),
        2 => KvOp::Put(Put { lease, ..put }),
        3 => KvOp::DeleteRange(DeleteRange { range: all, prev_kv: true }),
        4 => KvOp::Put(put),
        _ => KvOp::Txn(Txn {
            compare: vec![Compare {
                range: KeyRange { key, end: Bytes::new() },
                result: CompareResult::Greater as i32,
                target: Some(CompareTarget::Version(1)),
            }],
            success: vec![TxnOperation {
                op: Some(TxnOp::DeleteRange(DeleteRange { range: all, prev_kv: false })),
            }],
            failure: vec![txn_put(put.clone()), txn_put(Put { key: Bytes::from_static(b"o9"), ..put })],
        }),
    }
}

/// Whether the two keys that are written together hold the same.
pub(super) fn is_paired(view: &View) -> bool {
    let range = KeyRange { key: Bytes::from_static(b"p"), end: Bytes::from_static(b"q") };
    let Ok(found) = view.range(&Range { range, ..Range::default() }) else { return false };
    match &found.kvs[..] {
        [] => true,
        [one, two] => one.value == two.value && one.mod_revision == two.mod_revision,
        _ => false,
    }
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
        What::Call(Call::Get) | What::ReadPair => return None,
        What::Call(Call::Delete) => KvOp::DeleteRange(DeleteRange { range: range(key), prev_kv: false }),
        What::Pair(value) => {
            let put = |key: &'static str| Put {
                key: Bytes::from_static(key.as_bytes()),
                value: bytes_of(value),
                ..Put::default()
            };
            let success = PAIR.map(|key| txn_put(put(key))).to_vec();
            KvOp::Txn(Txn { success, ..Txn::default() })
        }
        What::Other(draw) => other(draw),
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
                success: vec![txn_put(put(key, new))],
                failure: Vec::new(),
            })
        }
    };
    Some(Command { op: Some(op) })
}

#[cfg(test)]
mod tests {
    use outrigger_core::mvcc::KeySpace;
    use outrigger_core::state_machine::StateMachine as _;

    use super::*;

    fn applied(commands: &[Command]) -> View {
        let mut space = KeySpace::default();
        for command in commands {
            space.apply_command(command);
        }
        space.view()
    }

    fn of(what: What) -> Command {
        command(0, what).unwrap()
    }

    #[test]
    fn a_pair_is_whole_or_not_there_and_half_of_one_is_told() {
        let half = Command { op: Some(KvOp::Put(Put { key: Bytes::from_static(b"p1"), ..Put::default() })) };
        let (one, other) = (of(What::Pair(ValueId(1))), of(What::Pair(ValueId(2))));
        for (commands, whole) in [
            (vec![], true),
            (vec![one.clone()], true),
            (vec![one.clone(), other], true),
            (vec![half.clone()], false),
            (vec![one, half], false),
        ] {
            assert_eq!(is_paired(&applied(&commands)), whole, "{commands:?}");
        }
    }

    #[test]
    fn what_else_is_done_is_done_or_refused_for_want_of_a_lease_and_leaves_judged_keys_alone() {
        let put = of(What::Call(Call::Put(ValueId(1))));
        let others: Vec<Command> = (0..192).rev().map(|draw| of(What::Other(draw))).collect();
        let (mut space, mut leased) = (KeySpace::default(), 0);
        space.apply_command(&put);
        for other in &others {
            space.apply_command(other);
            let all = KeyRange { key: Bytes::from_static(b"o"), end: Bytes::from_static(b"p") };
            let found = space.view().range(&Range { range: all, ..Range::default() }).unwrap();
            leased += found.kvs.iter().filter(|kv| kv.lease != 0).count();
        }
        let view = space.view();
        assert_eq!(read(&view, 0).map(|stored| stored.value), Some(ValueId(1)));
        assert!(is_paired(&view));
        assert!(leased > 0);
    }
}
