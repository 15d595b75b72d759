//! What keeps the log small and its next segment ready: release below the newest durable snapshot, recycling, zeroing.
//!
//! Segments go oldest first, each with its directory's sync before the next one: were a newer one gone and an older one
//! back after a crash, the hole between them would be corruption. What each of them knew besides its entries stands in
//! the first frame of every later one.
//!
//! May import: core's `types`, `writer`, `spare`, `index`. Deliberately absent: the policy, when to take snapshots and
//! how many entries to keep behind them (core's and the driver's).

use outrigger_core::types::Index;

use crate::recovery::torn::drop_copies;
use crate::spare::zero;
use crate::writer::{WriteError, Writer};

/// How far ahead of the log's end the segment in use is kept zeroed.
const ZERO_AHEAD_BYTES: u64 = 16 << 20;

/// Whether preparing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// Call again when there is nothing better to do.
    More,
    /// Nothing to do until more is written.
    Done,
}

/// What a release did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Segments that went.
    pub segments: usize,
    /// The first index held now; the one after the last if none is.
    pub first_index: Index,
}

/// The log's size, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogUsage {
    /// Segments in use.
    pub segments: usize,
    /// Bytes of their files.
    pub segment_bytes: u64,
    /// Bytes of spares, which the log needs no more of the disk for.
    pub spare_bytes: u64,
    /// Whether the reserve of spares is complete.
    pub is_reserve_complete: bool,
    /// Bytes that can be appended without asking the disk for space: the rest of the segment in use, and the spares.
    pub room_bytes: u64,
}

impl Writer {
    /// Releases the segments of which every entry is below `below`. Whole segments only, never the one in use, and
    /// never beyond the newest snapshot whose mark is durable: what is above that is asked for in vain.
    ///
    /// # Errors
    /// Fatal, as [`Writer::append`]'s.
    pub fn release(&mut self, below: Index) -> Result<Released, WriteError> {
        self.guarded(|writer| writer.release_below(below))
    }

    fn release_below(&mut self, below: Index) -> Result<Released, WriteError> {
        let limit = self.state.tail.mark.map_or(Index(0), |mark| mark.index.next().min(below));
        let mut released = 0;
        loop {
            // Readers lose the segment before the disk does. A reader that holds its file goes on: the file's bytes
            // stay until nobody holds it.
            let segment = {
                let mut index = self.shared.lock();
                if index.releasable(limit) == 0 { None } else { index.segments.pop_front() }
            };
            let Some(segment) = segment else { break };
            self.spares.retire(&segment.path, segment.file, self.setup.spare_segments)?;
            drop_copies(&*self.setup.fs, &self.setup.dir, segment.number)?;
            released += 1;
        }
        self.spares.reclaim();
        Ok(Released { segments: released, first_index: self.shared.lock().first() })
    }

    /// One step of at most a few milliseconds towards the next segment: zeroes ahead of the log's end, keeps the spares
    /// complete, zeroes the next spare once the segment in use is half full. To be called by the log's thread
    /// whenever it is idle; an append does what is missing itself, and takes longer.
    ///
    /// # Errors
    /// [`WriteError::NoSpace`] leaves the writer usable: the reserve is incomplete, call again later. All else is
    /// fatal.
    pub fn prepare_spare(&mut self) -> Result<Preparation, WriteError> {
        self.retryably(Self::prepare_step)
    }

    fn prepare_step(&mut self) -> Result<Preparation, WriteError> {
        let end = self.end.end;
        let mut wants_zeroed_spare = true;
        if let Some(active) = &mut self.active {
            // Behind the end there is nothing yet, so zeros there can damage nothing.
            let zeroed = active.zeroed_until.max(end);
            if zeroed < active.size && zeroed - end < ZERO_AHEAD_BYTES {
                active.zeroed_until = zero(&*active.file, &active.path, zeroed, active.size)?;
                return Ok(Preparation::More);
            }
            wants_zeroed_spare = end > active.size / 2;
        }
        self.spares.reclaim();
        if self.spares.count() < self.setup.spare_segments {
            self.spares.create()?;
            return Ok(Preparation::More);
        }
        if wants_zeroed_spare && !self.spares.is_next_zeroed() && self.spares.zero_slice()? {
            return Ok(Preparation::More);
        }
        Ok(Preparation::Done)
    }

    /// Completes the reserve of spares. [`Writer::prepare_spare`] does too, but only gets there when the log is idle.
    ///
    /// # Errors
    /// [`WriteError::NoSpace`] leaves the writer usable: only what frees space should be admitted, until a later call
    /// succeeds. All else is fatal.
    pub fn restore_reserve(&mut self) -> Result<(), WriteError> {
        self.retryably(Self::fill_spares)
    }

    fn fill_spares(&mut self) -> Result<(), WriteError> {
        self.spares.reclaim();
        while self.spares.count() < self.setup.spare_segments {
            self.spares.create()?;
        }
        Ok(())
    }

    /// Runs a step that may find the disk full; any other failure closes the writer.
    fn retryably<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        let result = step(self);
        self.poisoned = match &result {
            Ok(_) | Err(WriteError::NoSpace(_)) => false,
            Err(
                WriteError::Io(_)
                | WriteError::Poisoned
                | WriteError::TooLarge { .. }
                | WriteError::BatchOrder { .. }
                | WriteError::Contradiction { .. },
            ) => true,
        };
        result
    }

    /// The log's size.
    #[must_use]
    pub fn usage(&self) -> LogUsage {
        let segments = self.shared.lock().segments.len();
        let rest = self.active.as_ref().map_or(0, |active| active.size.saturating_sub(self.end.end));
        LogUsage {
            segments,
            segment_bytes: segments as u64 * self.setup.segment_size_bytes,
            spare_bytes: self.spares.bytes(),
            is_reserve_complete: self.spares.count() >= self.setup.spare_segments,
            room_bytes: rest + self.spares.bytes(),
        }
    }
}
