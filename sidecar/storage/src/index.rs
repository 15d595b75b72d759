//! Where the entries lie: one slot a frame, shared by the writer and the readers of old entries.
//!
//! A slot takes 16 bytes and a frame at least 4 KiB, so the index is at most 1/256 of the log. A slot's entries reach
//! from its first index up to the next slot's: an overwrite drops the slots at or above it, and what it voids in the
//! last one kept is hidden by its successor's first index.
//!
//! May import: core's `types`, `fs`. Deliberately absent: reading the frames (that is `reader`'s).

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use outrigger_core::types::Index;

use crate::fs::File;
use crate::segment::BLOCK_BYTES;

/// A frame that holds live entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    first: Index,
    block: u32,
    blocks: u32,
}

/// What a frame did to the entries held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameSummary {
    /// A mark voided all entries, and the log goes on behind this index.
    pub(crate) restart: Option<Index>,
    /// The lowest index written behind the restart, if any, and the last one written.
    pub(crate) entries: Option<(Index, Index)>,
}

impl FrameSummary {
    pub(crate) fn entry(&mut self, index: Index) {
        let first = self.entries.map_or(index, |(first, _)| first.min(index));
        self.entries = Some((first, index));
    }

    pub(crate) fn restart(&mut self, index: Index) {
        *self = Self { restart: Some(index), entries: None };
    }
}

#[derive(Debug)]
pub(crate) struct SegmentSlots {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    slots: Vec<Slot>,
}

impl SegmentSlots {
    pub(crate) const fn new(number: u64, path: PathBuf, file: Arc<dyn File>) -> Self {
        Self { number, path, file, slots: Vec::new() }
    }
}

/// A stretch of frames, contiguous or not, in one segment; the reader goes through it outside the lock.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) segment: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// Offset, bytes, and the live indexes of each frame.
    pub(crate) frames: Vec<(u64, u64, Range<Index>)>,
}

/// All live entries' places.
#[derive(Debug, Default)]
pub(crate) struct LogIndex {
    pub(crate) segments: VecDeque<SegmentSlots>,
    pub(crate) last: Index,
}

impl LogIndex {
    /// The first index held; the one after the last if none is.
    pub(crate) fn first(&self) -> Index {
        self.slots().next().map_or(self.last.next(), |slot| slot.first)
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.segments.iter().flat_map(|segment| segment.slots.iter())
    }

    /// Takes in a durable frame of the last segment.
    pub(crate) fn frame(&mut self, summary: FrameSummary, offset: u64, bytes: u64) {
        if let Some(restart) = summary.restart {
            self.void_from(Index(0));
            self.last = restart;
        }
        let Some((first, last)) = summary.entries else { return };
        self.void_from(first);
        self.last = last;
        if let Some(segment) = self.segments.back_mut() {
            // A segment is at most 1 GiB, so block numbers fit.
            let block = (offset / BLOCK_BYTES) as u32;
            segment.slots.push(Slot { first, block, blocks: (bytes / BLOCK_BYTES) as u32 });
        }
    }

    fn void_from(&mut self, index: Index) {
        for segment in self.segments.iter_mut().rev() {
            while segment.slots.last().is_some_and(|slot| slot.first >= index) {
                segment.slots.pop();
            }
            if !segment.slots.is_empty() {
                break;
            }
        }
    }

    /// How many of the oldest segments hold no entry at or above `limit`. The newest one never counts: it is
    /// written to, and its first frame is what repeats the state for all that go.
    pub(crate) fn releasable(&self, limit: Index) -> usize {
        let mut count = 0;
        for position in 1..self.segments.len() {
            let later = self.segments.iter().skip(position).flat_map(|segment| segment.slots.iter());
            let end = later.map(|slot| slot.first).next().unwrap_or(self.last.next());
            if end > limit {
                break;
            }
            count = position;
        }
        count
    }

    /// The frames that hold the range, at most about `max_bytes` of them on disk, but at least one.
    pub(crate) fn stretches(&self, range: &Range<Index>, max_bytes: u64) -> Vec<Stretch> {
        let mut found: Vec<Stretch> = Vec::new();
        let mut bytes = 0;
        for (position, segment) in self.segments.iter().enumerate() {
            let later = self.segments.iter().skip(position + 1).flat_map(|segment| segment.slots.iter());
            let segment_end = later.map(|slot| slot.first).next().unwrap_or(self.last.next());
            if segment_end <= range.start || bytes > max_bytes {
                continue;
            }
            // The first slot that may reach into the range, found without walking a whole segment.
            let from = segment.slots.partition_point(|slot| slot.first <= range.start).saturating_sub(1);
            let slots = segment.slots.get(from..).unwrap_or_default();
            let ends = slots.iter().skip(1).map(|slot| slot.first).chain(std::iter::once(segment_end));
            let mut frames = Vec::new();
            for (slot, end) in slots.iter().zip(ends) {
                if slot.first >= range.end || bytes > max_bytes {
                    break;
                }
                if end > range.start {
                    let size = u64::from(slot.blocks) * BLOCK_BYTES;
                    frames.push((u64::from(slot.block) * BLOCK_BYTES, size, slot.first..end));
                    bytes += size;
                }
            }
            if !frames.is_empty() {
                let (path, file) = (segment.path.clone(), Arc::clone(&segment.file));
                found.push(Stretch { segment: segment.number, path, file, frames });
            }
        }
        found
    }
}
