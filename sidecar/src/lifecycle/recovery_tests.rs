//! Recovery over real files: what is read back, and what cannot be.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use outrigger_core::log::{Batch, Entry, EntryKind, HardState};
use outrigger_core::membership::{RosterEntry, Route};
use outrigger_core::types::{BatchNumber, ClusterId, MemberId, Term};
use outrigger_storage::fs::RealFs;
use outrigger_storage::segment::{file_name, wal_dir};

use crate::faulty_fs::FaultyFs;
use outrigger_core::node::NodeConfig;
use outrigger_core::types::Index;
use outrigger_member::founding::{Ground, found};
use outrigger_member::recovery::{Recovered, RecoveryError, is_forming, recover};
use outrigger_storage::fs::FileSystem;
use outrigger_storage::{OpenError, Wal, WalOptions};

const CLUSTER: ClusterId = ClusterId(0xC1);
const MEMBER: MemberId = MemberId(5);
/// A membership entry (2) that holds an empty message in field 3: `Formed`.
const FORMED: &[u8] = &[2, 0x1a, 0];

fn options() -> WalOptions {
    WalOptions { segment_size_bytes: 8 << 20, must_exist: true, ..WalOptions::new(CLUSTER, MEMBER) }
}

fn entry(index: u64, term: u64, data: &'static [u8]) -> Entry {
    let (index, data, context) = (Index(index), Bytes::from_static(data), Bytes::new());
    Entry { index, term: Term(term), kind: EntryKind::Normal, data, context }
}

#[test]
fn a_log_is_forming_while_it_holds_the_entry_whether_it_is_applied_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let own = Route { id: MEMBER, name: "orders-0".to_string(), ..Route::default() };
    let roster = [RosterEntry { name: own.name.clone(), learner: false }];
    let (fs, path, segment_size_bytes) = (&fs, dir.path(), options().segment_size_bytes);
    let ground = Ground { fs, dir: path, cluster: CLUSTER, member: MEMBER, segment_size_bytes };
    found(ground, &own, &roster, &[]).unwrap();
    let forming = || is_forming(Arc::clone(fs), path, options()).unwrap();
    assert!(!forming(), "just founded");
    let append = |entries: Vec<Entry>| {
        let mut log = Wal::open(Arc::clone(fs), path, options()).unwrap();
        log.writer.append(&[Batch { number: BatchNumber(1), entries, ..Batch::default() }]).unwrap();
    };
    append(vec![entry(2, 2, b""), entry(3, 2, FORMED), entry(4, 2, b"")]);
    assert!(forming(), "appended and nowhere committed");
    append(vec![entry(3, 3, b"")]);
    assert!(!forming(), "overwritten by a leader that does not have it");
}

fn recover_from(fs: &FaultyFs, dir: &Path) -> Result<Recovered, RecoveryError> {
    let own = Route { id: MemberId(1), name: "a".into(), ..Route::default() };
    let config = NodeConfig {
        cluster: CLUSTER,
        own,
        nonce: 1,
        boot: 1,
        election_ticks: 10,
        max_pending: 10,
        max_command_bytes: 1 << 20,
        snapshot_every_bytes: 1 << 20,
        trailing_bytes: 0,
    };
    let options =
        WalOptions { segment_size_bytes: 1 << 20, must_exist: true, ..WalOptions::new(CLUSTER, MemberId(1)) };
    recover(Arc::new(fs.clone()), dir, options, config)
}

/// A log of three frames.
fn written(dir: &Path) {
    let options = WalOptions { segment_size_bytes: 1 << 20, ..WalOptions::new(CLUSTER, MemberId(1)) };
    let mut writer = Wal::open(Arc::new(FaultyFs::default()), dir, options).unwrap().writer;
    for number in 1..=3 {
        let entry = Entry {
            index: Index(number),
            term: Term(1),
            kind: EntryKind::Normal,
            data: Bytes::new(),
            context: Bytes::new(),
        };
        let hard_state = Some(HardState { term: Term(1), vote: MemberId(1), commit: Index(number) });
        let entries = vec![entry];
        writer
            .append(&[Batch { number: BatchNumber(number), entries, hard_state, ..Batch::default() }])
            .unwrap();
    }
}

#[test]
fn a_disk_that_cannot_be_read_ends_the_process_and_damage_does_not() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let fs = FaultyFs::default();
    recover_from(&fs, dir.path()).unwrap();
    fs.0.unreadable.store(true, Ordering::Relaxed);
    let unreadable = recover_from(&fs, dir.path()).unwrap_err();
    assert!(unreadable.is_of_the_disk(), "{unreadable:?}");
    fs.0.unreadable.store(false, Ordering::Relaxed);

    let path = wal_dir(dir.path()).join(file_name(MemberId(1), 1));
    let mut bytes = std::fs::read(&path).unwrap();
    // The first frame's payload, with two valid frames behind it.
    bytes[4096 + 100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let damaged = recover_from(&fs, dir.path()).unwrap_err();
    assert!(matches!(damaged, RecoveryError::Open(OpenError::Corruption { .. })), "{damaged:?}");
    assert!(!damaged.is_of_the_disk(), "the member stays up to say what is broken");
}
