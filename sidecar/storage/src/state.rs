//! What the log says, kept while records go by: the same code follows the writer and the recovery, so that both
//! cannot disagree.
//!
//! May import: core's `types` and `log`, `record`. Deliberately absent: files, offsets, and the entries themselves.

use outrigger_core::log::{ConfState, HardState, Seed, SnapshotKind, SnapshotMark};
use outrigger_core::types::{Index, Term};

use crate::record::{Preamble, Record, Seal};

/// Records that cannot follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// An entry leaves a gap behind the last one, or has index 0.
    #[error("entry {index} does not follow the log's last index {last}")]
    Gap {
        /// The entry's index.
        index: Index,
        /// The last index before it.
        last: Index,
    },
    /// An entry would overwrite what a snapshot already holds.
    #[error("entry {index} is at or below the snapshot at {snapshot}: what is in a snapshot is committed")]
    BelowSnapshot {
        /// The entry's index.
        index: Index,
        /// The newest mark's index.
        snapshot: Index,
    },
    /// A snapshot was installed that is older than the one held.
    #[error("the installed snapshot at {index} is older than the one held, at {snapshot}")]
    OlderInstall {
        /// The installed one's index.
        index: Index,
        /// The newest mark's index.
        snapshot: Index,
    },
    /// A segment's preamble differs from what the segments before it say.
    #[error("the preamble does not repeat what the segments before it say")]
    Preamble,
    /// A preamble stands elsewhere than at the start of a segment, or is missing there.
    #[error("a preamble stands where none belongs, or is missing at a segment's start")]
    PreamblePlace,
}

/// The two numbers that decide what may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) last: Index,
    pub(crate) mark: Option<SnapshotMark>,
}

impl Tail {
    pub(crate) fn entry(&mut self, index: Index) -> Result<(), Contradiction> {
        if let Some(mark) = self.mark.filter(|mark| index <= mark.index) {
            return Err(Contradiction::BelowSnapshot { index, snapshot: mark.index });
        }
        if index == Index(0) || index > self.last.next() {
            return Err(Contradiction::Gap { index, last: self.last });
        }
        self.last = index;
        Ok(())
    }

    /// Takes a mark in; whether it voids every entry held.
    ///
    /// A taken mark beyond the log's end does too: the founder's first snapshot stands before any entry.
    pub(crate) fn mark(&mut self, mark: SnapshotMark) -> Result<bool, Contradiction> {
        let newest = self.mark.map_or(Index(0), |held| held.index);
        let voids = match mark.kind {
            SnapshotKind::Installed if mark.index < newest => {
                return Err(Contradiction::OlderInstall { index: mark.index, snapshot: newest });
            }
            SnapshotKind::Installed => true,
            SnapshotKind::Taken => mark.index > self.last,
        };
        if voids {
            self.last = mark.index;
        }
        // A snapshot that took long to build may be marked after a newer one was installed: the newer one stays.
        if mark.index >= newest {
            self.mark = Some(mark);
        }
        Ok(voids)
    }
}

/// The state that a segment's preamble repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogState {
    pub(crate) tail: Tail,
    pub(crate) hard_state: HardState,
    pub(crate) conf_state: Option<(Index, ConfState)>,
    pub(crate) seeds: Vec<Seed>,
}

impl LogState {
    pub(crate) fn preamble(&self, seal: Seal) -> Preamble {
        Preamble {
            seal,
            last: self.tail.last,
            hard_state: self.hard_state,
            mark: self.tail.mark,
            conf_state: self.conf_state.clone(),
            seeds: self.seeds.clone(),
        }
    }

    pub(crate) fn from_preamble(preamble: Preamble) -> Self {
        let Preamble { seal: _, last, hard_state, mark, conf_state, seeds } = preamble;
        Self { tail: Tail { last, mark }, hard_state, conf_state, seeds }
    }

    /// Whether the mark just applied voided the entries held.
    pub(crate) fn apply(&mut self, record: Record<'_>) -> Result<bool, Contradiction> {
        match record {
            Record::Preamble(_) => return Err(Contradiction::PreamblePlace),
            Record::Entry(entry) => self.tail.entry(entry.index)?,
            Record::Mark(mark) => return self.tail.mark(mark),
            Record::HardState(hard_state) => self.hard_state = hard_state,
            Record::ConfState(index, conf_state) => self.conf_state = Some((index, conf_state)),
            Record::Seeds(seeds) => self.seeds = seeds,
        }
        Ok(false)
    }
}

/// The terms of the entries held, as runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct TermRuns(pub(crate) Vec<(Index, Term)>);

impl TermRuns {
    pub(crate) fn entry(&mut self, index: Index, term: Term) {
        while self.0.last().is_some_and(|(first, _)| *first >= index) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|(_, last)| *last != term) {
            self.0.push((index, term));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
