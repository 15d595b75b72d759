//! The chain's frames in order: the state they add up to, and where every entry lies.
//!
//! Entries are looked at, never kept: memory stays that of one frame and of the index, whatever the log's size.
//!
//! May import: core's `types` and `log`, `state`, `index`, `record`, `segment`. Deliberately absent: what lies behind
//! the last frame that validates (that is `torn`'s).

use std::path::Path;
use std::sync::Arc;

use outrigger_core::log::Recovered;
use outrigger_core::types::{ClusterId, Index, MemberId};

use crate::fs::Naming;
use crate::index::{FrameSummary, LogIndex, SegmentSlots};
use crate::record::{Preamble, Record, Seal, records};
use crate::segment::{BlockReader, FIRST_FRAME_OFFSET, Place};
use crate::snapshot_store::SnapshotStore;
use crate::state::{Contradiction, LogState, TermRuns};
use crate::wal::OpenError;
use crate::writer::Setup;

use super::chain::Probed;

/// What has been replayed so far.
#[derive(Debug)]
pub(super) struct Replay {
    cluster: ClusterId,
    member: MemberId,
    pub(super) state: LogState,
    pub(super) index: LogIndex,
    /// Where the log ends, as far as replayed.
    pub(super) end: Seal,
    pub(super) frames: u64,
    runs: TermRuns,
}

impl Replay {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            cluster: setup.cluster,
            member: setup.member,
            state: LogState::default(),
            index: LogIndex::default(),
            end: Seal::default(),
            frames: 0,
            runs: TermRuns::default(),
        }
    }

    /// Replays a segment up to where the next one says that it ends, or, for the newest, as far as frames validate.
    pub(super) fn segment(&mut self, segment: &Probed, next: Option<&Probed>) -> Result<(), OpenError> {
        let seal = next.and_then(|next| next.preamble.as_ref()).map(|preamble| preamble.seal);
        let is_first = self.index.segments.is_empty();
        if is_first && let Some(preamble) = &segment.preamble {
            // Nothing older is there to compare with: this is what the repeated state is for.
            self.state = LogState::from_preamble(preamble.clone());
            self.index.last = self.state.tail.last;
            self.end.frame = preamble.seal.frame;
        }
        let slots = SegmentSlots::new(segment.number, segment.path.clone(), Arc::clone(&segment.file));
        self.index.segments.push_back(slots);
        let before = self.end;
        self.end = Seal { segment: segment.number, end: FIRST_FRAME_OFFSET, frame: before.frame };

        let place = Place { cluster: self.cluster, member: self.member, segment: segment.number };
        let mut reader = BlockReader::new(&*segment.file);
        while seal.is_none_or(|seal| self.end.end < seal.end) {
            let offset = self.end.end;
            let Some((header, payload)) = reader.frame(&place, offset).naming("read", &segment.path)? else {
                break;
            };
            let at = (segment.path.as_path(), offset);
            if header.number != self.end.frame + 1 {
                let expected = self.end.frame + 1;
                let reason = format!("frame {} stands where frame {expected} is due", header.number);
                return Err(OpenError::Corruption { path: segment.path.clone(), offset, reason });
            }
            let expected = (offset == FIRST_FRAME_OFFSET && !is_first).then(|| self.state.preamble(before));
            let summary = self.frame(payload, expected, at)?;
            self.end = Seal { segment: segment.number, end: offset + header.bytes(), frame: header.number };
            self.index.frame(summary, offset, header.bytes());
            self.frames += 1;
        }
        self.check_seal(segment, seal)
    }

    fn check_seal(&self, segment: &Probed, seal: Option<Seal>) -> Result<(), OpenError> {
        match seal {
            Some(seal) if seal != self.end => Err(OpenError::Corruption {
                path: segment.path.clone(),
                offset: self.end.end,
                reason: format!(
                    "frame {} does not validate, though the next segment goes on from frame {}",
                    self.end.frame + 1,
                    seal.frame
                ),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Applies a frame's records. `expected` is what a preamble must repeat, when there is something to compare with.
    fn frame(
        &mut self,
        payload: &[u8],
        expected: Option<Preamble>,
        (path, offset): (&Path, u64),
    ) -> Result<FrameSummary, OpenError> {
        let contradicts = |source| OpenError::Contradiction { path: path.to_path_buf(), offset, source };
        let mut summary = FrameSummary::default();
        for (position, record) in records(payload).enumerate() {
            let record =
                record.map_err(|source| OpenError::Record { path: path.to_path_buf(), offset, source })?;
            if offset == FIRST_FRAME_OFFSET && position == 0 {
                match (&record, &expected) {
                    (Record::Preamble(found), Some(expected)) if found != expected => {
                        return Err(contradicts(Contradiction::Preamble));
                    }
                    (_, Some(_) | None) => continue,
                }
            }
            self.record(record, &mut summary).map_err(contradicts)?;
        }
        Ok(summary)
    }

    fn record(&mut self, record: Record<'_>, summary: &mut FrameSummary) -> Result<(), Contradiction> {
        let entry = match &record {
            Record::Entry(entry) => Some((entry.index, entry.term)),
            Record::Preamble(_)
            | Record::HardState(_)
            | Record::ConfState(..)
            | Record::Mark(_)
            | Record::Seeds(_) => None,
        };
        let voids = self.state.apply(record)?;
        if voids {
            self.runs.clear();
            summary.restart(self.state.tail.last);
        }
        if let Some((index, term)) = entry {
            self.runs.entry(index, term);
            summary.entry(index);
        }
        Ok(())
    }

    /// The recovered state, once all is replayed: everything that it leans on must be there.
    pub(super) fn recovered(&self, snapshots: &SnapshotStore) -> Result<Recovered, OpenError> {
        let LogState { tail, hard_state, conf_state, seeds } = &self.state;
        if let Some(mark) = &tail.mark {
            snapshots.verify(mark).map_err(|source| OpenError::Snapshot { mark: *mark, source })?;
        }
        let snapshot = tail.mark.map_or(Index(0), |mark| mark.index);
        let first_index = self.index.first();
        if first_index > snapshot.next() {
            return Err(OpenError::EntriesMissing { snapshot, first: first_index });
        }
        let mut hard_state = *hard_state;
        hard_state.commit = hard_state.commit.clamp(snapshot, tail.last.max(snapshot));
        #[cfg(feature = "mutants")]
        let forgets = outrigger_mutants::is_alive(outrigger_mutants::Mutant::LastEntryForgotten)
            && tail.last > hard_state.commit;
        #[cfg(not(feature = "mutants"))]
        let forgets = false;
        Ok(Recovered {
            hard_state,
            snapshot: tail.mark,
            conf_state: conf_state.clone(),
            seeds: seeds.clone(),
            first_index,
            last_index: if forgets { tail.last.previous() } else { tail.last },
            term_runs: self.runs.0.clone(),
        })
    }
}
