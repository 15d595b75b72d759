//! Which files are the log: segments linked backwards by their seals, from the newest one that began.
//!
//! A segment *began* when its first frame validates: that frame is synced before the segment's name is promised to
//! anyone. Those that did not begin are left over from a crash, and never part of the chain unless a later segment
//! names them, which is corruption.
//!
//! May import: `segment`, `record`, `fs`. Deliberately absent: all frames but the first of each segment.

use std::path::PathBuf;
use std::sync::Arc;

use crate::fs::{File, Naming, OpenMode};
use crate::record::{Preamble, Record, Seal, records};
use crate::segment::{BLOCK_BYTES, BlockReader, FIRST_FRAME_OFFSET, Place, SegmentHeader, parse_file_name};
use crate::wal::{MIN_SEGMENT_SIZE_BYTES, OpenError};
use crate::writer::Setup;

/// A segment's file and its beginning.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
    pub(super) header: Option<SegmentHeader>,
    /// The first frame's preamble, when that frame validates.
    pub(super) preamble: Option<Preamble>,
}

/// The log's segments, oldest first, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) segments: Vec<Probed>,
    /// Between or before them: sealed off by a later one.
    pub(super) void: Vec<Probed>,
    /// Behind them: they never began.
    pub(super) after: Vec<Probed>,
}

impl Chain {
    pub(super) fn rotten_headers(&self) -> Vec<PathBuf> {
        self.segments.iter().filter(|segment| segment.header.is_none()).map(|s| s.path.clone()).collect()
    }
}

/// Opens every segment, and looks at its header and its first frame.
pub(super) fn probe_all(setup: &Setup) -> Result<Vec<Probed>, OpenError> {
    let mut numbers = Vec::new();
    for entry in setup.fs.list(&setup.dir).naming("list", &setup.dir)? {
        let Some((member, number)) = parse_file_name(&entry.name) else { continue };
        if member != setup.member {
            let path = setup.dir.join(entry.name);
            return Err(OpenError::OtherMember { path, found: member, expected: setup.member });
        }
        numbers.push(number);
    }
    numbers.sort_unstable();
    let mut probed = Vec::new();
    let mut may_hold_unsynced = true;
    // Backwards: only the newest frame can be one that was never synced, and it is in the newest segment that began.
    // The disk's own answer is asked for that one and those behind it; the others may come from the cache.
    for number in numbers.into_iter().rev() {
        let path = super::segment_path(setup, number);
        let file = setup.fs.open(&path, OpenMode::ReadWrite).naming("open", &path)?;
        if may_hold_unsynced {
            file.settle().naming("sync", &path)?;
        }
        let segment = probe(setup, number, path, file)?;
        may_hold_unsynced = may_hold_unsynced && segment.preamble.is_none();
        probed.push(segment);
    }
    probed.reverse();
    Ok(probed)
}

fn probe(setup: &Setup, number: u64, path: PathBuf, file: Arc<dyn File>) -> Result<Probed, OpenError> {
    let len = file.len().naming("measure", &path)?;
    let mut reader = BlockReader::for_stretch(&*file, 2 * BLOCK_BYTES);
    let block = reader.at(0, BLOCK_BYTES as usize).naming("read", &path)?;
    // A valid header of another number was misdirected here: as good as none.
    let header = SegmentHeader::decode(block).filter(|header| header.segment == number);
    if let Some(header) = header {
        if header.cluster != setup.cluster {
            return Err(OpenError::OtherCluster { path, found: header.cluster, expected: setup.cluster });
        }
        if header.member != setup.member {
            return Err(OpenError::OtherMember { path, found: header.member, expected: setup.member });
        }
    }
    refuse_cut_file(&path, len, header.as_ref())?;
    let place = Place { cluster: setup.cluster, member: setup.member, segment: number };
    let preamble = match reader.frame(&place, FIRST_FRAME_OFFSET).naming("read", &path)? {
        None => None,
        Some((_, payload)) => Some(first_preamble(payload, &path)?),
    };
    Ok(Probed { number, path, file, len, header, preamble })
}

/// A segment's space is taken before it gets its name: no crash leaves a shorter file. Cut at a frame's edge it would
/// look like a log that ends there.
fn refuse_cut_file(
    path: &std::path::Path,
    len: u64,
    header: Option<&SegmentHeader>,
) -> Result<(), OpenError> {
    let least = header.map_or(MIN_SEGMENT_SIZE_BYTES, |header| header.file_bytes);
    if len >= least {
        return Ok(());
    }
    Err(OpenError::Corruption {
        path: path.to_path_buf(),
        offset: len,
        reason: format!(
            "the file ends there, though it was made with {least} bytes: it was cut from outside"
        ),
    })
}

fn first_preamble(payload: &[u8], path: &std::path::Path) -> Result<Preamble, OpenError> {
    let misplaced = || OpenError::Contradiction {
        path: path.to_path_buf(),
        offset: FIRST_FRAME_OFFSET,
        source: crate::state::Contradiction::PreamblePlace,
    };
    let unreadable =
        |source| OpenError::Record { path: path.to_path_buf(), offset: FIRST_FRAME_OFFSET, source };
    match records(payload).next().ok_or_else(misplaced)?.map_err(unreadable)? {
        Record::Preamble(preamble) => Ok(preamble),
        Record::Entry(_)
        | Record::HardState(_)
        | Record::ConfState(..)
        | Record::Mark(_)
        | Record::Seeds(_) => Err(misplaced()),
    }
}

/// Links the segments by their seals.
pub(super) fn link(setup: &Setup, mut probed: Vec<Probed>) -> Result<Chain, OpenError> {
    let mut chain = Chain::default();
    let Some(newest) = probed.iter().rposition(|segment| segment.preamble.is_some()) else {
        chain.after = probed;
        return Ok(chain);
    };
    chain.after = probed.split_off(newest + 1);
    let mut wanted = probed.last().map(|segment| segment.number);
    let mut missing = None;
    while let Some(segment) = probed.pop() {
        if wanted != Some(segment.number) {
            refuse_lost_segment(&segment, missing.as_ref())?;
            chain.void.push(segment);
            continue;
        }
        let Some(preamble) = &segment.preamble else {
            return Err(OpenError::Corruption {
                path: segment.path,
                offset: FIRST_FRAME_OFFSET,
                reason: "its first frame does not validate, though a later segment goes on from it"
                    .to_owned(),
            });
        };
        let Seal { segment: previous, .. } = preamble.seal;
        wanted = probed.iter().any(|older| older.number == previous).then_some(previous);
        missing = (wanted.is_none() && previous != 0).then(|| super::segment_path(setup, previous));
        chain.segments.push(segment);
    }
    chain.segments.reverse();
    Ok(chain)
}

/// A segment that began is never sealed off as a whole: if nothing links to it, the one between is lost.
fn refuse_lost_segment(segment: &Probed, missing: Option<&PathBuf>) -> Result<(), OpenError> {
    match (&segment.preamble, missing) {
        (None, _) => Ok(()),
        (Some(_), Some(path)) => Err(OpenError::Missing { path: path.clone(), older: segment.path.clone() }),
        (Some(_), None) => Err(OpenError::Corruption {
            path: segment.path.clone(),
            offset: 0,
            reason: "it holds frames, but no later segment goes on from it".to_owned(),
        }),
    }
}
