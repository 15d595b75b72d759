//! The state as it stood after a command: immutable to whoever holds it, cloned in O(1).
//!
//! Three persistent trees hold the rows. `current` has the living keys. `log` has every write since the compacted
//! revision in the order it happened: what watchers resume from and compaction walks. `old` has what was replaced or
//! deleted, keyed by (key, *end*), the write that ended it: a read at revision R wants the one version of a key that
//! ends above R, the compaction of a write drops the one version that it ended, and both are one look-up.
//! A row is shared by the trees it is in. A key that was written once is in `current` and `log` only.
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

/// A living key's row, ordered by key.
#[derive(Clone, Debug)]
pub(super) struct Current(pub(super) Row);

/// A row that was replaced or deleted, ordered by key, then by the write that ended it.
#[derive(Clone, Debug)]
pub(super) struct Superseded {
    pub(super) row: Row,
    pub(super) end: Mark,
}

/// A row in the order of writes.
#[derive(Clone, Debug)]
pub(super) struct Logged(pub(super) Row);

impl Superseded {
    pub(super) fn order(&self, key: &[u8], end: Mark) -> Ordering {
        self.row.order_key(key).then_with(|| self.end.cmp(&end))
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

ordered_by!(Current, |a, b| a.0.order_key(b.0.key()));
ordered_by!(Superseded, |a, b| a.order(b.row.key(), b.end));
ordered_by!(Logged, |a, b| a.0.mark().cmp(&b.0.mark()));

/// The key space's state as it stood after a command. Cloning is O(1), and a clone never changes.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) current: Tree<Current>,
    pub(super) old: Tree<Superseded>,
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
            old: Tree::default(),
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
        self.current.get(|current| current.0.order_key(key)).map(|current| &current.0)
    }

    /// The key's row as it stood after the revision, which must not be compacted.
    pub(crate) fn row_at(&self, key: &[u8], at: i64) -> Option<&Row> {
        let living = self.row(key).filter(|row| row.mark().revision <= at);
        if living.is_some() || at >= self.revision {
            return living;
        }
        let after = Mark::start_of(at + 1);
        let ended = self.old.iter_from(|old| old.order(key, after).is_lt()).next()?;
        (ended.row.key() == key && ended.row.mark().revision <= at).then_some(&ended.row)
    }

    /// The rows of the span as they stood after the revision, in the order of their keys: all of them counted, and
    /// the first `limit` of them collected.
    pub(super) fn rows_at(&self, span: Span<'_>, at: i64, limit: usize) -> (Vec<&Row>, usize) {
        if let Span::Point(key) = span {
            let row = self.row_at(key, at);
            return (row.into_iter().take(limit).collect(), usize::from(row.is_some()));
        }
        let is_before = |current: &Current| current.0.key() < span.start();
        let is_within = |row: &&Row| !span.ends_before(row.key());
        let living = self.current.iter_from(is_before).map(|current| &current.0).take_while(is_within);
        if at >= self.revision {
            let past = self.current.rank(|current| is_before(current) || !span.ends_before(current.0.key()));
            let count = past.saturating_sub(self.current.rank(is_before));
            return (living.take(limit).collect(), count);
        }
        let mut rows: Vec<&Row> = living.filter(|row| row.mark().revision <= at).collect();
        let ended = self.old.iter_from(|old| old.row.key() < span.start());
        let stood = |old: &&Superseded| old.row.mark().revision <= at && at < old.end.revision;
        let ended = ended.take_while(|old| !span.ends_before(old.row.key())).filter(stood);
        rows.extend(ended.map(|old| &old.row));
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
