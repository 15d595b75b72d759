//! A sync that fails makes clean what it should have written: it reads well until the power is gone, and is nowhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use outrigger_core::types::{ClusterId, Index, Term};
use outrigger_sim::disk::SimDisk;
use outrigger_sim::random::Random;
use outrigger_storage::snapshot_store::{
    SnapshotError, SnapshotId, SnapshotInfo, SnapshotReader, SnapshotStore,
};

const ID: SnapshotId = SnapshotId { index: Index(7), term: Term(2) };

fn store(disk: &SimDisk) -> SnapshotStore {
    SnapshotStore::new(disk.shared(), Path::new("/data"), ClusterId(1))
}

fn sender(disk: &SimDisk) -> (SnapshotInfo, SnapshotReader) {
    let store = store(disk);
    let mut writer = store.begin(ID, b"header").unwrap();
    for part in 0..3 {
        writer.chunk(&[part; 5_000]).unwrap();
    }
    (writer.finish().unwrap(), store.open(ID).unwrap())
}

/// Sends what is missing, and gives it its name.
fn transfer(
    to: &SimDisk,
    info: SnapshotInfo,
    reader: &SnapshotReader,
) -> Result<SnapshotInfo, SnapshotError> {
    let mut incoming = store(to).incoming(info.into())?;
    let offset = incoming.offset();
    if offset < info.len {
        let piece = reader.read_range(offset, (info.len - offset) as usize)?;
        incoming.write_at(offset, &piece, crc32c::crc32c(&piece))?;
    }
    incoming.finish()
}

#[test]
fn a_snapshot_received_over_a_failed_sync_has_its_name_only_once_it_is_durable() {
    let (from, to) = (SimDisk::default(), SimDisk::default());
    let (info, reader) = sender(&from);
    // The data directory's own name is durable, as the start of a member sees to.
    to.shared().create_dir(Path::new("/data")).unwrap();
    to.shared().sync_dir(Path::new("/")).unwrap();
    to.with_faults(|faults| faults.failing_sync = true);
    assert!(matches!(transfer(&to, info, &reader), Err(SnapshotError::Io(_))), "the sync fails");
    // All of it is there to be read, so the peer has nothing to send; and the disk has none of it.
    let again = transfer(&to, info, &reader);
    assert!(matches!(again, Err(SnapshotError::Damaged { .. })), "{again:?}");
    assert_eq!(transfer(&to, info, &reader).unwrap(), info);
    to.lose_power(&mut Random::new(1, 1));
    let received = store(&to).open(ID).unwrap();
    assert_eq!(received.chunks().map(|chunk| chunk.unwrap().len()).sum::<usize>(), 15_000);
}
