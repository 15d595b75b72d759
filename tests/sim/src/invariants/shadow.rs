//! A log as it is known to be on a disk: what was said to be durable, and nothing else.

use std::collections::BTreeMap;

use outrigger_core::log::HardState;
use outrigger_core::types::{Index, Term};

use crate::observation::{LogChange, LogState};

/// Entries kept below the newest; what is further back is compacted everywhere that matters.
const KEPT: usize = 4_096;

#[derive(Clone, Debug, Default)]
pub(super) struct Shadow {
    pub(super) hard_state: HardState,
    pub(super) snapshot: (Index, Term),
    pub(super) entries: BTreeMap<Index, Term>,
}

impl Shadow {
    pub(super) fn apply(&mut self, change: &LogChange) {
        if let Some(installed) = change.installed {
            self.entries.clear();
            self.snapshot = installed;
        }
        if let Some(first) = change.entries.first() {
            drop(self.entries.split_off(&first.index));
        }
        self.entries.extend(change.entries.iter().map(|line| (line.index, line.term)));
        while self.entries.len() > KEPT {
            if let Some((index, term)) = self.entries.pop_first() {
                self.snapshot = (index, term);
            }
        }
        if let Some(hard_state) = change.hard_state {
            self.hard_state = hard_state;
        }
    }

    pub(super) fn restore(&mut self, log: &LogState) {
        self.entries = log.entries.iter().copied().collect();
        self.hard_state = log.hard_state;
        if self.entries.is_empty() {
            self.snapshot.0 = self.snapshot.0.max(log.last);
        } else if let Some((first, _)) = self.entries.first_key_value() {
            self.snapshot.0 = self.snapshot.0.max(first.previous());
        }
    }

    pub(super) fn last(&self) -> Index {
        self.entries.last_key_value().map_or(self.snapshot.0, |(index, _)| *index)
    }

    /// Whether the disk has this entry, in the log or in the snapshot.
    pub(super) fn has(&self, index: Index, term: Term) -> bool {
        match self.entries.get(&index) {
            Some(held) => *held == term,
            None => index <= self.snapshot.0,
        }
    }
}
