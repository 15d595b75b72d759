//! The applier: committed entries in, results and snapshots' headers out. It runs beside the node.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::ConfState;
use crate::membership::Membership;
use crate::snapshot::SnapshotHeader;
use crate::state_machine::Output;
use crate::types::{Index, InstallEpoch, ProposalId, Term};

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
    /// Replace the state with the snapshot file's of this header, publish it, and answer with an [`Applied`] of its index.
    Install {
        /// The epoch that begins with it.
        epoch: InstallEpoch,
        /// Which file.
        header: SnapshotHeader,
    },
    /// Write a snapshot of the state as it stands, off this thread, from its view.
    TakeSnapshot,
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

/// CONTRACT SKETCH, being implemented by the lead.
#[allow(missing_docs, clippy::all, unused_variables, reason = "sketch")]
mod sketch {
    use super::*;
    use crate::state_machine::{ChunkSource, RestoreError, StateMachine};
    use crate::types::ClusterId;

    /// Owns the state machine; lives on a thread or task of its own.
    #[derive(Debug)]
    pub struct Applier<S: StateMachine> {
        pub state: S,
    }

    #[allow(clippy::unimplemented, reason = "sketch")]
    impl<S: StateMachine> Applier<S> {
        /// An empty state (a joiner's before its first snapshot).
        pub fn empty(cluster: ClusterId, state: S) -> Self {
            unimplemented!()
        }
        /// From a snapshot file.
        pub fn restore(header: &SnapshotHeader, chunks: ChunkSource<'_>) -> Result<Self, RestoreError> {
            unimplemented!()
        }
        /// Applies entries; afterwards publish `view()` with the returned index, THEN report the `Applied`.
        pub fn apply(&mut self, epoch: InstallEpoch, items: Vec<ApplyItem>) -> Applied {
            unimplemented!()
        }
        pub fn view(&self) -> S::View {
            unimplemented!()
        }
        pub fn applied(&self) -> Index {
            unimplemented!()
        }
        /// Header of a snapshot of the state as it stands (O(members)); chunks come from the view.
        pub fn header(&self) -> SnapshotHeader {
            unimplemented!()
        }
    }
}
pub use sketch::Applier;
