//! What can be refused without looking at the state: missing keys, contradictory flags, too many operations, two
//! writes of one key in one transaction. The API asks before it proposes; applying asks again, for a log entry may
//! have been proposed by another version.
//!
//! The rules are etcd's (`api/v3rpc/key.go`: `checkTxnRequest`, `checkIntervals`), including that the branches of a
//! transaction are judged apart and that a nested list has as many operations fewer as the longest list above it
//! has. One of its gaps is closed: etcd overlooks that a delete without end overlaps a put of the same transaction,
//! deletes and puts as asked, and crashes when that put keeps the value or the lease of a key that is then gone.
//! Here the first is allowed too, the second is a duplicate key.
//!
//! May import: `command`, `span`. Deliberately absent: the store, leases, revisions.

use std::collections::BTreeSet;

use super::command::{
    Command, Compact, Compare, DeleteRange, KvOp, KvRefusal, LeaseGrant, Put, Range, SortOrder, SortTarget,
    Txn, TxnOp, TxnOperation,
};
use super::span::{Span, SpanSet};
use crate::lease::MAX_TTL_SECONDS;

/// The most operations (or compares) that one list of a transaction may have; etcd's default.
pub const MAX_TXN_OPS: usize = 128;

/// Refuses what no state could make legal. Pure: the same answer on every member, before and after the log.
///
/// # Errors
/// The refusal that applying the command would answer.
pub fn validate(command: &Command) -> Result<(), KvRefusal> {
    match &command.op {
        None => Err(KvRefusal::UnknownCommand),
        Some(KvOp::Put(put)) => check_put(put),
        Some(KvOp::DeleteRange(delete)) => check_delete(delete),
        Some(KvOp::Txn(txn)) => {
            check_txn(txn, MAX_TXN_OPS)?;
            // After the limits, so that the overlap check is bounded by them.
            overlaps(&txn.success)?;
            overlaps(&txn.failure)?;
            Ok(())
        }
        Some(KvOp::LeaseGrant(LeaseGrant { id, ttl_seconds })) => match (*id, *ttl_seconds) {
            (0, _) => Err(KvRefusal::LeaseNotFound),
            (_, ttl) if ttl > MAX_TTL_SECONDS => Err(KvRefusal::LeaseTtlTooLarge),
            (_, _) => Ok(()),
        },
        Some(KvOp::Compact(Compact { revision: _ }) | KvOp::LeaseRevoke(_)) => Ok(()),
    }
}

/// The same for a range that is read without going through the log.
///
/// # Errors
/// [`KvRefusal::EmptyKey`], [`KvRefusal::InvalidSortOption`].
pub fn validate_range(range: &Range) -> Result<(), KvRefusal> {
    if range.range.key.is_empty() {
        return Err(KvRefusal::EmptyKey);
    }
    if SortOrder::from_i32(range.order).is_none() || SortTarget::from_i32(range.target).is_none() {
        return Err(KvRefusal::InvalidSortOption);
    }
    Ok(())
}

fn check_put(put: &Put) -> Result<(), KvRefusal> {
    if put.key.is_empty() {
        return Err(KvRefusal::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(KvRefusal::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(KvRefusal::LeaseProvided);
    }
    Ok(())
}

fn check_delete(delete: &DeleteRange) -> Result<(), KvRefusal> {
    if delete.range.key.is_empty() { Err(KvRefusal::EmptyKey) } else { Ok(()) }
}

fn check_txn(txn: &Txn, limit: usize) -> Result<(), KvRefusal> {
    let Txn { compare, success, failure } = txn;
    let longest = compare.len().max(success.len()).max(failure.len());
    let Some(limit_below) = limit.checked_sub(longest) else { return Err(KvRefusal::TooManyOps) };
    if compare.iter().any(|Compare { range, result: _, target: _ }| range.key.is_empty()) {
        return Err(KvRefusal::EmptyKey);
    }
    for TxnOperation { op } in success.iter().chain(failure) {
        match op {
            // etcd's answer to an operation that is none.
            None => return Err(KvRefusal::KeyNotFound),
            Some(TxnOp::Range(range)) => validate_range(range)?,
            Some(TxnOp::Put(put)) => check_put(put)?,
            Some(TxnOp::DeleteRange(delete)) => check_delete(delete)?,
            Some(TxnOp::Txn(nested)) => check_txn(nested, limit_below)?,
        }
    }
    Ok(())
}

/// What a list of operations writes.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    /// Of the puts, those that need what stood before.
    keeping: BTreeSet<&'a [u8]>,
    deletes: SpanSet,
    /// The lowest start of a delete without end.
    deletes_from: Option<&'a [u8]>,
}

impl<'a> Writes<'a> {
    fn add_delete(&mut self, span: Span<'a>) {
        match span {
            Span::Point(key) => self.deletes.add(key.to_vec(), [key, &[0]].concat()),
            Span::Between(start, end) => self.deletes.add(start.to_vec(), end.to_vec()),
            Span::From(start) => {
                self.deletes_from = Some(self.deletes_from.map_or(start, |lowest| lowest.min(start)));
            }
        }
    }

    fn add_deletes_of(&mut self, nested: Self) {
        self.deletes.add_all(nested.deletes);
        if let Some(start) = nested.deletes_from {
            self.add_delete(Span::From(start));
        }
    }

    fn add_put(&mut self, key: &'a [u8], keeping: bool, may_repeat: bool) -> Result<(), KvRefusal> {
        let is_deleted =
            self.deletes.contains(key) || (keeping && self.deletes_from.is_some_and(|start| key >= start));
        if is_deleted || (!self.puts.insert(key) && !may_repeat) {
            return Err(KvRefusal::DuplicateKey);
        }
        if keeping {
            self.keeping.insert(key);
        }
        Ok(())
    }
}

/// Collects what a list writes, nested lists before its own puts, as etcd does: a nested delete that comes after a
/// sibling's nested put is not seen, and both are done in their order.
fn overlaps(list: &[TxnOperation]) -> Result<Writes<'_>, KvRefusal> {
    let mut writes = Writes::default();
    for operation in list {
        if let Some(TxnOp::DeleteRange(delete)) = &operation.op {
            writes.add_delete(Span::of(&delete.range));
        }
    }
    for operation in list {
        let Some(TxnOp::Txn(nested)) = &operation.op else { continue };
        let success = overlaps(&nested.success)?;
        let failure = overlaps(&nested.failure)?;
        for key in &success.puts {
            writes.add_put(key, success.keeping.contains(key), false)?;
        }
        for key in &failure.puts {
            // Only one of the two branches runs, so that both may put the same key.
            writes.add_put(key, failure.keeping.contains(key), success.puts.contains(key))?;
        }
        writes.add_deletes_of(success);
        writes.add_deletes_of(failure);
    }
    for operation in list {
        if let Some(TxnOp::Put(put)) = &operation.op {
            writes.add_put(&put.key, put.ignore_value || put.ignore_lease, false)?;
        }
    }
    Ok(writes)
}
