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

/// Sends what is missing, and gives it its name; the sync before that may fail.
fn transfer(
    to: &SimDisk,
    (info, reader): &(SnapshotInfo, SnapshotReader),
    fails: bool,
) -> Result<SnapshotInfo, SnapshotError> {
    let mut incoming = store(to).incoming((*info).into())?;
    let offset = incoming.offset();
    if offset < info.len {
        let piece = reader.read_range(offset, (info.len - offset) as usize)?;
        incoming.write_at(offset, &piece, crc32c::crc32c(&piece))?;
    }
    to.with_faults(|faults| faults.failing_sync = fails);
    incoming.finish()
}

/// A disk on which the data directory's own name is durable, as the start of a member sees to.
fn empty() -> SimDisk {
    let disk = SimDisk::default();
    disk.shared().create_dir(Path::new("/data")).unwrap();
    disk.shared().sync_dir(Path::new("/")).unwrap();
    disk
}

/// The scenario, and a power cut behind it, with each of some fates of what was not synced.
fn is_there_after_a_power_cut(scenario: impl Fn(&SimDisk)) {
    for fate in 1..=16 {
        let disk = empty();
        scenario(&disk);
        disk.lose_power(&mut Random::new(fate, 1));
        let received = store(&disk).open(ID).unwrap();
        assert_eq!(received.chunks().map(|chunk| chunk.unwrap().len()).sum::<usize>(), 15_000);
    }
}

#[test]
fn a_snapshot_received_over_a_failed_sync_has_its_name_only_once_it_is_durable() {
    let sent = sender(&empty());
    is_there_after_a_power_cut(|to| {
        assert!(matches!(transfer(to, &sent, true), Err(SnapshotError::Io(_))), "the sync fails");
        // All of it is there to be read, so the peer has nothing to send; and the disk has none of it.
        let again = transfer(to, &sent, false);
        assert!(matches!(again, Err(SnapshotError::Damaged { .. })), "{again:?}");
        assert_eq!(transfer(to, &sent, false).unwrap(), sent.0);
    });
}

#[test]
fn a_snapshot_received_after_its_directorys_name_could_not_be_synced_is_durable_all_the_same() {
    let sent = sender(&empty());
    is_there_after_a_power_cut(|to| {
        to.with_faults(|faults| faults.failing_sync = true);
        let opened = store(to).incoming(sent.0.into());
        assert!(matches!(opened, Err(SnapshotError::Io(_))), "the directory's sync fails");
        assert_eq!(transfer(to, &sent, false).unwrap(), sent.0);
    });
}
