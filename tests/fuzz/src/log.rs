//! What a member reads of its log.

use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use outrigger_core::log::{Batch, Entry, EntryKind, HardState, Recovered};
use outrigger_core::types::{BatchNumber, ClusterId, Index, MemberId, Term};
use outrigger_sim::disk::{SECTOR_BYTES, SimDisk};
use outrigger_storage::fs::FileSystem as _;
use outrigger_storage::segment::{file_name, wal_dir};
use outrigger_storage::{Opened, Wal, WalOptions};

/// The least: a few frames fill one, so that there are some.
const SEGMENT_BYTES: u64 = 16 << 10;
const BLOCK_BYTES: usize = 8 * SECTOR_BYTES;
const MEMBER: MemberId = MemberId(0xa1);

/// A file of the log.
type Segment = (PathBuf, Vec<u8>);

fn dir() -> PathBuf {
    PathBuf::from("/data")
}

fn options() -> WalOptions {
    // Spare ones would be zeros to write, for every input anew.
    WalOptions {
        segment_size_bytes: SEGMENT_BYTES,
        spare_segments: 0,
        ..WalOptions::new(ClusterId(0xc1), MEMBER)
    }
}

fn batch(number: u64, index: Index, term: Term) -> Batch {
    let data = Bytes::from(vec![index.0 as u8; 100 * (index.0 as usize % 16)]);
    let entry = Entry { index, term, kind: EntryKind::Normal, data, context: Bytes::new() };
    let hard_state = Some(HardState { term, vote: MEMBER, commit: index.previous() });
    Batch { number: BatchNumber(number), entries: vec![entry], hard_state, ..Batch::default() }
}

/// The log that a member has written in a few frames.
fn log() -> &'static [Segment] {
    static LOG: OnceLock<Vec<Segment>> = OnceLock::new();
    LOG.get_or_init(|| {
        let disk = SimDisk::default();
        let Ok(mut log) = Wal::open(disk.shared(), &dir(), options()) else { return Vec::new() };
        for number in 1..=8 {
            // A log on an empty disk takes what follows what it has.
            drop(log.writer.append(&[batch(number, Index(number), Term(1))]));
        }
        let paths = (1..=8).map(|segment| wal_dir(&dir()).join(file_name(MEMBER, segment)));
        paths.filter_map(|path| disk.content(&path).map(|bytes| (path, bytes))).collect()
    })
}

/// What a script does to the log: four bytes a step. Bits flip; sectors and blocks are emptied, or stand where others
/// should; files are cut off or gone.
fn damage(log: &mut Vec<Segment>, script: &[u8]) {
    for step in script.chunks_exact(4) {
        let [what, high, low, value] = step else { continue };
        let Some(which) = usize::from(*high).checked_rem(log.len()) else { return };
        let others: Vec<Vec<u8>> = log.iter().map(|(_, bytes)| bytes.clone()).collect();
        let Some((_, bytes)) = log.get_mut(which) else { return };
        let at = (usize::from(*high) * 31 + usize::from(*low) * 67) % bytes.len().max(1);
        let unit = if what & 0x80 == 0 { SECTOR_BYTES } else { BLOCK_BYTES };
        let begin = at / unit * unit;
        match what % 6 {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (value % 8);
                }
            }
            2 => bytes.iter_mut().skip(begin).take(unit).for_each(|byte| *byte = 0),
            3 => {
                let other = others.get(usize::from(*value) % others.len()).map_or(&[][..], Vec::as_slice);
                let from = usize::from(*value) * unit % other.len().max(1);
                let stray = other.get(from..).unwrap_or_default();
                bytes.iter_mut().skip(begin).take(unit).zip(stray).for_each(|(byte, stray)| *byte = *stray);
            }
            4 if *value < 64 => bytes.truncate(at),
            5 if *value < 32 => drop(log.remove(which)),
            _ => {}
        }
    }
}

fn disk_with(log: &[Segment]) -> Option<SimDisk> {
    let disk = SimDisk::default();
    disk.create_dir(&dir()).ok()?;
    disk.create_dir(&wal_dir(&dir())).ok()?;
    for (path, bytes) in log {
        let file = disk.create(path).ok()?;
        file.write_at(bytes, 0).ok()?;
        file.sync_all().ok()?;
    }
    disk.sync_dir(&wal_dir(&dir())).ok()?;
    Some(disk)
}

/// A log that was damaged is opened, and read as far as it says that it goes. What is recovered is a log to go on with: an
/// entry goes in behind it, and all of it is there at the next start.
pub fn wal_recovery(script: &[u8]) {
    let mut damaged = log().to_vec();
    match script.split_first() {
        Some((0xff, bytes)) => {
            if let Some((_, first)) = damaged.first_mut() {
                *first = bytes.to_vec();
            }
        }
        Some(_) | None => damage(&mut damaged, script),
    }
    let Some(disk) = disk_with(&damaged) else { return };
    let Ok(opened) = Wal::open(disk.shared(), &dir(), options()) else { return };
    let Opened { recovered, mut writer, reader, .. } = opened;
    let Recovered { first_index, last_index, hard_state, .. } = recovered;
    let mut next = first_index;
    while next <= last_index {
        let read = reader.read(next..last_index.next(), 1 << 20);
        let found =
            read.as_ref().ok().and_then(|entries| Some((entries.first()?.index, entries.last()?.index)));
        let begins_there = found.is_some_and(|(first, _)| first == next);
        assert!(begins_there, "recovery told of {first_index}..={last_index}, and {next} gives {read:?}");
        next = found.map_or(next, |(_, last)| last).next();
    }
    let more = batch(1, last_index.next(), hard_state.term.max(Term(1)));
    assert!(writer.append(&[more]).is_ok(), "a recovered log takes no entry");
    drop((writer, reader));
    disk.kill();
    let again = Wal::open(disk.shared(), &dir(), options()).map(|again| again.recovered.last_index);
    let is_there = again.as_ref().is_ok_and(|last| *last == last_index.next());
    assert!(is_there, "entry {} was written behind a recovered log, which says {again:?}", last_index.next());
}
