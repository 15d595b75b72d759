use super::build::*;
use crate::mvcc::*;
use crate::types::Revision;

/// a=3@2.., b=1@3.., c=2@4.., then a again: revisions 2 to 5.
fn store() -> KeySpace {
    let mut store = KeySpace::default();
    store.put("a", "1");
    store.put("b", "1");
    store.put("c", "2");
    store.put("a", "3");
    store
}

#[test]
fn empty_store_is_at_revision_one() {
    let view = KeySpace::default().now();
    assert_eq!((view.revision(), view.compacted_revision(), view.len()), (Revision(1), Revision(0), 0));
    assert_eq!(view.range(&get("a", "\0")), Ok(RangeResponse::default()));
    assert_eq!(view.range(&Range { revision: 1, ..get("a", "") }), Ok(RangeResponse::default()));
    let future = Range { revision: 2, ..get("a", "") };
    assert_eq!(view.range(&future), Err(KvRefusal::FutureRevision));
}

#[test]
fn range_names_one_key_an_interval_or_everything_from_a_key() {
    let view = store().now();
    for (key, end, expected) in [
        ("a", "", vec!["a=3"]),
        ("aa", "", vec![]),
        ("a", "c", vec!["a=3", "b=1"]),
        ("b", "\0", vec!["b=1", "c=2"]),
        ("\0", "\0", vec!["a=3", "b=1", "c=2"]),
        ("c", "a", vec![]),
        ("a", "a", vec![]),
        ("bb", "d", vec!["c=2"]),
    ] {
        let response = view.range(&get(key, end)).unwrap();
        assert_eq!(pairs(&response), expected, "[{key:?}, {end:?})");
        assert_eq!(response.count, expected.len() as i64, "[{key:?}, {end:?})");
    }
    assert_eq!(view.range(&get("", "")), Err(KvRefusal::EmptyKey));
}

#[test]
fn range_reads_every_revision_that_is_not_compacted() {
    let view = store().now();
    for (revision, expected) in [
        (-5, vec!["a=3", "b=1", "c=2"]),
        (0, vec!["a=3", "b=1", "c=2"]),
        (1, vec![]),
        (2, vec!["a=1"]),
        (3, vec!["a=1", "b=1"]),
        (4, vec!["a=1", "b=1", "c=2"]),
        (5, vec!["a=3", "b=1", "c=2"]),
    ] {
        let response = view.range(&Range { revision, ..get("a", "\0") }).unwrap();
        assert_eq!(pairs(&response), expected, "at {revision}");
    }
    assert_eq!(view.range(&Range { revision: 6, ..get("a", "") }), Err(KvRefusal::FutureRevision));
}

#[test]
fn count_ignores_limit_and_filters_and_more_does_not() {
    let view = store().now();
    let all = get("a", "\0");
    for (request, kvs, more) in [
        (Range { limit: 1, ..all.clone() }, 1, true),
        (Range { limit: 3, ..all.clone() }, 3, false),
        (Range { limit: -1, ..all.clone() }, 3, false),
        (Range { limit: i64::MAX, ..all.clone() }, 3, false),
        (Range { limit: 1, revision: 4, ..all.clone() }, 1, true),
        (Range { min_mod_revision: 4, ..all.clone() }, 2, false),
        (Range { min_mod_revision: 4, limit: 1, ..all.clone() }, 1, true),
        (Range { min_mod_revision: 5, limit: 1, ..all.clone() }, 1, false),
        (Range { max_mod_revision: 3, ..all.clone() }, 1, false),
        (Range { min_create_revision: 3, ..all.clone() }, 2, false),
        (Range { max_create_revision: 2, ..all.clone() }, 1, false),
        (Range { max_create_revision: -1, ..all.clone() }, 0, false),
        (Range { count_only: true, limit: 1, ..all.clone() }, 0, false),
    ] {
        let response = view.range(&request).unwrap();
        assert_eq!((response.kvs.len(), response.more, response.count), (kvs, more, 3), "{request:?}");
    }
}

#[test]
fn limit_applies_after_the_sort() {
    let mut store = store();
    store.put("d", "0");
    let view = store.now();
    use SortOrder::{Ascend, Descend, None};
    for (target, order, expected) in [
        (SortTarget::Key, None, ["a=3", "b=1"]),
        (SortTarget::Key, Ascend, ["a=3", "b=1"]),
        (SortTarget::Key, Descend, ["d=0", "c=2"]),
        (SortTarget::Version, None, ["b=1", "c=2"]),
        (SortTarget::Version, Descend, ["a=3", "b=1"]),
        (SortTarget::Create, None, ["a=3", "b=1"]),
        (SortTarget::Create, Descend, ["d=0", "c=2"]),
        (SortTarget::Mod, None, ["b=1", "c=2"]),
        (SortTarget::Mod, Descend, ["d=0", "a=3"]),
        (SortTarget::Value, None, ["d=0", "b=1"]),
        (SortTarget::Value, Ascend, ["d=0", "b=1"]),
        (SortTarget::Value, Descend, ["a=3", "c=2"]),
    ] {
        let request = Range { limit: 2, order: order as i32, target: target as i32, ..get("a", "\0") };
        let response = view.range(&request).unwrap();
        assert_eq!(
            (pairs(&response), response.more, response.count),
            (expected.map(String::from).to_vec(), true, 4),
            "{target:?} {order:?}"
        );
    }
    for request in [Range { order: 3, ..get("a", "") }, Range { target: 5, ..get("a", "") }] {
        assert_eq!(view.range(&request), Err(KvRefusal::InvalidSortOption));
    }
}

#[test]
fn keys_only_leaves_out_values_and_nothing_else() {
    let view = store().now();
    let whole = view.range(&get("a", "")).unwrap().kvs;
    let bare = view.range(&Range { keys_only: true, ..get("a", "") }).unwrap().kvs;
    assert_eq!(bare, [KeyValue { value: Default::default(), ..whole[0].clone() }]);
    assert_eq!((bare[0].create_revision, bare[0].mod_revision, bare[0].version), (2, 5, 2));
}

#[test]
fn view_never_changes() {
    let mut store = store();
    let before = store.now();
    store.put("a", "9");
    store.ok(KvOp::DeleteRange(delete("a", "\0")));
    store.ok(compact(7));
    assert_eq!(pairs(&before.range(&get("a", "\0")).unwrap()), ["a=3", "b=1", "c=2"]);
    assert_eq!(pairs(&before.range(&Range { revision: 2, ..get("a", "\0") }).unwrap()), ["a=1"]);
    assert_eq!(before.revision(), Revision(5));
}

#[test]
fn reading_at_the_compacted_revision_is_legal_and_below_is_not() {
    let mut store = store();
    store.ok(KvOp::DeleteRange(delete("b", "")));
    store.ok(compact(4));
    let view = store.now();
    let at = |revision| view.range(&Range { revision, ..get("a", "\0") }).map(|response| pairs(&response));
    assert_eq!(at(3), Err(KvRefusal::Compacted));
    assert_eq!(at(4).unwrap(), ["a=1", "b=1", "c=2"]);
    assert_eq!(at(5).unwrap(), ["a=3", "b=1", "c=2"]);
    assert_eq!(at(6).unwrap(), ["a=3", "c=2"]);
    assert_eq!(view.compacted_revision(), Revision(4));
}
