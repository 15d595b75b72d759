//! The dump shows all that is there, damaged or not, and changes nothing.

use super::*;
use crate::testing::*;

fn dump(fs: &SimFs) -> Vec<Item> {
    let mut items = Vec::new();
    let before = fs.changes();
    visit(fs, &data_dir(), &mut |item| {
        items.push(item);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(fs.changes(), before, "it writes nothing");
    items
}

fn frames(items: &[Item]) -> Vec<(u64, bool)> {
    let frame = |item: &Item| match item {
        Item::Frame(frame) => Some((frame.number, frame.is_sealed_off)),
        Item::Identity(_) | Item::Segment(_) | Item::Damage(_) => None,
    };
    items.iter().filter_map(frame).collect()
}

fn damage(items: &[Item]) -> Vec<DamageItem> {
    let damage = |item: &Item| match item {
        Item::Damage(damage) => Some(*damage),
        Item::Identity(_) | Item::Segment(_) | Item::Frame(_) => None,
    };
    items.iter().filter_map(damage).collect()
}

fn log() -> SimFs {
    log_of(100)
}

/// Five frames, each of one block, each with two entries of so many bytes.
fn log_of(bytes: usize) -> SimFs {
    let fs = SimFs::new();
    let mut opened = open(&fs).unwrap();
    for number in 1..6 {
        opened.writer.append(&[batch(number, number * 2 - 1..number * 2 + 1, 1, bytes)]).unwrap();
    }
    fs
}

#[test]
fn every_frame_is_shown_with_sizes_and_without_payload() {
    let items = dump(&log());
    assert_eq!(frames(&items), [(1, false), (2, false), (3, false), (4, false), (5, false)]);
    assert_eq!(damage(&items), []);
    let Item::Frame(third) = &items[4] else { panic!("{:?}", items[4]) };
    assert_eq!(third.records.span, Some(((Index(5), Term(1)), (Index(6), Term(1)))));
    assert_eq!((third.records.entries, third.records.entry_bytes), (2, 200));
    assert!(!format!("{items:?}").contains("data: "), "payloads are not shown");
}

#[test]
fn damage_is_shown_with_what_follows_it() {
    let fs = log();
    let second = FIRST_FRAME_OFFSET + BLOCK_BYTES;
    fs.patch(&segment_path(1), |bytes| bytes[second as usize + 50] ^= 1);
    let items = dump(&fs);
    assert_eq!(frames(&items).len(), 4);
    let until = second + BLOCK_BYTES;
    let expected = DamageItem {
        segment: 1,
        offset: second,
        until,
        is_sealed_off: false,
        is_followed: true,
        not_torn: Some("every sector of it was written, but its checksum does not match"),
    };
    assert_eq!(damage(&items), [expected]);
}

#[test]
fn remains_behind_a_seal_are_shown_as_such() {
    let fs = log_of(1000);
    // The last frame's second sector never arrived.
    let at = FIRST_FRAME_OFFSET as usize + 4 * BLOCK_BYTES as usize + SECTOR;
    let lost = fs.bytes(&segment_path(1))[at..at + SECTOR].to_vec();
    fs.patch(&segment_path(1), |bytes| bytes[at..at + SECTOR].fill(0));
    drop(open(&fs).unwrap());
    let items = dump(&fs);
    assert_eq!(damage(&items).len(), 1);
    assert!(damage(&items)[0].is_sealed_off && !damage(&items)[0].is_followed);
    assert_eq!(damage(&items)[0].not_torn, None, "a crash leaves this");
    // Made whole again, the frame still does not count.
    fs.patch(&segment_path(1), |bytes| bytes[at..at + SECTOR].copy_from_slice(&lost));
    assert_eq!(frames(&dump(&fs)), [(1, false), (2, false), (3, false), (4, false), (5, true), (5, false)]);
}

#[test]
fn a_file_that_was_cut_at_a_frames_edge_is_damaged() {
    let fs = log();
    let segments = |fs: &SimFs| -> Vec<SegmentItem> {
        let segment = |item| if let Item::Segment(segment) = item { Some(segment) } else { None };
        dump(fs).into_iter().filter_map(segment).collect()
    };
    let made = segments(&fs)[0].bytes;
    assert!(segments(&fs).iter().all(|segment| !segment.is_damaged()));
    fs.patch(&segment_path(1), |bytes| bytes.truncate((FIRST_FRAME_OFFSET + 2 * BLOCK_BYTES) as usize));
    assert_eq!(segments(&fs)[0].cut_from(), Some(made));
    assert!(segments(&fs)[0].is_damaged());
    fs.patch(&segment_path(1), |bytes| bytes[10] ^= 1);
    assert!(segments(&fs)[0].header.is_none() && segments(&fs)[0].is_damaged());
    fs.patch(&segment_path(1), |bytes| bytes.fill(0));
    assert!(!segments(&fs)[0].is_damaged(), "it never began");
}

#[test]
fn a_visitor_may_stop() {
    let mut seen = 0;
    visit(&log(), &data_dir(), &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(seen, 1);
}
