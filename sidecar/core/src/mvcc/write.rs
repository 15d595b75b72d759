//! The one place that changes rows: installing a row into the trees, and the writer that makes rows for a command.
//!
//! Restoring a snapshot installs the same rows through the same function as applying commands does, which is why a
//! restored store equals a replayed one.
//!
//! May import: `view`, `row`, `span`, `lease`'s types. Deliberately absent: refusals; whatever is checked is
//! checked before a writer is made, because half of a transaction cannot be taken back.

use super::row::{Mark, Meta, Row};
use super::span::Span;
use super::tree::Tree;
use super::view::{Key, Logged, Superseded, View};
use crate::types::LeaseId;

/// What a row costs besides its bytes, in bytes: the allocation's header and rounding, and its places in the trees.
const ROW_OVERHEAD_BYTES: u64 = 80;

pub(super) fn cost_bytes(row: &Row) -> u64 {
    row.len() as u64 + ROW_OVERHEAD_BYTES
}

impl View {
    /// Puts a row (a version or a tombstone) where it belongs, and the one it replaces into the history. Gives back
    /// what stood before.
    pub(super) fn install(&mut self, row: Row) -> Option<Row> {
        let before = self.install_unlogged(&row);
        self.log.insert(Logged(row));
        before
    }

    /// The same without the order of writes: for rows that a snapshot carries from before its compaction.
    pub(super) fn install_unlogged(&mut self, row: &Row) -> Option<Row> {
        if row.is_tombstone() { self.bury(row) } else { self.replace(row.key(), |_| row.clone()).1 }
    }

    /// Puts a version of a key, made from the one before, in its place. Gives back both: one search for all.
    fn replace(&mut self, key: &[u8], make: impl FnOnce(Option<&Row>) -> Row) -> (Row, Option<Row>) {
        let is_key = |known: &Key| known.row.order_key(key);
        let (row, before) = if let Some(known) = self.current.get_mut(is_key) {
            let row = make(Some(&known.row));
            let before = std::mem::replace(&mut known.row, row.clone());
            retire(&mut known.history, &mut self.size_bytes, &before, row.mark());
            (row, Some(before))
        } else {
            let row = make(None);
            let history = self.gone.remove(is_key).map_or_else(Tree::default, |gone| gone.history);
            self.current.insert(Key { row: row.clone(), history });
            (row, None)
        };
        self.account(&row, before.as_ref());
        (row, before)
    }

    /// Takes a key out of the living. Gives back what stood before.
    fn bury(&mut self, tombstone: &Row) -> Option<Row> {
        let living = self.current.remove(|known| known.row.order_key(tombstone.key()));
        let before = living.map(|Key { row, mut history }| {
            retire(&mut history, &mut self.size_bytes, &row, tombstone.mark());
            if history.len() > 0 {
                self.gone.insert(Key { row: tombstone.clone(), history });
            }
            row
        });
        self.account(tombstone, before.as_ref());
        before
    }

    fn account(&mut self, row: &Row, before: Option<&Row>) {
        let lease_of = |row: &Row| LeaseId(row.content().0.lease);
        #[cfg(feature = "mutants")]
        if self.revision > row.mark().revision
            && outrigger_mutants::is_alive(outrigger_mutants::Mutant::LeasesNotRestored)
        {
            // A command's row is of the newest revision, a snapshot's mostly of an older one.
            self.size_bytes += cost_bytes(row);
            return;
        }
        self.leases.reattach(row.key(), before.map_or(LeaseId(0), lease_of), lease_of(row));
        self.size_bytes += cost_bytes(row);
    }

    /// Drops the version of the key that the write at `end` ended, if it is still there, and the key with its last one.
    pub(super) fn forget_ended(&mut self, key: &[u8], end: Mark) {
        let is_key = |known: &Key| known.row.order_key(key);
        let is_end = |old: &Superseded| old.end.cmp(&end);
        let keys = if self.current.get(is_key).is_some() { &mut self.current } else { &mut self.gone };
        // Looked up first: what is not there must not copy a path that a view shares.
        if keys.get(is_key).and_then(|known| known.history.get(is_end)).is_none() {
            return;
        }
        let Some(known) = keys.get_mut(is_key) else { return };
        if let Some(ended) = known.history.remove(is_end) {
            self.size_bytes = self.size_bytes.saturating_sub(cost_bytes(&ended.row));
        }
        if known.row.is_tombstone() && known.history.len() == 0 {
            self.gone.remove(is_key);
        }
    }
}

/// Keeps what was replaced for reads below `end`, if any read could find it: what began and ended within one revision
/// never stood after any.
fn retire(history: &mut Tree<Superseded>, size_bytes: &mut u64, row: &Row, end: Mark) {
    if row.mark().revision == end.revision {
        *size_bytes = size_bytes.saturating_sub(cost_bytes(row));
    } else {
        history.insert(Superseded { row: row.clone(), end });
    }
}

/// Makes the rows of one command, all at one revision.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    view: &'a mut View,
    next: Mark,
}

impl<'a> Writer<'a> {
    /// Begins a command's writes; the revision grows with the first.
    pub(super) fn new(view: &'a mut View) -> Self {
        let next = Mark::start_of(view.revision + 1);
        Self { view, next }
    }

    /// The state with this command's writes in it so far.
    pub(super) fn view(&self) -> &View {
        self.view
    }

    fn mark(&mut self) -> Mark {
        let mark = self.next;
        self.next.sub += 1;
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::SplitTransaction) {
            self.next = Mark::start_of(mark.revision + 1);
        }
        self.view.revision = mark.revision;
        mark
    }

    /// Writes a version of a key.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> Option<Row> {
        let mark = self.mark();
        let first = Meta { create_revision: mark.revision, version: 1, lease };
        let (row, before) = self.view.replace(key, |before| {
            let meta = before.map(|row| row.content().0).map_or(first, |before| Meta {
                create_revision: before.create_revision,
                version: before.version + 1,
                lease,
            });
            Row::put(mark, key, meta, value)
        });
        self.view.log.insert(Logged(row));
        before
    }

    /// Deletes the living keys of a span, and gives back what stood there.
    pub(super) fn delete(&mut self, span: Span<'_>) -> Vec<Row> {
        let (rows, _) = self.view.rows_at(span, self.view.revision, usize::MAX);
        let rows: Vec<Row> = rows.into_iter().cloned().collect();
        for row in &rows {
            let tombstone = Row::tombstone(self.mark(), row.key());
            self.view.install(tombstone);
        }
        rows
    }

    /// Deletes the keys of a lease that was revoked.
    pub(super) fn delete_attached(&mut self, lease: LeaseId) {
        let keys: Vec<Vec<u8>> = self.view.leases.keys(lease).map(<[u8]>::to_vec).collect();
        for key in keys {
            self.delete(Span::Point(&key));
        }
    }
}
