//! Whether a crash can have left what lies where the log stops to validate.
//!
//! A frame is written over zeros, and a disk writes a sector whole or not at all: a write that a crash interrupted leaves
//! at least one sector as it was. So remains with a missing (all-zero) sector may be a torn write, which nobody was promised;
//! bytes in every sector that still do not add up are rot, and what has rotted may have been acknowledged. The same
//! sector size and the same reasoning as etcd's for its log.
//!
//! May import: `segment`. Deliberately absent: what follows from the verdict.

use std::io;

use crate::segment::{BlockReader, FRAME_HEADER_BYTES, Place};

/// What disks write whole or not at all, in bytes.
pub(super) const SECTOR_BYTES: u64 = 512;

/// Bytes looked at together: a whole number of sectors.
const SLICE_BYTES: u64 = 256 * SECTOR_BYTES;

/// Why what lies at `offset`, in a file of `file_bytes`, cannot be the remains of a torn frame; `None` when it can be, or is
/// nothing at all.
pub(crate) fn not_torn(
    reader: &mut BlockReader<'_>,
    place: &Place,
    offset: u64,
    file_bytes: u64,
) -> io::Result<Option<&'static str>> {
    let first = reader.at(offset, SECTOR_BYTES as usize)?;
    if is_zero(first) {
        return Ok(None);
    }
    let Some(header) = place.frame_header(first, offset) else {
        return Ok(Some("its first sector was written, but holds no frame's header"));
    };
    if offset + header.bytes() > file_bytes {
        return Ok(Some("its header was written, but the file ends within it"));
    }
    let end = offset + (FRAME_HEADER_BYTES + header.payload_bytes) as u64;
    let mut at = offset + SECTOR_BYTES;
    while at < end {
        let count = (end - at).next_multiple_of(SECTOR_BYTES).min(SLICE_BYTES);
        if reader.at(at, count as usize)?.chunks(SECTOR_BYTES as usize).any(is_zero) {
            return Ok(None);
        }
        at += count;
    }
    Ok(Some("every sector of it was written, but its checksum does not match"))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
