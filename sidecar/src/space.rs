//! How much space there is: what the log's thread and the applier measure, for the driver to tell the node.
//!
//! May import: core's events and status. Deliberately absent: what follows from it (core refuses, the log's thread keeps
//! the reserve), and clearing anything by hand: a shortage ends when there is space again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use outrigger_core::event::Event;
use outrigger_core::status::Shortage;

/// A snapshot has a header and checksums beside the state.
const SNAPSHOT_OVERHEAD_BYTES: u64 = 4 << 20;

/// Written by those who measure, read by the driver; never waits.
#[derive(Debug)]
pub struct Space {
    quota_bytes: u64,
    state_bytes: AtomicU64,
    disk_full: AtomicBool,
    log_full: AtomicBool,
    snapshots_due: AtomicU64,
    reserve_lost: AtomicBool,
}

impl Space {
    /// Room everywhere; the state may take `quota_bytes`.
    #[must_use]
    pub const fn new(quota_bytes: u64) -> Self {
        Self {
            quota_bytes,
            state_bytes: AtomicU64::new(0),
            disk_full: AtomicBool::new(false),
            log_full: AtomicBool::new(false),
            snapshots_due: AtomicU64::new(0),
            reserve_lost: AtomicBool::new(false),
        }
    }

    /// The applier published a state of this size.
    pub fn state_measured(&self, bytes: u64) {
        self.state_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The log's thread asked the disk: whether it is too full for the reserve, and whether the log has no room left
    /// without it.
    pub fn disk_measured(&self, is_full: bool, is_log_full: bool) {
        self.disk_full.store(is_full, Ordering::Relaxed);
        self.log_full.store(is_log_full, Ordering::Relaxed);
    }

    /// The disk is full and the log has taken of its reserve: only a snapshot gives that back.
    pub fn snapshot_is_due(&self) {
        self.snapshots_due.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot failed, maybe in the reserve: what is left of that is unknown.
    pub fn snapshot_failed(&self) {
        self.reserve_lost.store(true, Ordering::Relaxed);
    }

    /// Whether one failed since this was asked last.
    #[must_use]
    pub fn take_snapshot_failed(&self) -> bool {
        self.reserve_lost.swap(false, Ordering::Relaxed)
    }

    /// What a snapshot of the state may take on the disk.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        let state = self.state_bytes.load(Ordering::Relaxed);
        state.saturating_add(state / 16).saturating_add(SNAPSHOT_OVERHEAD_BYTES)
    }

    /// What is short now.
    #[must_use]
    pub fn shortage(&self) -> Shortage {
        Shortage {
            disk: self.disk_full.load(Ordering::Relaxed),
            quota: self.state_bytes.load(Ordering::Relaxed) >= self.quota_bytes,
            log: self.log_full.load(Ordering::Relaxed),
        }
    }
}

/// The driver's eye on it: tells what changed since it looked last.
#[derive(Debug)]
pub struct SpaceWatch {
    space: Arc<Space>,
    told: Shortage,
    due_told: u64,
}

impl SpaceWatch {
    /// Nothing was told yet.
    #[must_use]
    pub fn new(space: Arc<Space>) -> Self {
        Self { space, told: Shortage::default(), due_told: 0 }
    }

    /// What the node is to be told now.
    pub fn news(&mut self) -> impl Iterator<Item = Event> + use<> {
        let shortage = self.space.shortage();
        let due = self.space.snapshots_due.load(Ordering::Relaxed);
        let changed = (shortage != self.told).then_some(Event::Shortage(shortage));
        let snapshot = (due != self.due_told).then_some(Event::SnapshotDue);
        (self.told, self.due_told) = (shortage, due);
        changed.into_iter().chain(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_told_of_each_change_once_and_the_end_of_a_shortage_too() {
        let space = Arc::new(Space::new(100));
        let mut watch = SpaceWatch::new(Arc::clone(&space));
        let mut told = || watch.news().map(|event| format!("{event:?}")).collect::<Vec<_>>().join(" ");
        assert_eq!(told(), "");
        space.state_measured(99);
        assert_eq!(told(), "");
        space.state_measured(100);
        assert_eq!(told(), "Shortage(Shortage { disk: false, quota: true, log: false })");
        assert_eq!(told(), "");
        space.disk_measured(true, false);
        space.snapshot_is_due();
        assert_eq!(told(), "Shortage(Shortage { disk: true, quota: true, log: false }) SnapshotDue");
        space.state_measured(5);
        space.disk_measured(false, false);
        assert_eq!(told(), "Shortage(Shortage { disk: false, quota: false, log: false })");
        assert!(space.snapshot_bytes() > 5);
    }
}
