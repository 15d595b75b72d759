//! Reading little-endian fields out of bytes that may be damaged: every step can fail, none can panic.
//!
//! May import: bytes (for the writing half, `BufMut` on a `Vec`). Deliberately absent: any knowledge of records.

use bytes::BufMut;

/// Reads fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(front)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// A count of things that each take at least `least` bytes: a damaged count never makes anyone allocate more
    /// than the input's own size.
    pub(crate) fn count(&mut self, least: usize) -> Option<usize> {
        let count = self.u32()? as usize;
        (count.checked_mul(least)? <= self.remaining()).then_some(count)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        let count = self.count(1)?;
        String::from_utf8(self.bytes(count)?.to_vec()).ok()
    }
}

/// A length as it goes to disk. Lengths are bounded long before (a frame never outgrows a segment, a segment never
/// 1 GiB), so the saturation is never seen; were it, the checksum would refuse what was written.
pub(crate) fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

pub(crate) fn put_text(buffer: &mut Vec<u8>, text: &str) {
    buffer.put_u32_le(len32(text.len()));
    buffer.put_slice(text.as_bytes());
}
