//! How processes end, and what their disks are like afterwards.

use outrigger_core::types::{ClusterId, MemberId};
use outrigger_member::recovery;

use super::event::{At, Happening, Input};
use super::process::{AdminCaller, Life, Process, Running};
use super::sight::change_of;
use super::{MS, SECOND, World};
use crate::observation::Observation;

/// What a process was doing when it ended.
pub(super) mod boundary {
    pub(in crate::world) const IDLE: &str = "ended while idle";
    pub(in crate::world) const APPEND: &str = "ended in an append";
    pub(in crate::world) const RELEASE: &str = "ended in a release";
    pub(in crate::world) const PURGE: &str = "ended in a purge";
    pub(in crate::world) const PREPARING: &str = "ended in preparing a segment";
    pub(in crate::world) const READING: &str = "ended in reading its log";
    pub(in crate::world) const INSTALL: &str = "ended in an install";
    pub(in crate::world) const SNAPSHOT: &str = "ended in a snapshot's write";
    pub(in crate::world) const RECEIPT: &str = "ended in a snapshot's receipt";
    pub(in crate::world) const OPENING: &str = "ended in opening the directory";
    pub(in crate::world) const RECOVERY: &str = "ended in recovery";
    pub(in crate::world) const FOUNDING: &str = "ended in founding";
    pub(in crate::world) const JOINING: &str = "ended in joining";
    pub(in crate::world) const ASIDE: &str = "ended in moving aside";
}

/// What comes after an event.
#[derive(Debug)]
pub(super) enum Ending {
    /// The next one.
    GoesOn,
    /// The process is gone: its disk failed it, or cut it off, while it did this.
    Crash(&'static str),
    /// It stops in good order.
    Stopped,
    /// Its cluster has removed it.
    Removed,
    /// Its history is another than the leader's.
    Diverged(String),
}

impl World {
    /// Puts a process back into its pod, or carries its end out.
    pub(super) fn put_back(&mut self, mut process: Box<Process>, ending: Ending) {
        let ending = if process.disk.is_burnt() && !matches!(ending, Ending::Crash(_)) {
            // An error that was taken for something else: the power is gone all the same.
            Ending::Crash(boundary::IDLE)
        } else {
            ending
        };
        let pod = process.at.pod;
        if !matches!(ending, Ending::GoesOn) {
            self.feel_fuse(pod, process.disk.is_burnt());
        }
        match ending {
            Ending::GoesOn => {
                if let Some(pod) = self.pod_mut(pod) {
                    pod.process = Some(process);
                }
            }
            Ending::Crash(boundary) => {
                if !process.disk.counts().has_failed_since(&process.counted) {
                    self.broken("a process ends for a reason", format!("orders-{pod}: {boundary}"));
                }
                self.coverage.note(boundary);
                self.tell(Some(process.at), || format!("crashes: {boundary}"), 5);
                self.gone(process);
                self.crash_disk(pod);
                self.start_pod_after(pod, 200 * MS, 2 * SECOND);
            }
            Ending::Stopped => {
                self.gone(process);
                self.crash_disk(pod);
                self.start_pod_after(pod, 200 * MS, 2 * SECOND);
            }
            Ending::Diverged(fault) => {
                if !self.has_rotten(pod) {
                    self.broken("no two histories are committed", format!("orders-{pod}: {fault}"));
                }
                self.close_node(&mut process);
                process.life = Life::Faulted { fault };
                self.put_back(process, Ending::GoesOn);
            }
            Ending::Removed => self.move_aside(process),
        }
    }

    fn move_aside(&mut self, mut process: Box<Process>) {
        self.close_node(&mut process);
        self.tell(Some(process.at), || "was removed".to_owned(), 6);
        let (old, disk) = (process.member(), self.disk_number(process.at.pod));
        let fresh = MemberId(process.random.id());
        self.observe(ClusterId(0), &Observation::GivesUp { member: old, disk });
        if process.dir.move_aside(fresh).is_err() {
            self.put_back(process, Ending::Crash(boundary::ASIDE));
            return;
        }
        let abandoned = process.dir.identity().abandoned.clone();
        self.coverage.note("removed and moved aside");
        self.observe(ClusterId(0), &Observation::Closed { member: old });
        self.observe(ClusterId(0), &Observation::Opened { member: fresh, disk, abandoned });
        let ending = self.live(&mut process);
        self.put_back(process, ending);
    }

    pub(super) fn disk_number(&self, pod: u8) -> u64 {
        self.pod(pod).map_or(0, |pod| pod.volume.number)
    }

    /// Ends the node of a process that lives on: what was under way is written to its end.
    pub(super) fn close_node(&mut self, process: &mut Process) {
        let at = process.at;
        let life = std::mem::replace(&mut process.life, Life::Opening);
        let Life::Member(mut running) = life else { return };
        self.forget_callers(&mut running);
        self.streams_break(at);
        let batches: Vec<_> = running.log.under_way.drain(..).chain(running.log.queue.drain(..)).collect();
        let (member, cluster) = (running.own.id, running.cluster);
        if !batches.is_empty() {
            let changes: Vec<_> = batches.iter().map(change_of).collect();
            match running.writer.append(&batches) {
                Ok(_) => {
                    for change in changes {
                        self.observe(cluster, &Observation::Persisted { member, change });
                    }
                }
                Err(_) => self.observe(cluster, &Observation::Interrupted { member, changes }),
            }
        }
    }

    /// Gives up a cluster that was never formed; only now, with the node closed.
    pub(super) fn abandon(&mut self, process: &mut Process, cluster: ClusterId) -> Ending {
        let is_ours = process.dir.identity().cluster == Some(cluster);
        if let Life::Member(running) = &process.life
            && is_ours
            && running.node.glance().formed
        {
            self.tell(Some(process.at), || "is formed and abandons nothing".to_owned(), 7);
            return Ending::GoesOn;
        }
        let options = process.options(cluster);
        let (old, disk) = (process.member(), self.disk_number(process.at.pod));
        if is_ours {
            self.close_node(process);
            match recovery::is_forming(process.disk.shared(), &super::pods::data_dir(), options) {
                Ok(true) => {
                    self.tell(Some(process.at), || "is forming and abandons nothing".to_owned(), 8);
                    // As in the sidecar: the member goes on as another boot of it.
                    if process.dir.count_boot().is_err() {
                        return Ending::Crash(boundary::OPENING);
                    }
                    process.nonce = process.random.id();
                    return self.live(process);
                }
                Ok(false) => {}
                Err(_) => return Ending::Crash(boundary::RECOVERY),
            }
        }
        let fresh = MemberId(process.random.id());
        if is_ours {
            self.observe(ClusterId(0), &Observation::GivesUp { member: old, disk });
        }
        if process.dir.abandon(cluster, fresh).is_err() {
            return Ending::Crash(boundary::ASIDE);
        }
        let abandoned = process.dir.identity().abandoned.clone();
        self.observe(ClusterId(0), &Observation::Abandoned { disk, cluster });
        self.coverage.note("abandoned");
        self.tell(Some(process.at), || format!("abandons {cluster}"), cluster.0);
        if !is_ours {
            // As in the sidecar: what it is told cuts its round off, and with it the asking to be let in.
            if let Life::Empty { joining } = &mut process.life
                && joining.take().is_some()
            {
                self.after(0, Happening::Process(process.at, Input::Round));
            }
            return Ending::GoesOn;
        }
        self.observe(ClusterId(0), &Observation::Closed { member: old });
        self.observe(ClusterId(0), &Observation::Opened { member: fresh, disk, abandoned });
        self.live(process)
    }

    /// Ends a pod's process from outside, whatever it does.
    pub(super) fn end_process(&mut self, pod: u8, power: bool) {
        self.nemesis.next_loss(pod, power);
        let Some(process) = self.pod_mut(pod).and_then(|pod| pod.process.take()) else { return };
        self.tell(Some(process.at), || format!("is ended{}", if power { " by a power cut" } else { "" }), 9);
        let doing = self.cut_off(process);
        self.coverage.note(doing);
        self.crash_disk(pod);
    }

    /// What was being written is on the disk to some part. Says what that was.
    fn cut_off(&mut self, mut process: Box<Process>) -> &'static str {
        let mut doing = boundary::IDLE;
        if let Life::Member(running) = &mut process.life {
            let Running { log, writer, snapshot, snapshots, .. } = &mut **running;
            if !log.under_way.is_empty() {
                doing = boundary::APPEND;
                let changes = if process.is_torn { 1 } else { process.random.below(4) as u64 };
                process.disk.with_faults(|faults| faults.fuse = Some(changes));
                // Whether it came to its end nobody hears.
                drop(writer.append(&log.under_way));
            } else if let Some((header, view)) = snapshot {
                use outrigger_core::state_machine::StateMachine as _;
                doing = boundary::SNAPSHOT;
                let changes = process.random.below(12) as u64;
                process.disk.with_faults(|faults| faults.fuse = Some(changes));
                drop(snapshots.write(header, || outrigger_core::mvcc::KeySpace::snapshot_chunks(view)));
            } else if let Some(stream) = running.incoming.take() {
                doing = boundary::RECEIPT;
                let changes = process.random.below(8) as u64;
                process.disk.with_faults(|faults| faults.fuse = Some(changes));
                drop(super::snapshots::receive(&running.snapshots, &stream));
                self.nobody_takes(&stream);
            }
        }
        self.gone(process);
        doing
    }

    /// The process is no more: its callers do not know what became of their calls, its streams break.
    fn gone(&mut self, mut process: Box<Process>) {
        let at = process.at;
        let member = process.member();
        if let Life::Member(running) = &mut process.life {
            self.forget_callers(running);
            let (log, cluster) = (&running.log, running.cluster);
            let changes: Vec<_> = log.under_way.iter().chain(&log.queue).map(change_of).collect();
            self.observe(cluster, &Observation::Interrupted { member, changes });
        }
        for held in process.held {
            self.never_seen(held);
        }
        self.observe(ClusterId(0), &Observation::Closed { member });
        self.streams_break(at);
    }

    /// What came to a process that is no more: who waits for an answer hears that there is none.
    pub(super) fn never_seen(&mut self, input: Input) {
        if let Input::SnapshotArrives(stream) = input {
            self.nobody_takes(&stream);
        } else if let Input::Call(asked) = input {
            self.call_lost(asked.client, asked.number);
        }
    }

    fn forget_callers(&mut self, running: &mut Running) {
        if let Some(stream) = running.incoming.take() {
            self.nobody_takes(&stream);
        }
        for (client, call) in std::mem::take(&mut running.proposals).into_values() {
            self.call_lost(client, call);
        }
        for (client, call) in std::mem::take(&mut running.reads).into_values() {
            self.call_lost(client, call);
        }
        for caller in std::mem::take(&mut running.admins).into_values() {
            if let AdminCaller::Joiner { at, cluster } = caller {
                let outcome = Err(outrigger_core::error::Refusal::Stopped);
                self.after(MS, Happening::Process(at, Input::JoinAnswered { cluster, outcome }));
            }
        }
    }

    /// Tells a process to stop: it hands the leadership over first, within its grace.
    pub(super) fn stop_softly(&mut self, pod: u8) {
        let Some(mut process) = self.pod_mut(pod).and_then(|pod| pod.process.take()) else { return };
        process.is_stopping = true;
        let at: At = process.at;
        self.after(2 * SECOND, Happening::Process(at, Input::GraceEnds));
        let ending = self.transfer(&mut process, None, AdminCaller::Operator);
        self.put_back(process, ending);
    }
}
