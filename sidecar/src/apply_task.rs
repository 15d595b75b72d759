//! The applier's thread: committed entries in, published views and results out.
//!
//! May import: core's applier, `snapshots`. Deliberately absent: what an entry means. The one rule kept here is the
//! order: a view is published *before* its results are reported, so that whoever hears of a write also sees it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outrigger_core::applier::{Applied, Applier, ApplyItem, ApplyTask};
use outrigger_core::event::Event;
use outrigger_core::mvcc::View;
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_core::state_machine::StateMachine;
use outrigger_core::types::{Index, InstallEpoch};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::publication::{Publication, Published};
use crate::snapshot_taker::SnapshotTaker;
use crate::snapshots::Snapshots;
use crate::space::Space;

/// The applier's ends: what it answers, where it publishes, where its snapshots go.
#[derive(Clone, Debug)]
pub struct ApplyWiring {
    /// To the driver.
    pub answers: UnboundedSender<Event>,
    /// To readers.
    pub published: Arc<Publication>,
    /// To disk.
    pub snapshots: Snapshots,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where the state's size is told.
    pub space: Arc<Space>,
}

#[derive(Debug)]
enum Request {
    Task(ApplyTask),
    /// A snapshot for somebody outside; told its header once the file is durable.
    Snapshot(oneshot::Sender<SnapshotHeader>),
    /// A snapshot that could not be taken, to be tried again after this long.
    SnapshotAfter(Duration),
    Stop,
}

/// The thread, for the driver.
#[derive(Debug)]
pub struct ApplyHandle {
    /// Unbounded, but watched: the driver refuses proposals while [`ApplyHandle::backlog_entries`] is high.
    requests: mpsc::Sender<Request>,
    handed: Index,
    done: Index,
    newest_install: Arc<AtomicU64>,
}

impl ApplyHandle {
    /// Tells which tasks will be submitted. To be called before the batch of the same effects goes to the log: from its mark
    /// on, the file of an earlier install may be purged, and the thread has to know that this is why it is not there.
    pub fn announce(&self, tasks: &[ApplyTask]) {
        if let Some(newest) = tasks.iter().filter_map(ApplyTask::begins).max() {
            self.newest_install.fetch_max(newest.0, Ordering::AcqRel);
        }
    }

    /// Queues a task.
    pub fn submit(&mut self, task: ApplyTask) {
        match &task {
            ApplyTask::Entries { items, .. } => {
                self.handed = items.last().map_or(self.handed, |item| item.index);
            }
            ApplyTask::Install { header, .. } => self.handed = header.index,
            ApplyTask::TakeSnapshot => {}
        }
        // The thread ends only when told to, or with the process.
        drop(self.requests.send(Request::Task(task)));
    }

    /// Notes what was reported.
    pub fn note_done(&mut self, applied: &Applied) {
        self.done = applied.index;
    }

    /// Committed entries that were handed over and are not applied yet.
    #[must_use]
    pub fn backlog_entries(&self) -> u64 {
        self.handed.0.saturating_sub(self.done.0)
    }
}

/// Asks the applier for a snapshot. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SnapshotRequests(mpsc::Sender<Request>);

impl SnapshotRequests {
    /// The header of a snapshot that was taken after this call, once its file is durable. `None` when the applier ends.
    pub async fn take(&self) -> Option<SnapshotHeader> {
        let (reply, header) = oneshot::channel();
        self.0.send(Request::Snapshot(reply)).ok()?;
        header.await.ok()
    }
}

/// The thread's other end, for whoever ends it.
#[derive(Debug)]
pub struct ApplyThread {
    requests: mpsc::Sender<Request>,
    thread: JoinHandle<()>,
}

impl ApplyThread {
    /// Starts the thread over a recovered applier and publishes its view before it returns.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<S: StateMachine<View = View>>(
        applier: Applier<S>,
        wiring: ApplyWiring,
    ) -> std::io::Result<(Self, ApplyHandle)> {
        let (requests, queue) = mpsc::channel();
        let done = applier.applied();
        let newest_install = Arc::new(AtomicU64::new(0));
        let again = requests.clone();
        let snapshots = SnapshotTaker::new(wiring.clone(), move |after| {
            // The applier may have ended.
            drop(again.send(Request::SnapshotAfter(after)));
        });
        let worker = Worker {
            applier,
            wiring,
            queue,
            snapshots,
            snapshot_at: None,
            newest_install: Arc::clone(&newest_install),
        };
        worker.publish();
        let thread = std::thread::Builder::new().name("apply".to_string()).spawn(move || worker.run())?;
        let handle = ApplyHandle { requests: requests.clone(), handed: done, done, newest_install };
        Ok((Self { requests, thread }, handle))
    }

    /// Where snapshots are asked for.
    #[must_use]
    pub fn snapshot_requests(&self) -> SnapshotRequests {
        SnapshotRequests(self.requests.clone())
    }

    /// Applies what is queued, cuts a snapshot that is being written off, and ends the threads. Blocks until then.
    pub fn stop(self) {
        drop(self.requests.send(Request::Stop));
        drop(self.thread.join());
    }
}

struct Worker<S: StateMachine> {
    applier: Applier<S>,
    wiring: ApplyWiring,
    queue: mpsc::Receiver<Request>,
    snapshots: SnapshotTaker,
    /// When one that could not be taken is tried again.
    snapshot_at: Option<Instant>,
    /// The epoch of the newest install that was announced.
    newest_install: Arc<AtomicU64>,
}

impl<S: StateMachine<View = View>> Worker<S> {
    fn run(mut self) {
        while let Some(request) = self.next() {
            let mut next = Some(request);
            while let Some(request) = next.take() {
                match request {
                    Request::Task(task) if task.is_superseded(self.newest_install()) => {}
                    Request::Task(ApplyTask::Entries { epoch, items }) => {
                        next = self.entries(epoch, items);
                    }
                    Request::Task(ApplyTask::Install { epoch, header }) => self.install(epoch, &header),
                    Request::Task(ApplyTask::TakeSnapshot) => self.snapshots.take(&self.applier),
                    Request::Snapshot(reply) => self.snapshots.take_for(reply, &self.applier),
                    Request::SnapshotAfter(after) => self.snapshot_at = Some(Instant::now() + after),
                    Request::Stop => return self.snapshots.stop(),
                }
            }
        }
    }

    fn newest_install(&self) -> InstallEpoch {
        InstallEpoch(self.newest_install.load(Ordering::Acquire))
    }

    /// The next request. While there is none, what the state has put off is done step by step: a compaction that nothing
    /// follows must free its space, too, or a quota alarm that it is to end would stand for ever.
    fn next(&mut self) -> Option<Request> {
        loop {
            match self.queue.try_recv() {
                Ok(request) => return Some(request),
                Err(mpsc::TryRecvError::Disconnected) => return None,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            if self.snapshot_at.is_some_and(|at| at <= Instant::now()) {
                self.snapshot_at = None;
                return Some(Request::Task(ApplyTask::TakeSnapshot));
            }
            if self.applier.tidy() {
                continue;
            }
            self.publish();
            let Some(at) = self.snapshot_at else { return self.queue.recv().ok() };
            match self.queue.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(request) => return Some(request),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Applies the entries, and those of the same epoch that queued behind them: one view and one report for all. Gives
    /// the first request that is something else.
    fn entries(&mut self, epoch: InstallEpoch, mut items: Vec<ApplyItem>) -> Option<Request> {
        let mut next = None;
        while let Ok(request) = self.queue.try_recv() {
            match request {
                Request::Task(ApplyTask::Entries { epoch: same, items: more }) if same == epoch => {
                    items.extend(more);
                }
                other @ (Request::Task(_)
                | Request::Snapshot(_)
                | Request::SnapshotAfter(_)
                | Request::Stop) => {
                    next = Some(other);
                    break;
                }
            }
        }
        let (count, started) = (items.len() as u64, Instant::now());
        self.wiring.published.take_back_unread();
        let applied = self.applier.apply(epoch, items);
        self.publish();
        self.wiring.metrics.applied(count, started.elapsed());
        self.answer(Event::Applied(applied));
        next
    }

    /// The file is durable and was checked when it came: if it cannot be restored now, this disk is not to be trusted. Or a
    /// later install has been marked since this one began, and it was purged.
    fn install(&mut self, epoch: InstallEpoch, header: &SnapshotHeader) {
        match self.wiring.snapshots.restore(header) {
            Ok(applier) => self.applier = applier,
            Err(_) if epoch < self.newest_install() => return,
            Err(error) => crate::fatal::exit("an installed snapshot cannot be restored", &error),
        }
        self.publish();
        let index = self.applier.applied();
        tracing::info!(index = index.0, "snapshot installed");
        self.answer(Event::Applied(Applied { epoch, index, results: Vec::new() }));
    }

    fn publish(&self) {
        let state = Published { applied: self.applier.applied(), kv: self.applier.view() };
        self.wiring.space.state_measured(state.kv.size_bytes());
        self.wiring.published.publish(state);
    }

    fn answer(&self, event: Event) {
        // The driver may have ended: what is applied stays published.
        drop(self.wiring.answers.send(event));
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::applier::ApplyKind;
    use outrigger_core::log::ConfState;
    use outrigger_core::membership::{Membership, Route};
    use outrigger_core::mvcc::{Command, Compact, DeleteRange, KeyRange, KeySpace, KvOp, Put};
    use outrigger_core::types::{ClusterId, MemberId, ProposalId, Term};
    use outrigger_storage::snapshot_store::SnapshotStore;

    use super::*;
    use crate::faulty_fs::{EIO, ENOSPC, FaultyFs};

    const CLUSTER: ClusterId = ClusterId(0xc1);
    /// Set in the child only: the error with which a snapshot's sync fails there.
    const SYNC_FAILS: &str = "OUTRIGGER_TEST_SNAPSHOT_SYNC_FAILS";

    fn command(sequence: u64, op: KvOp) -> ApplyItem {
        let id = ProposalId { member: MemberId(1), boot: 1, nonce: 1, sequence };
        let kind = ApplyKind::Command { id, command: Command { op: Some(op) }.encode_to_bytes() };
        ApplyItem { index: Index(sequence + 1), term: Term(1), kind }
    }

    /// The entry after which commands of member 1 count.
    fn member_is_known() -> ApplyItem {
        let mut membership = Membership::default();
        membership.routes.insert(MemberId(1), Route { id: MemberId(1), ..Route::default() });
        let (membership, conf_state) = (Arc::new(membership), Arc::new(ConfState::default()));
        ApplyItem { index: Index(1), term: Term(1), kind: ApplyKind::Membership { membership, conf_state } }
    }

    fn wiring_in(
        dir: &std::path::Path,
        space: &Arc<Space>,
    ) -> (ApplyWiring, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (answers, answered) = tokio::sync::mpsc::unbounded_channel();
        let wiring = ApplyWiring {
            answers,
            published: Arc::default(),
            snapshots: crate::snapshots::tests::in_dir(dir, CLUSTER),
            metrics: Arc::default(),
            space: Arc::clone(space),
        };
        (wiring, answered)
    }

    /// While it was busy two snapshots came: the first one's file goes as soon as the second is marked.
    #[test]
    fn an_install_whose_file_a_later_one_has_purged_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (wiring, mut answered) = wiring_in(dir.path(), &Arc::new(Space::new(1 << 20)));
        let header = |index| SnapshotHeader {
            index: Index(index),
            term: Term(1),
            ..Applier::empty(CLUSTER, KeySpace::default()).header()
        };
        let second = header(9);
        let view = KeySpace::default().view();
        wiring.snapshots.write(&second, || KeySpace::snapshot_chunks(&view)).unwrap();
        let applier = Applier::empty(CLUSTER, KeySpace::default());
        let (thread, mut handle) = ApplyThread::start(applier, wiring).unwrap();

        let first = ApplyTask::Install { epoch: InstallEpoch(1), header: header(4) };
        let second = ApplyTask::Install { epoch: InstallEpoch(2), header: second };
        handle.announce(std::slice::from_ref(&second));
        handle.submit(first);
        handle.submit(second);
        let Some(Event::Applied(applied)) = answered.blocking_recv() else { panic!("nothing was applied") };
        assert_eq!((applied.epoch, applied.index), (InstallEpoch(2), Index(9)));
        thread.stop();
    }

    /// Takes a snapshot on a disk whose syncs fail so, and returns once that is put off.
    fn put_off_a_snapshot(sync_fails: i32) {
        let dir = tempfile::tempdir().unwrap();
        let space = Arc::new(Space::new(1 << 20));
        let (wiring, _answered) = wiring_in(dir.path(), &space);
        let disk = FaultyFs::default();
        disk.0.snapshot_sync.store(sync_fails, Ordering::Relaxed);
        let files = SnapshotStore::new(Arc::new(disk), dir.path(), CLUSTER);
        let wiring = ApplyWiring { snapshots: Snapshots::new(files), ..wiring };
        let applier = Applier::empty(CLUSTER, KeySpace::default());
        let (thread, mut handle) = ApplyThread::start(applier, wiring).unwrap();
        handle.submit(ApplyTask::TakeSnapshot);
        let patience = Instant::now() + Duration::from_secs(30);
        while !space.take_snapshot_failed() {
            assert!(Instant::now() < patience, "nothing came of it");
            std::thread::yield_now();
        }
        thread.stop();
    }

    #[test]
    fn a_snapshot_whose_sync_fails_ends_the_process_and_a_full_disk_puts_it_off() {
        if let Ok(error) = std::env::var(SYNC_FAILS) {
            return put_off_a_snapshot(error.parse().unwrap());
        }
        let own = "a_snapshot_whose_sync_fails_ends_the_process_and_a_full_disk_puts_it_off";
        let ends_with = |error: i32| {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", &format!("apply_task::tests::{own}")]);
            child.env(SYNC_FAILS, error.to_string()).output().unwrap().status.code()
        };
        assert_eq!(ends_with(EIO), Some(crate::fatal::EXIT_STATUS));
        assert_eq!(ends_with(ENOSPC), Some(0));
    }

    /// Whoever stops the node may move its files away: nothing is written any more then, and nothing fails for want of them.
    #[test]
    fn a_snapshot_that_is_being_written_is_cut_off_before_the_thread_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (wiring, mut answered) = wiring_in(dir.path(), &Arc::new(Space::new(1 << 30)));
        let applier = Applier::empty(CLUSTER, KeySpace::default());
        let (thread, mut handle) = ApplyThread::start(applier, wiring).unwrap();
        let value = bytes::Bytes::from(vec![7; 1 << 20]);
        let put =
            |n: u64| Put { key: n.to_be_bytes().to_vec().into(), value: value.clone(), ..Put::default() };
        let puts = (1..=64).map(|n| command(n, KvOp::Put(put(n))));
        let items = [member_is_known()].into_iter().chain(puts).collect();
        handle.submit(ApplyTask::Entries { epoch: InstallEpoch(0), items });
        answered.blocking_recv().unwrap();
        handle.submit(ApplyTask::TakeSnapshot);
        let files = || std::fs::read_dir(dir.path().join("snap")).map_or(0, |files| files.count());
        let patience = Instant::now() + Duration::from_secs(30);
        while files() == 0 {
            assert!(Instant::now() < patience, "no snapshot is begun");
            std::thread::yield_now();
        }
        thread.stop();
        std::fs::remove_dir_all(dir.path().join("snap")).unwrap();
        let told = answered.blocking_recv();
        assert!(told.is_none(), "it was not finished, and nobody is left who writes: {told:?}");
    }

    #[test]
    fn the_space_that_a_compaction_frees_is_free_though_nothing_follows_it() {
        let dir = tempfile::tempdir().unwrap();
        let space = Arc::new(Space::new(1 << 20));
        let (wiring, mut answered) = wiring_in(dir.path(), &space);
        let applier = Applier::empty(CLUSTER, KeySpace::default());
        let (thread, mut handle) = ApplyThread::start(applier, wiring).unwrap();

        let key = |n: u64| bytes::Bytes::from(n.to_be_bytes().to_vec());
        let mut items = vec![member_is_known()];
        items.extend((1..=20_000).map(|n| command(n, KvOp::Put(Put { key: key(n), ..Put::default() }))));
        let all = KeyRange { key: key(0), end: bytes::Bytes::from_static(&[0]) };
        items.push(command(20_001, KvOp::DeleteRange(DeleteRange { range: all, prev_kv: false })));
        // The writes of the compacted revision itself stay: let them be few.
        items.push(command(20_002, KvOp::Put(Put { key: key(1), ..Put::default() })));
        handle.submit(ApplyTask::Entries { epoch: InstallEpoch(0), items });
        answered.blocking_recv().unwrap();
        assert!(space.shortage().quota, "40,000 rows are beyond the quota");
        let items = vec![command(20_003, KvOp::Compact(Compact { revision: 20_003 }))];
        handle.submit(ApplyTask::Entries { epoch: InstallEpoch(0), items });
        answered.blocking_recv().unwrap();
        let patience = Instant::now() + Duration::from_secs(30);
        while space.shortage().quota && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert!(!space.shortage().quota);
        thread.stop();
    }
}
