//! A process's turn: what happened goes into the node, what the node wants done is begun. The sidecar's driver, without
//! the waiting.

use outrigger_core::applier::{ApplyItem, ApplyKind};
use outrigger_core::effects::{Effects, MessageClass, Reply};
use outrigger_core::error::Fatal;
use outrigger_core::event::Event;
use outrigger_core::log::{Batch, EntryKind};
use outrigger_core::mvcc::KeySpace;
use outrigger_core::state_machine::StateMachine as _;
use outrigger_core::status::Role;
use outrigger_core::types::{ClusterId, Index, MemberId, Term};

use super::end::Ending;
use super::event::{Happening, Input};
use super::process::{AdminCaller, Life, Process, Running, digest};
use super::{MS, SECOND, World};
use crate::observation::{Holds, Line, LogChange, Observation};

/// Between two voters' campaigns after a leader's process died.
const CAMPAIGN_STEP: u64 = 10 * MS;
/// States are compared where the applied index is a multiple of this, and wherever a snapshot begins.
const COMPARE_EVERY: u64 = 16;

impl World {
    pub(super) fn take_input(&mut self, process: &mut Process, input: Input) -> Ending {
        match input {
            Input::Tick => {
                self.after(self.tick_of(process.at.pod), Happening::Process(process.at, Input::Tick));
                self.node_event(process, Event::Tick)
            }
            Input::Call(asked) => self.take_call(process, asked),
            Input::Message { from, bytes } => self.node_event(process, Event::Peer { from, bytes }),
            Input::Dial { peer } => self.dial(process, peer),
            Input::StreamBroke { peer, other } => self.stream_broke(process, peer, other),
            Input::Met(route) => self.node_event(process, Event::Handshake(*route)),
            Input::LogDone => self.log_done(process),
            Input::ApplyDone => self.apply_done(process),
            Input::SnapshotWritten => self.snapshot_written(process),
            Input::TakeSnapshot => self.take_snapshot(process),
            Input::Fetched { id, from, to, max_bytes } => self.fetched(process, id, from..to, max_bytes),
            Input::SnapshotArrives(stream) => self.snapshot_arrives(process, stream),
            Input::SnapshotStored => self.snapshot_stored(process),
            Input::SnapshotSent { to, delivery } => {
                self.node_event(process, Event::SnapshotSent { to, delivery })
            }
            Input::CampaignDue { term } => self.node_event(process, Event::CampaignDue { term }),
            Input::Round => self.round(process),
            Input::JoinAnswered { cluster, outcome } => self.join_answered(process, cluster, outcome),
            Input::AskDisk => self.ask_disk(process),
            Input::Resumes => self.resume(process),
            Input::Search => self.search(process),
            Input::GraceEnds => Ending::Stopped,
        }
    }

    /// One event for the node, if there is one.
    pub(super) fn node_event(&mut self, process: &mut Process, event: Event) -> Ending {
        self.turn(process, vec![event])
    }

    /// Hands everything to the node, and carries out what it wants until there is no more.
    pub(super) fn turn(&mut self, process: &mut Process, events: Vec<Event>) -> Ending {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        for event in events {
            running.node.handle(event);
        }
        loop {
            let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
            let effects = match running.node.flush() {
                Ok(effects) => effects,
                Err(fatal @ Fatal::Diverged { .. }) => {
                    self.tell(Some(at), || format!("{fatal}"), 2);
                    return Ending::Diverged(fatal.to_string());
                }
                Err(fatal) => {
                    self.broken("consensus goes on", format!("orders-{}: {fatal}", at.pod));
                    return Ending::Stopped;
                }
            };
            let (more, removed) = (effects.more, effects.removed);
            let unreachable = self.execute(process, effects);
            if removed {
                return Ending::Removed;
            }
            let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
            for peer in &unreachable {
                running.node.handle(Event::Unreachable { peer: *peer });
            }
            if !more && unreachable.is_empty() {
                break;
            }
        }
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        self.look(at, running);
        if running.node.glance().routes != running.routes_version {
            self.set_routes(process);
        }
        Ending::GoesOn
    }

    fn execute(&mut self, process: &mut Process, effects: Effects) -> Vec<MemberId> {
        let at = process.at;
        let mut unreachable = Vec::new();
        if let Some(batch) = effects.persist {
            self.append(process, batch);
        }
        for message in effects.messages {
            let (to, class) = (message.to, message.class);
            if !self.send(process, message) && class != MessageClass::Heartbeat && !unreachable.contains(&to)
            {
                unreachable.push(to);
            }
        }
        let Life::Member(running) = &mut process.life else { return unreachable };
        for task in effects.apply {
            self.see_handed(running, &task);
            running.hand(task);
        }
        if !running.apply.is_empty() && !running.is_applying {
            running.is_applying = true;
            let slow = self.pod(at.pod).map_or(0, |pod| pod.slow_applier);
            let delay = slow.saturating_sub(self.now) + self.chance.within(20, 2 * MS);
            self.after(delay, Happening::Process(at, Input::ApplyDone));
        }
        for fetch in effects.fetch {
            let delay = self.chance.within(100, 5 * MS);
            let (id, max_bytes) = (fetch.id, fetch.max_bytes);
            let (from, to) = (fetch.range.start, fetch.range.end);
            self.after(delay, Happening::Process(at, Input::Fetched { id, from, to, max_bytes }));
        }
        for snapshot in effects.send_snapshots {
            self.send_snapshot(process, snapshot);
        }
        let Life::Member(running) = &mut process.life else { return unreachable };
        if let Some(index) = effects.release_log_below {
            running.log.release = running.log.release.max(Some(index));
            self.begin_append(process);
        }
        if let Some(delay) = effects.campaign_after {
            self.coverage.note("fail-over without a timeout");
            let wait = CAMPAIGN_STEP.saturating_mul(u64::from(delay.rank));
            self.after(wait, Happening::Process(at, Input::CampaignDue { term: delay.term }));
        }
        for reply in effects.replies {
            self.reply(process, reply);
        }
        unreachable
    }

    fn reply(&mut self, process: &mut Process, reply: Reply) {
        let Life::Member(running) = &mut process.life else { return };
        match reply {
            Reply::Proposal { id, outcome } => {
                if (id.boot, id.nonce) == (running.ids.boot, running.ids.nonce)
                    && let Some((client, call)) = running.proposals.remove(&id.sequence)
                {
                    if outcome.is_ok() {
                        let cluster = running.cluster;
                        self.observe(cluster, &Observation::Acknowledged { cluster });
                    }
                    self.proposal_answered(process.at.pod, (client, call), outcome);
                }
            }
            Reply::Read { id, outcome } => {
                if let Some((client, call)) = running.reads.remove(&id) {
                    if let Ok(index) = &outcome
                        && running.view_index < *index
                    {
                        let (has, index) = (running.view_index, *index);
                        self.broken(
                            "a read sees what it was promised",
                            format!("the view is at {has}, not {index}"),
                        );
                    }
                    let view = running.view.clone();
                    self.read_answered(process.at.pod, (client, call), &view, outcome.map(drop));
                }
            }
            Reply::Admin { id, outcome } => match running.admins.remove(&id) {
                Some(AdminCaller::Joiner { at, cluster }) => {
                    let delay = self.latency();
                    if self.passes(process.at.pod, at.pod) {
                        self.after(delay, Happening::Process(at, Input::JoinAnswered { cluster, outcome }));
                    }
                }
                Some(AdminCaller::Operator) | None => {
                    if let Err(refusal) = outcome {
                        self.tell(Some(process.at), || format!("refuses: {refusal}"), 3);
                    }
                }
            },
        }
    }

    /// Tells the invariants where the node stands.
    fn look(&mut self, at: super::event::At, running: &mut Running) {
        let glance = running.node.glance();
        let member = running.own.id;
        let leads = (glance.role == Role::Leader).then_some(glance.term);
        if leads.is_some() && leads != running.told.leads {
            let holds = self.holds(running);
            let term = glance.term;
            self.tell(Some(at), || format!("leads in term {term}"), term.0);
            let at_index = self.committed(running.cluster).0;
            self.observe(running.cluster, &Observation::Leads { member, term, at: at_index, holds });
        }
        running.told.leads = leads;
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
            self.see_configuration(at, running);
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

    fn see_configuration(&mut self, at: super::event::At, running: &mut Running) {
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

    fn see_handed(&mut self, running: &Running, task: &outrigger_core::applier::ApplyTask) {
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
            self.observe(running.cluster, &Observation::State { member, index, digest });
        }
    }

    pub(super) fn see_applied(&mut self, running: &Running, before: Index) {
        if running.view_index.0 / COMPARE_EVERY != before.0 / COMPARE_EVERY {
            self.see_state(running);
        }
    }

    pub(super) fn committed(&self, cluster: ClusterId) -> (Index, Term) {
        self.known.committed.get(&cluster).copied().unwrap_or_default()
    }

    fn note_committed(&mut self, cluster: ClusterId, index: Index, term: Term) {
        let newest = self.known.committed.entry(cluster).or_default();
        *newest = (*newest).max((index, term));
    }

    /// Without a leader for long a member asks DNS where the others are now.
    fn search(&mut self, process: &mut Process) -> Ending {
        self.after(SECOND, Happening::Process(process.at, Input::Search));
        let Life::Member(running) = &process.life else { return Ending::GoesOn };
        if running.node.leaderless_ticks() < 2 * u64::from(super::ELECTION_TICKS) {
            return Ending::GoesOn;
        }
        let (cluster, own) = (running.cluster, running.own.id);
        let events = self
            .seeds(process.at)
            .into_iter()
            .filter(|seed| seed.cluster == Some(cluster) && seed.route.id != own)
            .map(|seed| {
                let route = outrigger_core::membership::Route { address_version: u64::MAX, ..seed.route };
                Event::Handshake(route)
            })
            .collect();
        self.turn(process, events)
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
    LogChange { installed, entries: batch.entries.iter().map(line).collect(), hard_state: batch.hard_state }
}

/// A digest of all that a snapshot of this state would carry: the key space, and beside it who is a member and which
/// proposals were applied.
pub(super) fn digest_of_state(running: &Running) -> u64 {
    KeySpace::digest(&running.view).rotate_left(32) ^ digest(&running.applier.header().encode())
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
