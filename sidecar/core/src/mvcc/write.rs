//! The one place that changes rows: installing a row into the trees, and the writer that makes rows for a command.
//!
//! Restoring a snapshot installs the same rows through the same function as applying commands does, which is why a
//! restored store equals a replayed one.
//!
//! May import: `view`, `row`, `span`, `lease`'s types. Deliberately absent: refusals; whatever is checked is
//! checked before a writer is made, because half of a transaction cannot be taken back.

use super::row::{Mark, Meta, Row};
use super::span::Span;
use super::view::{Current, Logged, Superseded, View};
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
        let before = if row.is_tombstone() {
            self.current.remove(|current| current.0.order_key(row.key()))
        } else {
            self.current.insert(Current(row.clone()))
        };
        let before = before.map(|current| current.0);
        let lease_of = |row: &Row| LeaseId(row.content().0.lease);
        self.leases.reattach(row.key(), before.as_ref().map_or(LeaseId(0), lease_of), lease_of(row));
        self.size_bytes += cost_bytes(row);
        if let Some(before) = &before {
            self.retire(before.clone(), row.mark());
        }
        before
    }

    /// Keeps what was replaced for reads below `end`, if any read could find it: what began and ended within one
    /// revision never stood after any.
    fn retire(&mut self, row: Row, end: Mark) {
        if row.mark().revision == end.revision {
            self.size_bytes = self.size_bytes.saturating_sub(cost_bytes(&row));
        } else {
            self.old.insert(Superseded { row, end });
        }
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
        self.view.revision = mark.revision;
        mark
    }

    /// Writes a version of a key.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> Option<Row> {
        let mark = self.mark();
        let before = self.view.row(key).map(|row| row.content().0);
        let meta = before.map_or(Meta { create_revision: mark.revision, version: 1, lease }, |before| Meta {
            create_revision: before.create_revision,
            version: before.version + 1,
            lease,
        });
        self.view.install(Row::put(mark, key, meta, value))
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
