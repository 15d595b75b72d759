//! What goes into one frame: pieces whose order matters, and closing records of which only the last counts.
//!
//! May import: core's `log`, `record`'s lengths. Deliberately absent: the frame itself, and the disk.

use outrigger_core::log::{Batch, ConfState, Entry, HardState, Seed, SnapshotMark};
use outrigger_core::types::Index;

use crate::record::{conf_state_len, entry_len, hard_state_len, mark_len, seeds_len};

/// Records of one frame that apply in order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece<'a> {
    pub(super) mark: Option<&'a SnapshotMark>,
    pub(super) entries: &'a [Entry],
}

/// Records of one frame of which only the last of their kind matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closing<'a> {
    pub(super) conf_state: Option<&'a (Index, ConfState)>,
    pub(super) seeds: Option<&'a Vec<Seed>>,
    pub(super) hard_state: Option<HardState>,
}

impl<'a> Piece<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        Self { mark: batch.mark.as_ref(), entries: &batch.entries }
    }

    pub(super) fn len(&self) -> usize {
        self.mark.map_or(0, |_| mark_len()) + self.entries.iter().map(entry_len).sum::<usize>()
    }
}

impl<'a> Closing<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        Self {
            conf_state: batch.conf_state.as_ref(),
            seeds: batch.seeds.as_ref(),
            hard_state: batch.hard_state,
        }
    }

    pub(super) fn replaced_by(self, later: Self) -> Self {
        Self {
            conf_state: later.conf_state.or(self.conf_state),
            seeds: later.seeds.or(self.seeds),
            hard_state: later.hard_state.or(self.hard_state),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.conf_state.map_or(0, |(_, state)| conf_state_len(state))
            + self.seeds.map_or(0, |seeds| seeds_len(seeds))
            + self.hard_state.map_or(0, |_| hard_state_len())
    }
}

/// How many whole batches share a frame: as many as fit, but at least one.
pub(super) fn group_len(batches: &[Batch], limit: usize) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for batch in batches {
        // Superseded hard states and the like are counted though not written: close enough, and never too small.
        bytes += Piece::of(batch).len() + Closing::of(batch).len();
        if count > 0 && bytes > limit {
            break;
        }
        count += 1;
    }
    count
}

/// How many entries share a frame: as many as fit, but at least one.
pub(super) fn piece_len(entries: &[Entry], limit: usize) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for entry in entries {
        bytes += entry_len(entry);
        if count > 0 && bytes > limit {
            break;
        }
        count += 1;
    }
    count
}
