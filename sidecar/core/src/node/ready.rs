//! One Ready into effects: what goes to disk, what may be sent when, what is handed to the applier.
//!
//! The order that keeps acknowledged data (Raft thesis §10.2.1; raft-rs `Ready::messages`, `persisted_messages`): a leader
//! may send before its own disk is done, once its term is durable; anything else leaves when *all* Readies up to its own
//! are durable, for a Ready with nothing to persist can acknowledge an entry still in flight in the one before.
//!
//! May import: raft's Ready, `log`, `effects`. Deliberately absent: the disk.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb;
use raft::{SnapshotStatus, StateRole};

use super::parts::Awaiting;
use super::peer::{class_of, read_number};
use super::{MAX_APPEND_BYTES, Node, committed, pieces};
use crate::applier::{ApplyItem, ApplyKind, ApplyTask};
use crate::convert;
use crate::effects::{Outgoing, SendSnapshot};
use crate::error::{Fatal, Refusal};
use crate::event::Delivery;
use crate::log::{Batch, ConfState, Entry, SnapshotKind, SnapshotMark};
use crate::membership::Membership;
use crate::node::committed::Change;
use crate::snapshot::SnapshotHeader;
use crate::types::{BatchNumber, FetchId, Index, InstallEpoch, MemberId, Term};
use crate::wire;

/// An active snapshot stream pins the log above its index, up to so many bytes of log.
const MAX_PINNED_BYTES: u64 = 256 << 20;

impl Node {
    pub(super) fn take_ready(&mut self) -> Result<(), Fatal> {
        if !self.raw.has_ready() {
            return Ok(());
        }
        let mut ready = self.raw.ready();
        let number = ready.number();
        let read_states = ready.take_read_states();
        let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        let entries: Vec<Entry> = ready.take_entries().into_iter().map(convert::entry_from_raft).collect();
        if let Some(state) = ready.hs() {
            self.durability.newest = convert::hard_state_from_raft(state);
        }
        let at_once = ready.take_messages();
        let after = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();

        let installed = snapshot.map(|snapshot| self.install(&snapshot)).transpose()?;
        // Readable through `Storage` before raft-rs is told that they are stored.
        self.raw.mut_store().append(&entries);
        self.raw.advance_append_async(ready);

        let batch = self.issue(entries, installed);
        let mut held = self.outgoing(after);
        let at_once = self.outgoing(at_once);
        if self.durability.durable_state.term == self.term() {
            self.out.messages.extend(at_once);
        } else {
            // A sole voter wins inside `campaign()`: it must not be heard at a term that a crash would make it use twice.
            held.extend(at_once);
        }
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::EarlyAcknowledgement)
            || (batch.is_none() && outrigger_mutants::is_alive(outrigger_mutants::Mutant::EarlyMessages))
        {
            self.out.messages.append(&mut held);
        }
        let taken = false;
        let hard_state = batch.map(|_| self.durability.newest);
        let batch = batch.unwrap_or(self.durability.issued);
        self.durability.awaiting.push_back(Awaiting {
            ready: number,
            batch,
            messages: held,
            hard_state,
            installed,
            taken,
        });
        self.release_durable();
        for state in read_states {
            if let Some(number) = read_number(&state.request_ctx) {
                let verdicts = self.reads.answered(number, &Ok(Index(state.index)));
                self.tell_readers(verdicts);
                let verdicts = self.reads.applied(self.applying.applied);
                self.tell_readers(verdicts);
            }
        }
        self.hand_over(committed)?;
        self.leader_may_have_changed();
        Ok(())
    }

    /// Makes the batch, if there is something that must be durable; a commit index alone rides with the next one.
    fn issue(&mut self, entries: Vec<Entry>, installed: Option<Index>) -> Option<BatchNumber> {
        let newest = self.durability.newest;
        let written = self.durability.newest_written;
        let voted = newest.term != written.term || newest.vote != written.vote;
        #[cfg(feature = "mutants")]
        let voted = voted && !outrigger_mutants::is_alive(outrigger_mutants::Mutant::VoteNotDurable);
        if entries.is_empty() && installed.is_none() && !voted {
            return None;
        }
        let mark = installed.and_then(|_| self.raw.store().snapshot_header()).map(|header| SnapshotMark {
            kind: SnapshotKind::Installed,
            index: header.index,
            term: header.term,
        });
        let batch = Batch { mark, entries, ..Batch::default() };
        Some(self.write(batch))
    }

    /// Gives the batch its number and the newest hard state, and adds it to the effects' one batch.
    fn write(&mut self, mut batch: Batch) -> BatchNumber {
        let durability = &mut self.durability;
        if durability.newest != durability.newest_written {
            batch.hard_state = Some(durability.newest);
            durability.newest_written = durability.newest;
        }
        if let Some(index) =
            durability.configurations.back().filter(|index| **index <= durability.newest.commit)
        {
            batch.conf_state = Some((*index, (*self.conf_state).clone()));
        }
        match &mut self.out.persist {
            // A second reason to write in the same flush: one batch all the same.
            Some(first) => {
                first.mark = batch.mark.or(first.mark);
                first.entries.append(&mut batch.entries);
                first.conf_state = batch.conf_state.or(first.conf_state.take());
                first.hard_state = batch.hard_state.or(first.hard_state);
            }
            None => {
                durability.issued = BatchNumber(durability.issued.0 + 1);
                batch.number = durability.issued;
                self.out.persist = Some(batch);
            }
        }
        self.durability.issued
    }

    pub(super) fn persisted(&mut self, batch: BatchNumber) {
        self.durability.durable = self.durability.durable.max(batch);
        self.release_durable();
    }

    /// Tells raft-rs what is durable and lets go of the messages that waited for it.
    fn release_durable(&mut self) {
        let mut newest = None;
        while self.durability.awaiting.front().is_some_and(|front| front.batch <= self.durability.durable) {
            let Some(front) = self.durability.awaiting.pop_front() else { break };
            self.out.messages.extend(front.messages);
            if let Some(state) = front.hard_state {
                self.durability.durable_state = state;
            }
            if front.ready > 0 {
                newest = Some(front.ready);
            }
            if let Some(index) = front.installed {
                self.raw.on_persist_ready(front.ready);
                newest = None;
                // Not before: raft-rs panics on an applied index that is not persisted.
                self.raw.advance_apply_to(index.0);
            }
            if front.taken {
                self.truncate();
            }
        }
        if let Some(number) = newest {
            self.raw.on_persist_ready(number);
        }
        let durability = &mut self.durability;
        while let Some(index) = durability.configurations.front().copied() {
            if index > durability.durable_state.commit {
                break;
            }
            durability.durable_configuration = index;
            durability.configurations.pop_front();
        }
    }

    /// Forces the commit of a configuration change to disk: at rest no other batch would carry it, and nothing
    /// destructive may follow a change whose commit a crash forgets.
    pub(super) fn force_commit(&mut self) {
        let due = self
            .durability
            .configurations
            .back()
            .is_some_and(|index| *index > self.durability.newest_written.commit);
        if due && self.durability.newest != self.durability.newest_written {
            let batch = self.write(Batch::default());
            let hard_state = Some(self.durability.newest);
            self.await_batch(batch, hard_state, false);
        }
    }

    fn await_batch(&mut self, batch: BatchNumber, hard_state: Option<crate::log::HardState>, taken: bool) {
        let messages = Vec::new();
        self.durability.awaiting.push_back(Awaiting {
            ready: 0,
            batch,
            messages,
            hard_state,
            installed: None,
            taken,
        });
    }

    fn outgoing(&mut self, messages: Vec<eraftpb::Message>) -> Vec<Outgoing> {
        let mut outgoing = Vec::with_capacity(messages.len());
        let pieces = |message| pieces::in_pieces(message, MAX_APPEND_BYTES as usize);
        for message in messages.into_iter().flat_map(pieces) {
            let to = MemberId(message.to);
            let bytes = wire::encode_raft(&self.envelope(to), &message);
            if message.get_msg_type() == eraftpb::MessageType::MsgSnapshot {
                self.send_snapshot(to, &message, bytes);
            } else {
                outgoing.push(Outgoing { to, class: class_of(&message), bytes });
            }
        }
        outgoing
    }

    /// The file is the one that the message announces, never simply the newest: a snapshot may have been taken since the
    /// message was made, and the receiver takes no message without its own file.
    fn send_snapshot(&mut self, to: MemberId, message: &eraftpb::Message, bytes: Bytes) {
        let data = message.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.data);
        match SnapshotHeader::decode(data) {
            Ok(header) => {
                self.applying.streams.insert(to, header.index);
                self.out.send_snapshots.push(SendSnapshot { to, header, message: bytes });
            }
            // This member wrote it, so that it decodes; but raft-rs waits for ever for a stream that nobody reports.
            Err(_) => self.raw.report_snapshot(to.0, SnapshotStatus::Failure),
        }
    }

    /// A snapshot from the leader replaces everything. Its file is durable already; the mark goes with this batch.
    fn install(&mut self, snapshot: &eraftpb::Snapshot) -> Result<Index, Fatal> {
        let index = Index(snapshot.get_metadata().index);
        let bad = |reason| Fatal::UndecodableEntry { index, reason };
        let header = SnapshotHeader::decode(&snapshot.data).map_err(|error| bad(error.reason))?;
        let membership =
            Membership::decode(&header.membership).ok_or_else(|| bad("the snapshot's membership"))?;
        self.durability.configurations.push_back(membership.configuration_index);
        self.membership = Arc::new(membership);
        self.conf_state = Arc::new(header.conf_state.clone());
        self.raw.mut_store().install(header.clone());
        let applying = &mut self.applying;
        applying.epoch = InstallEpoch(applying.epoch.0 + 1);
        applying.handed = index;
        applying.handed_term = header.term;
        applying.term_start = None;
        applying.snapshot_running = false;
        self.limits.installed();
        self.out.apply.push(ApplyTask::Install { epoch: applying.epoch, header });
        // What was pending may or may not be in the snapshot.
        for id in self.proposals.drain() {
            self.reply_proposal(id, Refusal::OutcomeUnknown);
        }
        self.overlay_version += 1;
        Ok(index)
    }

    fn hand_over(&mut self, committed: Vec<eraftpb::Entry>) -> Result<(), Fatal> {
        let Some(last) = committed.last().map(|entry| entry.index) else { return Ok(()) };
        let mut items = Vec::with_capacity(committed.len());
        let mut bytes = 0;
        for entry in committed {
            let entry = convert::entry_from_raft(entry);
            bytes += entry.weight() as u64;
            let (index, term) = (entry.index, entry.term);
            if term > self.applying.handed_term {
                self.applying.handed_term = term;
                self.applying.term_start = Some((term, index));
            }
            let kind = match committed::decode(&entry)? {
                Change::Apply(kind) => kind,
                Change::Membership(command) => {
                    let verdict = match &command.op {
                        Some(op) => Arc::make_mut(&mut self.membership).apply(index, op),
                        None => Ok(()),
                    };
                    self.membership_applied(index, command, verdict);
                    self.membership_kind()
                }
                Change::Configuration { change, command } => {
                    self.reconfigure(index, &change, command)?;
                    self.membership_kind()
                }
            };
            self.admin_passed(index, matches!(kind, ApplyKind::Empty));
            items.push(ApplyItem { index, term, kind });
            self.applying.handed = index;
        }
        self.raw.advance_apply_to(last);
        let handed = self.applying.handed;
        self.limits.handed(handed, bytes);
        self.raw.mut_store().evict(handed);
        self.out.apply.push(ApplyTask::Entries { epoch: self.applying.epoch, items });
        Ok(())
    }

    fn membership_kind(&self) -> ApplyKind {
        let (membership, conf_state) = (Arc::clone(&self.membership), Arc::clone(&self.conf_state));
        ApplyKind::Membership { membership, conf_state }
    }

    fn reconfigure(
        &mut self,
        index: Index,
        change: &eraftpb::ConfChangeV2,
        command: wire::MembershipCommand,
    ) -> Result<(), Fatal> {
        let learner = committed::learner_of(command.clone());
        let verdict = learner.as_ref().map_or(Ok(()), |route| self.membership.check_learner(route));
        if verdict.is_ok() {
            let before: ConfState = (*self.conf_state).clone();
            let unfit = |source| Fatal::UnfitChange { index, source };
            let after = convert::conf_state_from_raft(&self.raw.apply_conf_change(change).map_err(unfit)?);
            Arc::make_mut(&mut self.membership).reconfigured(index, &before, &after, learner);
            for newcomer in after.learners.iter().filter(|id| !before.contains(**id)) {
                // It has an election timeout to be heard, from here on: who has never been is not gone yet.
                self.leadership.last_heard.entry(*newcomer).or_insert(self.leadership.ticks);
            }
            self.conf_state = Arc::new(after);
            self.overlay_version += 1;
            if self.is_leader() && !self.conf_state.contains(self.config.own.id) {
                // raft-rs panics in a leader that is no member; the rest elects one that is.
                let term = self.raw.raft.term;
                self.raw.raft.become_follower(term, raft::INVALID_ID);
            }
        }
        self.membership_applied(index, command, verdict);
        Ok(())
    }

    pub(super) fn fetched(&mut self, fetch: FetchId, entries: Vec<Entry>) {
        let contexts = self.raw.mut_store().fetched(fetch, entries);
        for context in contexts {
            self.raw.on_entries_fetched(context);
        }
        self.raw.mut_store().forget_fetched();
    }

    pub(super) fn snapshot_taken(&mut self, header: SnapshotHeader, size_bytes: u64) {
        self.applying.snapshot_running = false;
        self.applying.snapshot_size = size_bytes;
        let (index, term) = (header.index, header.term);
        if self.raw.store().snapshot_header().is_some_and(|newest| newest.index >= index) {
            return;
        }
        let store = self.raw.mut_store();
        store.bytes_since_snapshot = 0;
        store.set_snapshot(header);
        let mark = Some(SnapshotMark { kind: SnapshotKind::Taken, index, term });
        let batch = self.write(Batch { mark, ..Batch::default() });
        let hard_state = Some(self.durability.newest);
        self.await_batch(batch, hard_state, true);
    }

    /// The mark of a taken snapshot is durable: the log may begin later. Trailing entries stay, and what an active stream
    /// will need behind its snapshot, within bounds.
    fn truncate(&mut self) {
        let Some(snapshot) = self.raw.store().snapshot_header().map(|header| header.index) else { return };
        let pinned = self.applying.streams.values().min().copied().unwrap_or(snapshot);
        let pin = if self.raw.store().bytes_since_snapshot > MAX_PINNED_BYTES { snapshot } else { pinned };
        // On a full disk a late follower's convenience must wait.
        let trailing_bytes = if self.limits.shortage.disk { 0 } else { self.config.trailing_bytes };
        let trailing = self.raw.store().trailing(snapshot, trailing_bytes);
        let below = trailing.min(pin).min(snapshot);
        #[cfg(feature = "mutants")]
        let below = if outrigger_mutants::is_alive(outrigger_mutants::Mutant::ReleasedTooFar) {
            self.applying.applied
        } else {
            below
        };
        self.raw.mut_store().truncate_to(below);
        self.out.release_log_below = Some(self.raw.store().first());
    }

    pub(super) fn want_snapshot(&mut self) {
        let wanted = self.raw.store().take_snapshot_wanted();
        let limit = self.config.snapshot_every_bytes.max(self.applying.snapshot_size);
        let since = self.raw.store().bytes_since_snapshot;
        let due = since > limit || (self.limits.snapshot_due && since > 0);
        if (wanted || due) && !self.applying.snapshot_running && self.applying.handed > Index(0) {
            self.applying.snapshot_running = true;
            self.limits.snapshot_due = false;
            self.out.apply.push(ApplyTask::TakeSnapshot);
        }
    }

    pub(super) fn snapshot_sent(&mut self, to: MemberId, delivery: Delivery) {
        let index = self.applying.streams.remove(&to);
        let newest = self.raw.store().snapshot_header().map(|header| header.index);
        if delivery == Delivery::NoFile && index == newest {
            // An older file is gone because there is a newer one, and that one goes next; but the newest must be replaced.
            self.raw.store().want_snapshot();
        }
        let status = match delivery {
            Delivery::Delivered => SnapshotStatus::Finish,
            Delivery::Broken | Delivery::NoFile => SnapshotStatus::Failure,
        };
        self.raw.report_snapshot(to.0, status);
    }

    /// Spreads a new commit index once a flush, unless entries carried it: instead of once an answer.
    pub(super) fn broadcast_commit(&mut self) {
        let committed = self.raw.raft.raft_log.committed;
        if self.raw.raft.state != StateRole::Leader {
            self.broadcast_commit = committed;
        } else if committed > self.broadcast_commit {
            self.broadcast_commit = committed;
            self.raw.raft.bcast_append();
        }
    }

    pub(super) fn newest_term(&self) -> Term {
        self.term()
    }
}
