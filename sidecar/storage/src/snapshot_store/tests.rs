//! A snapshot is whole or refused, wherever it is cut or flipped, and a transfer goes on where it broke off.

use bytes::Bytes;
use outrigger_core::log::SnapshotKind;

use super::*;
use crate::testing::*;

const ID: SnapshotId = SnapshotId { index: Index(10), term: Term(2) };
const MARK: SnapshotMark = SnapshotMark { kind: SnapshotKind::Taken, index: ID.index, term: ID.term };

fn store(fs: &SimFs) -> SnapshotStore {
    SnapshotStore::new(fs.shared(), &data_dir(), CLUSTER)
}

fn chunks() -> Vec<Vec<u8>> {
    (0..4u8).map(|number| vec![number + 1; 300 * (usize::from(number) + 1)]).collect()
}

fn write(store: &SnapshotStore, id: SnapshotId) -> SnapshotInfo {
    let mut writer = store.begin(id, b"the header").unwrap();
    for chunk in chunks() {
        writer.chunk(&chunk).unwrap();
    }
    let bytes = writer.bytes();
    let info = writer.finish().unwrap();
    assert!(info.len > bytes);
    info
}

#[test]
fn a_snapshot_is_read_as_it_was_written_and_survives_a_power_cut() {
    let fs = SimFs::new();
    let info = write(&store(&fs), ID);
    let fs = fs.crash(|| false);
    let reader = store(&fs).open(ID).unwrap();
    assert_eq!(reader.info(), info);
    assert_eq!(reader.header(), &Bytes::from_static(b"the header"));
    let read: Vec<_> = reader.chunks().map(|chunk| chunk.unwrap().to_vec()).collect();
    assert_eq!(read, chunks());
    let raw = fs.bytes(&store(&fs).path(ID));
    assert_eq!((raw.len() as u64, crc32c::crc32c(&raw)), (info.len, info.crc), "what peers compare");
}

#[test]
fn a_snapshot_cut_at_any_byte_is_refused() {
    let fs = SimFs::new();
    let info = write(&store(&fs), ID);
    let path = store(&fs).path(ID);
    let whole = fs.bytes(&path);
    for cut in 0..info.len as usize {
        fs.patch(&path, |bytes| *bytes = whole[..cut].to_vec());
        assert!(store(&fs).verify(&MARK).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_snapshot_flipped_at_any_byte_is_refused() {
    let fs = SimFs::new();
    let info = write(&store(&fs), ID);
    let path = store(&fs).path(ID);
    for at in 0..info.len as usize {
        fs.patch(&path, |bytes| bytes[at] ^= 0x04);
        assert!(store(&fs).verify(&MARK).is_err(), "byte {at}");
        fs.patch(&path, |bytes| bytes[at] ^= 0x04);
    }
    assert_eq!(store(&fs).verify(&MARK).unwrap(), info);
}

#[test]
fn chunks_in_another_order_are_refused() {
    let fs = SimFs::new();
    let mut writer = store(&fs).begin(ID, b"").unwrap();
    writer.chunk(b"one").unwrap();
    writer.chunk(b"two").unwrap();
    writer.finish().unwrap();
    fs.patch(&store(&fs).path(ID), |bytes| {
        let start = format::PREFACE_BYTES;
        bytes[start..start + 22].rotate_left(11);
    });
    let first = store(&fs).open(ID).unwrap().chunks().next().unwrap();
    assert!(matches!(first, Err(SnapshotError::Damaged { offset: 48, .. })), "{first:?}");
}

#[test]
fn nobody_sees_a_snapshot_before_it_is_finished() {
    let fs = SimFs::new();
    let mut writer = store(&fs).begin(ID, b"").unwrap();
    writer.chunk(b"one").unwrap();
    assert_eq!(store(&fs).list().unwrap(), []);
    assert!(matches!(store(&fs).open(ID), Err(SnapshotError::NotFound { .. })));
    drop(writer);
    assert_eq!(store(&fs).discard_unmarked(None).unwrap(), 1);
    assert_eq!(store(&fs).usage().unwrap(), SnapshotUsage::default());
}

#[test]
fn a_crash_at_any_step_leaves_no_snapshot_or_a_whole_one() {
    let mut outcomes = std::collections::BTreeSet::new();
    for stop in 0.. {
        let fs = SimFs::new();
        fs.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
        let written = store(&fs).begin(ID, b"h").and_then(|mut writer| {
            writer.chunk(b"one")?;
            writer.finish()
        });
        let mut bits = [true, false, false].into_iter().cycle();
        let after = fs.crash(|| bits.next().unwrap());
        let listed = store(&after).list().unwrap();
        if let [id] = listed.as_slice() {
            assert_eq!(*id, ID);
            assert!(store(&after).verify(&MARK).is_ok(), "step {stop}");
        }
        outcomes.insert(listed.len());
        if written.is_ok() {
            assert_eq!(listed, [ID]);
            break;
        }
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [0, 1]);
}

/// The first process left whatever it came to; the power cut comes much later.
#[test]
fn what_is_written_after_a_kill_at_any_step_survives_a_power_cut() {
    for stop in 0..8 {
        let fs = SimFs::new();
        fs.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
        drop(store(&fs).begin(ID, b"h"));
        fs.set_faults(Faults::default());
        let info = write(&store(&fs), ID);
        let after = fs.crash(|| false);
        assert_eq!(store(&after).verify(&MARK).unwrap(), info, "killed at step {stop}");
    }
}

#[test]
fn a_snapshot_of_another_cluster_or_another_name_is_refused() {
    let fs = SimFs::new();
    write(&store(&fs), ID);
    let other = SnapshotStore::new(fs.shared(), &data_dir(), ClusterId(99));
    assert!(matches!(other.open(ID), Err(SnapshotError::OtherCluster { found: CLUSTER, .. })));
    let renamed = SnapshotId { index: Index(11), ..ID };
    fs.rename(&store(&fs).path(ID), &store(&fs).path(renamed)).unwrap();
    assert!(matches!(store(&fs).open(renamed), Err(SnapshotError::OtherSnapshot { found: ID, .. })));
}

#[test]
fn purge_keeps_the_newest_marked_and_what_is_newer() {
    let fs = SimFs::new();
    let ids: Vec<_> = [5, 10, 15].map(|index| SnapshotId { index: Index(index), term: Term(2) }).into();
    for id in &ids {
        write(&store(&fs), *id);
    }
    let open = store(&fs).open(ids[0]).unwrap();
    assert_eq!(store(&fs).purge(&MARK).unwrap(), 1);
    assert_eq!(store(&fs).list().unwrap(), ids[1..]);
    assert_eq!(open.chunks().filter(Result::is_ok).count(), 4, "an open one stays readable");
    assert_eq!(store(&fs).discard_unmarked(Some(&MARK)).unwrap(), 1);
    assert_eq!(store(&fs).list().unwrap(), [ID]);
}

#[test]
fn a_part_that_is_empty_or_too_large_is_refused() {
    let fs = SimFs::new();
    let mut writer = store(&fs).begin(ID, b"").unwrap();
    for bytes in [0, MAX_CHUNK_BYTES + 1] {
        let refused = writer.chunk(&vec![0; bytes]);
        assert!(matches!(refused, Err(SnapshotError::PartSize { .. })), "{bytes}");
    }
}

fn piece(reader: &SnapshotReader, offset: u64) -> (Bytes, u32) {
    let bytes = reader.read_range(offset, 700).unwrap();
    let crc = crc32c::crc32c(&bytes);
    (bytes, crc)
}

#[test]
fn a_transfer_goes_on_where_it_broke_off() {
    let (from, to) = (SimFs::new(), SimFs::new());
    let info = write(&store(&from), ID);
    let reader = store(&from).open(ID).unwrap();
    let mut offset = 0;
    let mut streams = 0;
    while offset < info.len {
        // Every piece comes over a stream of its own, of a process of its own.
        let mut incoming = store(&to).incoming(info.into()).unwrap();
        assert_eq!(incoming.offset(), offset);
        let (bytes, crc) = piece(&reader, offset);
        assert!(matches!(incoming.write_at(offset + 1, &bytes, crc), Err(SnapshotError::OutOfOrder { .. })));
        assert!(matches!(incoming.write_at(offset, &bytes, crc ^ 1), Err(SnapshotError::BadPiece { .. })));
        incoming.write_at(offset, &bytes, crc).unwrap();
        offset += bytes.len() as u64;
        streams += 1;
        if offset < info.len {
            assert!(matches!(incoming.finish(), Err(SnapshotError::Incomplete { .. })));
        } else {
            assert_eq!(incoming.finish().unwrap(), info);
        }
    }
    assert!(streams > 3);
    let to = to.crash(|| false);
    assert_eq!(store(&to).verify(&MARK).unwrap(), info);
}

#[test]
fn a_transfer_that_lost_its_middle_in_a_power_cut_starts_anew() {
    let (from, to) = (SimFs::new(), SimFs::new());
    let info = write(&store(&from), ID);
    let reader = store(&from).open(ID).unwrap();
    let mut incoming = store(&to).incoming(info.into()).unwrap();
    while incoming.offset() < info.len {
        let (bytes, crc) = piece(&reader, incoming.offset());
        incoming.write_at(incoming.offset(), &bytes, crc).unwrap();
    }
    let path = incoming.path.clone();
    drop(incoming);
    to.patch(&path, |bytes| bytes[512..1024].fill(0));
    let incoming = store(&to).incoming(info.into()).unwrap();
    assert!(matches!(incoming.finish(), Err(SnapshotError::Damaged { .. })));
    assert_eq!(store(&to).list().unwrap(), []);
    assert_eq!(store(&to).incoming(info.into()).unwrap().offset(), 0);
}

#[test]
fn another_file_under_the_same_index_is_another_transfer() {
    let fs = SimFs::new();
    let transfer = Transfer { id: ID, crc: 1, len: 100 };
    let mut incoming = store(&fs).incoming(transfer).unwrap();
    incoming.write_at(0, b"abc", crc32c::crc32c(b"abc")).unwrap();
    let other = store(&fs).incoming(Transfer { crc: 2, ..transfer }).unwrap();
    assert_eq!(other.offset(), 0);
    assert_eq!(store(&fs).incoming(transfer).unwrap().offset(), 3);
    assert_eq!(store(&fs).purge(&MARK).unwrap(), 2, "of no use once that index is marked");
}

#[test]
fn on_a_full_disk_a_snapshot_is_written_into_the_reserve_and_the_old_ones_space_is_the_next() {
    const BIG: usize = 40_000;
    const ROOM: u64 = 48_000;
    let fs = SimFs::new();
    let store = store(&fs);
    let write = |id, in_reserve: bool| {
        let mut writer =
            if in_reserve { store.begin_in_reserve(id, b"h")? } else { store.begin(id, b"h")? };
        writer.chunk(&[7; BIG])?;
        writer.finish()
    };
    write(ID, false).unwrap();
    store.reserve(ROOM).unwrap();
    assert_eq!(store.reserved().unwrap(), ROOM);
    fs.set_faults(Faults { capacity: Some(BIG + 1000 + ROOM as usize), ..Faults::default() });
    let next = SnapshotId { index: Index(20), ..ID };
    assert!(write(next, false).unwrap_err().is_no_space());
    assert!(store.reserve(ROOM * 2).unwrap_err().is_no_space());
    assert_eq!(store.reserved().unwrap(), ROOM, "what was reserved before still is");
    let info = write(next, true).unwrap();
    let mark = SnapshotMark { index: next.index, ..MARK };
    assert_eq!(store.verify(&mark).unwrap(), info, "cut to its own length");
    assert_eq!(store.reserved().unwrap(), 0);
    assert!(matches!(
        write(SnapshotId { index: Index(30), ..ID }, true),
        Err(SnapshotError::NotFound { .. })
    ));
    assert!(store.reserve(ROOM).unwrap_err().is_no_space());
    store.purge(&mark).unwrap();
    store.reserve(ROOM).unwrap();
    let after_a_start = self::store(&fs.crash(|| false));
    after_a_start.discard_unmarked(Some(&mark)).unwrap();
    assert_eq!(after_a_start.reserved().unwrap(), ROOM, "a start keeps it");
}

#[test]
fn what_a_failed_snapshot_left_can_be_discarded() {
    let fs = SimFs::new();
    let store = store(&fs);
    fs.set_faults(Faults { capacity: Some(1000), ..Faults::default() });
    let mut writer = store.begin(ID, b"h").unwrap();
    let failed = writer.chunk(&[7; 40_000]).and_then(|()| writer.finish().map(|_| ()));
    assert!(failed.unwrap_err().is_no_space());
    store.discard_unfinished(ID).unwrap();
    store.discard_unfinished(ID).unwrap();
    assert_eq!(store.usage().unwrap(), SnapshotUsage::default());
}
