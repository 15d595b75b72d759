//! A process's turn: what happened goes into the node, what the node wants done is begun. The sidecar's driver, without
//! the waiting.

use outrigger_core::effects::{Effects, MessageClass, Reply};
use outrigger_core::error::Fatal;
use outrigger_core::event::Event;
use outrigger_core::types::MemberId;

use super::end::Ending;
use super::event::{Happening, Input};
use super::process::{AdminCaller, Life, Process, Running};
use super::{MS, SECOND, World};
use crate::observation::Observation;
use crate::schedule::WHOLE;

/// Between two voters' campaigns after a leader's process died.
const CAMPAIGN_STEP: u64 = 10 * MS;
/// So often a turn has more to do at the most.
const MOST_FLUSHES: u32 = 100_000;
/// A turn begins so soon after the first thing that it takes in; now and then the runtime has other things to do.
const TURN_AFTER: u64 = 300;
const TURN_LATE_AFTER: u64 = 10 * MS;

impl World {
    pub(super) fn take_input(&mut self, process: &mut Process, input: Input) -> Ending {
        match input {
            Input::Turn => self.turn(process),
            Input::Tick => {
                let tick = self.tick_of(process.at.pod);
                self.after(tick, Happening::Process(process.at, Input::Tick));
                self.node_event(process, Event::Tick)
            }
            Input::Call(asked) => self.take_call(process, asked),
            Input::Message { from, bytes } => self.node_event(process, Event::Peer { from, bytes }),
            Input::Dial { peer } => self.dial(process, peer),
            Input::StreamBroke { peer, other } => self.stream_broke(process, peer, other),
            Input::Met(route) => self.node_event(process, Event::Handshake(*route)),
            Input::LogDone => self.log_done(process),
            Input::LogIdle => self.log_idle(process),
            Input::ApplyDone => self.apply_done(process),
            Input::ApplyTold => self.apply_told(process),
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
        self.node_events(process, vec![event])
    }

    /// They wait for the node's next turn, which takes in all that has come until then.
    pub(super) fn node_events(&mut self, process: &mut Process, events: Vec<Event>) -> Ending {
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        running.inbox.extend(events);
        if !running.is_turn_due && !running.inbox.is_empty() {
            running.is_turn_due = true;
            let longest = if self.chance.chance(20) { TURN_LATE_AFTER } else { TURN_AFTER };
            let delay = self.chance.within(0, longest);
            self.after(delay, Happening::Process(process.at, Input::Turn));
        }
        Ending::GoesOn
    }

    /// Hands everything that waits to the node, in the driver's order, and carries out what it wants until there is no more.
    pub(super) fn turn(&mut self, process: &mut Process) -> Ending {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        running.is_turn_due = false;
        let mut events = std::mem::take(&mut running.inbox);
        // Whatever woke it, then its own threads' answers, then callers and peers.
        if let Some((_, others)) = events.split_first_mut() {
            others.sort_by_key(is_from_outside);
        }
        for event in events {
            running.node.handle(event);
        }
        for flushes in 0.. {
            if flushes > MOST_FLUSHES {
                self.broken(
                    "a turn ends",
                    format!("orders-{} has more to do after {flushes} flushes", at.pod),
                );
                return Ending::Stopped;
            }
            let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
            let effects = match running.node.flush() {
                Ok(effects) => effects,
                Err(fatal @ Fatal::Diverged { .. }) => {
                    self.tell(Some(at), || format!("{fatal}"), 2);
                    return Ending::Diverged(fatal.to_string());
                }
                Err(fatal) => {
                    let is_data = fatal.is_of_committed_data();
                    let rule = if is_data { super::forge::SOUND_ENTRIES } else { "consensus goes on" };
                    self.broken(rule, format!("orders-{}: {fatal}", at.pod));
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
            if !more {
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
            let slow = self.pod(at.pod).map_or(0, |pod| pod.slow_applier).saturating_sub(self.now);
            if slow > 0 {
                self.feel("slow applier", at.pod);
            }
            let delay = slow + self.chance.within(20, 2 * MS);
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
                        self.observe(running.cluster, &served(running));
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
                    if outcome.is_ok() {
                        self.observe(running.cluster, &served(running));
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
                Some(AdminCaller::Operator | AdminCaller::Person) | None if outcome.is_err() => {
                    self.tell(Some(process.at), || format!("refuses: {outcome:?}"), 3);
                }
                Some(AdminCaller::Person) => self.feel("transfer", WHOLE),
                Some(AdminCaller::Operator) | None => {}
            },
        }
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
        self.node_events(process, events)
    }
}

fn served(running: &Running) -> Observation {
    let (cluster, member) = (running.cluster, running.own.id);
    Observation::Served { cluster, member, formed: running.node.glance().formed }
}

/// Whether the driver takes this from its bounded queue, behind what is durable, applied or due.
fn is_from_outside(event: &Event) -> bool {
    match event {
        Event::Tick
        | Event::Persisted { .. }
        | Event::Applied(_)
        | Event::Fetched { .. }
        | Event::SnapshotTaken { .. }
        | Event::CampaignDue { .. } => false,
        Event::Peer { .. }
        | Event::Propose { .. }
        | Event::Read { .. }
        | Event::Admin { .. }
        | Event::SnapshotReceived { .. }
        | Event::SnapshotSent { .. }
        | Event::Unreachable { .. }
        | Event::LeaderGone { .. }
        | Event::Handshake(_)
        | Event::OwnAddress(_)
        | Event::Drain
        | Event::Shortage(_)
        | Event::SnapshotDue => true,
    }
}
