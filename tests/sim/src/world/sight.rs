//! What the invariants are told of a member: where it stands after a turn, what it hands to its applier, what it holds.
//!
//! May import: observations. Deliberately absent: judgement, and everything that changes a member.

use outrigger_core::applier::{ApplyItem, ApplyKind};
use outrigger_core::log::{Batch, EntryKind};
use outrigger_core::mvcc::KeySpace;
use outrigger_core::state_machine::StateMachine as _;
use outrigger_core::status::Role;
use outrigger_core::types::{ClusterId, Index, MemberId, Term};

use super::World;
use super::event::At;
use super::process::{Running, SEGMENT_BYTES, digest};
use crate::observation::{Holds, Line, LogChange, Observation};

/// States are compared where the applied index is a multiple of this, and wherever a snapshot begins.
const COMPARE_EVERY: u64 = 16;

/// What a segment may need for its header, and for what its first frame repeats, at the most.
const PREAMBLE_BYTES: u64 = 12 << 10;

impl World {
    /// Tells the invariants where the node stands.
    pub(super) fn look(&mut self, place: At, running: &mut Running) {
        let glance = running.node.glance();
        let member = running.own.id;
        let leads = (glance.role == Role::Leader).then_some(glance.term);
        if leads.is_some() && leads != running.told.leads {
            let holds = self.holds(running);
            let term = glance.term;
            self.tell(Some(place), || format!("leads in term {term}"), term.0);
            let (at, committed) = self.committed(running.cluster);
            self.observe(running.cluster, &Observation::Leads { member, term, at, committed, holds });
        }
        running.told.leads = leads;
        let durable = self.known.durable.entry(member).or_default();
        *durable = glance.durable_configuration_index.max(*durable);
        if leads.is_none() {
            let conf = running.node.conf_state();
            running.told.halves = (conf.voters.clone(), conf.voters_outgoing.clone());
        }
        let (first, snapshot, applied, commit, last) = running.node.indexes();
        if commit > running.told.commit {
            running.told.commit = commit;
            if leads.is_some() {
                self.see_commit(running, commit);
            }
        }
        self.observe(
            running.cluster,
            &Observation::Progress { member, boot: running.ids.boot, first, snapshot, applied, commit, last },
        );
        let is_news =
            glance.configuration_index != running.told.configuration || glance.formed != running.told.formed;
        if is_news {
            self.see_configuration(place, running);
        }
    }

    fn holds(&self, running: &Running) -> Holds {
        let index = self.committed(running.cluster).0;
        let (first, ..) = running.node.indexes();
        match running.node.log_term(index) {
            Some(term) => Holds::Entry(term),
            None if index < first => Holds::Compacted,
            None => Holds::Nothing,
        }
    }

    fn see_commit(&mut self, running: &mut Running, commit: Index) {
        let Some(term) = running.node.log_term(commit) else { return };
        self.note_committed(running.cluster, commit, term);
        let conf = running.node.conf_state();
        let now = (conf.voters.clone(), conf.voters_outgoing.clone());
        // What was committed before this turn's changes were applied was decided without them.
        let before = std::mem::replace(&mut running.told.halves, now.clone());
        let decided_by = if before == now { vec![now] } else { vec![before, now] };
        let member = running.own.id;
        self.observe(running.cluster, &Observation::Commits { member, index: commit, term, decided_by });
    }

    fn see_configuration(&mut self, at: At, running: &mut Running) {
        let status = running.node.status();
        let told = &mut running.told;
        let conf = &status.conf_state;
        if conf.is_joint() && !told.joint {
            self.coverage.note("joint configuration");
        } else if !conf.is_joint() && told.joint {
            self.coverage.note("leave of a joint configuration");
        }
        if status.formed && !told.formed {
            self.coverage.note("formed");
            self.known.formed.get_or_insert(status.cluster);
        }
        let known = self.known.configurations.entry(status.cluster).or_default();
        if status.configuration_index > known.0 {
            *known = (status.configuration_index, conf.clone());
            self.coverage.note("configuration changed");
        }
        (told.configuration, told.formed, told.joint) =
            (status.configuration_index, status.formed, conf.is_joint());
        let members: Vec<MemberId> =
            [&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next]
                .into_iter()
                .flatten()
                .copied()
                .collect();
        let (voters, index) = (conf.voters.len(), status.configuration_index);
        self.note_voters(&status);
        self.tell(
            Some(at),
            || {
                format!(
                    "configuration {index}: {voters} voters, {} in all, formed {}",
                    members.len(),
                    status.formed
                )
            },
            index.0,
        );
        self.observe(
            running.cluster,
            &Observation::Configured {
                member: running.own.id,
                cluster: status.cluster,
                index,
                members,
                tombstones: status.tombstones,
                formed: status.formed,
            },
        );
    }

    /// Which voters are new, and whether they took somebody's place: for the coverage.
    fn note_voters(&mut self, status: &outrigger_core::status::NodeStatus) {
        if status.conf_state.is_joint() || status.configuration_index < self.nemesis.voters_at {
            return;
        }
        let voters = status.conf_state.voters.clone();
        let before = std::mem::replace(&mut self.nemesis.voters, voters.clone());
        self.nemesis.voters_at = status.configuration_index;
        let came = voters.iter().filter(|id| !before.contains(id)).count();
        let went = before.iter().filter(|id| !voters.contains(id)).count();
        if came > 0 {
            self.coverage.note(if went > 0 { "replaced" } else { "promoted" });
        }
    }

    pub(super) fn see_handed(&mut self, running: &Running, task: &outrigger_core::applier::ApplyTask) {
        let outrigger_core::applier::ApplyTask::Entries { items, .. } = task else { return };
        for item in items {
            let digest = digest_of(item);
            let (index, term) = (item.index, item.term);
            self.note_committed(running.cluster, index, term);
            self.observe(
                running.cluster,
                &Observation::Handed { member: running.own.id, index, term, digest },
            );
        }
    }

    /// Compares the state with the others' at the same index.
    pub(super) fn see_state(&mut self, running: &Running) {
        let (member, index) = (running.own.id, running.view_index);
        if index.0 > 0 {
            let digest = digest_of_state(running);
            if !self.known.compared.insert((running.cluster, index)) {
                self.coverage.note("states compared");
            }
            self.observe(running.cluster, &Observation::State { member, index, digest });
        }
    }

    pub(super) fn see_applied(&mut self, running: &Running) {
        if running.view_index.0.is_multiple_of(COMPARE_EVERY) {
            self.see_state(running);
        }
    }

    /// What is applied as one: mostly it ends where states are compared, so that members that were handed their entries in
    /// other pieces are held to each other there.
    pub(super) fn batches(&mut self, items: Vec<ApplyItem>) -> Vec<Vec<ApplyItem>> {
        if self.chance.chance(200) {
            return vec![items];
        }
        let mut batches = vec![Vec::new()];
        for item in items {
            let is_end = item.index.0.is_multiple_of(COMPARE_EVERY);
            if let Some(last) = batches.last_mut() {
                last.push(item);
            }
            if is_end {
                batches.push(Vec::new());
            }
        }
        batches.retain(|batch| !batch.is_empty());
        batches
    }

    pub(super) fn committed(&self, cluster: ClusterId) -> (Index, Term) {
        self.known.committed.get(&cluster).copied().unwrap_or_default()
    }

    fn note_committed(&mut self, cluster: ClusterId, index: Index, term: Term) {
        let newest = self.known.committed.entry(cluster).or_default();
        *newest = (*newest).max((index, term));
    }
}

/// What a batch does, in short.
pub(super) fn change_of(batch: &Batch) -> LogChange {
    let installed = batch
        .mark
        .filter(|mark| mark.kind == outrigger_core::log::SnapshotKind::Installed)
        .map(|mark| (mark.index, mark.term));
    let line = |entry: &outrigger_core::log::Entry| Line {
        index: entry.index,
        term: entry.term,
        digest: digest(&entry.data) << 8 | digest(&entry.context) & 0xff,
        is_change: entry.kind != EntryKind::Normal,
    };
    let bytes: usize = batch.entries.iter().map(|entry| entry.data.len() + entry.context.len() + 32).sum();
    LogChange {
        installed,
        entries: batch.entries.iter().map(line).collect(),
        hard_state: batch.hard_state,
        is_large: bytes as u64 > SEGMENT_BYTES - PREAMBLE_BYTES,
    }
}

/// A digest of all that a snapshot of this state has to carry: the key space, and beside it who is a member and which
/// proposals were applied; the latter not by what a snapshot would say of it.
pub(super) fn digest_of_state(running: &Running) -> u64 {
    let beside = digest(&running.applier.header().encode()) ^ digest(&running.applier.windows()) << 16;
    KeySpace::digest(&running.view).rotate_left(32) ^ beside
}

fn digest_of(item: &ApplyItem) -> u64 {
    match &item.kind {
        ApplyKind::Command { id, command } => digest(command) ^ id.sequence << 32 ^ id.member.0,
        ApplyKind::Membership { membership, conf_state } => {
            let voters = conf_state.voters.iter().chain(&conf_state.voters_outgoing);
            voters.fold(membership.configuration_index.0 + 1, |sum, id| sum.rotate_left(5) ^ id.0)
        }
        ApplyKind::Empty => 0,
    }
}
