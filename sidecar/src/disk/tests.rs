//! The log's thread on a disk that fills up and empties again.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use outrigger_core::log::EntryKind;
use outrigger_core::status::Shortage;
use outrigger_core::types::{BatchNumber, ClusterId, MemberId, Term};
use outrigger_storage::{Wal, WalOptions};

use super::*;
use crate::faulty_fs::FaultyFs;
use crate::space::SpaceWatch;

const SEGMENT_BYTES: u64 = 1 << 20;
const CLUSTER: ClusterId = ClusterId(0xc1);

struct Bench {
    fs: FaultyFs,
    log: WalLog,
    space: Arc<Space>,
    watch: SpaceWatch,
    next: u64,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fs = FaultyFs::default();
        let shared: Arc<dyn outrigger_storage::fs::FileSystem> = Arc::new(fs.clone());
        let options =
            WalOptions { segment_size_bytes: SEGMENT_BYTES, ..WalOptions::new(CLUSTER, MemberId(1)) };
        let writer = Wal::open(Arc::clone(&shared), dir.path(), options).unwrap().writer;
        let snapshots = SnapshotStore::new(shared, dir.path(), CLUSTER);
        let space = Arc::new(Space::new(u64::MAX));
        let log = WalLog::new(writer, snapshots, SEGMENT_BYTES, Arc::new(Metrics::new()), Arc::clone(&space));
        let watch = SpaceWatch::new(Arc::clone(&space));
        let mut bench = Self { fs, log, space, watch, next: 1, _dir: dir };
        // The first segment is a spare, too.
        bench.append(1);
        bench
    }

    /// One entry of so many KiB.
    fn append(&mut self, kib: usize) {
        let entry = outrigger_core::log::Entry {
            index: Index(self.next),
            term: Term(1),
            kind: EntryKind::Normal,
            data: Bytes::from(vec![1; kib << 10]),
            context: Bytes::new(),
        };
        let number = BatchNumber(self.next);
        self.log.append(&[Batch { number, entries: vec![entry], ..Batch::default() }]).unwrap();
        self.next += 1;
    }

    /// As the log's thread does when it has nothing else to do.
    fn idle(&mut self) -> Prepared {
        loop {
            match self.log.prepare_spare().unwrap() {
                Prepared::More => {}
                other @ (Prepared::Done | Prepared::Later(_)) => return other,
            }
        }
    }

    /// As time would.
    fn let_the_retry_come(&mut self) {
        self.log.ask_again = self.log.ask_again.map(|_| Instant::now());
    }

    fn snapshots_asked_for(&mut self) -> usize {
        self.watch.news().filter(|event| matches!(event, outrigger_core::event::Event::SnapshotDue)).count()
    }
}

const FULL: Shortage = Shortage { disk: true, quota: false, log: false };

#[test]
fn an_idle_log_keeps_two_segments_and_the_room_of_a_snapshot() {
    let mut bench = Bench::new();
    bench.space.state_measured(10 << 20);
    assert_eq!(bench.idle(), Prepared::Done);
    let usage = bench.log.writer.usage();
    assert!(usage.is_reserve_complete);
    assert!(bench.log.snapshots.reserved().unwrap() >= bench.space.snapshot_bytes());
    assert_eq!(bench.space.shortage(), Shortage::default());
}

#[test]
fn a_full_disk_is_told_while_it_lasts_and_the_reserve_comes_back_by_itself() {
    let mut bench = Bench::new();
    assert_eq!(bench.idle(), Prepared::Done);
    bench.fs.0.full.store(true, Ordering::Relaxed);
    bench.append(900);
    assert_eq!(bench.space.shortage(), Shortage::default(), "the reserve is whole: nothing is short yet");
    bench.append(900);
    assert_eq!(bench.space.shortage(), FULL, "told at once, though the log is not idle");
    assert_eq!(bench.snapshots_asked_for(), 1);
    assert_eq!(bench.idle(), Prepared::Later(RESERVE_RETRY), "and asked again without an append");
    bench.append(10);
    assert_eq!(bench.snapshots_asked_for(), 0, "one snapshot is enough for so little");
    bench.append(900);
    assert_eq!(bench.snapshots_asked_for(), 1);
    assert_eq!(bench.space.shortage(), Shortage { log: true, ..FULL }, "the rest of one segment is left");
    bench.fs.0.full.store(false, Ordering::Relaxed);
    bench.let_the_retry_come();
    assert_eq!(bench.idle(), Prepared::Done);
    assert_eq!(bench.space.shortage(), Shortage::default());
    assert!(bench.log.writer.usage().is_reserve_complete);
}

#[test]
fn a_state_that_outgrows_the_snapshots_reserve_is_told_before_a_snapshot_needs_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.idle(), Prepared::Done);
    bench.fs.0.full.store(true, Ordering::Relaxed);
    bench.space.state_measured(100 << 20);
    bench.append(1);
    assert_eq!(bench.space.shortage(), FULL);
    assert_eq!(bench.snapshots_asked_for(), 0, "it would only use up what is reserved for it");
    bench.space.state_measured(64 << 10);
    bench.let_the_retry_come();
    assert_eq!(bench.idle(), Prepared::Done);
    assert_eq!(bench.space.shortage(), Shortage::default(), "deletes and a compaction are a way out, too");
}

#[test]
fn a_snapshot_that_failed_has_its_reserve_looked_at_anew() {
    let mut bench = Bench::new();
    assert_eq!(bench.idle(), Prepared::Done);
    let id = outrigger_storage::snapshot_store::SnapshotId { index: Index(1), term: Term(1) };
    drop(bench.log.snapshots.begin_in_reserve(id, b"h").unwrap());
    bench.log.snapshots.discard_unfinished(id).unwrap();
    bench.space.snapshot_failed();
    assert_eq!(bench.idle(), Prepared::Done);
    assert!(bench.log.snapshots.reserved().unwrap() >= bench.space.snapshot_bytes());
}
