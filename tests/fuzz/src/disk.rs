//! What a member reads from its disk, and takes in from a peer to write there.

use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use outrigger_core::log::{Batch, Entry, EntryKind, HardState};
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_core::types::{BatchNumber, ClusterId, Index, MemberId, Term};
use outrigger_sim::disk::SimDisk;
use outrigger_storage::fs::FileSystem as _;
use outrigger_storage::segment::{file_name, wal_dir};
use outrigger_storage::snapshot_store::{SnapshotId, SnapshotStore, Transfer};
use outrigger_storage::{Wal, WalOptions};

use crate::edited;

const CLUSTER: ClusterId = ClusterId(0xc1);
const MEMBER: MemberId = MemberId(0xa1);
const SEGMENT_BYTES: u64 = 64 << 10;

fn dir() -> PathBuf {
    PathBuf::from("/data")
}

fn options() -> WalOptions {
    WalOptions { segment_size_bytes: SEGMENT_BYTES, ..WalOptions::new(CLUSTER, MEMBER) }
}

/// The segment that a member has written in a few frames.
fn segment() -> &'static [u8] {
    static SEGMENT: OnceLock<Vec<u8>> = OnceLock::new();
    SEGMENT.get_or_init(|| {
        let disk = SimDisk::default();
        let Ok(mut log) = Wal::open(disk.shared(), &dir(), options()) else { return Vec::new() };
        for number in 1..=8 {
            let entry = Entry {
                index: Index(number),
                term: Term(1),
                kind: EntryKind::Normal,
                data: Bytes::from(vec![number as u8; 100 * number as usize]),
                context: Bytes::new(),
            };
            let hard_state = Some(HardState { term: Term(1), vote: MEMBER, commit: Index(number - 1) });
            let batch =
                Batch { number: BatchNumber(number), entries: vec![entry], hard_state, ..Batch::default() };
            // A log on an empty disk takes what follows what it has.
            drop(log.writer.append(&[batch]));
        }
        disk.content(&wal_dir(&dir()).join(file_name(MEMBER, 1))).unwrap_or_default()
    })
}

/// A log whose segment was changed is opened, and read as far as it says that it goes.
pub fn wal_recovery(script: &[u8]) {
    let disk = SimDisk::default();
    let path = wal_dir(&dir()).join(file_name(MEMBER, 1));
    let written = disk.create_dir(&wal_dir(&dir())).and_then(|()| disk.create(&path)).and_then(|file| {
        let bytes = if script.first() == Some(&0xff) { script.to_vec() } else { edited(segment(), script) };
        file.write_at(&bytes, 0)?;
        file.sync_all()
    });
    if written.is_err() {
        return;
    }
    if let Ok(opened) = Wal::open(disk.shared(), &dir(), options()) {
        let (first, end) = (opened.recovered.first_index, opened.recovered.last_index.next());
        if first < end {
            // Whatever it says, it is an answer.
            drop(opened.reader.read(first..end, 1 << 20));
        }
    }
}

/// A snapshot's file, changed on its way or made up, is received and read.
pub fn snapshot(script: &[u8]) {
    let disk = SimDisk::default();
    let store = SnapshotStore::new(disk.shared(), &dir(), CLUSTER);
    let id = SnapshotId { index: Index(7), term: Term(2) };
    let original = || {
        let mut writer = store.begin(id, b"header").ok()?;
        writer.chunk(&[7; 300]).ok()?;
        writer.chunk(&[8; 5]).ok()?;
        writer.finish().ok()?;
        store.open(id).ok()?.read_range(0, 1 << 20).ok()
    };
    let Some(original) = original() else { return };
    let bytes = edited(&original, script);
    let transfer = Transfer { id, crc: crc32c::crc32c(&bytes), len: bytes.len() as u64 };
    let Ok(mut incoming) = store.incoming(transfer) else { return };
    let arrived = incoming.write_at(0, &bytes, transfer.crc).is_ok() && incoming.finish().is_ok();
    if let Some(reader) = arrived.then(|| store.open(id).ok()).flatten() {
        let chunks: usize = reader.chunks().take_while(Result::is_ok).count();
        assert!(chunks <= bytes.len(), "more chunks than bytes");
    }
}

/// What travels in raft's snapshot message, and begins a snapshot's file.
pub fn snapshot_header(bytes: &[u8]) {
    if let Ok(header) = SnapshotHeader::decode(bytes) {
        let again = SnapshotHeader::decode(&header.encode());
        assert_eq!(again.as_ref(), Ok(&header), "a header survives its bytes");
    }
}
