use bytes::Bytes;

use super::build::*;
use crate::mvcc::*;
use crate::state_machine::{RestoreError, StateMachine};

fn chunks(view: &View) -> Vec<Bytes> {
    KeySpace::snapshot_chunks(view).collect()
}

fn restore(chunks: &[Bytes]) -> Result<KeySpace, RestoreError> {
    KeySpace::restore(&mut chunks.iter().cloned().map(Ok))
}

/// A little of everything: history before and after a compaction, tombstones, leases.
fn store() -> KeySpace {
    let mut store = KeySpace::default();
    store.ok(grant(7));
    for i in 0..6 {
        store.put(&format!("k{}", i % 3), "value");
    }
    store.ok(KvOp::Put(Put { lease: 7, ..put("leased", "value") }));
    store.ok(compact(5));
    store.ok(KvOp::DeleteRange(delete("k1", "")));
    store.put("k2", "last");
    store
}

#[test]
fn empty_store_survives_a_snapshot() {
    let restored = restore(&chunks(&KeySpace::default().now())).unwrap();
    assert_eq!(KeySpace::digest(&restored.now()), KeySpace::digest(&KeySpace::default().now()));
    assert_eq!(restored.now().revision().0, 1);
}

#[test]
fn chunks_stay_within_their_size_and_a_large_row_has_its_own() {
    let mut store = KeySpace::default();
    for i in 0..2000 {
        store.put(&format!("key-{i}"), &"v".repeat(300));
    }
    store.put("large", &"L".repeat(1_500_000));
    for i in 0..2000 {
        store.put(&format!("more-{i}"), &"v".repeat(300));
    }
    let chunks = chunks(&store.now());
    let (large, small): (Vec<_>, Vec<_>) = chunks.iter().partition(|chunk| chunk.len() > 256 * 1024);
    assert_eq!(large.len(), 1);
    assert!(large[0].len() < 1_500_100, "nothing but the large row");
    // A full chunk, whatever is left before the large row, and at the end.
    assert!(small.len() < 4000 * 330 / (256 * 1024) + 6, "{} chunks", small.len());
    assert_eq!(KeySpace::digest(&restore(&chunks).unwrap().now()), KeySpace::digest(&store.now()));
}

#[test]
fn snapshot_is_of_its_view_and_not_of_what_came_later() {
    let mut store = store();
    let view = store.now();
    let before = chunks(&view);
    store.put("k0", "later");
    store.ok(compact(9));
    while store.sweep(1) {}
    assert_eq!(chunks(&view), before);
}

#[test]
fn snapshot_that_lost_or_gained_or_swapped_a_chunk_is_refused() {
    let whole = chunks(&store().now());
    assert!(whole.len() == 5 && restore(&whole).is_ok(), "one chunk of each kind");
    for i in 0..whole.len() {
        let mut lost = whole.clone();
        lost.remove(i);
        assert!(matches!(restore(&lost), Err(RestoreError::Malformed { .. })), "without chunk {i}");
        let mut twice = whole.clone();
        twice.insert(i, whole[i].clone());
        assert!(matches!(restore(&twice), Err(RestoreError::Malformed { .. })), "chunk {i} twice");
    }
    for i in 1..whole.len() {
        let mut swapped = whole.clone();
        swapped.swap(i - 1, i);
        assert!(
            matches!(restore(&swapped), Err(RestoreError::Malformed { .. })),
            "chunks {} and {i} swapped",
            i - 1
        );
    }
    assert!(matches!(restore(&[]), Err(RestoreError::Malformed { .. })));
}

#[test]
fn chunk_cut_at_any_byte_is_refused() {
    let whole = chunks(&store().now());
    for i in 0..whole.len() {
        for len in 0..whole[i].len() {
            let mut cut = whole.clone();
            cut[i] = whole[i].slice(..len);
            assert!(
                matches!(restore(&cut), Err(RestoreError::Malformed { .. })),
                "chunk {i} cut to {len} bytes"
            );
        }
    }
}

#[test]
fn flipped_bit_never_panics_and_never_restores_the_same_state() {
    let view = store().now();
    let whole = chunks(&view);
    for i in 0..whole.len() {
        for bit in 0..whole[i].len() * 8 {
            let mut bytes = whole[i].to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut flipped = whole.clone();
            flipped[i] = bytes.into();
            if let Ok(restored) = restore(&flipped) {
                assert_ne!(KeySpace::digest(&restored.now()), KeySpace::digest(&view), "chunk {i} bit {bit}");
            }
        }
    }
}

/// The next write would have none.
#[test]
fn a_header_at_the_last_revision_is_refused() {
    let mut at_the_end = chunks(&KeySpace::default().now());
    let mut header = at_the_end[0].to_vec();
    for (revision, is_good) in [(i64::MAX - 1, true), (i64::MAX, false)] {
        header[2..10].copy_from_slice(&revision.to_le_bytes());
        at_the_end[0] = header.clone().into();
        assert_eq!(restore(&at_the_end).is_ok(), is_good, "{revision}");
    }
}

#[test]
fn source_that_fails_is_reported_with_its_chunk() {
    let mut source =
        chunks(&store().now()).into_iter().take(2).map(Ok).chain(std::iter::once(Err("disk gone".into())));
    assert!(matches!(KeySpace::restore(&mut source), Err(RestoreError::Source { chunk: 2, .. })));
}

#[test]
fn digest_tells_states_apart() {
    let digest = |ops: Vec<KvOp>| {
        let mut store = KeySpace::default();
        for op in ops {
            store.ok(op);
        }
        KeySpace::digest(&store.now())
    };
    let put = |key, value| KvOp::Put(put(key, value));
    let digests = [
        digest(vec![]),
        digest(vec![put("a", "1")]),
        digest(vec![put("a", "2")]),
        digest(vec![put("b", "1")]),
        digest(vec![put("a", "1"), put("b", "1")]),
        digest(vec![put("b", "1"), put("a", "1")]),
        digest(vec![put("a", "1"), put("a", "1")]),
        digest(vec![grant(7)]),
        digest(vec![grant(8)]),
        digest(vec![put("a", "1"), compact(2)]),
        digest(vec![put("a", "1"), KvOp::DeleteRange(delete("a", ""))]),
        digest(vec![put("a", "1"), KvOp::DeleteRange(delete("a", "")), compact(3)]),
    ];
    for (i, a) in digests.iter().enumerate() {
        for (j, b) in digests.iter().enumerate() {
            assert_eq!(a == b, i == j, "states {i} and {j}");
        }
    }
    assert_eq!(digest(vec![put("a", "1")]), digest(vec![put("a", "1")]));
}
