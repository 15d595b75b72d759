//! Recovery: from what lies on the disk to a node, applying the committed entries *before* a RawNode exists.
//!
//! Why before: a Ready over the whole unapplied log would need all of it in memory, and a configuration later than
//! raft's applied index gives "config is already joint".
//!
//! May import: `log`, `membership`, `configuration`, `node`. Deliberately absent: reading the entries; the caller hands
//! them in chunks.

use std::ops::Range;
use std::sync::Arc;

use crate::applier::{ApplyItem, ApplyTask};
use crate::configuration::Configuration;
use crate::error::Fatal;
use crate::log::{Entry, EntryKind, Recovered};
use crate::log_view::LogView;
use crate::membership::Membership;
use crate::node::committed::{self, Change};
use crate::node::{Node, NodeConfig, Start};
use crate::snapshot::SnapshotHeader;
use crate::types::{Index, InstallEpoch, Term};
use crate::wire::{self, MembershipOp, Payload};

/// Whether this entry, once applied, forms the cluster: a log that holds one, committed or not, must not be given up, for
/// somebody may have committed it, or may still.
#[must_use]
pub fn forms(entry: &Entry) -> bool {
    match wire::decode_payload(&entry.data) {
        Some(Payload::Membership(command)) if entry.kind == EntryKind::Normal => {
            matches!(command.op, Some(MembershipOp::Form(_)))
        }
        Some(Payload::Membership(_) | Payload::Command { .. } | Payload::Empty) | None => false,
    }
}

/// A node that is being rebuilt from its disk.
#[derive(Debug)]
pub struct Replay {
    config: NodeConfig,
    recovered: Recovered,
    header: Option<SnapshotHeader>,
    membership: Membership,
    configuration: Configuration,
    applied: Index,
    replayed_bytes: u64,
}

impl Replay {
    /// `header` is the decoded header of the snapshot that `recovered.snapshot` names.
    ///
    /// # Errors
    /// When the header does not decode or fit.
    pub fn new(
        config: NodeConfig,
        recovered: Recovered,
        header: Option<SnapshotHeader>,
    ) -> Result<Self, Fatal> {
        let mut membership = Membership { cluster: config.cluster, ..Membership::default() };
        let mut applied = Index(0);
        let mut conf_state = crate::log::ConfState::default();
        if let Some(header) = &header {
            applied = header.index;
            membership = Membership::decode(&header.membership)
                .ok_or(Fatal::UndecodableEntry { index: applied, reason: "the snapshot's membership" })?;
            conf_state = header.conf_state.clone();
        }
        let configuration = Configuration::restore(&conf_state)?;
        Ok(Self { config, recovered, header, membership, configuration, applied, replayed_bytes: 0 })
    }

    /// The committed entries that are still to be applied, half-open: read them in chunks and hand each to
    /// [`Replay::apply`] until this is empty.
    #[must_use]
    pub fn wanted(&self) -> Range<Index> {
        self.applied.next()..self.recovered.hard_state.commit.max(self.applied).next()
    }

    /// Applies membership entries and gives the task for the applier; run it at once and drop its results.
    ///
    /// # Errors
    /// When a committed entry does not decode or fit the configuration.
    pub fn apply(&mut self, entries: Vec<Entry>) -> Result<ApplyTask, Fatal> {
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            if !self.wanted().contains(&entry.index) || entry.index != self.applied.next() {
                continue;
            }
            self.replayed_bytes += entry.weight() as u64;
            let (index, term) = (entry.index, entry.term);
            let kind = match committed::decode(&entry)? {
                Change::Apply(kind) => kind,
                Change::Membership(command) => {
                    if let Some(op) = &command.op {
                        // The verdict was its caller's, who is long gone.
                        let _verdict = self.membership.apply(index, op);
                    }
                    self.membership_kind()
                }
                Change::Configuration { change, command } => {
                    let learner = committed::learner_of(command);
                    if learner.as_ref().is_none_or(|route| self.membership.check_learner(route).is_ok()) {
                        let before = self.configuration.conf_state();
                        let unfit = |source| Fatal::UnfitChange { index, source };
                        self.configuration.apply(&change).map_err(unfit)?;
                        let after = self.configuration.conf_state();
                        self.membership.reconfigured(index, &before, &after, learner);
                    }
                    self.membership_kind()
                }
            };
            items.push(ApplyItem { index, term, kind });
            self.applied = index;
        }
        Ok(ApplyTask::Entries { epoch: InstallEpoch(0), items })
    }

    fn membership_kind(&self) -> crate::applier::ApplyKind {
        crate::applier::ApplyKind::Membership {
            membership: Arc::new(self.membership.clone()),
            conf_state: Arc::new(self.configuration.conf_state()),
        }
    }

    /// The entries (commit, last], half-open: all of them go into memory with [`Replay::into_node`].
    #[must_use]
    pub fn tail_wanted(&self) -> Range<Index> {
        self.applied.next()..self.recovered.last_index.max(self.applied).next()
    }

    /// Starts the node.
    ///
    /// # Errors
    /// raft-rs's, when the pieces do not fit.
    pub fn into_node(self, tail: Vec<Entry>) -> Result<Node, Fatal> {
        let truncated = self.truncated();
        let mut runs = self.recovered.term_runs.clone();
        runs.retain(|(start, _)| *start > truncated.0);
        if let Some((_, term)) =
            self.recovered.term_runs.iter().rfind(|(start, _)| *start <= truncated.0.next())
            && runs.first().is_none_or(|(start, _)| *start > truncated.0.next())
            && self.recovered.last_index > truncated.0
        {
            runs.insert(0, (truncated.0.next(), *term));
        }
        let conf_state = self.configuration.conf_state();
        let last = self.recovered.last_index.max(truncated.0);
        let initial = (self.recovered.hard_state, conf_state.clone());
        let mut log = LogView::new(truncated, runs, tail, last, initial);
        log.bytes_since_snapshot = self.replayed_bytes;
        if let Some(header) = self.header {
            log.set_snapshot(header);
        }
        let start = Start {
            log,
            hard_state: self.recovered.hard_state,
            applied: self.applied,
            membership: self.membership,
            conf_state,
        };
        Node::start(self.config, start)
    }

    /// The entry before the log's first: the snapshot's, or the first one that is held below it.
    fn truncated(&self) -> (Index, Term) {
        let held = self.recovered.term_runs.first();
        match (&self.recovered.snapshot, held) {
            (Some(mark), Some((first, term))) if *first <= mark.index => (*first, *term),
            (Some(mark), _) => (mark.index, mark.term),
            (None, _) => (Index(0), Term(0)),
        }
    }
}
