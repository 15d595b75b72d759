//! The applier: committed entries in, results and snapshots' headers out. It runs beside the node, so that a slow
//! apply never stalls a heartbeat.
//!
//! May import: `state_machine`, `windows`, `membership`, `snapshot`. Deliberately absent: threads and publishing; the
//! driver's apply task publishes the view *before* it reports [`Applied`].

use std::sync::Arc;

use bytes::Bytes;

use crate::log::ConfState;
use crate::membership::Membership;
use crate::snapshot::SnapshotHeader;
use crate::state_machine::{ChunkSource, Output, RestoreError, StateMachine};
use crate::types::{ClusterId, Index, InstallEpoch, ProposalId, Term};
use crate::windows::Windows;

/// Work for the applier, in order.
#[derive(Clone, Debug)]
pub enum ApplyTask {
    /// Apply these.
    Entries {
        /// Of which installed state.
        epoch: InstallEpoch,
        /// In log order, without gaps.
        items: Vec<ApplyItem>,
    },
    /// Replace the state with the snapshot file's of this header, publish it, and answer with an [`Applied`] of its
    /// index.
    Install {
        /// The epoch that begins with it.
        epoch: InstallEpoch,
        /// Which file.
        header: SnapshotHeader,
    },
    /// Write a snapshot of the state as it stands, off this thread, from its view.
    TakeSnapshot,
}

impl ApplyTask {
    /// The epoch that begins with it, if one does.
    #[must_use]
    pub const fn begins(&self) -> Option<InstallEpoch> {
        match self {
            Self::Install { epoch, .. } => Some(*epoch),
            Self::Entries { .. } | Self::TakeSnapshot => None,
        }
    }

    /// Whether the install of epoch `newest`, which was handed over later, replaces all that this would do. Then it is left
    /// out: the node drops its results, and the file of an earlier install is purged as soon as the later one is marked.
    #[must_use]
    pub fn is_superseded(&self, newest: InstallEpoch) -> bool {
        match self {
            Self::Entries { epoch, .. } | Self::Install { epoch, .. } => *epoch < newest,
            Self::TakeSnapshot => false,
        }
    }
}

/// One committed entry.
#[derive(Clone, Debug)]
pub struct ApplyItem {
    /// Where.
    pub index: Index,
    /// Of which term.
    pub term: Term,
    /// What.
    pub kind: ApplyKind,
}

/// What a committed entry means to the applier.
#[derive(Clone, Debug)]
pub enum ApplyKind {
    /// A command for the state machine.
    Command {
        /// Its id, for the window and the answer.
        id: ProposalId,
        /// Its bytes.
        command: Bytes,
    },
    /// The node applied it already: this is what stands after it, for snapshots.
    Membership {
        /// Roster, map, tombstones, metadata.
        membership: Arc<Membership>,
        /// The configuration.
        conf_state: Arc<ConfState>,
    },
    /// Nothing: a leader's first entry.
    Empty,
}

/// What the applier did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Of which installed state; the node drops results of an earlier one.
    pub epoch: InstallEpoch,
    /// The published view's index.
    pub index: Index,
    /// Answers by proposal.
    pub results: Vec<(ProposalId, Output)>,
}

/// Owns the state machine; lives on a thread or task of its own.
#[derive(Debug)]
pub struct Applier<S: StateMachine> {
    state: S,
    index: Index,
    term: Term,
    membership: Arc<Membership>,
    conf_state: Arc<ConfState>,
    windows: Windows,
}

impl<S: StateMachine> Applier<S> {
    /// An empty state: a joiner's before its first snapshot.
    #[must_use]
    pub fn empty(cluster: ClusterId, state: S) -> Self {
        let membership = Arc::new(Membership { cluster, ..Membership::default() });
        Self {
            state,
            index: Index(0),
            term: Term(0),
            membership,
            conf_state: Arc::default(),
            windows: Windows::default(),
        }
    }

    /// The state that a snapshot file holds.
    ///
    /// # Errors
    /// When the header's parts or a chunk do not decode, or the source of the chunks fails.
    pub fn restore(header: &SnapshotHeader, chunks: ChunkSource<'_>) -> Result<Self, RestoreError> {
        let malformed = |reason: &str| RestoreError::Malformed { chunk: 0, reason: reason.to_string() };
        let membership =
            Membership::decode(&header.membership).ok_or_else(|| malformed("the header's membership"))?;
        let windows = Windows::decode(&header.windows).ok_or_else(|| malformed("the header's windows"))?;
        Ok(Self {
            state: S::restore(chunks)?,
            index: header.index,
            term: header.term,
            membership: Arc::new(membership),
            conf_state: Arc::new(header.conf_state.clone()),
            windows,
        })
    }

    /// Applies entries in order; items at or below the applied index are skipped (a snapshot covered them). Publish
    /// [`Applier::view`] with the returned index, and only then report what this returns.
    pub fn apply(&mut self, epoch: InstallEpoch, items: Vec<ApplyItem>) -> Applied {
        let mut results = Vec::with_capacity(items.len());
        for ApplyItem { index, term, kind } in items {
            if index <= self.index {
                continue;
            }
            match kind {
                ApplyKind::Command { id, command } => results.extend(self.command(index, id, &command)),
                ApplyKind::Membership { membership, conf_state } => {
                    self.windows.retain(|id| membership.routes.contains_key(&id));
                    self.membership = membership;
                    self.conf_state = conf_state;
                }
                ApplyKind::Empty => {}
            }
            self.index = index;
            self.term = term;
        }
        Applied { epoch, index: self.index, results }
    }

    fn command(&mut self, index: Index, id: ProposalId, command: &[u8]) -> Option<(ProposalId, Output)> {
        if !self.membership.routes.contains_key(&id.member) {
            return None;
        }
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::AppliedTwice) {
            return Some((id, self.state.apply(index, command)));
        }
        if !self.windows.note(id) {
            return Some((id, Output::Duplicate));
        }
        Some((id, self.state.apply(index, command)))
    }

    /// The state as it stands, in O(1).
    pub fn view(&self) -> S::View {
        self.state.view()
    }

    /// See [`StateMachine::tidy`].
    pub fn tidy(&mut self) -> bool {
        self.state.tidy()
    }

    /// Everything up to this index is applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.index
    }

    /// The header of a snapshot of the state as it stands; its chunks come from [`Applier::view`].
    #[must_use]
    pub fn header(&self) -> SnapshotHeader {
        #[cfg(feature = "mutants")]
        let forgotten = outrigger_mutants::is_alive(outrigger_mutants::Mutant::WindowsNotInSnapshot);
        #[cfg(not(feature = "mutants"))]
        let forgotten = false;
        SnapshotHeader {
            cluster: self.membership.cluster,
            index: self.index,
            term: self.term,
            conf_state: (*self.conf_state).clone(),
            membership: self.membership.encode(),
            windows: if forgotten { Windows::default().encode() } else { self.windows() },
        }
    }

    /// Which proposals were applied, encoded as a snapshot carries it.
    #[must_use]
    pub fn windows(&self) -> Bytes {
        self.windows.encode()
    }
}
