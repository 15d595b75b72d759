//! The state as it stood after a command: immutable to whoever holds it, cloned in O(1).
//!
//! Persistent trees hold the rows. `current` has the living keys. `log` has every write since the compacted revision in
//! the order it happened: what watchers resume from and compaction walks. What was replaced or deleted stands in a small
//! tree of its key's own, by its *end*, the write that ended it: a read at revision R wants the one version that ends
//! above R, the compaction of a write drops the one version that it ended, and a put that replaces a row keeps it
//! without a second search among all keys. `gone` has the keys that do not live but have such a history.
//! A row is shared by the trees it is in.
//!
//! Rows that a compaction has dropped may still be there until they are swept; no reader ever sees them, because
//! every legal read is at or above the compacted revision, and they ended at or below it.
//!
//! May import: `row`, `span`, `tree`, `lease`. Deliberately absent: writing (`write`, `compaction`), answers (`range`).

use std::cmp::Ordering;

use super::command::KvRefusal;
use super::row::{Mark, Row};
use super::span::Span;
use super::tree::Tree;
use crate::lease::Leases;
use crate::types::Revision;

/// The compacted revision of a store that was never compacted. etcd's: below every revision a client can name, so
/// that even a compaction at 0 is accepted once.
pub(super) const NEVER_COMPACTED: i64 = -1;

/// A key, ordered by itself: its newest row (in [`View::gone`] a tombstone) and what stood before.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) row: Row,
    pub(super) history: Tree<Superseded>,
}

/// A row that was replaced or deleted, ordered by the write that ended it.
#[derive(Clone, Debug)]
pub(super) struct Superseded {
    pub(super) row: Row,
    pub(super) end: Mark,
}

/// A row in the order of writes.
#[derive(Clone, Debug)]
pub(super) struct Logged(pub(super) Row);

impl Key {
    /// The row as it stood after the revision, which must not be compacted.
    fn row_at(&self, at: i64) -> Option<&Row> {
        if self.row.mark().revision <= at {
            return (!self.row.is_tombstone()).then_some(&self.row);
        }
        let after = Mark::start_of(at + 1);
        let ended = self.history.iter_from(|old| old.end < after).next()?;
        (ended.row.mark().revision <= at).then_some(&ended.row)
    }
}

macro_rules! ordered_by {
    ($name:ident, |$a:ident, $b:ident| $order:expr) => {
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                let ($a, $b) = (self, other);
                $order
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $name {}
    };
}

ordered_by!(Key, |a, b| a.row.order_key(b.row.key()));
ordered_by!(Superseded, |a, b| a.end.cmp(&b.end));
ordered_by!(Logged, |a, b| a.0.mark().cmp(&b.0.mark()));

/// The key space's state as it stood after a command. Cloning is O(1), and a clone never changes.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) current: Tree<Key>,
    pub(super) gone: Tree<Key>,
    pub(super) log: Tree<Logged>,
    pub(super) leases: Leases,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) size_bytes: u64,
}

impl Default for View {
    fn default() -> Self {
        Self {
            current: Tree::default(),
            gone: Tree::default(),
            log: Tree::default(),
            leases: Leases::default(),
            revision: 1,
            compacted: NEVER_COMPACTED,
            size_bytes: 0,
        }
    }
}

impl View {
    /// The revision of the last write; 1 in an empty store.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The revision of the last compaction: the oldest that can be read. 0 if there was none.
    #[must_use]
    pub fn compacted_revision(&self) -> Revision {
        Revision(self.compacted.max(0))
    }

    /// How many keys live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current.len()
    }

    /// Whether no key lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What keys, values and their history take in memory, in bytes, estimated. For reports and for raising an
    /// alarm; never for deciding an apply, for members sweep at different times and so differ in it.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How many superseded versions are kept.
    #[cfg(test)]
    pub(super) fn history_len(&self) -> usize {
        self.current.iter().chain(self.gone.iter()).map(|key| key.history.len()).sum()
    }

    /// The leases that stand.
    #[must_use]
    pub const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The revision to read at, where the request says 0 (or, as etcd has it, less) for now.
    pub(super) fn resolve(&self, revision: i64) -> Result<i64, KvRefusal> {
        if revision > self.revision {
            return Err(KvRefusal::FutureRevision);
        }
        let at = if revision <= 0 { self.revision } else { revision };
        if at < self.compacted { Err(KvRefusal::Compacted) } else { Ok(at) }
    }

    /// The living row of the key.
    pub(super) fn row(&self, key: &[u8]) -> Option<&Row> {
        self.current.get(|current| current.row.order_key(key)).map(|current| &current.row)
    }

    /// The key's row as it stood after the revision, which must not be compacted.
    pub(crate) fn row_at(&self, key: &[u8], at: i64) -> Option<&Row> {
        let of_key = |known: &Key| known.row.order_key(key);
        self.current.get(of_key).or_else(|| self.gone.get(of_key))?.row_at(at)
    }

    /// The rows of the span as they stood after the revision, in the order of their keys: all of them counted, and
    /// the first `limit` of them collected.
    pub(super) fn rows_at(&self, span: Span<'_>, at: i64, limit: usize) -> (Vec<&Row>, usize) {
        if let Span::Point(key) = span {
            let row = self.row_at(key, at);
            return (row.into_iter().take(limit).collect(), usize::from(row.is_some()));
        }
        let is_before = |known: &Key| known.row.key() < span.start();
        let is_within = |known: &&Key| !span.ends_before(known.row.key());
        let living = self.current.iter_from(is_before).take_while(is_within);
        if at >= self.revision {
            let past = self.current.rank(|current| is_before(current) || is_within(&current));
            let count = past.saturating_sub(self.current.rank(is_before));
            return (living.take(limit).map(|current| &current.row).collect(), count);
        }
        let mut rows: Vec<&Row> = living.filter_map(|current| current.row_at(at)).collect();
        let gone = self.gone.iter_from(is_before).take_while(is_within);
        rows.extend(gone.filter_map(|gone| gone.row_at(at)));
        // Two sorted runs without a common key: the standard sort merges them in one pass.
        rows.sort_by(|a, b| a.key().cmp(b.key()));
        let count = rows.len();
        rows.truncate(limit);
        (rows, count)
    }

    /// The rows written at or after the mark, tombstones too, in the order of writing.
    pub(crate) fn log_from(&self, mark: Mark) -> impl Iterator<Item = &Row> + Send + '_ {
        self.log.iter_from(move |logged| logged.0.mark() < mark).map(|logged| &logged.0)
    }
}
