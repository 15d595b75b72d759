//! Takes the applier's snapshots: one at a time, each on a thread of its own, from the state's immutable view.
//!
//! May import: core's applier, `snapshots`, `apply_task`'s wiring. Deliberately absent: when to take one (the node says, or
//! somebody outside), and what is in one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outrigger_core::applier::Applier;
use outrigger_core::event::Event;
use outrigger_core::mvcc::View;
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_core::state_machine::StateMachine;
use tokio::sync::oneshot;

use crate::apply_task::ApplyWiring;
use crate::snapshots::FileError;

/// A disk that refuses a snapshot (it is full) is asked again after this; meanwhile nothing of the log is released.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Somebody outside wants one that begins after the one that is being written.
const AFTER_ANOTHER: Duration = Duration::from_millis(100);

/// Asks for a snapshot again, after this long.
type Again = Arc<dyn Fn(Duration) + Send + Sync>;

/// See the module.
pub(crate) struct SnapshotTaker {
    wiring: ApplyWiring,
    again: Again,
    is_taking: Arc<AtomicBool>,
    is_stopped: Arc<AtomicBool>,
    /// The one that writes, or wrote last.
    thread: Option<JoinHandle<()>>,
    /// Who is told of the next one.
    outside: Vec<oneshot::Sender<SnapshotHeader>>,
}

impl SnapshotTaker {
    pub(crate) fn new(wiring: ApplyWiring, again: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self {
            wiring,
            again: Arc::new(again),
            is_taking: Arc::default(),
            is_stopped: Arc::default(),
            thread: None,
            outside: Vec::new(),
        }
    }

    /// As [`SnapshotTaker::take`]; tells `reply` once one that was begun after this call is durable.
    pub(crate) fn take_for<S: StateMachine<View = View>>(
        &mut self,
        reply: oneshot::Sender<SnapshotHeader>,
        applier: &Applier<S>,
    ) {
        self.outside.push(reply);
        self.take(applier);
    }

    /// Writes the state as it stands from its immutable view, on a thread of its own: applying goes on. A full disk is asked
    /// again later; one that fails ends the process.
    pub(crate) fn take<S: StateMachine<View = View>>(&mut self, applier: &Applier<S>) {
        if self.is_taking.swap(true, Ordering::AcqRel) {
            if !self.outside.is_empty() {
                (self.again)(AFTER_ANOTHER);
            }
            return;
        }
        let (header, view) = (applier.header(), applier.view());
        let outside = std::mem::take(&mut self.outside);
        let (wiring, again) = (self.wiring.clone(), Arc::clone(&self.again));
        let (is_taking, is_stopped) = (Arc::clone(&self.is_taking), Arc::clone(&self.is_stopped));
        let write = move || {
            let started = Instant::now();
            let is_wanted = || !is_stopped.load(Ordering::Acquire);
            let written = wiring.snapshots.write_while(&header, || S::snapshot_chunks(&view), is_wanted);
            is_taking.store(false, Ordering::Release);
            match written {
                Ok(size_bytes) => {
                    wiring.metrics.snapshot_durable(header.index.0, size_bytes, Some(started.elapsed()));
                    for reply in outside {
                        drop(reply.send(header.clone()));
                    }
                    drop(wiring.answers.send(Event::SnapshotTaken { header, size_bytes }));
                }
                Err(FileError::CutOff) => {}
                // As with the log: after a failed sync the pages are marked clean, and nobody knows what is on the disk.
                Err(error) if error.is_of_the_disk() && !error.is_no_space() => {
                    crate::fatal::exit("a snapshot cannot be written", &error)
                }
                Err(error) => {
                    wiring.space.snapshot_failed();
                    let error = crate::transport::dial::chain(&error);
                    tracing::error!(
                        index = header.index.0,
                        error,
                        "a snapshot cannot be written; trying again"
                    );
                    again(AFTER_FAILURE);
                }
            }
        };
        match std::thread::Builder::new().name("snapshot".to_string()).spawn(write) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => {
                self.is_taking.store(false, Ordering::Release);
                tracing::error!(%error, "no thread for a snapshot");
                (self.again)(AFTER_FAILURE);
            }
        }
    }

    /// Cuts a snapshot that is being written off, and returns once nothing is written any more: whoever stops the node may
    /// move its files away, and what failed for want of them would be taken for a failing disk.
    pub(crate) fn stop(self) {
        self.is_stopped.store(true, Ordering::Release);
        drop(self.thread.map(JoinHandle::join));
    }
}
