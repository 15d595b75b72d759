//! One version of one key, packed into a single shared allocation.
//!
//! A key with a value of 256 bytes costs one allocation of about 300: no separate key, value and metadata, whose
//! headers would add a quarter. Rows are made by copying, never from a receive buffer, which they would keep alive.
//! The packed form is also the snapshot's form, so its layout is fixed:
//! `mod revision: i64 LE | sub: u32 LE | flags: u8 | varint key length | key`, and in a put
//! `| varint (mod - create) | varint version | varint lease (if flagged) | value`.
//!
//! May import: `command`'s [`KeyValue`]. Deliberately absent: any way to change a row.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::command::KeyValue;

const FIXED_BYTES: usize = 13;
const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;

/// A place in the order of all writes: the revision, and the write's number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) revision: i64,
    pub(crate) sub: u32,
}

impl Mark {
    /// Before every write of the revision.
    pub(crate) const fn start_of(revision: i64) -> Self {
        Self { revision, sub: 0 }
    }
}

/// What a put's row says besides key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) create_revision: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

/// A version of a key, or a tombstone. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row(Arc<[u8]>);

impl AsRef<[u8]> for Row {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Row {
    /// Packs a put.
    pub(crate) fn put(mark: Mark, key: &[u8], meta: Meta, value: &[u8]) -> Self {
        let age = to_unsigned(mark.revision.saturating_sub(meta.create_revision));
        let version = to_unsigned(meta.version);
        // A lease is any 64 bits, so it is carried as they are.
        let lease = meta.lease.cast_unsigned();
        let lease_bytes = if meta.lease == 0 { 0 } else { encoded_len_varint(lease) };
        let rest = encoded_len_varint(age) + encoded_len_varint(version) + lease_bytes + value.len();
        let mut out = Self::head(mark, if meta.lease == 0 { 0 } else { LEASED }, key, rest);
        encode_varint(age, &mut out);
        encode_varint(version, &mut out);
        if meta.lease != 0 {
            encode_varint(lease, &mut out);
        }
        out.put_slice(value);
        Self(out.into())
    }

    /// Packs a deletion.
    pub(crate) fn tombstone(mark: Mark, key: &[u8]) -> Self {
        Self(Self::head(mark, TOMBSTONE, key, 0).into())
    }

    fn head(mark: Mark, flags: u8, key: &[u8], rest: usize) -> Vec<u8> {
        let key_len = key.len() as u64;
        let mut out = Vec::with_capacity(FIXED_BYTES + encoded_len_varint(key_len) + key.len() + rest);
        out.put_i64_le(mark.revision);
        out.put_u32_le(mark.sub);
        out.put_u8(flags);
        encode_varint(key_len, &mut out);
        out.put_slice(key);
        out
    }

    /// Takes a packed row from a snapshot, if it is one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let row = Self(bytes.into());
        let flags = *bytes.get(FIXED_BYTES - 1)?;
        let (key, mut rest) = row.split()?;
        let is_sound = match flags {
            TOMBSTONE => rest.is_empty(),
            0 | LEASED => {
                let age = decode_varint(&mut rest).ok()?;
                let version = decode_varint(&mut rest).ok()?;
                let lease_is_sound = flags == 0 || decode_varint(&mut rest).ok()? != 0;
                let revision = to_unsigned(row.mark().revision);
                age < revision && version > 0 && version < i64::MAX.cast_unsigned() && lease_is_sound
            }
            _ => false,
        };
        let Mark { revision, sub } = row.mark();
        // Marks and versions are counted on from, so that neither may be at its end.
        (!key.is_empty() && revision > 1 && sub < u32::MAX && is_sound).then_some(row)
    }

    /// The key, and what follows it.
    fn split(&self) -> Option<(&[u8], &[u8])> {
        let mut rest = self.0.get(FIXED_BYTES..)?;
        // Keys below 128 bytes, nearly all, have a length of one byte: a search compares many of them.
        let len = match rest.split_first() {
            Some((len, after)) if *len < 0x80 => {
                rest = after;
                usize::from(*len)
            }
            _ => usize::try_from(decode_varint(&mut rest).ok()?).ok()?,
        };
        rest.split_at_checked(len)
    }

    /// Where in the order of writes the row stands.
    pub(crate) fn mark(&self) -> Mark {
        let mut fixed = self.0.as_ref();
        assert!(fixed.len() >= FIXED_BYTES, "a row is only made with its fixed part");
        Mark { revision: fixed.get_i64_le(), sub: fixed.get_u32_le() }
    }

    /// The key.
    pub(crate) fn key(&self) -> &[u8] {
        self.split().map_or(&[], |(key, _)| key)
    }

    /// Whether the row is a deletion.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.0.get(FIXED_BYTES - 1).is_some_and(|flags| flags & TOMBSTONE != 0)
    }

    /// The metadata and the value; all zero and empty in a tombstone.
    pub(crate) fn content(&self) -> (Meta, &[u8]) {
        let none = Meta { create_revision: 0, version: 0, lease: 0 };
        if self.is_tombstone() {
            return (none, &[]);
        }
        let Some((_, mut rest)) = self.split() else { return (none, &[]) };
        let leased = self.0.get(FIXED_BYTES - 1).is_some_and(|flags| flags & LEASED != 0);
        let mut varint = || decode_varint(&mut rest).unwrap_or_default();
        let age = to_signed(varint());
        let version = to_signed(varint());
        let lease = if leased { varint().cast_signed() } else { 0 };
        (Meta { create_revision: self.mark().revision.saturating_sub(age), version, lease }, rest)
    }

    /// The bytes of the row itself.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The row as an answer. Key and value share the row's bytes; without values only the key is copied.
    pub(crate) fn to_key_value(&self, with_value: bool) -> KeyValue {
        let (meta, value) = self.content();
        let (key, value) = if with_value {
            let shared = Bytes::from_owner(self.clone());
            (shared.slice_ref(self.key()), shared.slice_ref(value))
        } else {
            (Bytes::copy_from_slice(self.key()), Bytes::new())
        };
        KeyValue {
            key,
            create_revision: meta.create_revision,
            mod_revision: self.mark().revision,
            version: meta.version,
            value,
            lease: meta.lease,
        }
    }

    /// How the row's key compares with another key.
    pub(crate) fn order_key(&self, key: &[u8]) -> Ordering {
        self.key().cmp(key)
    }
}

fn to_unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn to_signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
