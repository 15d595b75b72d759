//! Configuration arithmetic without a running raft: replaying conf changes at recovery, and holding raft's own
//! arithmetic against it.
//!
//! May import: raft's `Changer` and tracker, `log`, `convert`. Deliberately absent: who may change what (`membership`).

use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use raft::{Changer, ProgressTracker};

use crate::convert;
use crate::log::ConfState;
use crate::types::MemberId;

/// A configuration to which changes can be applied.
pub(crate) struct Configuration {
    tracker: ProgressTracker,
}

impl std::fmt::Debug for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Configuration").field(&self.conf_state()).finish()
    }
}

fn single(kind: ConfChangeType, id: MemberId) -> ConfChangeSingle {
    let mut change = ConfChangeSingle { node_id: id.0, ..ConfChangeSingle::default() };
    change.set_change_type(kind);
    change
}

pub(crate) fn add_voter(id: MemberId) -> ConfChangeSingle {
    single(ConfChangeType::AddNode, id)
}

pub(crate) fn add_learner(id: MemberId) -> ConfChangeSingle {
    single(ConfChangeType::AddLearnerNode, id)
}

pub(crate) fn remove(id: MemberId) -> ConfChangeSingle {
    single(ConfChangeType::RemoveNode, id)
}

impl Configuration {
    /// The configuration that a conf state describes.
    ///
    /// # Errors
    /// raft-rs's, for a conf state that contradicts itself.
    pub(crate) fn restore(state: &ConfState) -> raft::Result<Self> {
        let mut this = Self { tracker: ProgressTracker::new(1) };
        if state.is_joint() {
            for id in &state.voters_outgoing {
                this.simple(add_voter(*id))?;
            }
            let leaving = state.voters_outgoing.iter().copied().map(remove);
            let entering = state.voters.iter().copied().map(add_voter);
            let learning = state.learners.iter().chain(&state.learners_next).copied().map(add_learner);
            let changes: Vec<_> = leaving.chain(entering).chain(learning).collect();
            let (next, map) = Changer::new(&this.tracker).enter_joint(state.auto_leave, &changes)?;
            this.tracker.apply_conf(next, map, 0);
        } else {
            for id in &state.voters {
                this.simple(add_voter(*id))?;
            }
            for id in &state.learners {
                this.simple(add_learner(*id))?;
            }
        }
        Ok(this)
    }

    fn simple(&mut self, change: ConfChangeSingle) -> raft::Result<()> {
        let (next, map) = Changer::new(&self.tracker).simple(&[change])?;
        self.tracker.apply_conf(next, map, 0);
        Ok(())
    }

    /// Applies a committed change, as `Raft::apply_conf_change` does.
    ///
    /// # Errors
    /// raft-rs's, for a change that does not fit the configuration.
    pub(crate) fn apply(&mut self, change: &ConfChangeV2) -> raft::Result<()> {
        let mut changer = Changer::new(&self.tracker);
        let (next, map) = if change.leave_joint() {
            changer.leave_joint()?
        } else if let Some(auto_leave) = change.enter_joint() {
            changer.enter_joint(auto_leave, &change.changes)?
        } else {
            changer.simple(&change.changes)?
        };
        self.tracker.apply_conf(next, map, 0);
        Ok(())
    }

    pub(crate) fn conf_state(&self) -> ConfState {
        convert::conf_state_from_raft(&self.tracker.conf().to_conf_state())
    }
}

/// Whether a conf state from outside is one that raft-rs restores without a panic: some voter, nobody twice.
pub(crate) fn is_valid(state: &ConfState) -> bool {
    if state.voters.is_empty() {
        return false;
    }
    match Configuration::restore(state) {
        Ok(restored) => {
            let mut sorted = state.clone();
            for list in [
                &mut sorted.voters,
                &mut sorted.learners,
                &mut sorted.voters_outgoing,
                &mut sorted.learners_next,
            ] {
                list.sort_unstable();
            }
            restored.conf_state() == sorted
        }
        Err(_) => false,
    }
}
