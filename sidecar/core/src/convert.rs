//! The border to raft-proto: its prost 0.11 types on one side, core's own on the other.
//!
//! May import: raft's types, `log`, `types`. Deliberately absent: everything else; nothing of raft-proto leaves core.

use bytes::Bytes;
use raft::eraftpb;

use crate::log::{ConfState, Entry, EntryKind, HardState};
use crate::types::{Index, MemberId, Term};

pub(crate) fn entry_from_raft(entry: eraftpb::Entry) -> Entry {
    let kind = match entry.get_entry_type() {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
        eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    Entry {
        index: Index(entry.index),
        term: Term(entry.term),
        kind,
        data: Bytes::from(entry.data),
        context: Bytes::from(entry.context),
    }
}

pub(crate) fn entry_to_raft(entry: &Entry) -> eraftpb::Entry {
    let mut raft = eraftpb::Entry {
        term: entry.term.0,
        index: entry.index.0,
        data: entry.data.to_vec(),
        context: entry.context.to_vec(),
        ..eraftpb::Entry::default()
    };
    raft.set_entry_type(match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    });
    raft
}

fn ids(ids: &[u64]) -> Vec<MemberId> {
    let mut ids: Vec<MemberId> = ids.iter().copied().map(MemberId).collect();
    // raft-rs keeps sets: their order is not the same on every member, and snapshots must be.
    ids.sort_unstable();
    ids
}

fn raw(ids: &[MemberId]) -> Vec<u64> {
    ids.iter().map(|id| id.0).collect()
}

pub(crate) fn conf_state_from_raft(state: &eraftpb::ConfState) -> ConfState {
    ConfState {
        voters: ids(&state.voters),
        learners: ids(&state.learners),
        voters_outgoing: ids(&state.voters_outgoing),
        learners_next: ids(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(crate) fn conf_state_to_raft(state: &ConfState) -> eraftpb::ConfState {
    eraftpb::ConfState {
        voters: raw(&state.voters),
        learners: raw(&state.learners),
        voters_outgoing: raw(&state.voters_outgoing),
        learners_next: raw(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(crate) fn hard_state_from_raft(state: &eraftpb::HardState) -> HardState {
    HardState { term: Term(state.term), vote: MemberId(state.vote), commit: Index(state.commit) }
}

pub(crate) fn hard_state_to_raft(state: &HardState) -> eraftpb::HardState {
    eraftpb::HardState { term: state.term.0, vote: state.vote.0, commit: state.commit.0 }
}
