//! A snapshot file's format. All integers are little-endian.
//!
//! | part | bytes | field |
//! | --- | --- | --- |
//! | preface | 8 | magic `ORSNAPSH` |
//! | | 4 | CRC-32C of the preface from here on and of the header |
//! | | 4 | format version, 1 |
//! | | 8+8+8 | cluster id, index, term |
//! | | 4+4 | header length, 0 |
//! | header | … | opaque |
//! | chunk, repeated | 4 | length, never 0 |
//! | | 4 | CRC-32C over (the chunk's number from 0 `u64`, the bytes) |
//! | | … | the bytes |
//! | trailer | 4+4 | 0, magic `OREN` |
//! | | 8+8 | number of chunks, bytes in them |
//! | | 4 | CRC-32C of the whole file before this field |
//! | | 4 | 0 |
//!
//! The file's own CRC-32C, which peers compare, follows from the trailer: nobody has to read the file for it.
//!
//! May import: core's `types`, `codec`. Deliberately absent: files.

use bytes::BufMut;
use outrigger_core::types::{ClusterId, Index, Term};

use crate::codec::{Fields, len32};

use super::SnapshotId;

/// The largest chunk, and the largest header: bounds what reading one takes in memory.
pub const MAX_CHUNK_BYTES: usize = 16 << 20;

pub(super) const PREFACE_BYTES: usize = 48;
pub(super) const CHUNK_HEAD_BYTES: usize = 8;
pub(super) const TRAILER_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"ORSNAPSH";
const END_MAGIC: &[u8; 4] = b"OREN";
const VERSION: u32 = 1;

/// The fixed start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preface {
    pub(super) crc: u32,
    pub(super) cluster: ClusterId,
    pub(super) id: SnapshotId,
    pub(super) header_bytes: usize,
}

pub(super) fn put_preface(buffer: &mut Vec<u8>, cluster: ClusterId, id: SnapshotId, header: &[u8]) {
    let start = buffer.len();
    buffer.put_slice(MAGIC);
    buffer.put_u32_le(0);
    buffer.put_u32_le(VERSION);
    buffer.put_u64_le(cluster.0);
    buffer.put_u64_le(id.index.0);
    buffer.put_u64_le(id.term.0);
    buffer.put_u32_le(len32(header.len()));
    buffer.put_u32_le(0);
    buffer.put_slice(header);
    let crc = crc32c::crc32c(buffer.get(start + 12..).unwrap_or_default());
    if let Some(place) = buffer.get_mut(start + 8..start + 12) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

impl Preface {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if fields.bytes(8)? != MAGIC {
            return None;
        }
        let crc = fields.u32()?;
        if fields.u32()? != VERSION {
            return None;
        }
        let cluster = ClusterId(fields.u64()?);
        let id = SnapshotId { index: Index(fields.u64()?), term: Term(fields.u64()?) };
        let header_bytes = fields.u32()? as usize;
        (header_bytes <= MAX_CHUNK_BYTES).then_some(Self { crc, cluster, id, header_bytes })
    }

    /// Whether the checksum covers these bytes: the preface and the header.
    pub(super) fn covers(&self, bytes: &[u8]) -> bool {
        bytes.get(12..).is_some_and(|covered| crc32c::crc32c(covered) == self.crc)
    }
}

pub(super) fn chunk_crc(number: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), bytes)
}

/// The end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) chunks: u64,
    pub(super) payload_bytes: u64,
    /// Of all bytes before the field itself.
    pub(super) crc: u32,
}

impl Trailer {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if fields.u32()? != 0 || fields.bytes(4)? != END_MAGIC {
            return None;
        }
        let trailer = Self { chunks: fields.u64()?, payload_bytes: fields.u64()?, crc: fields.u32()? };
        (fields.u32()? == 0).then_some(trailer)
    }

    /// The whole file's CRC-32C.
    pub(super) fn file_crc(&self) -> u32 {
        let mut tail = Vec::with_capacity(8);
        tail.put_u32_le(self.crc);
        tail.put_u32_le(0);
        crc32c::crc32c_append(self.crc, &tail)
    }
}

/// Appends a trailer; `before` is the CRC-32C of all bytes before it. Returns the whole file's.
pub(super) fn put_trailer(buffer: &mut Vec<u8>, chunks: u64, payload_bytes: u64, before: u32) -> u32 {
    let start = buffer.len();
    buffer.put_u32_le(0);
    buffer.put_slice(END_MAGIC);
    buffer.put_u64_le(chunks);
    buffer.put_u64_le(payload_bytes);
    let crc = crc32c::crc32c_append(before, buffer.get(start..).unwrap_or_default());
    buffer.put_u32_le(crc);
    buffer.put_u32_le(0);
    Trailer { chunks, payload_bytes, crc }.file_crc()
}
