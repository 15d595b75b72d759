//! Segments and frames: how the log lies in its files. All integers are little-endian, a block is 4,096 bytes.
//!
//! **Name.** `<member id>-<segment number>.wal`, both 16 hexadecimal digits. Numbers start at 1 and only grow. Who
//! and which it is stands in the name as well as in the header, so a rotten header hides no frame.
//!
//! **Header**, block 0, zero-padded:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `ORWALSEG` |
//! | 8 | 4 | CRC-32C of bytes 12..4096 |
//! | 12 | 4 | format version, 1 |
//! | 16 | 8 | cluster id |
//! | 24 | 8 | member id |
//! | 32 | 8 | segment number |
//! | 40 | 8 | the next index when the segment began |
//! | 48 | 24 | seal: previous segment (0: none), the offset at which it validly ends, its last frame's number |
//! | 72 | 8 | bytes of the file: a shorter one was cut from outside |
//!
//! **Frames** follow from block 1, each beginning on a block and zero-padded to the next one:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic `ORFR` |
//! | 4 | 4 | header CRC-32C over (cluster id, member id, segment, offset, bytes 8..32) |
//! | 8 | 8 | frame number: from 1, one more each frame, over segments and boots |
//! | 16 | 4 | payload length |
//! | 20 | 4 | body CRC-32C over (cluster id, member id, segment, offset, frame number, payload) |
//! | 24 | 8 | reserved, 0 |
//! | 32 | … | payload: records |
//!
//! No checksum covers the frame before. What a checksum covers besides the bytes is not stored beside them but known
//! from the place: a stale frame of a recycled segment, a frame written to the wrong block or file, and one of another
//! member or cluster never validate, and damage hides nothing behind it. The header has a checksum of its own because
//! a valid header proves, even with a torn body, that the frame *before* was synced: nothing is written earlier.
//!
//! May import: core's `types`, `codec`, `record`'s seal, `fs`. Deliberately absent: what the records mean, and what
//! follows from a frame that does not validate (that is `recovery`'s).

use std::io;
use std::path::{Path, PathBuf};

use bytes::BufMut;
use outrigger_core::types::{ClusterId, Index, MemberId};

use crate::codec::{Fields, len32};
use crate::fs::File;
use crate::record::Seal;

#[cfg(test)]
mod tests;

/// Frames begin on multiples of this: tearing a block that two frames share would damage the acknowledged one.
pub const BLOCK_BYTES: u64 = 4096;

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 32;

/// Where a segment's first frame begins.
pub const FIRST_FRAME_OFFSET: u64 = BLOCK_BYTES;

const FORMAT_VERSION: u32 = 1;
const SEGMENT_MAGIC: &[u8; 8] = b"ORWALSEG";
const FRAME_MAGIC: &[u8; 4] = b"ORFR";
const SUFFIX: &str = ".wal";
const READ_WINDOW_BYTES: u64 = 1 << 20;

/// Rounds up to whole blocks.
pub(crate) const fn blocks_up(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// Bytes on disk of a frame with this payload.
#[cfg(not(feature = "mutants"))]
pub(crate) fn frame_bytes(payload: usize) -> u64 {
    blocks_up((FRAME_HEADER_BYTES + payload) as u64)
}

#[cfg(feature = "mutants")]
pub(crate) fn frame_bytes(payload: usize) -> u64 {
    let bytes = (FRAME_HEADER_BYTES + payload) as u64;
    let shared = outrigger_mutants::is_alive(outrigger_mutants::Mutant::SharedBlock);
    if shared { bytes.next_multiple_of(64) } else { blocks_up(bytes) }
}

/// The log's folder inside a data directory.
#[must_use]
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("wal")
}

/// A segment's file name.
#[must_use]
pub fn file_name(member: MemberId, segment: u64) -> String {
    format!("{:016x}-{segment:016x}{SUFFIX}", member.0)
}

/// Whose segment a file name says it is, and which; `None` for any other name.
#[must_use]
pub fn parse_file_name(name: &str) -> Option<(MemberId, u64)> {
    let (member, segment) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    if member.len() != 16 || segment.len() != 16 {
        return None;
    }
    let member = u64::from_str_radix(member, 16).ok()?;
    let segment = u64::from_str_radix(segment, 16).ok()?;
    (file_name(MemberId(member), segment) == name).then_some((MemberId(member), segment))
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose log.
    pub cluster: ClusterId,
    /// Whose disk.
    pub member: MemberId,
    /// Which segment.
    pub segment: u64,
    /// The index after the last one held when the segment began.
    pub next_index: Index,
    /// Where the log before it ends.
    pub seal: Seal,
    /// Bytes of the file, which never change.
    pub file_bytes: u64,
}

impl SegmentHeader {
    /// Appends the header's block.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let Self { cluster, member, segment, next_index, seal, file_bytes } = self;
        let start = buffer.len();
        buffer.put_slice(SEGMENT_MAGIC);
        buffer.put_u32_le(0);
        buffer.put_u32_le(FORMAT_VERSION);
        for field in [cluster.0, member.0, *segment, next_index.0, seal.segment, seal.end, seal.frame] {
            buffer.put_u64_le(field);
        }
        buffer.put_u64_le(*file_bytes);
        buffer.resize(start + BLOCK_BYTES as usize, 0);
        let crc = crc32c::crc32c(buffer.get(start + 12..).unwrap_or_default());
        if let Some(place) = buffer.get_mut(start + 8..start + 12) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Reads a header's block; `None` when it does not validate.
    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        let covered = block.get(12..BLOCK_BYTES as usize)?;
        let mut fields = Fields::new(block);
        if fields.bytes(8)? != SEGMENT_MAGIC || fields.u32()? != crc32c::crc32c(covered) {
            return None;
        }
        if fields.u32()? != FORMAT_VERSION {
            return None;
        }
        Some(Self {
            cluster: ClusterId(fields.u64()?),
            member: MemberId(fields.u64()?),
            segment: fields.u64()?,
            next_index: Index(fields.u64()?),
            seal: Seal { segment: fields.u64()?, end: fields.u64()?, frame: fields.u64()? },
            file_bytes: fields.u64()?,
        })
    }
}

/// The place that a frame's checksums cover without storing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose log.
    pub cluster: ClusterId,
    /// Whose disk.
    pub member: MemberId,
    /// Which segment.
    pub segment: u64,
}

/// A frame's header that validated at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The frame's number.
    pub number: u64,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    body_crc: u32,
}

impl FrameHeader {
    /// Bytes that the whole frame takes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        frame_bytes(self.payload_bytes)
    }
}

impl Place {
    fn seed(&self, offset: u64) -> u32 {
        let mut seed = [0; 32];
        let fields = [self.cluster.0, self.member.0, self.segment, offset];
        for (place, field) in seed.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        crc32c::crc32c(&seed)
    }

    fn body_crc(&self, offset: u64, number: u64, payload: &[u8]) -> u32 {
        let seed = crc32c::crc32c_append(self.seed(offset), &number.to_le_bytes());
        crc32c::crc32c_append(seed, payload)
    }

    /// Finishes the frame whose header's room begins at `start` and whose payload is all behind it: fills in the
    /// header for the file's `offset` and pads to the block.
    pub(crate) fn seal_frame(&self, buffer: &mut Vec<u8>, start: usize, offset: u64, number: u64) {
        let payload_start = start + FRAME_HEADER_BYTES;
        let payload = buffer.get(payload_start..).unwrap_or_default();
        let body_crc = self.body_crc(offset, number, payload);
        let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
        header.put_slice(FRAME_MAGIC);
        header.put_u32_le(0);
        header.put_u64_le(number);
        header.put_u32_le(len32(payload.len()));
        header.put_u32_le(body_crc);
        header.put_u64_le(0);
        let crc = crc32c::crc32c_append(self.seed(offset), header.get(8..).unwrap_or_default());
        if let Some(place) = header.get_mut(4..8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        if let Some(place) = buffer.get_mut(start..payload_start) {
            place.copy_from_slice(&header);
        }
        let padded = start + blocks_up((buffer.len() - start) as u64) as usize;
        buffer.resize(padded, 0);
    }

    /// The header of a frame at `offset`; `None` when these bytes are no frame's beginning there.
    #[must_use]
    pub fn frame_header(&self, bytes: &[u8], offset: u64) -> Option<FrameHeader> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        let mut fields = Fields::new(bytes);
        if fields.bytes(4)? != FRAME_MAGIC {
            return None;
        }
        if fields.u32()? != crc32c::crc32c_append(self.seed(offset), bytes.get(8..)?) {
            return None;
        }
        Some(FrameHeader {
            number: fields.u64()?,
            payload_bytes: fields.u32()? as usize,
            body_crc: fields.u32()?,
        })
    }

    /// The payload of a frame whose header validated, if it validates too. `bytes` start at the frame.
    #[must_use]
    pub fn payload<'a>(&self, header: &FrameHeader, bytes: &'a [u8], offset: u64) -> Option<&'a [u8]> {
        let payload = bytes.get(FRAME_HEADER_BYTES..)?.get(..header.payload_bytes)?;
        (self.body_crc(offset, header.number, payload) == header.body_crc).then_some(payload)
    }
}

/// Reads a file through a window, so that a run of small frames costs one system call and not one each.
#[derive(Debug)]
pub(crate) struct BlockReader<'a> {
    file: &'a dyn File,
    start: u64,
    window: Vec<u8>,
    ahead: u64,
}

impl<'a> BlockReader<'a> {
    /// For going through a whole file.
    pub(crate) const fn new(file: &'a dyn File) -> Self {
        Self { file, start: 0, window: Vec::new(), ahead: READ_WINDOW_BYTES }
    }

    /// For a stretch whose length is known: no more than that is read ahead.
    pub(crate) fn for_stretch(file: &'a dyn File, bytes: u64) -> Self {
        Self { file, start: 0, window: Vec::new(), ahead: bytes.min(READ_WINDOW_BYTES) }
    }

    /// The bytes at `offset`: `len` of them, or fewer where the file ends.
    pub(crate) fn at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let held =
            offset.checked_sub(self.start).filter(|skip| skip + len as u64 <= self.window.len() as u64);
        let skip = match held {
            Some(skip) => skip as usize,
            None => {
                // No more than there is: of a short file a whole window would be zeros, made for nothing.
                let left = self.file.len()?.saturating_sub(offset);
                self.window.resize(len.max(self.ahead as usize).min(left as usize), 0);
                let read = self.file.read_at(&mut self.window, offset)?;
                self.window.truncate(read);
                self.start = offset;
                0
            }
        };
        let rest = self.window.get(skip..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    /// The frame at `offset`, when both its header and its payload validate there.
    pub(crate) fn frame(&mut self, place: &Place, offset: u64) -> io::Result<Option<(FrameHeader, &[u8])>> {
        let Some(header) = place.frame_header(self.at(offset, FRAME_HEADER_BYTES)?, offset) else {
            return Ok(None);
        };
        // A length that reaches beyond the file is refused before memory beyond the window is taken for it.
        if header.bytes() > self.ahead && offset + header.bytes() > self.file.len()? {
            return Ok(None);
        }
        let bytes = self.at(offset, FRAME_HEADER_BYTES + header.payload_bytes)?;
        Ok(place.payload(&header, bytes, offset).map(|payload| (header, payload)))
    }
}
