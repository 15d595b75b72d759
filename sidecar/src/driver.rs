//! The driver: one task between everything that happens and the node. It carries, it does not decide.
//!
//! May import: core's node, `inbox`, the log and apply threads' handles, transport. Deliberately absent: every decision
//! about consensus (core's), every byte on disk or wire. If this file outgrows 300 lines, something belongs in core.
//!
//! One turn: take everything that waits, hand it to the node, flush once (again while there is more), carry out the
//! effects. What queues during a turn is the next turn's batch, so that batches grow by themselves with the load.

use std::sync::Arc;
use std::time::Duration;

use outrigger_core::effects::{CampaignDelay, Effects, Fetch, MessageClass};
use outrigger_core::error::{Fatal, Refusal};
use outrigger_core::event::Event;
use outrigger_core::node::Node;
use outrigger_core::status::{Glance, NodeStatus};
use outrigger_core::types::MemberId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::apply_task::ApplyHandle;
use crate::inbox::Input;
use crate::log_thread::{LogHandle, OldEntries};
use crate::space::SpaceWatch;
use crate::transport::Transport;
use crate::waiters::Waiters;

/// Inputs taken in one turn. More would let a flood hold back what is durable already; fewer would cost a flush each.
const BURST: usize = 1024;
/// Committed entries that may wait for the applier before proposals are refused: the applier is slower than the log,
/// and what waits for it is held in memory.
const APPLY_BACKLOG_ENTRIES: u64 = 16 * 1024;
/// The shortest step between two voters' campaigns after a leader's process died.
const CAMPAIGN_STEP: Duration = Duration::from_millis(10);

/// Why the driver ended.
#[derive(Debug)]
pub enum Exit {
    /// It was told to.
    Stopped,
    /// This member was removed from the cluster.
    Removed,
    /// Going on could lose data.
    Fatal(Fatal),
}

/// Everything that the driver carries between.
#[derive(Debug)]
pub struct Driver {
    /// The node; nobody else touches it.
    pub node: Node,
    /// Callers and peers.
    pub inputs: mpsc::Receiver<Input>,
    /// Answers of the log, the applier, readers and timers. Unbounded, because each answers something that this driver
    /// asked for: what is outstanding bounds it.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Where those answers are sent; given to what is started here.
    pub answers: mpsc::UnboundedSender<Event>,
    /// The log's thread.
    pub log: LogHandle,
    /// Reads entries that are no longer in memory.
    pub old_entries: Arc<dyn OldEntries>,
    /// The applier's thread.
    pub applier: ApplyHandle,
    /// The peers.
    pub transport: Transport,
    /// Callers that wait.
    pub waiters: Waiters,
    /// Where the status is published.
    pub status: watch::Sender<Arc<NodeStatus>>,
    /// One tick.
    pub heartbeat_interval: Duration,
    /// Ends the driver.
    pub stop: CancellationToken,
    /// What the log's thread and the applier have no room for.
    pub space: SpaceWatch,
    /// What was published last, in short.
    pub last_glance: Option<Glance>,
}

/// What one turn took in, for the two questions that follow it: is it worth a moment's wait, and may the status have
/// changed.
#[derive(Debug, Default)]
struct Turn {
    proposals: usize,
    others: usize,
    ticked: bool,
}

impl Driver {
    /// Runs until it is stopped, removed, or cannot go on.
    pub async fn run(mut self) -> Exit {
        let mut ticks = tokio::time::interval(self.heartbeat_interval);
        // After a pause (a frozen machine) one tick follows, not all that were missed: a burst of them would end
        // leases and start elections about a time in which nobody could have been heard.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Err(fatal) = self.flush() {
            return Exit::Fatal(fatal);
        }
        self.publish(true);
        loop {
            let mut turn = Turn::default();
            if !self.wait(&mut ticks, &mut turn).await {
                return Exit::Stopped;
            }
            self.drain(&mut turn);
            if self.is_gathering(&turn) {
                // The log is busy anyway: let everybody else who is ready add to this batch first. A turn of the
                // runtime costs microseconds, a flush more costs every member an append.
                tokio::task::yield_now().await;
                self.drain(&mut turn);
            }
            self.space.news().for_each(|event| self.node.handle(event));
            match self.flush() {
                Ok(true) => return Exit::Removed,
                Ok(false) => {}
                Err(fatal) => return Exit::Fatal(fatal),
            }
            if turn.ticked || turn.others > 0 {
                self.publish(turn.ticked);
            }
        }
    }

    /// Waits for the first thing that happens. `false`: stop. What is durable or applied comes before the tick, the tick
    /// before callers: a flood of requests must not stop the clock.
    async fn wait(&mut self, ticks: &mut Interval, turn: &mut Turn) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return false,
            Some(event) = self.events.recv() => self.handle(event, turn),
            _ = ticks.tick() => {
                turn.ticked = true;
                self.node.handle(Event::Tick);
            }
            Some(input) = self.inputs.recv() => self.take(input, turn),
            else => return false,
        }
        true
    }

    fn drain(&mut self, turn: &mut Turn) {
        while let Ok(event) = self.events.try_recv() {
            self.handle(event, turn);
        }
        for _ in 0..BURST {
            match self.inputs.try_recv() {
                Ok(input) => self.take(input, turn),
                Err(_) => break,
            }
        }
    }

    fn handle(&mut self, event: Event, turn: &mut Turn) {
        // Only these two say something about what was handed out here; the rest is the node's alone.
        if let Event::Persisted { batch } = &event {
            self.log.note_persisted(*batch);
        } else if let Event::Applied(applied) = &event {
            self.applier.note_done(applied);
        }
        turn.others += 1;
        self.node.handle(event);
    }

    fn take(&mut self, input: Input, turn: &mut Turn) {
        let event = match input {
            Input::Propose { command, reply } => {
                turn.proposals += 1;
                if self.applier.backlog_entries() > APPLY_BACKLOG_ENTRIES {
                    // The caller may have gone away; then nobody needs the refusal.
                    drop(reply.send(Err(Refusal::TooManyRequests)));
                    return;
                }
                self.waiters.propose(command, reply)
            }
            Input::Read { reply } => self.waiters.read(reply),
            Input::Admin { request, reply } => self.waiters.admin(request, reply),
            Input::Event(event) => return self.handle(event, turn),
        };
        self.node.handle(event);
    }

    fn is_gathering(&self, turn: &Turn) -> bool {
        turn.proposals > 0 && turn.others == 0 && !turn.ticked && self.log.is_writing()
    }

    /// Flushes until there is no more. `true`: this member was removed.
    fn flush(&mut self) -> Result<bool, Fatal> {
        loop {
            let effects = self.node.flush()?;
            let (more, removed) = (effects.more, effects.removed);
            self.execute(effects);
            if removed {
                return Ok(true);
            }
            if !more {
                return Ok(false);
            }
        }
    }

    /// The log first: it has the longest way. Messages at the same time, replies last.
    fn execute(&mut self, effects: Effects) {
        let Effects {
            persist,
            messages,
            apply,
            replies,
            fetch,
            send_snapshots,
            release_log_below,
            campaign_after,
            removed: _,
            more: _,
        } = effects;
        self.applier.announce(&apply);
        if let Some(batch) = persist {
            self.log.append(batch);
        }
        let mut unreachable: Vec<MemberId> = Vec::new();
        for message in messages {
            let (to, class) = (message.to, message.class);
            // A lost heartbeat is no news: the stream's end was reported when it broke.
            if !self.transport.send(message) && class != MessageClass::Heartbeat && !unreachable.contains(&to)
            {
                unreachable.push(to);
            }
        }
        for task in apply {
            self.applier.submit(task);
        }
        for fetch in fetch {
            self.fetch(fetch);
        }
        for snapshot in send_snapshots {
            self.transport.send_snapshot(snapshot);
        }
        if let Some(index) = release_log_below {
            self.log.release_below(index);
        }
        if let Some(delay) = campaign_after {
            self.campaign_after(delay);
        }
        for reply in replies {
            self.waiters.answer(reply);
        }
        for peer in unreachable {
            self.node.handle(Event::Unreachable { peer });
        }
    }

    /// Old entries are read off this thread; a log that cannot be read ends the process, as one that cannot be written
    /// does.
    fn fetch(&self, fetch: Fetch) {
        let (reader, answers) = (Arc::clone(&self.old_entries), self.answers.clone());
        tokio::task::spawn_blocking(move || match reader.read(fetch.range.clone(), fetch.max_bytes) {
            // The driver may have ended; then nobody waits for the entries. None at all: they were released meanwhile,
            // and a snapshot goes instead.
            Ok(entries) => drop(answers.send(Event::Fetched { fetch: fetch.id, entries })),
            Err(error) => crate::fatal::exit(
                &format!("log entries {}..{} cannot be read", fetch.range.start, fetch.range.end),
                error.as_ref(),
            ),
        });
    }

    fn campaign_after(&self, CampaignDelay { term, rank }: CampaignDelay) {
        let delay = CAMPAIGN_STEP.max(self.log.fsync_p99().saturating_mul(3)).saturating_mul(rank);
        let answers = self.answers.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // As above.
            drop(answers.send(Event::CampaignDue { term }));
        });
    }

    /// Publishes the status: with every tick, and in between only when something changed that callers act on.
    fn publish(&mut self, ticked: bool) {
        let glance = self.node.glance();
        let is_news = self.last_glance != Some(glance);
        if !is_news && !ticked {
            return;
        }
        if self.last_glance.is_none_or(|last| last.routes != glance.routes) {
            self.transport.set_routes(&self.node.routes().1);
        }
        self.last_glance = Some(glance);
        let status = self.node.status();
        self.status.send_if_modified(|last| {
            let is_changed = **last != status;
            if is_changed {
                *last = Arc::new(status);
            }
            is_changed
        });
    }
}
