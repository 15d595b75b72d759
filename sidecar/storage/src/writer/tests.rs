//! How the writer groups, syncs, refuses and prepares.

use outrigger_core::log::SnapshotKind;
use outrigger_core::types::Index;

use super::*;
use crate::compaction::Preparation;
use crate::reader::ReadError;
use crate::testing::*;
use crate::wal::{Wal, WalOptions};

fn prepare_all(writer: &mut Writer) -> u32 {
    let mut steps = 0;
    while writer.prepare_spare().unwrap() == Preparation::More {
        steps += 1;
    }
    steps
}

#[test]
fn there_is_one_fdatasync_a_frame_whatever_is_written() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    let before = fs.counts();
    let mut frames = 0;
    let mut number = 0;
    for round in 1..60u64 {
        let batches: Vec<_> = (0..round % 5)
            .map(|_| {
                number += 1;
                batch(number, number..number + 1, 1, (round * 97 % 5000) as usize)
            })
            .collect();
        frames += u64::from(opened.writer.append(&batches).unwrap().frames);
        if round % 7 == 0 {
            prepare_all(&mut opened.writer);
        }
    }
    let split = opened.writer.append(&[batch(number + 1, number + 1..number + 200, 1, 1000)]).unwrap();
    assert!(split.frames > 3 && segments(&fs).len() > 5);
    frames += u64::from(split.frames);
    assert_eq!(fs.counts().sync_data - before.sync_data, frames);
    assert_eq!(opened.writer.end.frame, frames, "and every frame was written once");
}

#[test]
fn all_batches_that_fit_share_one_frame_and_one_write() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..2, 1, 10)]).unwrap();
    let before = fs.counts();
    let batches: Vec<_> = (2..66).map(|number| batch(number, number..number + 1, 1, 200)).collect();
    let appended = opened.writer.append(&batches).unwrap();
    assert_eq!((appended.frames, appended.durable), (1, BatchNumber(65)));
    assert_eq!((fs.counts().writes - before.writes, fs.counts().sync_data - before.sync_data), (1, 1));
    assert_eq!(appended.bytes % 4096, 0);
}

#[test]
fn empty_batches_are_durable_without_a_write() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    let before = fs.counts();
    let empty = Batch { number: BatchNumber(1), ..Batch::default() };
    let appended = opened.writer.append(&[empty]).unwrap();
    assert_eq!(appended, Appended { frames: 0, bytes: 0, durable: BatchNumber(1) });
    assert_eq!(fs.counts(), before);
}

#[test]
fn frame_numbers_go_on_over_boots() {
    let fs = SimFs::new();
    for boot in 1..4 {
        let mut opened = open(&fs).unwrap();
        opened.writer.append(&[batch(1, boot..boot + 1, 1, 10)]).unwrap();
        assert_eq!(opened.writer.end.frame, boot);
    }
}

#[test]
fn a_failed_sync_closes_the_writer_for_good() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..2, 1, 10)]).unwrap();
    fs.set_faults(Faults { sync_data: Some(std::io::ErrorKind::Other), ..Faults::default() });
    assert!(matches!(opened.writer.append(&[batch(2, 2..3, 1, 10)]), Err(WriteError::Io(_))));
    fs.set_faults(Faults::default());
    let before = fs.counts();
    assert!(matches!(opened.writer.append(&[batch(2, 2..3, 1, 10)]), Err(WriteError::Poisoned)));
    assert!(matches!(opened.writer.release(Index(2)), Err(WriteError::Poisoned)));
    assert!(matches!(opened.writer.prepare_spare(), Err(WriteError::Poisoned)));
    assert_eq!(fs.counts(), before, "nothing is tried again");
    assert_eq!(opened.reader.last_index(), Index(1), "readers never see what was not durable");
}

#[test]
fn what_cannot_follow_is_refused_before_a_byte_is_written() {
    let entries = |number, range| Batch { hard_state: None, ..batch(number, range, 1, 10) };
    type Check = fn(&WriteError) -> bool;
    let rows: [(&str, Vec<Batch>, Check); 5] = [
        ("a batch is missing", vec![entries(7, 11..12)], |error| {
            matches!(error, WriteError::BatchOrder { expected: BatchNumber(3), found: BatchNumber(7) })
        }),
        ("entries leave a gap", vec![entries(3, 11..12), entries(4, 14..15)], |error| {
            matches!(error, WriteError::Contradiction { source: Contradiction::Gap { .. }, .. })
        }),
        ("an entry overwrites a snapshot", vec![entries(3, 5..6)], |error| {
            matches!(error, WriteError::Contradiction { source: Contradiction::BelowSnapshot { .. }, .. })
        }),
        ("an older snapshot is installed", vec![mark_batch(3, SnapshotKind::Installed, 4, 1)], |error| {
            matches!(error, WriteError::Contradiction { source: Contradiction::OlderInstall { .. }, .. })
        }),
        ("an entry is larger than a segment", vec![batch(3, 11..12, 1, SEGMENT_BYTES as usize)], |error| {
            matches!(error, WriteError::TooLarge { .. })
        }),
    ];
    for (name, batches, is_expected) in rows {
        let fs = SimFs::new();
        let mut opened = open(&fs).unwrap();
        opened.writer.append(&[entries(1, 1..11), mark_batch(2, SnapshotKind::Taken, 5, 1)]).unwrap();
        let before = fs.counts();
        let refused = opened.writer.append(&batches).unwrap_err();
        assert!(is_expected(&refused), "{name}: {refused:?}");
        assert_eq!(fs.counts(), before, "{name}");
    }
}

#[test]
fn the_largest_entry_that_fits_is_written_alone() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    let bytes = opened.writer.capacity() - entry_len(&entry(1, 1, 0));
    opened.writer.append(&[batch(1, 1..3, 1, bytes)]).unwrap();
    let read = open(&fs.copy()).unwrap().reader.read(Index(1)..Index(3), usize::MAX).unwrap();
    assert_eq!(read, [entry(1, 1, bytes), entry(2, 1, bytes)]);
}

#[test]
fn a_full_disk_is_met_by_the_spares_and_told_as_such() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..2, 1, 5000)]).unwrap();
    prepare_all(&mut opened.writer);
    assert!(opened.writer.usage().is_reserve_complete);
    fs.set_faults(Faults { allocate: Some(std::io::ErrorKind::StorageFull), ..Faults::default() });
    let full = |number: u64| batch(number, number..number + 1, 1, 57_000);
    // Two spares, two segments.
    opened.writer.append(&[full(2)]).unwrap();
    opened.writer.append(&[full(3)]).unwrap();
    assert!(matches!(opened.writer.prepare_spare(), Ok(Preparation::More)), "zeroes ahead");
    let refused = loop {
        match opened.writer.prepare_spare() {
            Ok(Preparation::More) => {}
            other => break other,
        }
    };
    assert!(matches!(refused, Err(WriteError::NoSpace(_))), "{refused:?}");
    assert!(!opened.writer.usage().is_reserve_complete);
    opened.writer.append(&[batch(4, 4..5, 1, 10)]).unwrap();
    assert!(matches!(opened.writer.append(&[full(5)]), Err(WriteError::NoSpace(_))));
    assert!(matches!(opened.writer.append(&[full(5)]), Err(WriteError::Poisoned)));
}

#[test]
fn a_reserve_that_a_full_disk_broke_is_restored_when_there_is_space_again() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..2, 1, 5000)]).unwrap();
    opened.writer.restore_reserve().unwrap();
    let before = opened.writer.usage();
    assert_eq!(before.room_bytes, SEGMENT_BYTES - opened.writer.end.end + 2 * SEGMENT_BYTES);
    fs.set_faults(Faults { capacity: Some(3 * SEGMENT_BYTES as usize), ..Faults::default() });
    opened.writer.append(&[batch(2, 2..3, 1, 57_000)]).unwrap();
    assert!(matches!(opened.writer.restore_reserve(), Err(WriteError::NoSpace(_))));
    assert!(!opened.writer.usage().is_reserve_complete);
    opened.writer.append(&[batch(3, 3..4, 1, 10)]).unwrap();
    fs.set_faults(Faults::default());
    opened.writer.restore_reserve().unwrap();
    assert!(opened.writer.usage().is_reserve_complete);
}

#[test]
fn a_recycled_segment_is_zeroed_before_it_is_used_even_on_a_full_disk() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    for number in 1..50 {
        opened.writer.append(&[batch(number, number..number + 1, 1, 3000)]).unwrap();
    }
    write_snapshot(&fs, 45, 1);
    opened.writer.append(&[mark_batch(50, SnapshotKind::Taken, 45, 1)]).unwrap();
    assert!(opened.writer.release(Index(46)).unwrap().segments >= 2);
    fs.set_faults(Faults { allocate: Some(std::io::ErrorKind::StorageFull), ..Faults::default() });
    opened.writer.append(&[batch(51, 50..51, 1, 60_000)]).unwrap();
    opened.writer.append(&[batch(52, 51..52, 1, 10_000)]).unwrap();
    let used = opened.writer.end.end as usize;
    let newest = fs.bytes(&segment_path(opened.writer.end.segment));
    assert!(newest[used..].iter().all(|byte| *byte == 0), "stale frames behind the end");
    let opened = open(&fs.copy()).unwrap();
    assert!(opened.report.torn.is_empty());
    assert_eq!(opened.recovered.last_index, Index(51));
}

#[test]
fn a_reader_keeps_a_released_segment_until_it_is_done() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    for number in 1..40 {
        opened.writer.append(&[batch(number, number..number + 1, 1, 3000)]).unwrap();
    }
    let held = opened.reader.clone();
    let stretches = opened.writer.shared.lock().stretches(&(Index(1)..Index(3)), 1 << 20);
    write_snapshot(&fs, 30, 1);
    opened.writer.append(&[mark_batch(40, SnapshotKind::Taken, 30, 1)]).unwrap();
    opened.writer.release(Index(31)).unwrap();
    prepare_all(&mut opened.writer);
    assert!(matches!(held.read(Index(1)..Index(3), 1 << 20), Err(ReadError::Compacted { .. })));
    let mut first = vec![0; 8];
    stretches[0].file.read_at(&mut first, 0).unwrap();
    assert_eq!(&first, b"ORWALSEG", "the file that a reader holds is not zeroed under it");
}

#[test]
fn release_stops_at_the_newest_durable_mark() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    for number in 1..60 {
        opened.writer.append(&[batch(number, number..number + 1, 1, 3000)]).unwrap();
    }
    assert_eq!(opened.writer.release(Index(60)).unwrap().segments, 0);
    write_snapshot(&fs, 20, 1);
    opened.writer.append(&[mark_batch(60, SnapshotKind::Taken, 20, 1)]).unwrap();
    let released = opened.writer.release(Index(60)).unwrap();
    assert!(released.segments == 1 && released.first_index <= Index(21), "{released:?}");
    // Trailing entries are the caller's to keep: it asks for less.
    assert_eq!(opened.writer.release(Index(5)).unwrap().segments, 0);
}

#[test]
fn reads_give_what_fits_and_at_least_one() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..21, 1, 1000), batch(2, 21..41, 1, 1000)]).unwrap();
    let read = |range: std::ops::Range<u64>, max| {
        let entries = opened.reader.read(Index(range.start)..Index(range.end), max).unwrap();
        entries.iter().map(|entry| entry.index.0).collect::<Vec<_>>()
    };
    assert_eq!(read(5..30, 1), [5]);
    assert_eq!(read(5..30, 3 * 1048), [5, 6, 7]);
    assert_eq!(read(5..8, usize::MAX), [5, 6, 7]);
    assert_eq!(read(5..5, usize::MAX), [0; 0]);
    let beyond = opened.reader.read(Index(5)..Index(42), 1);
    assert!(matches!(beyond, Err(ReadError::Unavailable { last: Index(40), .. })));
}

#[test]
fn options_out_of_bounds_are_refused() {
    for bytes in [0, 4096, 16_385, 2 << 30] {
        let options = WalOptions { segment_size_bytes: bytes, ..options() };
        let refused = Wal::open(SimFs::new().shared(), &data_dir(), options).unwrap_err();
        assert!(refused.to_string().contains(&bytes.to_string()), "{refused}");
    }
}

#[test]
fn the_real_disk_runs_the_same_code() {
    let dir = tempfile::tempdir().unwrap();
    let fs = crate::fs::RealFs::shared();
    let open = || Wal::open(Arc::clone(&fs), dir.path(), options()).unwrap();
    let mut opened = open();
    for number in 1..40 {
        opened.writer.append(&[batch(number, number..number + 1, 1, 3000)]).unwrap();
        if number % 10 == 0 {
            prepare_all(&mut opened.writer);
        }
    }
    drop(opened);
    let opened = open();
    assert_eq!(opened.recovered.last_index, Index(39));
    assert!(opened.report.torn.is_empty());
    assert_eq!(opened.reader.read(Index(1)..Index(40), usize::MAX).unwrap().len(), 39);
}
