//! Reading a log offline, for `outrigger wal dump DIR`: every segment, every frame, and what does not validate.
//!
//! Takes no lock and writes nothing, so it may look at the directory of a running member (whose newest frames it may
//! then see half-written) as well as at a copy. Keys and values are never shown, only their sizes.
//!
//! May import: core's `types` and `log`, `fs`, `segment`, `record`, `identity`'s file, recovery's judgement of a tear.
//! Deliberately absent: the verdict on the whole log (recovery gives it) and any formatting.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_core::log::{ConfState, HardState, SnapshotMark};
use outrigger_core::types::{ClusterId, Index, MemberId, Term};

use crate::fs::{File, FileSystem, IoFailure, Naming, OpenMode};
use crate::identity::{DataDir, Identity};
use crate::record::{Preamble, Record, RecordError, records};
use crate::recovery::not_torn;
use crate::segment::{
    BLOCK_BYTES, BlockReader, FIRST_FRAME_OFFSET, Place, SegmentHeader, parse_file_name, wal_dir,
};

/// One thing found, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Who the directory belongs to; `None` when its identity is not there or not readable.
    Identity(Option<Identity>),
    /// A segment begins.
    Segment(SegmentItem),
    /// A frame that validates.
    Frame(Box<FrameItem>),
    /// Bytes that are no frame, though they are not all zeros or a frame follows them.
    Damage(DamageItem),
}

/// A segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentItem {
    /// The file.
    pub path: PathBuf,
    /// Whose, by its name.
    pub member: MemberId,
    /// Which, by its name.
    pub segment: u64,
    /// The file's length in bytes.
    pub bytes: u64,
    /// The header; `None` when it does not validate.
    pub header: Option<SegmentHeader>,
    /// Whether nothing was ever written to its first block, as in a segment that a crash kept from beginning.
    pub is_blank: bool,
}

impl SegmentItem {
    /// With how many bytes the file was made, when it is shorter now: it was cut from outside, since a crash cannot do that.
    #[must_use]
    pub fn cut_from(&self) -> Option<u64> {
        self.header.map(|header| header.file_bytes).filter(|made| self.bytes < *made)
    }

    /// Whether no crash leaves a segment so.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.cut_from().is_some() || (self.header.is_none() && !self.is_blank)
    }
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameItem {
    /// In which segment.
    pub segment: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its number.
    pub number: u64,
    /// Bytes that it takes on disk.
    pub bytes: u64,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    /// Whether a later segment's seal cut it off: it does not count.
    pub is_sealed_off: bool,
    /// What it says.
    pub records: RecordSummary,
}

/// What a frame says, without users' data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordSummary {
    /// The state repeated at a segment's start.
    pub preamble: Option<Preamble>,
    /// How many entries.
    pub entries: usize,
    /// The first and the last entry, as they stand.
    pub span: Option<((Index, Term), (Index, Term))>,
    /// Bytes of their data and contexts.
    pub entry_bytes: usize,
    /// Snapshot marks.
    pub marks: Vec<SnapshotMark>,
    /// The hard state.
    pub hard_state: Option<HardState>,
    /// The configuration.
    pub conf_state: Option<(Index, ConfState)>,
    /// How many seeds a seed list has.
    pub seeds: Option<usize>,
    /// A record that does not decode; what follows it is not looked at.
    pub error: Option<RecordError>,
}

/// Bytes that do not validate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamageItem {
    /// In which segment.
    pub segment: u64,
    /// Where they begin, in bytes.
    pub offset: u64,
    /// Where they end: the next frame that validates, or the last byte that is not zero, rounded up to a block.
    pub until: u64,
    /// Whether they lie behind a later segment's seal, where remains of a torn write are expected.
    pub is_sealed_off: bool,
    /// Whether a frame that validates follows in the same segment.
    pub is_followed: bool,
    /// Why it cannot be what a crash left of the last write; `None` when it can.
    pub not_torn: Option<&'static str>,
}

struct Found {
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
    place: Place,
    header: Option<SegmentHeader>,
    is_blank: bool,
}

/// Visits everything in the log of `data_dir`, until `visit` breaks.
///
/// # Errors
/// When the disk fails. Damage is an item, not an error.
pub fn visit(
    fs: &dyn FileSystem,
    data_dir: &Path,
    visit: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<(), IoFailure> {
    let identity = DataDir::load(fs, data_dir).ok().flatten();
    let cluster = identity.as_ref().and_then(|identity| identity.cluster);
    if visit(Item::Identity(identity)).is_break() {
        return Ok(());
    }
    let found = find(fs, data_dir, cluster)?;
    let seals = seals(&found)?;
    for segment in &found {
        let end = seals.get(&segment.place.segment).copied();
        if visit_segment(segment, end, visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn find(fs: &dyn FileSystem, data_dir: &Path, cluster: Option<ClusterId>) -> Result<Vec<Found>, IoFailure> {
    let dir = wal_dir(data_dir);
    let mut found = Vec::new();
    for entry in fs.list(&dir).naming("list", &dir)? {
        let Some((member, segment)) = parse_file_name(&entry.name) else { continue };
        let path = dir.join(&entry.name);
        let file = fs.open(&path, OpenMode::Read).naming("open", &path)?;
        let len = file.len().naming("measure", &path)?;
        let mut block = vec![0; BLOCK_BYTES as usize];
        let read = file.read_at(&mut block, 0).naming("read", &path)?;
        block.truncate(read);
        let header = SegmentHeader::decode(&block);
        let place = Place { cluster: cluster.unwrap_or_default(), member, segment };
        let is_blank = block.iter().all(|byte| *byte == 0);
        found.push(Found { path, file, len, place, header, is_blank });
    }
    // Without an identity, whichever header is whole says which cluster's frames these are.
    if cluster.is_none()
        && let Some(header) = found.iter().find_map(|segment| segment.header)
    {
        for segment in &mut found {
            segment.place.cluster = header.cluster;
        }
    }
    Ok(found)
}

/// Where each segment validly ends, as far as a later one says so.
fn seals(found: &[Found]) -> Result<BTreeMap<u64, u64>, IoFailure> {
    let mut seals = BTreeMap::new();
    for segment in found {
        let mut reader = BlockReader::for_stretch(&*segment.file, BLOCK_BYTES);
        let frame = reader.frame(&segment.place, FIRST_FRAME_OFFSET).naming("read", &segment.path)?;
        // A segment that never began seals nothing, whatever its header says.
        if let Some((_, payload)) = frame
            && let Some(Ok(Record::Preamble(preamble))) = records(payload).next()
        {
            seals.insert(preamble.seal.segment, preamble.seal.end);
        }
    }
    Ok(seals)
}

fn visit_segment(
    found: &Found,
    sealed_end: Option<u64>,
    visit: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, IoFailure> {
    let Found { path, file, len, place, header, is_blank } = found;
    let segment = place.segment;
    let item = SegmentItem {
        path: path.clone(),
        member: place.member,
        segment,
        bytes: *len,
        header: header.filter(|header| header.segment == segment),
        is_blank: *is_blank,
    };
    if visit(Item::Segment(item)).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let mut reader = BlockReader::new(&**file);
    let mut offset = FIRST_FRAME_OFFSET;
    let mut damage: Option<DamageItem> = None;
    while offset < *len {
        let is_sealed_off = sealed_end.is_some_and(|end| offset >= end);
        let frame = reader.frame(place, offset).naming("read", path)?;
        let Some((header, payload)) = frame else {
            let block = reader.at(offset, BLOCK_BYTES as usize).naming("read", path)?;
            let is_zero = block.iter().all(|byte| *byte == 0);
            if damage.is_none() {
                let not_torn = not_torn(&mut reader, place, offset, *len).naming("read", path)?;
                let until = offset;
                damage =
                    Some(DamageItem { segment, offset, until, is_sealed_off, is_followed: false, not_torn });
            }
            offset += BLOCK_BYTES;
            if let (false, Some(damage)) = (is_zero, &mut damage) {
                damage.until = offset;
            }
            continue;
        };
        let item = FrameItem {
            segment,
            offset,
            number: header.number,
            bytes: header.bytes(),
            payload_bytes: header.payload_bytes,
            is_sealed_off,
            records: summarise(payload),
        };
        offset += header.bytes();
        if let Some(damage) = damage.take() {
            let damage = DamageItem { until: item.offset, is_followed: true, ..damage };
            if visit(Item::Damage(damage)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if visit(Item::Frame(Box::new(item))).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    match damage.filter(|damage| damage.until > damage.offset) {
        Some(damage) => Ok(visit(Item::Damage(damage))),
        None => Ok(ControlFlow::Continue(())),
    }
}

fn summarise(payload: &[u8]) -> RecordSummary {
    let mut summary = RecordSummary::default();
    for record in records(payload) {
        match record {
            Ok(Record::Preamble(preamble)) => summary.preamble = Some(preamble),
            Ok(Record::Entry(entry)) => {
                let here = (entry.index, entry.term);
                summary.span = Some((summary.span.map_or(here, |(first, _)| first), here));
                summary.entries += 1;
                summary.entry_bytes += entry.data.len() + entry.context.len();
            }
            Ok(Record::HardState(hard_state)) => summary.hard_state = Some(hard_state),
            Ok(Record::ConfState(index, conf_state)) => summary.conf_state = Some((index, conf_state)),
            Ok(Record::Mark(mark)) => summary.marks.push(mark),
            Ok(Record::Seeds(seeds)) => summary.seeds = Some(seeds.len()),
            Err(error) => summary.error = Some(error),
        }
    }
    summary
}

#[cfg(test)]
mod tests;
