//! Reading entries back: for the replay at start, and for followers so slow that memory no longer holds what they
//! lack. Usable from any thread while the writer writes.
//!
//! May import: core's `types` and `log`, `index`, `record`, `segment`. Deliberately absent: any cache (core's log view
//! has one, of entries, which this would only double).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_core::log::{Entry, SnapshotKind};
use outrigger_core::types::{ClusterId, Index, MemberId};

use crate::fs::{IoFailure, Naming};
use crate::index::{LogIndex, Stretch};
use crate::record::{EntryRef, Record, RecordError, records};
use crate::segment::{BlockReader, Place};

/// Why entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They were released: a snapshot holds what they did. Send that instead.
    #[error("entry {index} was released: the log begins at {first}, a snapshot holds what came before")]
    Compacted {
        /// The first index asked for.
        index: Index,
        /// The first index held.
        first: Index,
    },
    /// They are not (or no longer) in the log.
    #[error("entries up to {end} were asked for, but the log ends at {last}")]
    Unavailable {
        /// The end of the range asked for, exclusive.
        end: Index,
        /// The last index held.
        last: Index,
    },
    /// A frame that was durable no longer validates. Fatal: the member must stop and be replaced.
    #[error(
        "{} is corrupt at byte {offset}: a frame written and synced no longer validates; \
         stop this member and replace it with one on an empty disk",
        path.display()
    )]
    Corruption {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
    /// A record inside a valid frame does not decode. Fatal.
    #[error("{} holds a frame at byte {offset} that this version cannot read", path.display())]
    Record {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// Which record.
        #[source]
        source: RecordError,
    },
    /// The disk failed. Fatal.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// What the writer and all readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    index: Mutex<LogIndex>,
}

impl Shared {
    pub(crate) fn new(index: LogIndex) -> Arc<Self> {
        Arc::new(Self { index: Mutex::new(index) })
    }

    /// The index. A thread that panicked while it held the lock left it whole: every change is one method call
    /// that cannot panic half-way, and the process ends on a panic anyway.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LogIndex> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads entries by range. Clones share one index with the writer.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    cluster: ClusterId,
    member: MemberId,
}

impl LogReader {
    pub(crate) const fn new(shared: Arc<Shared>, cluster: ClusterId, member: MemberId) -> Self {
        Self { shared, cluster, member }
    }

    /// The first index held; the one after the last if none is.
    #[must_use]
    pub fn first_index(&self) -> Index {
        self.shared.lock().first()
    }

    /// The last durable index.
    #[must_use]
    pub fn last_index(&self) -> Index {
        self.shared.lock().last
    }

    /// The entries of `range` from its start on, as many as fit in `max_bytes` (by [`Entry::weight`]), but at least
    /// one unless the range is empty. Fewer than asked for is no error: ask again from behind the last one.
    ///
    /// Only durable entries are seen. An overwrite by the writer while this reads may leave the older entries in the
    /// answer: compare terms.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] and [`ReadError::Unavailable`] are answers about the range; the others are fatal.
    pub fn read(&self, range: Range<Index>, max_bytes: usize) -> Result<Vec<Entry>, ReadError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let stretches = {
            let index = self.shared.lock();
            if range.start < index.first() {
                return Err(ReadError::Compacted { index: range.start, first: index.first() });
            }
            if range.end > index.last.next() {
                return Err(ReadError::Unavailable { end: range.end, last: index.last });
            }
            index.stretches(&range, max_bytes as u64)
        };
        let mut budget = Budget { entries: Vec::new(), weight: 0, max: max_bytes };
        for stretch in &stretches {
            if !self.read_stretch(stretch, &range, &mut budget)? {
                break;
            }
        }
        Ok(budget.entries)
    }

    fn read_stretch(
        &self,
        stretch: &Stretch,
        range: &Range<Index>,
        budget: &mut Budget,
    ) -> Result<bool, ReadError> {
        let place = Place { cluster: self.cluster, member: self.member, segment: stretch.segment };
        let bytes = stretch.frames.iter().map(|(_, bytes, _)| bytes).sum();
        let mut reader = BlockReader::for_stretch(&*stretch.file, bytes);
        for (offset, _, live) in &stretch.frames {
            let frame = reader.frame(&place, *offset).naming("read", &stretch.path)?;
            let Some((_, payload)) = frame else {
                return Err(ReadError::Corruption { path: stretch.path.clone(), offset: *offset });
            };
            let wanted = range.start.max(live.start)..range.end.min(live.end);
            let found = live_entries(payload, &wanted).map_err(|source| ReadError::Record {
                path: stretch.path.clone(),
                offset: *offset,
                source,
            })?;
            for entry in found {
                if !budget.take(&entry) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

struct Budget {
    entries: Vec<Entry>,
    weight: usize,
    max: usize,
}

impl Budget {
    fn take(&mut self, entry: &EntryRef<'_>) -> bool {
        let weight = entry.data.len() + entry.context.len() + 48;
        if !self.entries.is_empty() && self.weight + weight > self.max {
            return false;
        }
        self.weight += weight;
        self.entries.push(entry.to_entry());
        true
    }
}

/// The wanted entries of one frame after all overwrites inside it.
fn live_entries<'a>(payload: &'a [u8], wanted: &Range<Index>) -> Result<Vec<EntryRef<'a>>, RecordError> {
    let mut found: Vec<EntryRef<'a>> = Vec::new();
    for record in records(payload) {
        match record? {
            Record::Entry(entry) => {
                while found.last().is_some_and(|held| held.index >= entry.index) {
                    found.pop();
                }
                if wanted.contains(&entry.index) {
                    found.push(entry);
                }
            }
            Record::Mark(mark) => match mark.kind {
                SnapshotKind::Installed => found.clear(),
                SnapshotKind::Taken => {}
            },
            Record::Preamble(_) | Record::HardState(_) | Record::ConfState(..) | Record::Seeds(_) => {}
        }
    }
    Ok(found)
}
