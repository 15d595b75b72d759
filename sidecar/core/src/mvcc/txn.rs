//! Transactions: every compare and every check first, on the state before; then the writes, which cannot fail.
//!
//! As in etcd, the compares of nested transactions are decided before anything is written too: a nested transaction
//! does not see what its parent writes, though its reads do (`server/etcdserver/txn/txn.go`, `compareToPath`).
//!
//! May import: `view`, `write`, `command`, `span`. Deliberately absent: limits and overlaps (`check`).

use std::cmp::Ordering;

use super::command::{
    Compare, CompareResult, CompareTarget, DeleteRange, KvRefusal, OpResponse, Put, Txn, TxnOp, TxnOperation,
};
use super::row::Row;
use super::span::Span;
use super::view::View;
use super::write::Writer;
use crate::types::LeaseId;

/// Which branch a transaction takes, and within it the nested ones, in order.
#[derive(Debug)]
pub(super) struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

impl Path {
    /// Decides every compare.
    pub(super) fn decide(view: &View, txn: &Txn) -> Self {
        let succeeded = txn.compare.iter().all(|compare| holds(view, compare));
        let nested = nested_of(branch(txn, succeeded)).map(|txn| Self::decide(view, txn)).collect();
        Self { succeeded, nested }
    }
}

fn branch(txn: &Txn, succeeded: bool) -> &[TxnOperation] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn nested_of(list: &[TxnOperation]) -> impl Iterator<Item = &Txn> {
    list.iter().filter_map(|operation| match &operation.op {
        Some(TxnOp::Txn(txn)) => Some(txn),
        Some(TxnOp::Range(_) | TxnOp::Put(_) | TxnOp::DeleteRange(_)) | None => None,
    })
}

/// Whether a compare holds. A missing key has 0 for everything, but no value: a compare of its value never holds.
fn holds(view: &View, compare: &Compare) -> bool {
    // etcd's wire has the target twice; without the second, it is a version of 0.
    let target = compare.target.as_ref().unwrap_or(&CompareTarget::Version(0));
    let (rows, _) = view.rows_at(Span::of(&compare.range), view.revision, usize::MAX);
    let relates = |row: Option<&Row>| {
        let (meta, value) = row.map(Row::content).unzip();
        let meta = |of: fn(&super::row::Meta) -> i64| meta.as_ref().map_or(0, of);
        let order = match target {
            CompareTarget::Version(given) => meta(|meta| meta.version).cmp(given),
            CompareTarget::CreateRevision(given) => meta(|meta| meta.create_revision).cmp(given),
            CompareTarget::ModRevision(given) => row.map_or(0, |row| row.mark().revision).cmp(given),
            CompareTarget::Lease(given) => meta(|meta| meta.lease).cmp(given),
            CompareTarget::Value(given) => match value {
                Some(value) => value.cmp(given),
                None => return false,
            },
        };
        match CompareResult::from_i32(compare.result) {
            Some(CompareResult::Equal) => order == Ordering::Equal,
            Some(CompareResult::Greater) => order == Ordering::Greater,
            Some(CompareResult::Less) => order == Ordering::Less,
            Some(CompareResult::NotEqual) => order != Ordering::Equal,
            // As etcd: a relation that it does not know holds.
            None => true,
        }
    };
    if rows.is_empty() { relates(None) } else { rows.into_iter().all(|row| relates(Some(row))) }
}

impl View {
    /// Answers a transaction that only reads, as if it were applied here and now. One that writes is answered, too, but
    /// changes nothing that anybody sees: propose it instead.
    ///
    /// # Errors
    /// [`KvRefusal`], as for the same transaction applied.
    pub fn txn(&self, txn: &Txn) -> Result<OpResponse, KvRefusal> {
        let path = Path::decide(self, txn);
        check_txn(self, txn, &path)?;
        Ok(do_txn(&mut Writer::new(&mut self.clone()), txn, &path))
    }
}

/// Refuses a put that the state makes illegal.
pub(super) fn check_put(view: &View, put: &Put) -> Result<(), KvRefusal> {
    if put.lease != 0 && view.leases.get(LeaseId(put.lease)).is_none() {
        return Err(KvRefusal::LeaseNotFound);
    }
    if (put.ignore_value || put.ignore_lease) && view.row(&put.key).is_none() {
        return Err(KvRefusal::KeyNotFound);
    }
    Ok(())
}

/// Refuses a transaction whose chosen operations the state makes illegal.
pub(super) fn check_txn(view: &View, txn: &Txn, path: &Path) -> Result<(), KvRefusal> {
    let mut nested = path.nested.iter();
    for TxnOperation { op } in branch(txn, path.succeeded) {
        match op {
            Some(TxnOp::Range(range)) => check_revision(view, range.revision)?,
            Some(TxnOp::Put(put)) => check_put(view, put)?,
            Some(TxnOp::Txn(txn)) => {
                if let Some(path) = nested.next() {
                    check_txn(view, txn, path)?;
                }
            }
            Some(TxnOp::DeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

/// etcd's `checkRange`: unlike a plain range, one in a transaction may not name a negative revision below the
/// compacted one.
fn check_revision(view: &View, revision: i64) -> Result<(), KvRefusal> {
    if revision == 0 {
        Ok(())
    } else if revision > view.revision {
        Err(KvRefusal::FutureRevision)
    } else if revision < view.compacted {
        Err(KvRefusal::Compacted)
    } else {
        Ok(())
    }
}

/// Does a put that was checked.
pub(super) fn do_put(writer: &mut Writer<'_>, put: &Put) -> OpResponse {
    let kept = (put.ignore_value || put.ignore_lease).then(|| writer.view().row(&put.key).cloned()).flatten();
    let kept = kept.as_ref().map(Row::content);
    let value = if put.ignore_value { kept.map_or(&[][..], |(_, value)| value) } else { &put.value };
    let lease = if put.ignore_lease { kept.map_or(0, |(meta, _)| meta.lease) } else { put.lease };
    let before = writer.put(&put.key, value, lease);
    OpResponse::Put { prev_kv: before.filter(|_| put.prev_kv).map(|row| row.to_key_value(true)) }
}

/// Does a delete.
pub(super) fn do_delete(writer: &mut Writer<'_>, delete: &DeleteRange) -> OpResponse {
    let rows = writer.delete(Span::of(&delete.range));
    let deleted = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let prev_kvs = if delete.prev_kv { rows } else { Vec::new() };
    OpResponse::DeleteRange { deleted, prev_kvs: prev_kvs.iter().map(|row| row.to_key_value(true)).collect() }
}

/// Does a transaction that was checked.
pub(super) fn do_txn(writer: &mut Writer<'_>, txn: &Txn, path: &Path) -> OpResponse {
    let mut nested = path.nested.iter();
    let mut responses = Vec::new();
    for TxnOperation { op } in branch(txn, path.succeeded) {
        match op {
            Some(TxnOp::Range(range)) => {
                let view = writer.view();
                let at = if range.revision <= 0 { view.revision } else { range.revision };
                responses.push(OpResponse::Range(view.range_at(range, at)));
            }
            Some(TxnOp::Put(put)) => responses.push(do_put(writer, put)),
            Some(TxnOp::DeleteRange(delete)) => responses.push(do_delete(writer, delete)),
            Some(TxnOp::Txn(txn)) => {
                if let Some(path) = nested.next() {
                    responses.push(do_txn(writer, txn, path));
                }
            }
            None => {}
        }
    }
    OpResponse::Txn { succeeded: path.succeeded, responses }
}
