//! Behind the log's end: are there zeros, the remains of a write that nobody was promised, or the proof of a loss.
//!
//! May import: `segment`, `fs`. Deliberately absent: cutting anything. The remains stay where they are, sealed off, and
//! a copy is kept for whoever wants to know what was lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{File, FileSystem, IoFailure, Naming};
use crate::segment::{BLOCK_BYTES, BlockReader, FIRST_FRAME_OFFSET, FRAME_HEADER_BYTES, Place};
use crate::wal::{OpenError, TornTail};
use crate::writer::Setup;

use super::chain::Probed;
use super::tear;

const COPY_SLICE_BYTES: usize = 1 << 20;
const PREFIX: &str = "torn-";
const ZERO_BLOCK: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// Something that cannot be there unless a frame was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// The frame that was durable.
    pub(super) durable: u64,
    /// Where the proof lies.
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What lies in a segment from some offset on.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) segment: u64,
    pub(super) path: PathBuf,
    file: Arc<dyn File>,
    pub(super) from: u64,
    /// The end of the last block that is not all zeros; `None` when all are.
    pub(super) nonzero_until: Option<u64>,
    pub(super) proof: Option<Proof>,
    /// Where no crash can have left what lies at the log's end, and why not.
    pub(super) rot: Option<(u64, &'static str)>,
}

/// Looks at every block of the segment from `from` on: is it zeros, and does it begin a frame. Only headers are looked at:
/// one that validates was written after the frame before it was synced, whatever became of its own body.
pub(super) fn scan(setup: &Setup, segment: &Probed, from: u64) -> Result<Rest, OpenError> {
    let place = Place { cluster: setup.cluster, member: setup.member, segment: segment.number };
    let mut rest = Rest {
        segment: segment.number,
        path: segment.path.clone(),
        file: Arc::clone(&segment.file),
        from,
        nonzero_until: None,
        proof: None,
        rot: None,
    };
    let seal = segment.header.filter(|_| from == 0).map(|header| header.seal);
    if let Some(seal) = seal {
        rest.note(Proof { durable: seal.frame, segment: segment.number, offset: 0 });
    }
    let mut reader = BlockReader::new(&*segment.file);
    let due = from.max(FIRST_FRAME_OFFSET);
    rest.rot = tear::not_torn(&mut reader, &place, due, segment.len)
        .naming("read", &segment.path)?
        .map(|reason| (due, reason));
    let mut offset = from;
    while offset < segment.len {
        let block = reader.at(offset, BLOCK_BYTES as usize).naming("read", &segment.path)?;
        if block.is_empty() {
            break;
        }
        if ZERO_BLOCK.get(..block.len()) != Some(block) {
            rest.nonzero_until = Some(offset + block.len() as u64);
            let header = block.get(..FRAME_HEADER_BYTES).filter(|_| offset >= FIRST_FRAME_OFFSET);
            if let Some(header) = header.and_then(|header| place.frame_header(header, offset)) {
                let durable = header.number.saturating_sub(1);
                rest.note(Proof { durable, segment: segment.number, offset });
            }
        }
        offset += BLOCK_BYTES;
    }
    Ok(rest)
}

impl Rest {
    fn note(&mut self, proof: Proof) {
        if self.proof.is_none_or(|held| held.durable < proof.durable) {
            self.proof = Some(proof);
        }
    }
}

/// Copies what is not zeros into a file of its own, durably; `None` when there is nothing.
pub(super) fn keep_copy(setup: &Setup, rest: &Rest) -> Result<Option<TornTail>, OpenError> {
    let Some(until) = rest.nonzero_until else { return Ok(None) };
    let copy = setup.dir.join(format!("{PREFIX}{:016x}-{:016x}", rest.segment, rest.from));
    let to = setup.fs.create(&copy).naming("create", &copy)?;
    let mut buffer = vec![0; COPY_SLICE_BYTES];
    let mut offset = rest.from;
    while offset < until {
        let count = (until - offset).min(COPY_SLICE_BYTES as u64) as usize;
        let slice = buffer.get_mut(..count).unwrap_or_default();
        let read = rest.file.read_at(slice, offset).naming("read", &rest.path)?;
        if read == 0 {
            break;
        }
        to.write_at(buffer.get(..read).unwrap_or_default(), offset - rest.from).naming("write", &copy)?;
        offset += read as u64;
    }
    to.sync_all().naming("sync", &copy)?;
    setup.fs.sync_dir(&setup.dir).naming("sync the directory", &setup.dir)?;
    let bytes = until - rest.from;
    Ok(Some(TornTail { path: rest.path.clone(), offset: rest.from, bytes, copy }))
}

/// Deletes the copies of remains in this and older segments, when the segment itself goes.
pub(crate) fn drop_copies(fs: &dyn FileSystem, dir: &Path, released: u64) -> Result<(), IoFailure> {
    for entry in fs.list(dir).naming("list", dir)? {
        let segment = entry.name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        let segment = segment.and_then(|(segment, _)| u64::from_str_radix(segment, 16).ok());
        if segment.is_some_and(|segment| segment <= released) {
            let path = dir.join(&entry.name);
            fs.remove_file(&path).naming("delete", &path)?;
        }
    }
    Ok(())
}
