//! A hash of the key space as it stood after a revision: the same on every member, whatever each has compacted.
//!
//! Over the living keys in their order, each with its value and the numbers that the protocol shows of it. Not etcd's
//! number: that is over etcd's own encoding of its history, and members of one cluster are compared, not two systems.
//!
//! May import: core's view. Deliberately absent: the call; this blocks for as long as the key space is large.

use bytes::{BufMut, Bytes, BytesMut};
use outrigger_core::mvcc::{KeyRange, KeyValue, KvRefusal, Range, View};

/// Keys that are looked at together: few enough that the answer is small beside the key space.
const PAGE: i64 = 1024;
/// The one-byte end that stands for "no end".
const NO_END: Bytes = Bytes::from_static(&[0]);

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashed {
    /// The hash: CRC-32C.
    pub(super) hash: u32,
    /// The revision that it is of.
    pub(super) revision: i64,
}

/// Hashes the key space at a revision; 0 (or, as etcd has it, less) is now.
///
/// # Errors
/// [`KvRefusal::Compacted`], [`KvRefusal::FutureRevision`].
pub(super) fn hash(view: &View, revision: i64) -> Result<Hashed, KvRefusal> {
    let now = view.revision().0;
    let is_now = revision <= 0 || revision == now;
    // A read of the past collects the whole range for every page: there one page is all.
    let limit = if is_now { PAGE } else { 0 };
    let (mut hash, mut numbers) = (0, BytesMut::new());
    let mut start = NO_END;
    loop {
        let range = KeyRange { key: start, end: NO_END };
        let page = view.range(&Range { range, revision, limit, ..Range::default() })?;
        for kv in &page.kvs {
            hash = append(hash, kv, &mut numbers);
        }
        match page.kvs.last() {
            Some(last) if page.more => start = after(&last.key),
            Some(_) | None => break,
        }
    }
    Ok(Hashed { hash, revision: if is_now { now } else { revision } })
}

/// The first key behind a key.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// Lengths and numbers first, so that no two rows read alike.
fn append(hash: u32, kv: &KeyValue, numbers: &mut BytesMut) -> u32 {
    numbers.clear();
    numbers.put_u64_le(kv.key.len() as u64);
    numbers.put_u64_le(kv.value.len() as u64);
    for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
        numbers.put_i64_le(number);
    }
    let hash = crc32c::crc32c_append(hash, numbers);
    crc32c::crc32c_append(crc32c::crc32c_append(hash, &kv.key), &kv.value)
}

#[cfg(test)]
mod tests {
    use outrigger_core::mvcc::{Command, Compact, KeySpace, KvOp, Put};
    use outrigger_core::state_machine::StateMachine;

    use super::*;

    fn put(space: &mut KeySpace, key: &str, value: &str) {
        let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
        let op = Some(KvOp::Put(Put { key, value, ..Put::default() }));
        space.apply_command(&Command { op }).result.unwrap();
    }

    /// More keys than a page.
    fn filled() -> KeySpace {
        let mut space = KeySpace::default();
        for number in 0..PAGE + 500 {
            put(&mut space, &format!("key/{number}"), "v");
        }
        space
    }

    #[test]
    fn members_at_one_revision_agree_whatever_one_has_written_since_or_compacted() {
        let mut space = filled();
        let before = space.view();
        let then = hash(&before, 0).unwrap();
        assert_eq!(then.revision, before.revision().0);
        put(&mut space, "key/0", "changed");
        let now = hash(&space.view(), 0).unwrap();
        assert_ne!(now.hash, then.hash);
        assert_eq!(hash(&space.view(), then.revision).unwrap(), then, "the past is as it was");
        let op = Some(KvOp::Compact(Compact { revision: now.revision }));
        space.apply_command(&Command { op }).result.unwrap();
        assert_eq!(hash(&space.view(), 0).unwrap(), now);
        assert_eq!(hash(&space.view(), then.revision), Err(KvRefusal::Compacted));
        assert_eq!(hash(&space.view(), now.revision + 1), Err(KvRefusal::FutureRevision));
    }

    #[test]
    fn a_change_of_any_key_even_the_last_changes_the_hash() {
        let filled = filled();
        let base = hash(&filled.view(), 0).unwrap().hash;
        for key in ["key/0", "key/999", "zzz"] {
            let mut space = self::filled();
            put(&mut space, key, "w");
            assert_ne!(hash(&space.view(), 0).unwrap().hash, base, "{key}");
        }
        let (mut one, mut other) = (KeySpace::default(), KeySpace::default());
        put(&mut one, "ab", "c");
        put(&mut other, "a", "bc");
        assert_ne!(hash(&one.view(), 0).unwrap().hash, hash(&other.view(), 0).unwrap().hash);
    }
}
