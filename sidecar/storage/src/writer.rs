//! The writer: batches in, one frame and one `fdatasync` for all that fit, in order, or an error that ends it.
//!
//! The order inside an append, and what each step is for:
//! 1. everything is checked before a byte is written: a refused batch leaves no half of itself;
//! 2. a frame that does not fit the segment's rest goes into a new one, whose first frame repeats the state, in the
//!    same write: so no older segment's release can forget a vote;
//! 3. one write, one `fdatasync`; in a new segment the directory's sync too. Only then is the next frame written:
//!    recovery concludes from a later frame that every earlier one was durable;
//! 4. only then do readers, the state and the caller hear of it.
//!
//! After any error the writer refuses everything. It never tries again: after a failed sync the kernel may call the lost
//! pages clean, and the next sync would succeed over a hole. The process ends and reads back what the disk has.
//!
//! May import: core's `types` and `log`, and this crate's lower rooms. Deliberately absent: threads and waiting (the
//! log thread groups what queues up meanwhile), and rewriting anything in place.

mod pieces;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use outrigger_core::log::{Batch, HardState};
use outrigger_core::types::{BatchNumber, ClusterId, MemberId};

use crate::fail_point;
use crate::fs::{File, FileSystem, IoFailure, Naming};
use crate::index::{FrameSummary, SegmentSlots};
use crate::reader::Shared;
use crate::record::{
    Seal, entry_len, preamble_len, put_conf_state, put_entry, put_hard_state, put_mark, put_preamble,
    put_seeds,
};
use crate::segment::{
    BLOCK_BYTES, FIRST_FRAME_OFFSET, FRAME_HEADER_BYTES, Place, SegmentHeader, file_name, frame_bytes,
};
use crate::spare::SparePool;
use crate::state::{Contradiction, LogState};

use pieces::{Closing, Piece, group_len, piece_len};

/// What the write buffer keeps between appends; one huge batch must not pin its size for ever.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// Why the log cannot be written. Fatal, whichever it is, unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk is full. From [`Writer::prepare_spare`] this is retryable: the log itself is untouched and has room
    /// for what its segments hold; release and delete before that ends. From an append it is fatal.
    #[error("the disk is full: free space, compact, or grow the volume")]
    NoSpace(#[source] IoFailure),
    /// The disk failed: what it holds is unknown, so the process must end and recover.
    #[error("the log cannot be written: the process must end and recover from what the disk holds")]
    Io(#[source] IoFailure),
    /// An earlier error closed the writer.
    #[error("the log's writer failed before and writes no more: restart the process")]
    Poisoned,
    /// Something does not fit a segment.
    #[error("{what} takes {bytes} bytes, more than the {limit} that fit a segment: raise the segment size")]
    TooLarge {
        /// "entry 17", "the configuration and the seeds".
        what: String,
        /// Its size.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
    /// Batches must be handed over in order and without gaps.
    #[error("batch {found} was handed over where batch {expected} was due: a bug in the caller")]
    BatchOrder {
        /// The number due.
        expected: BatchNumber,
        /// The number found.
        found: BatchNumber,
    },
    /// Records that cannot follow each other: a bug in the caller.
    #[error("batch {batch} contradicts the log")]
    Contradiction {
        /// Which batch.
        batch: BatchNumber,
        /// How.
        #[source]
        source: Contradiction,
    },
}

impl From<IoFailure> for WriteError {
    fn from(failure: IoFailure) -> Self {
        if failure.is_no_space() { Self::NoSpace(failure) } else { Self::Io(failure) }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Frames written, each with one `fdatasync`; 0 when there was nothing to write.
    pub frames: u32,
    /// Bytes written, headers and padding included.
    pub bytes: u64,
    /// Every batch up to this one is durable.
    pub durable: BatchNumber,
}

/// What the writer needs to know about its log.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) dir: PathBuf,
    pub(crate) cluster: ClusterId,
    pub(crate) member: MemberId,
    pub(crate) segment_size_bytes: u64,
    pub(crate) max_frame_bytes: usize,
    pub(crate) spare_segments: usize,
}

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// Zeros were written and synced up to here.
    pub(crate) zeroed_until: u64,
}

/// Appends batches to the log. Not `Clone`: one owner, one log.
#[derive(Debug)]
pub struct Writer {
    pub(crate) setup: Setup,
    pub(crate) shared: Arc<Shared>,
    pub(crate) spares: SparePool,
    pub(crate) active: Option<Active>,
    /// Where the log ends.
    pub(crate) end: Seal,
    pub(crate) next_segment: u64,
    pub(crate) state: LogState,
    pub(crate) last_batch: BatchNumber,
    pub(crate) buffer: Vec<u8>,
    pub(crate) poisoned: bool,
}

impl Writer {
    /// Makes the batches durable: all that fit in one frame, one write and one `fdatasync` for it.
    ///
    /// A batch too large for a frame is split over several: its snapshot mark, term and vote first, then the entries,
    /// and the commit index last, so that a crash in between leaves a log that any member could have had.
    ///
    /// # Errors
    /// Every [`WriteError`] here is fatal: the writer refuses all that follows. Which of the batches are durable is
    /// then for recovery to find out.
    pub fn append(&mut self, batches: &[Batch]) -> Result<Appended, WriteError> {
        self.guarded(|writer| writer.append_all(batches))
    }

    /// The number of the last durable batch of this boot.
    #[must_use]
    pub const fn durable(&self) -> BatchNumber {
        self.last_batch
    }

    /// Runs a step unless one failed before; a failure closes the writer.
    pub(crate) fn guarded<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        let result = step(self);
        self.poisoned = result.is_err();
        result
    }

    fn append_all(&mut self, batches: &[Batch]) -> Result<Appended, WriteError> {
        self.check(batches)?;
        let mut appended = Appended { frames: 0, bytes: 0, durable: self.last_batch };
        let mut rest = batches;
        while !rest.is_empty() {
            let limit = self.setup.max_frame_bytes.min(self.capacity());
            let (group, later) = rest.split_at(group_len(rest, limit));
            self.append_group(group, limit, &mut appended)?;
            rest = later;
        }
        Ok(appended)
    }

    fn check(&self, batches: &[Batch]) -> Result<(), WriteError> {
        let mut expected = BatchNumber(self.last_batch.0 + 1);
        let mut tail = self.state.tail;
        for batch in batches {
            if batch.number != expected {
                return Err(WriteError::BatchOrder { expected, found: batch.number });
            }
            expected = BatchNumber(expected.0 + 1);
            let contradicts = |source| WriteError::Contradiction { batch: batch.number, source };
            if let Some(mark) = batch.mark {
                tail.mark(mark).map_err(contradicts)?;
            }
            for entry in &batch.entries {
                tail.entry(entry.index).map_err(contradicts)?;
                self.check_size(|| format!("entry {}", entry.index), entry_len(entry))?;
            }
            self.check_size(|| "the configuration and the seeds".to_owned(), Closing::of(batch).len())?;
        }
        Ok(())
    }

    fn check_size(&self, what: impl FnOnce() -> String, bytes: usize) -> Result<(), WriteError> {
        let limit = self.capacity();
        if bytes > limit { Err(WriteError::TooLarge { what: what(), bytes, limit }) } else { Ok(()) }
    }

    /// Bytes of payload that the first frame of a new segment holds besides its preamble.
    fn capacity(&self) -> usize {
        let overhead = FIRST_FRAME_OFFSET as usize
            + FRAME_HEADER_BYTES
            + preamble_len(&self.state.preamble(Seal::default()));
        (self.setup.segment_size_bytes as usize).saturating_sub(overhead)
    }

    fn append_group(
        &mut self,
        group: &[Batch],
        limit: usize,
        appended: &mut Appended,
    ) -> Result<(), WriteError> {
        let closing = group.iter().map(Closing::of).fold(Closing::default(), Closing::replaced_by);
        match group {
            [batch] if Piece::of(batch).len() + closing.len() > limit => {
                self.append_split(batch, limit, appended)?;
            }
            group if group.iter().all(Batch::is_empty) => {}
            group => self.write_frame(group.iter().map(Piece::of), closing, appended)?,
        }
        if let Some(batch) = group.last() {
            self.last_batch = batch.number;
        }
        appended.durable = self.last_batch;
        Ok(())
    }

    fn append_split(
        &mut self,
        batch: &Batch,
        limit: usize,
        appended: &mut Appended,
    ) -> Result<(), WriteError> {
        let mut closing = Closing::of(batch);
        let first = Closing {
            hard_state: closing
                .hard_state
                .map(|new| HardState { commit: self.state.hard_state.commit, ..new }),
            ..Closing::default()
        };
        if first.hard_state.is_some() || batch.mark.is_some() {
            let mark = Piece { mark: batch.mark.as_ref(), entries: &[] };
            self.write_frame(std::iter::once(mark), first, appended)?;
        }
        let mut rest = batch.entries.as_slice();
        while !rest.is_empty() {
            let (entries, later) = rest.split_at(piece_len(rest, limit));
            let piece = Piece { mark: None, entries };
            let fits = later.is_empty() && piece.len() + closing.len() <= limit;
            let with = if fits { std::mem::take(&mut closing) } else { Closing::default() };
            self.write_frame(std::iter::once(piece), with, appended)?;
            rest = later;
        }
        if closing.len() > 0 {
            self.write_frame(std::iter::empty(), closing, appended)?;
        }
        Ok(())
    }

    /// Begins a new segment behind the log's end with a frame that only repeats the state.
    pub(crate) fn write_seal(&mut self) -> Result<(), WriteError> {
        self.guarded(|writer| {
            writer.active = None;
            let mut appended = Appended { frames: 0, bytes: 0, durable: writer.last_batch };
            writer.write_frame(std::iter::empty(), Closing::default(), &mut appended)
        })
    }

    fn write_frame<'a>(
        &mut self,
        pieces: impl Iterator<Item = Piece<'a>> + Clone,
        closing: Closing<'a>,
        appended: &mut Appended,
    ) -> Result<(), WriteError> {
        let payload = pieces.clone().map(|piece| piece.len()).sum::<usize>() + closing.len();
        let number = self.end.frame + 1;
        let room = self.active.as_ref().map_or(0, |active| active.size.saturating_sub(self.end.end));
        let is_new = room < frame_bytes(payload);
        let (segment, offset) =
            if is_new { (self.next_segment, FIRST_FRAME_OFFSET) } else { (self.end.segment, self.end.end) };
        self.encode(is_new, segment, pieces.clone(), closing);
        let start = if is_new { FIRST_FRAME_OFFSET as usize } else { 0 };
        let place = Place { cluster: self.setup.cluster, member: self.setup.member, segment };
        place.seal_frame(&mut self.buffer, start, offset, number);

        let written = self.buffer.len() as u64;
        let bytes = written - start as u64;
        if is_new {
            self.begin_segment(segment)?;
        }
        self.write_out(offset - start as u64, is_new)?;
        self.end = Seal { segment, end: offset + bytes, frame: number };
        appended.frames += 1;
        appended.bytes += written;
        self.take_in(pieces, closing, offset, bytes);
        Ok(())
    }

    fn encode<'a>(
        &mut self,
        is_new: bool,
        segment: u64,
        pieces: impl Iterator<Item = Piece<'a>>,
        closing: Closing<'a>,
    ) {
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT_BYTES);
        if is_new {
            let Setup { cluster, member, segment_size_bytes: file_bytes, .. } = self.setup;
            let (next_index, seal) = (self.state.tail.last.next(), self.end);
            SegmentHeader { cluster, member, segment, next_index, seal, file_bytes }.encode(buffer);
        }
        buffer.resize(buffer.len() + FRAME_HEADER_BYTES, 0);
        if is_new {
            #[cfg(not(feature = "mutants"))]
            let preamble = self.state.preamble(self.end);
            #[cfg(feature = "mutants")]
            let mut preamble = self.state.preamble(self.end);
            #[cfg(feature = "mutants")]
            if outrigger_mutants::is_alive(outrigger_mutants::Mutant::ForgottenVote) {
                preamble.hard_state.vote = MemberId(0);
            }
            put_preamble(buffer, &preamble);
        }
        for piece in pieces {
            if let Some(mark) = piece.mark {
                put_mark(buffer, mark);
            }
            for entry in piece.entries {
                put_entry(buffer, entry);
            }
        }
        if let Some((index, conf_state)) = closing.conf_state {
            put_conf_state(buffer, *index, conf_state);
        }
        if let Some(seeds) = closing.seeds {
            put_seeds(buffer, seeds);
        }
        // Last, because its commit index speaks of the entries before it.
        if let Some(hard_state) = closing.hard_state {
            put_hard_state(buffer, &hard_state);
        }
    }

    /// Gives a spare the segment's name. Nothing is durable yet: a crash leaves a segment without a valid first
    /// frame, which recovery sets aside.
    fn begin_segment(&mut self, segment: u64) -> Result<(), WriteError> {
        let spare = self.spares.take()?;
        let path = self.setup.dir.join(file_name(self.setup.member, segment));
        self.setup.fs.rename(&spare.path, &path).naming("rename into a segment", &path)?;
        self.next_segment = segment + 1;
        self.active = Some(Active {
            file: spare.file,
            path,
            size: self.setup.segment_size_bytes,
            zeroed_until: spare.zeroed_until,
        });
        Ok(())
    }

    fn write_out(&mut self, offset: u64, is_new: bool) -> Result<(), WriteError> {
        let Some(active) = &self.active else { return Err(WriteError::Poisoned) };
        fail_point::write_at(&*active.file, &self.buffer, offset).naming("write", &active.path)?;
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::SkippedSync) {
            return Ok(());
        }
        fail_point::sync_data(&*active.file).naming("sync", &active.path)?;
        if is_new {
            self.setup.fs.sync_dir(&self.setup.dir).naming("sync the directory", &self.setup.dir)?;
        }
        Ok(())
    }

    /// Lets the state and the readers know of a durable frame. `check` has refused all that could contradict.
    fn take_in<'a>(
        &mut self,
        pieces: impl Iterator<Item = Piece<'a>>,
        closing: Closing<'a>,
        offset: u64,
        bytes: u64,
    ) {
        let mut summary = FrameSummary::default();
        for piece in pieces {
            if let Some(mark) = piece.mark
                && self.state.tail.mark(*mark) == Ok(true)
            {
                summary.restart(mark.index);
            }
            for entry in piece.entries {
                if self.state.tail.entry(entry.index).is_ok() {
                    summary.entry(entry.index);
                }
            }
        }
        if let Some((index, conf_state)) = closing.conf_state {
            self.state.conf_state = Some((*index, conf_state.clone()));
        }
        if let Some(seeds) = closing.seeds {
            self.state.seeds.clone_from(seeds);
        }
        if let Some(hard_state) = closing.hard_state {
            self.state.hard_state = hard_state;
        }
        let mut index = self.shared.lock();
        if let Some(active) = &self.active
            && index.segments.back().is_none_or(|segment| segment.number != self.end.segment)
        {
            let file = Arc::clone(&active.file);
            index.segments.push_back(SegmentSlots::new(self.end.segment, active.path.clone(), file));
        }
        index.frame(summary, offset, bytes);
    }
}

const _: () = assert!(BLOCK_BYTES == FIRST_FRAME_OFFSET, "the header is one block");
