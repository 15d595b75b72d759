//! What a range of revisions means for a watcher: the events from a revision on, in order, once each.
//!
//! A view holds every write since its compacted revision, so a watcher that fell behind, reconnected, or moved to
//! another member resumes from the revision after the last one it saw. The events of one revision come one after
//! another and belong together. A write is an event even where the same revision undoes it, as in etcd.
//!
//! May import: `types`, `mvcc`. Deliberately absent: watchers themselves, their ids, streams, filters and progress.

use crate::mvcc::{KeyRange, KeyValue, Mark, Row, Span, View};
use crate::types::Revision;

/// The events that a watcher asks for are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "events before revision {compacted} are compacted; watch from it or a later one, after reading the keys anew"
)]
pub struct Compacted {
    /// The oldest revision whose events can be had.
    pub compacted: Revision,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted.
    Delete,
}

/// One event, not yet unpacked: a watcher's filters need not look at values.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    view: &'a View,
    row: &'a Row,
}

impl Event<'_> {
    /// What happened.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        if self.row.is_tombstone() { EventKind::Delete } else { EventKind::Put }
    }

    /// When it happened.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.row.mark().revision)
    }

    /// To which key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.row.key()
    }

    /// The pair after the event; of a deletion only the key and, as mod revision, the event's.
    #[must_use]
    pub fn kv(&self) -> KeyValue {
        self.row.to_key_value(true)
    }

    /// The pair as it stood after the revision before; none for a creation, and none if that revision is compacted.
    #[must_use]
    pub fn prev_kv(&self) -> Option<KeyValue> {
        let before = self.row.mark().revision - 1;
        let is_creation = self.row.content().0.create_revision == before + 1;
        if is_creation || before < self.view.compacted_revision().0 {
            return None;
        }
        self.view.row_at(self.row.key(), before).map(|row| row.to_key_value(true))
    }
}

/// The events on the range's keys from `start` (itself included) up to the view's revision, in order.
///
/// # Errors
/// [`Compacted`] when `start` is below the view's compacted revision.
pub fn events_since<'a>(
    view: &'a View,
    start: Revision,
    range: &'a KeyRange,
) -> Result<impl Iterator<Item = Event<'a>> + Send + 'a, Compacted> {
    let compacted = view.compacted_revision();
    if start < compacted {
        return Err(Compacted { compacted });
    }
    let span = Span::of(range);
    let rows = view.log_from(Mark::start_of(start.0)).filter(move |row| span.contains(row.key()));
    Ok(rows.map(move |row| Event { view, row }))
}
