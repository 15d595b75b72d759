//! The log's thread and the applier's, as events: what queued is written at once, a while later it is durable.
//!
//! A write happens on the disk when it is reported, or, if the process ends before that, half-way: the disk's fuse says where.

use std::ops::Range;

use outrigger_core::applier::{Applied, ApplyTask};
use outrigger_core::event::Event;
use outrigger_core::log::Batch;
use outrigger_core::mvcc::KeySpace;
use outrigger_core::state_machine::StateMachine as _;
use outrigger_core::types::{FetchId, Index};
use outrigger_storage::{Preparation, ReadError, WriteError};

use super::end::{Ending, boundary};
use super::event::{At, Happening, Input};
use super::process::{Life, Process, Running, SEGMENT_BYTES};
use super::sight::change_of;
use super::{MS, SECOND, World};
use crate::observation::Observation;

/// A disk that has no room for a snapshot is asked again after this.
const SNAPSHOT_RETRY: u64 = 10 * SECOND;
/// And for the log's reserve.
const RESERVE_RETRY: u64 = SECOND;
/// What was applied is reported so soon; now and then the runtime has other things to do.
const APPLIED_AFTER: u64 = 100;
const APPLIED_LATE_AFTER: u64 = 20 * MS;
/// Steps of preparing segments that the log takes in a row, at the most.
const PREPARING_STEPS: usize = 4;
/// Room of a snapshot beyond the state's size.
const SNAPSHOT_OVERHEAD_BYTES: u64 = 16 << 10;

impl World {
    pub(super) fn append(&mut self, process: &mut Process, batch: Batch) {
        let Life::Member(running) = &mut process.life else { return };
        let glance = running.node.glance();
        let leads = (glance.role == outrigger_core::status::Role::Leader).then_some(glance.term);
        let (_, _, _, commit, _) = running.node.indexes();
        let cluster = running.cluster;
        let seen = Observation::Issued { member: running.own.id, change: change_of(&batch), leads, commit };
        running.log.queue.push(batch);
        self.observe(cluster, &seen);
        self.begin_append(process);
    }

    pub(super) fn begin_append(&mut self, process: &mut Process) {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return };
        let log = &mut running.log;
        if log.is_writing || (log.queue.is_empty() && log.release.is_none()) {
            return;
        }
        log.is_writing = true;
        log.under_way = std::mem::take(&mut log.queue);
        let delay = self.sync_time(at.pod);
        self.after(delay, Happening::Process(at, Input::LogDone));
        if self.pod(at.pod).is_some_and(|pod| pod.to_tear > 0) {
            self.after(delay / 2, Happening::Tear(at));
        }
    }

    /// The power goes between a write of the log and its sync.
    pub(super) fn tear(&mut self, at: At) {
        let writes =
            |process: &Process| process.running().is_some_and(|running| !running.log.under_way.is_empty());
        if !self.is_live(at) || !self.process(at.pod).is_some_and(writes) {
            return;
        }
        self.feel("torn writes", at.pod);
        if let Some(there) = self.pod_mut(at.pod) {
            there.to_tear = there.to_tear.saturating_sub(1);
        }
        if let Some(process) = self.pod_mut(at.pod).and_then(|pod| pod.process.as_mut()) {
            process.is_torn = true;
        }
        self.end_process(at.pod, true);
        self.start_pod_after(at.pod, 100 * MS, SECOND);
    }

    pub(super) fn log_done(&mut self, process: &mut Process) -> Ending {
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        let Running { log, writer, snapshots, own, cluster, .. } = &mut **running;
        let batches = std::mem::take(&mut log.under_way);
        let mut events = Vec::new();
        if !batches.is_empty() {
            match writer.append(&batches) {
                Ok(appended) => events.push(Event::Persisted { batch: appended.durable }),
                Err(error) => return self.write_failed(process, batches, &error),
            }
        }
        let (member, cluster) = (own.id, *cluster);
        let mark = batches.iter().filter_map(|batch| batch.mark).next_back();
        let purged = mark.map_or(Ok(0), |mark| snapshots.store().purge(&mark));
        let released = log.release.take().map_or(Ok(()), |below| writer.release(below).map(drop));
        if purged.is_err() || released.is_err() {
            // What was written is there, and nobody was told.
            log.under_way = batches;
            return Ending::Crash(if released.is_err() { boundary::RELEASE } else { boundary::PURGE });
        }
        log.is_writing = false;
        for batch in &batches {
            let change = change_of(batch);
            self.observe(cluster, &Observation::Persisted { member, change });
        }
        self.begin_append(process);
        match self.keep_reserve(process) {
            Ok(news) => events.extend(news),
            Err(ending) => return ending,
        }
        let delay = self.chance.within(50, MS);
        self.after(delay, Happening::Process(process.at, Input::LogIdle));
        self.node_events(process, events)
    }

    /// Nothing is to be written just now: a few steps towards the next segment, so that no append waits for its zeros. As
    /// the log's thread does, and until there is nothing left to do.
    pub(super) fn log_idle(&mut self, process: &mut Process) -> Ending {
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        if running.log.is_writing {
            return Ending::GoesOn;
        }
        let news = match self.keep_reserve(process) {
            Ok(news) => news,
            Err(ending) => return ending,
        };
        let steps = 1 + self.chance.below(PREPARING_STEPS);
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        let mut is_done = running.space.is_waiting;
        for _ in 0..steps {
            if is_done {
                break;
            }
            match running.writer.prepare_spare() {
                Ok(Preparation::More) => {}
                Ok(Preparation::Done) | Err(WriteError::NoSpace(_)) => is_done = true,
                Err(_) => return Ending::Crash(boundary::PREPARING),
            }
        }
        if !is_done {
            let delay = self.chance.within(50, MS);
            self.after(delay, Happening::Process(process.at, Input::LogIdle));
        }
        self.node_events(process, news)
    }

    fn write_failed(&mut self, process: &mut Process, batches: Vec<Batch>, error: &WriteError) -> Ending {
        self.tell(Some(process.at), || format!("cannot write its log: {error}"), 4);
        if let Life::Member(running) = &mut process.life {
            running.log.under_way = batches;
        }
        match error {
            WriteError::Io(_) | WriteError::NoSpace(_) | WriteError::Poisoned => {}
            WriteError::TooLarge { .. }
            | WriteError::BatchOrder { .. }
            | WriteError::Contradiction { .. } => {
                self.broken("the log takes what the node writes", super::process::chain(error));
            }
        }
        Ending::Crash(boundary::APPEND)
    }

    /// Two spare segments and the room of a snapshot; what is missing is told the node. As the sidecar's `disk` does.
    fn keep_reserve(&mut self, process: &mut Process) -> Result<Vec<Event>, Ending> {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return Ok(Vec::new()) };
        let Running { writer, snapshots, space, view, .. } = &mut **running;
        if space.is_waiting {
            return Ok(space_news(running));
        }
        let is_full = match writer.restore_reserve() {
            Ok(()) => match snapshots.store().reserve(view.size_bytes() + SNAPSHOT_OVERHEAD_BYTES) {
                Ok(()) => false,
                Err(error) if error.is_no_space() => true,
                Err(_) => return Err(Ending::Crash(boundary::APPEND)),
            },
            Err(WriteError::NoSpace(_)) => true,
            Err(_) => return Err(Ending::Crash(boundary::APPEND)),
        };
        if is_full {
            space.is_waiting = true;
            self.after(RESERVE_RETRY, Happening::Process(at, Input::AskDisk));
        }
        Ok(space_news(running))
    }

    pub(super) fn ask_disk(&mut self, process: &mut Process) -> Ending {
        if let Life::Member(running) = &mut process.life {
            running.space.is_waiting = false;
        }
        match self.keep_reserve(process) {
            Ok(news) => self.node_events(process, news),
            Err(ending) => ending,
        }
    }

    pub(super) fn apply_done(&mut self, process: &mut Process) -> Ending {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        running.is_applying = false;
        let mut events = Vec::new();
        while let Some(task) = running.apply.pop_front() {
            if task.is_superseded(running.newest_install) {
                continue;
            }
            match task {
                ApplyTask::Entries { epoch, items } => {
                    for items in self.batches(items) {
                        let applied = running.applier.apply(epoch, items);
                        // Published before it is reported.
                        (running.view, running.view_index) = (running.applier.view(), applied.index);
                        events.push(Event::Applied(applied));
                        self.see_applied(running);
                    }
                }
                ApplyTask::Install { epoch, header } => {
                    match running.snapshots.restore::<KeySpace>(&header) {
                        Ok(applier) => running.applier = applier,
                        Err(error) if is_of_the_disk(&error) => return Ending::Crash(boundary::INSTALL),
                        Err(error) => {
                            let text = super::process::chain(&error);
                            self.broken(
                                "a received snapshot can be restored",
                                format!("orders-{}: {text}", at.pod),
                            );
                            return Ending::Stopped;
                        }
                    }
                    self.coverage.note("snapshot installed");
                    (running.view, running.view_index) = (running.applier.view(), running.applier.applied());
                    let index = running.view_index;
                    self.tell(Some(at), || format!("installed the snapshot at {index}"), index.0);
                    self.see_state(running);
                    events.push(Event::Applied(Applied { epoch, index, results: Vec::new() }));
                }
                ApplyTask::TakeSnapshot => {
                    let delay = self.chance.within(0, 20 * MS);
                    self.after(delay, Happening::Process(at, Input::TakeSnapshot));
                }
            }
        }
        while running.applier.tidy() {}
        if running.applied.is_empty() && !events.is_empty() {
            let longest = if self.chance.chance(50) { APPLIED_LATE_AFTER } else { APPLIED_AFTER };
            let delay = self.chance.within(0, longest);
            self.after(delay, Happening::Process(at, Input::ApplyTold));
        }
        running.applied.extend(events);
        Ending::GoesOn
    }

    /// The applier is a thread of its own: meanwhile the node may have handed it something else.
    pub(super) fn apply_told(&mut self, process: &mut Process) -> Ending {
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        let events = std::mem::take(&mut running.applied);
        self.node_events(process, events)
    }

    /// The state as it stands is written from its view, while applying goes on.
    pub(super) fn take_snapshot(&mut self, process: &mut Process) -> Ending {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        if running.snapshot.is_none() {
            running.snapshot = Some((running.applier.header(), running.applier.view()));
            let delay = self.sync_time(at.pod) * 3 + self.chance.within(0, 50 * MS);
            self.after(delay, Happening::Process(at, Input::SnapshotWritten));
        }
        Ending::GoesOn
    }

    pub(super) fn snapshot_written(&mut self, process: &mut Process) -> Ending {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        let Some((header, view)) = running.snapshot.take() else { return Ending::GoesOn };
        match running.snapshots.write(&header, || KeySpace::snapshot_chunks(&view)) {
            Ok(size_bytes) => {
                self.coverage.note("snapshot taken");
                self.tell(Some(at), || format!("took a snapshot at {}", header.index), header.index.0);
                // The applier's answers come in their order.
                let mut events = std::mem::take(&mut running.applied);
                events.push(Event::SnapshotTaken { header, size_bytes });
                self.node_events(process, events)
            }
            Err(error) if error.is_no_space() => {
                self.after(SNAPSHOT_RETRY, Happening::Process(at, Input::TakeSnapshot));
                Ending::GoesOn
            }
            Err(_) => Ending::Crash(boundary::SNAPSHOT),
        }
    }

    pub(super) fn fetched(
        &mut self,
        process: &mut Process,
        fetch: FetchId,
        range: Range<Index>,
        max_bytes: usize,
    ) -> Ending {
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        self.coverage.note("old entries fetched");
        match running.reader.read(range.clone(), max_bytes) {
            Ok(entries) => self.node_event(process, Event::Fetched { fetch, entries }),
            // As the sidecar's `disk`: the log moved on meanwhile.
            Err(ReadError::Compacted { .. } | ReadError::Unavailable { .. }) => {
                self.node_event(process, Event::Fetched { fetch, entries: Vec::new() })
            }
            Err(ReadError::Io(_)) => Ending::Crash(boundary::READING),
            Err(error) => {
                let text = super::process::chain(&error);
                if self.has_rotten(process.at.pod) {
                    return Ending::Crash(boundary::READING);
                }
                self.broken("the log can be read back", format!("{}..{}: {text}", range.start, range.end));
                Ending::Stopped
            }
        }
    }
}

fn space_news(running: &mut Running) -> Vec<Event> {
    let usage = running.writer.usage();
    let space = &mut running.space;
    let mut events = Vec::new();
    let shortage = outrigger_core::status::Shortage {
        disk: space.is_waiting,
        quota: false,
        log: space.is_waiting && usage.room_bytes < SEGMENT_BYTES / 2,
    };
    if shortage != space.told {
        space.told = shortage;
        events.push(Event::Shortage(shortage));
    }
    if !space.is_waiting || usage.is_reserve_complete {
        space.room_at_request = u64::MAX;
    } else if usage.room_bytes < space.room_at_request.saturating_sub(SEGMENT_BYTES / 2) {
        space.room_at_request = usage.room_bytes;
        events.push(Event::SnapshotDue);
    }
    events
}

/// Whether a call to the disk failed: then nothing is known of what it holds.
fn is_of_the_disk(error: &dyn std::error::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}
