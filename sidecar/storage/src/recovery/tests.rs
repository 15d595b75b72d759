//! What recovery makes of every kind of end, damage and loss.

mod model;

use outrigger_core::log::{ConfState, Seed, SnapshotKind};
use outrigger_core::types::{BatchNumber, ClusterId, Index, MemberId, Term};

use crate::fs::FileSystem;
use crate::segment::{BLOCK_BYTES, FIRST_FRAME_OFFSET, FRAME_HEADER_BYTES};
use crate::testing::*;
use crate::wal::{OpenError, Opened, Wal, WalOptions};

const BLOCK: usize = BLOCK_BYTES as usize;

/// A log of frames 1 to `frames`, each with one entry of `bytes` and that index.
fn log_of(frames: u64, bytes: usize) -> SimFs {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    for number in 1..=frames {
        opened.writer.append(&[batch(number, number..number + 1, 1, bytes)]).unwrap();
    }
    fs
}

/// All entries held read back as they were written by [`log_of`].
fn assert_entries(opened: &Opened, indexes: std::ops::Range<u64>, bytes: usize) {
    let range = Index(indexes.start)..Index(indexes.end);
    let read = opened.reader.read(range, usize::MAX).unwrap();
    let expected: Vec<_> = indexes.map(|index| entry(index, 1, bytes)).collect();
    assert_eq!(read, expected);
}

fn corruption_offset(result: Result<Opened, OpenError>) -> (std::path::PathBuf, u64) {
    match result {
        Err(OpenError::Corruption { path, offset, .. }) => (path, offset),
        Err(other) => panic!("not corruption: {other:?}"),
        Ok(opened) => panic!("opened: {:?}", opened.report),
    }
}

#[test]
fn an_empty_directory_is_an_empty_log() {
    let opened = open(&SimFs::new()).unwrap();
    assert_eq!(opened.recovered.first_index, Index(1));
    assert_eq!(opened.recovered.last_index, Index(0));
    assert!(opened.report.torn.is_empty());
}

#[test]
fn a_synced_log_survives_a_power_cut_whole() {
    let fs = log_of(5, 100).crash(|| false);
    let opened = open(&fs).unwrap();
    assert_eq!(opened.recovered.last_index, Index(5));
    assert_eq!(opened.recovered.hard_state.commit, Index(4));
    assert_eq!(opened.recovered.term_runs, vec![(Index(1), Term(1))]);
    assert!(opened.report.torn.is_empty());
    assert_entries(&opened, 1..6, 100);
}

#[test]
fn a_clean_end_is_written_on_in_the_same_segment() {
    let fs = log_of(2, 100).copy();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 3..4, 1, 100)]).unwrap();
    assert_eq!(segments(&fs), [1]);
    assert_entries(&open(&fs.copy()).unwrap(), 1..4, 100);
}

/// The last frame takes three blocks; it is cut at every sector, the rest reading as zeros.
#[test]
fn a_tail_torn_at_any_sector_is_copied_and_sealed_off() {
    let whole = log_of(3, 10_000);
    let frame = 3 * BLOCK;
    let start = FIRST_FRAME_OFFSET as usize + 2 * frame;
    for cut in (0..frame).step_by(SECTOR) {
        let fs = whole.copy();
        fs.patch(&segment_path(1), |bytes| bytes[start + cut..].fill(0));
        let mut opened = open(&fs).unwrap();
        if cut >= FRAME_HEADER_BYTES + 10_000 + 26 + 25 {
            assert_eq!(opened.recovered.last_index, Index(3), "only padding was cut at {cut}");
            continue;
        }
        assert_eq!(opened.recovered.last_index, Index(2), "cut at {cut}");
        assert_eq!(opened.recovered.hard_state.commit, Index(1));
        if cut == 0 {
            assert!(opened.report.torn.is_empty(), "nothing of the frame arrived: the end is clean");
            continue;
        }
        let torn = opened.report.torn[0].clone();
        assert_eq!((torn.path.as_path(), torn.offset), (segment_path(1).as_path(), start as u64));
        let copied = fs.bytes(&torn.copy);
        assert_eq!(
            copied[..cut.min(copied.len())],
            whole.bytes(&segment_path(1))[start..start + cut.min(copied.len())]
        );
        assert_eq!(segments(&fs), [1, 2], "the valid end is sealed in a new segment");
        opened.writer.append(&[batch(1, 3..4, 1, 10)]).unwrap();

        // The remains stay in the old segment, and are never looked at again.
        let again = open(&fs.crash(|| false)).unwrap();
        assert_eq!(again.recovered.last_index, Index(3));
        assert!(again.report.torn.is_empty());
        assert_entries(&again, 1..3, 10_000);
    }
}

#[test]
fn sectors_of_the_last_frame_may_be_lost_in_any_order() {
    let fs = log_of(2, 10_000);
    let start = FIRST_FRAME_OFFSET as usize + 3 * BLOCK;
    for lost in 0..(10_000 / SECTOR) {
        let fs = fs.copy();
        fs.patch(&segment_path(1), |bytes| bytes[start + lost * SECTOR..start + (lost + 1) * SECTOR].fill(0));
        let opened = open(&fs).unwrap();
        assert_eq!(opened.recovered.last_index, Index(1), "sector {lost}");
        assert_eq!(opened.report.torn.len(), 1);
    }
}

#[test]
fn what_was_cut_off_never_comes_alive_again() {
    // Frame 3 is whole but for one sector; it is sealed off, and then the sector comes back.
    let fs = log_of(3, 3000);
    let at = FIRST_FRAME_OFFSET as usize + 2 * BLOCK + 2 * SECTOR;
    let lost = fs.bytes(&segment_path(1))[at..at + SECTOR].to_vec();
    fs.patch(&segment_path(1), |bytes| bytes[at..at + SECTOR].fill(0));
    let mut opened = open(&fs).unwrap();
    assert_eq!(opened.recovered.last_index, Index(2));
    opened.writer.append(&[batch(1, 3..4, 2, 50)]).unwrap();
    fs.patch(&segment_path(1), |bytes| bytes[at..at + SECTOR].copy_from_slice(&lost));
    let opened = open(&fs.copy()).unwrap();
    assert_eq!(opened.recovered.term_runs, [(Index(1), Term(1)), (Index(3), Term(2))]);
    assert_eq!(opened.recovered.hard_state.term, Term(2));
}

#[test]
fn damage_before_the_last_frame_is_corruption_and_says_where() {
    let whole = log_of(6, 100);
    for frame in 0..5 {
        for within in [0, 5, 20, 40, 100] {
            let fs = whole.copy();
            let offset = FIRST_FRAME_OFFSET + frame * BLOCK_BYTES;
            fs.patch(&segment_path(1), |bytes| bytes[offset as usize + within] ^= 4);
            let before = fs.bytes(&segment_path(1));
            assert_eq!(corruption_offset(open(&fs)), (segment_path(1), offset), "byte {within}");
            assert_eq!(fs.bytes(&segment_path(1)), before, "nothing is cut or mended");
        }
    }
}

/// No sector of it is missing, so no crash made it: what has rotted there may have been acknowledged.
#[test]
fn rot_in_the_last_frame_is_corruption() {
    for bytes in [100, 10_000] {
        let whole = log_of(3, bytes);
        let frame = (FRAME_HEADER_BYTES + bytes).next_multiple_of(BLOCK) as u64;
        let offset = FIRST_FRAME_OFFSET + 2 * frame;
        for within in [0, 5, 20, 40, bytes / 2, bytes] {
            let fs = whole.copy();
            fs.patch(&segment_path(1), |bytes| bytes[offset as usize + within] ^= 4);
            assert_eq!(corruption_offset(open(&fs)), (segment_path(1), offset), "byte {within} of {bytes}");
        }
    }
}

#[test]
fn a_segment_cut_short_is_corruption_wherever_it_is_cut() {
    let whole = log_of(40, 3000);
    for segment in segments(&whole) {
        let size = whole.bytes(&segment_path(segment)).len();
        for cut in (0..size).step_by(BLOCK).chain([100, BLOCK + 1, size - 1]) {
            let fs = whole.copy();
            fs.patch(&segment_path(segment), |bytes| bytes.truncate(cut));
            assert_eq!(corruption_offset(open(&fs)), (segment_path(segment), cut as u64));
        }
    }
    // Without a header nobody knows how long it was, only that none is shorter than the least.
    whole.patch(&segment_path(1), |bytes| bytes.truncate(BLOCK));
    whole.patch(&segment_path(1), |bytes| bytes.fill(0));
    assert_eq!(corruption_offset(open(&whole)), (segment_path(1), BLOCK_BYTES));
}

#[test]
fn a_lost_write_in_the_middle_is_corruption() {
    let fs = log_of(4, 100);
    let offset = FIRST_FRAME_OFFSET + BLOCK_BYTES;
    fs.patch(&segment_path(1), |bytes| bytes[offset as usize..][..BLOCK].fill(0));
    assert_eq!(corruption_offset(open(&fs)), (segment_path(1), offset));
}

#[test]
fn the_header_of_a_torn_frame_proves_that_the_one_before_was_durable() {
    let fs = log_of(4, 100);
    let offset = FIRST_FRAME_OFFSET + 2 * BLOCK_BYTES;
    fs.patch(&segment_path(1), |bytes| {
        bytes[offset as usize + 60] ^= 1;
        // Of frame 4 only the first sector arrived, and not all of its body.
        bytes[offset as usize + BLOCK + 100] ^= 1;
    });
    assert_eq!(corruption_offset(open(&fs)), (segment_path(1), offset));
}

#[test]
fn damage_in_an_older_segment_is_corruption() {
    let fs = log_of(40, 3000);
    assert!(segments(&fs).len() > 2);
    fs.patch(&segment_path(1), |bytes| {
        let end = bytes.len() - 2 * BLOCK;
        bytes[end + 100] ^= 1;
    });
    let (path, _) = corruption_offset(open(&fs));
    assert_eq!(path, segment_path(1));
}

#[test]
fn the_last_frame_of_a_segment_lost_after_the_next_began_is_corruption() {
    let fs = log_of(40, 3000);
    let last = FIRST_FRAME_OFFSET + 14 * BLOCK_BYTES;
    fs.patch(&segment_path(1), |bytes| bytes[last as usize..][..BLOCK].fill(0));
    assert_eq!(corruption_offset(open(&fs)), (segment_path(1), last));
}

#[test]
fn a_misdirected_frame_never_validates() {
    let fs = log_of(4, 100);
    let copy_of = |bytes: &[u8], frame: u64| {
        bytes[(FIRST_FRAME_OFFSET + frame * BLOCK_BYTES) as usize..][..BLOCK].to_vec()
    };
    // Frame 2 again behind the end: it is no frame there, and no crash leaves such a thing.
    let behind = fs.copy();
    behind.patch(&segment_path(1), |bytes| {
        let stray = copy_of(bytes, 1);
        bytes[(FIRST_FRAME_OFFSET + 4 * BLOCK_BYTES) as usize..][..BLOCK].copy_from_slice(&stray);
    });
    let end = FIRST_FRAME_OFFSET + 4 * BLOCK_BYTES;
    assert_eq!(corruption_offset(open(&behind)), (segment_path(1), end));
    // Frame 1 over frame 2: the place of frame 2 holds no frame, and frames 3 and 4 prove that it did.
    fs.patch(&segment_path(1), |bytes| {
        let stray = copy_of(bytes, 0);
        bytes[(FIRST_FRAME_OFFSET + BLOCK_BYTES) as usize..][..BLOCK].copy_from_slice(&stray);
    });
    assert_eq!(corruption_offset(open(&fs)), (segment_path(1), FIRST_FRAME_OFFSET + BLOCK_BYTES));
}

#[test]
fn a_rotten_header_hides_no_frame() {
    let fs = log_of(40, 3000);
    for segment in segments(&fs) {
        let fs = fs.copy();
        fs.patch(&segment_path(segment), |bytes| bytes[..BLOCK].fill(0xEE));
        let opened = open(&fs).unwrap();
        assert_eq!(opened.recovered.last_index, Index(40), "segment {segment}");
        assert_eq!(opened.report.rotten_headers, [segment_path(segment)]);
    }
}

#[test]
fn a_missing_segment_is_named() {
    let fs = log_of(40, 3000);
    fs.remove_file(&segment_path(2)).unwrap();
    match open(&fs) {
        Err(OpenError::Missing { path, older }) => {
            assert_eq!((path, older), (segment_path(2), segment_path(1)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_first_segment_is_a_hole_below_the_entries() {
    let fs = log_of(40, 3000);
    fs.remove_file(&segment_path(1)).unwrap();
    assert!(matches!(open(&fs), Err(OpenError::EntriesMissing { snapshot: Index(0), .. })));
}

#[test]
fn a_log_that_must_exist_and_does_not_is_refused() {
    let must = WalOptions { must_exist: true, ..options() };
    let refused = Wal::open(SimFs::new().shared(), &data_dir(), must.clone());
    assert!(matches!(refused, Err(OpenError::Empty { .. })));
    // The only frame there ever was is torn: that member's vote may have been in it.
    let fs = log_of(1, 3000);
    fs.patch(&segment_path(1), |bytes| bytes[FIRST_FRAME_OFFSET as usize + SECTOR..][..SECTOR].fill(0));
    let refused = Wal::open(fs.copy().shared(), &data_dir(), must);
    assert!(matches!(refused, Err(OpenError::Empty { .. })));
    assert_eq!(open(&fs).unwrap().recovered.last_index, Index(0));
}

#[test]
fn a_log_of_another_member_or_cluster_is_refused_by_name() {
    let fs = log_of(2, 100);
    let other = WalOptions { member: MemberId(0xBEEF), ..options() };
    let refused = Wal::open(fs.copy().shared(), &data_dir(), other).unwrap_err();
    assert!(matches!(refused, OpenError::OtherMember { found: MEMBER, .. }), "{refused:?}");
    let other = WalOptions { cluster: ClusterId(0xBEEF), ..options() };
    let refused = Wal::open(fs.shared(), &data_dir(), other).unwrap_err();
    assert!(matches!(refused, OpenError::OtherCluster { found: CLUSTER, .. }), "{refused:?}");
}

#[test]
fn an_overwritten_tail_stays_overwritten() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..10, 1, 100), batch(2, 10..20, 2, 100)]).unwrap();
    let mut over = batch(3, 8..12, 3, 50);
    over.hard_state = None;
    opened.writer.append(&[over]).unwrap();
    let check = |opened: &Opened| {
        assert_eq!(opened.reader.last_index(), Index(11));
        let terms: Vec<_> = opened.reader.read(Index(1)..Index(12), usize::MAX).unwrap();
        let terms: Vec<_> = terms.iter().map(|entry| (entry.index.0, entry.term.0)).collect();
        let expected: Vec<_> = (1..12).map(|index| (index, if index < 8 { 1 } else { 3 })).collect();
        assert_eq!(terms, expected);
    };
    check(&opened);
    let again = open(&fs.crash(|| false)).unwrap();
    check(&again);
    assert_eq!(again.recovered.term_runs, [(Index(1), Term(1)), (Index(8), Term(3))]);
    assert_eq!(again.recovered.hard_state.commit, Index(11), "clamped to what is held");
}

#[test]
fn an_installed_snapshot_voids_what_came_before_and_a_taken_one_does_not() {
    for (kind, first, last) in [(SnapshotKind::Taken, 1, 8), (SnapshotKind::Installed, 6, 5)] {
        let fs = SimFs::new();
        let mut opened = open(&fs).unwrap();
        opened.writer.append(&[batch(1, 1..9, 1, 100)]).unwrap();
        write_snapshot(&fs, 5, 1);
        opened.writer.append(&[mark_batch(2, kind, 5, 1)]).unwrap();
        assert_eq!((opened.reader.first_index(), opened.reader.last_index()), (Index(first), Index(last)));
        let again = open(&fs.crash(|| false)).unwrap().recovered;
        assert_eq!((again.first_index, again.last_index), (Index(first), Index(last)), "{kind:?}");
        assert_eq!(again.snapshot.map(|mark| mark.kind), Some(kind));
    }
}

#[test]
fn a_founders_snapshot_before_any_entry_starts_the_log_behind_it() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    write_snapshot(&fs, 1, 1);
    opened.writer.append(&[mark_batch(1, SnapshotKind::Taken, 1, 1)]).unwrap();
    opened.writer.append(&[batch(2, 2..4, 1, 10)]).unwrap();
    let recovered = open(&fs.crash(|| false)).unwrap().recovered;
    assert_eq!((recovered.first_index, recovered.last_index), (Index(2), Index(3)));
}

#[test]
fn a_mark_whose_snapshot_is_not_whole_is_refused() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..9, 1, 100)]).unwrap();
    opened.writer.append(&[mark_batch(2, SnapshotKind::Taken, 5, 1)]).unwrap();
    assert!(matches!(open(&fs.copy()), Err(OpenError::Snapshot { .. })), "it is not there");
    write_snapshot(&fs, 5, 1);
    assert!(open(&fs.copy()).is_ok());
    let path = data_dir().join("snap/snap-00000000000000000005-00000000000000000001");
    fs.patch(&path, |bytes| bytes[60] ^= 1);
    assert!(matches!(open(&fs), Err(OpenError::Snapshot { .. })), "it has rotted");
}

#[test]
fn released_segments_keep_vote_configuration_mark_and_seeds() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    let conf_state = (Index(1), ConfState { voters: vec![MEMBER], ..ConfState::default() });
    let seeds = vec![Seed { id: MEMBER, name: "a-0".into(), address: "a-0.a:2380".into() }];
    let mut first = batch(1, 1..2, 7, 3000);
    first.conf_state = Some(conf_state.clone());
    first.seeds = Some(seeds.clone());
    opened.writer.append(&[first]).unwrap();
    for number in 2..60 {
        let mut next = batch(number, number..number + 1, 7, 3000);
        next.hard_state = None;
        opened.writer.append(&[next]).unwrap();
    }
    assert_eq!(opened.writer.release(Index(50)).unwrap().segments, 0, "no snapshot is marked");
    write_snapshot(&fs, 40, 7);
    opened.writer.append(&[mark_batch(60, SnapshotKind::Taken, 40, 7)]).unwrap();
    let released = opened.writer.release(Index(u64::MAX)).unwrap();
    assert!(released.segments >= 2 && released.first_index <= Index(41), "{released:?}");
    assert!(!segments(&fs).contains(&1));

    let recovered = open(&fs.crash(|| false)).unwrap().recovered;
    assert_eq!((recovered.hard_state.term, recovered.hard_state.vote), (Term(7), MEMBER));
    assert_eq!(recovered.conf_state, Some(conf_state));
    assert_eq!(recovered.seeds, seeds);
    assert_eq!(recovered.snapshot.map(|mark| mark.index), Some(Index(40)));
    assert_eq!((recovered.first_index, recovered.last_index), (released.first_index, Index(59)));
}

#[test]
fn stale_frames_of_a_recycled_segment_never_validate() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    for number in 1..40 {
        opened.writer.append(&[batch(number, number..number + 1, 1, 3000)]).unwrap();
    }
    let stale = fs.bytes(&segment_path(1));
    // Every block of an old segment behind the end of the newest, as if recycling had not zeroed it.
    let newest = *segments(&fs).last().unwrap();
    let used = opened.writer.end.end as usize;
    fs.patch(&segment_path(newest), |bytes| bytes[used..].copy_from_slice(&stale[used..]));
    assert_eq!(corruption_offset(open(&fs)), (segment_path(newest), used as u64));
}

#[test]
fn a_segment_that_never_began_is_set_aside() {
    let whole = log_of(30, 3000);
    let last = *segments(&whole).last().unwrap();
    for (name, sector, torn) in [("zeros", 0, 0), ("its first frame without a beginning", SECTOR, 1)] {
        let fs = whole.copy();
        let path = segment_path(last + 1);
        let mut content = vec![0; SEGMENT_BYTES as usize];
        content[FIRST_FRAME_OFFSET as usize + sector..][..sector].fill(0xAB);
        fs.create(&path).unwrap().write_at(&content, 0).unwrap();
        let mut opened = open(&fs).unwrap();
        assert_eq!(opened.recovered.last_index, Index(30), "{name}");
        assert_eq!(opened.report.torn.len(), torn, "{name}");
        assert!(!segments(&fs).contains(&(last + 1)), "{name}");
        opened.writer.append(&[batch(1, 31..32, 1, 10)]).unwrap();
        assert_eq!(open(&fs.crash(|| false)).unwrap().recovered.last_index, Index(31), "{name}");
    }
}

#[test]
fn the_header_of_a_segment_that_never_began_proves_what_was_durable_before() {
    // Segment 2's first frame is torn, its header is whole: it was begun after the last frame of segment 1 was synced.
    let fs = log_of(16, 3000);
    assert_eq!(segments(&fs), [1, 2]);
    let first = FIRST_FRAME_OFFSET as usize;
    fs.patch(&segment_path(2), |bytes| bytes[first + SECTOR..][..SECTOR].fill(0));
    assert_eq!(open(&fs.copy()).unwrap().recovered.last_index, Index(15));
    let last = first + 14 * BLOCK;
    fs.patch(&segment_path(1), |bytes| bytes[last + 50] ^= 1);
    assert_eq!(corruption_offset(open(&fs)), (segment_path(1), last as u64));
}

#[test]
fn a_killed_process_finds_its_unsynced_frame_and_makes_it_durable() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..2, 1, 100)]).unwrap();
    // The next write arrives in the cache, its sync never comes.
    fs.set_faults(Faults { stop_at: Some(1), ..Faults::default() });
    assert!(opened.writer.append(&[batch(2, 2..3, 1, 100)]).is_err());
    let fs = fs.kill();
    assert_eq!(open(&fs).unwrap().recovered.last_index, Index(2));
    // What recovery has told is on the disk: a power cut afterwards takes nothing back.
    assert_eq!(open(&fs.crash(|| false)).unwrap().recovered.last_index, Index(2));
}

#[test]
fn an_oversize_batch_is_split_with_the_vote_first_and_the_commit_last() {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    opened.writer.append(&[batch(1, 1..2, 1, 10)]).unwrap();
    let big = batch(2, 2..200, 9, 1000);
    let total = {
        let fs = fs.copy();
        let mut opened = open(&fs).unwrap();
        fs.set_faults(Faults::default());
        let big = outrigger_core::log::Batch { number: BatchNumber(1), ..big.clone() };
        assert!(opened.writer.append(&[big]).unwrap().frames > 3);
        fs.changes()
    };
    let mut seen = std::collections::BTreeSet::new();
    for stop in 0..=total {
        let fs = fs.copy();
        let mut opened = open(&fs).unwrap();
        fs.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
        let big = outrigger_core::log::Batch { number: BatchNumber(1), ..big.clone() };
        let is_done = opened.writer.append(&[big]).is_ok();
        assert_eq!(is_done, stop == total);
        let recovered = open(&fs.crash(|| false)).unwrap().recovered;
        seen.insert(recovered.last_index);
        if recovered.last_index > Index(1) {
            assert_eq!((recovered.hard_state.term, recovered.hard_state.vote), (Term(9), MEMBER));
        }
        let commit = if recovered.last_index == Index(199) { 198 } else { 0 };
        // The commit index comes with the last piece at the earliest, and at the latest with the end.
        assert!(recovered.hard_state.commit == Index(commit) || !is_done);
        assert!(recovered.hard_state.commit <= recovered.last_index);
    }
    assert!(seen.len() > 3, "the pieces arrive one by one: {seen:?}");
}
