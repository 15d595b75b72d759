//! A log on such a disk, and what tests put into it.

use std::path::PathBuf;

use bytes::Bytes;
use outrigger_core::log::{Batch, Entry, EntryKind, HardState, SnapshotKind, SnapshotMark};
use outrigger_core::types::{BatchNumber, ClusterId, Index, MemberId, Term};

use super::SimFs;
use crate::fs::FileSystem;
use crate::snapshot_store::{SnapshotId, SnapshotStore};
use crate::wal::{OpenError, Opened, Wal, WalOptions};

pub(crate) const CLUSTER: ClusterId = ClusterId(0xC1);
pub(crate) const MEMBER: MemberId = MemberId(0xA1);
pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;

pub(crate) fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

pub(crate) fn options() -> WalOptions {
    WalOptions { segment_size_bytes: SEGMENT_BYTES, ..WalOptions::new(CLUSTER, MEMBER) }
}

pub(crate) fn open(fs: &SimFs) -> Result<Opened, OpenError> {
    Wal::open(fs.shared(), &data_dir(), options())
}

pub(crate) fn segment_path(segment: u64) -> PathBuf {
    data_dir().join("wal").join(crate::segment::file_name(MEMBER, segment))
}

/// The numbers of the segments that are there.
pub(crate) fn segments(fs: &SimFs) -> Vec<u64> {
    let entries = fs.list(&data_dir().join("wal")).unwrap();
    entries.iter().filter_map(|entry| crate::segment::parse_file_name(&entry.name)).map(|(_, n)| n).collect()
}

pub(crate) fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let data = Bytes::from(vec![(index % 251) as u8 + 1; bytes]);
    Entry { index: Index(index), term: Term(term), kind: EntryKind::Normal, data, context: Bytes::new() }
}

/// A batch of entries, with a hard state that commits all but the last of them.
pub(crate) fn batch(number: u64, indexes: std::ops::Range<u64>, term: u64, bytes: usize) -> Batch {
    let commit = Index(indexes.end.saturating_sub(2));
    Batch {
        number: BatchNumber(number),
        entries: indexes.map(|index| entry(index, term, bytes)).collect(),
        hard_state: Some(HardState { term: Term(term), vote: MEMBER, commit }),
        ..Batch::default()
    }
}

pub(crate) fn mark_batch(number: u64, kind: SnapshotKind, index: u64, term: u64) -> Batch {
    let mark = Some(SnapshotMark { kind, index: Index(index), term: Term(term) });
    Batch { number: BatchNumber(number), mark, ..Batch::default() }
}

/// Writes a whole snapshot.
pub(crate) fn write_snapshot(fs: &SimFs, index: u64, term: u64) {
    let store = SnapshotStore::new(fs.shared(), &data_dir(), CLUSTER);
    let id = SnapshotId { index: Index(index), term: Term(term) };
    let mut writer = store.begin(id, b"header").unwrap();
    writer.chunk(b"chunk").unwrap();
    writer.finish().unwrap();
}
