use super::build::*;
use crate::lease::Lease;
use crate::mvcc::*;
use crate::types::{LeaseId, Revision};
use crate::watch::{Compacted, EventKind, events_since};

fn refusal(store: &mut KeySpace, op: KvOp) -> KvRefusal {
    let before = store.now().revision();
    let response = store.run_op(op);
    assert_eq!(store.now().revision(), before, "a refusal writes nothing");
    assert_eq!(response.revision, before.0);
    response.result.unwrap_err()
}

fn kv(store: &KeySpace, key: &str) -> KeyValue {
    store.now().range(&get(key, "")).unwrap().kvs.remove(0)
}

#[test]
fn versions_count_from_each_creation() {
    let mut store = KeySpace::default();
    assert_eq!((store.put("a", "1"), store.put("a", "2")), (2, 3));
    let seen = |store: &KeySpace| {
        let kv = kv(store, "a");
        (kv.create_revision, kv.mod_revision, kv.version)
    };
    assert_eq!(seen(&store), (2, 3, 2));
    store.ok(KvOp::DeleteRange(delete("a", "")));
    store.put("a", "3");
    assert_eq!(seen(&store), (5, 5, 1));
}

#[test]
fn delete_that_finds_nothing_does_not_bump_the_revision() {
    let mut store = KeySpace::default();
    store.put("a", "1");
    let nothing = OpResponse::DeleteRange { deleted: 0, prev_kvs: vec![] };
    assert_eq!(
        store.run_op(KvOp::DeleteRange(delete("b", "\0"))),
        Response { revision: 2, result: Ok(nothing) }
    );
    let answer = store.run_op(KvOp::DeleteRange(DeleteRange { prev_kv: true, ..delete("a", "\0") }));
    let Ok(OpResponse::DeleteRange { deleted: 1, prev_kvs }) = answer.result else { panic!("{answer:?}") };
    assert_eq!((answer.revision, &prev_kvs[0].value[..]), (3, &b"1"[..]));
}

#[test]
fn delete_of_a_range_is_one_revision() {
    let mut store = KeySpace::default();
    for key in ["a", "b", "c"] {
        store.put(key, "1");
    }
    assert_eq!(store.run_op(KvOp::DeleteRange(delete("a", "c"))).revision, 5);
    assert_eq!(pairs(&store.now().range(&get("a", "\0")).unwrap()), ["c=1"]);
}

#[test]
fn put_answers_what_stood_before_only_when_asked() {
    let mut store = KeySpace::default();
    let asking = |value| KvOp::Put(Put { prev_kv: true, ..put("a", value) });
    assert_eq!(store.ok(asking("1")), OpResponse::Put { prev_kv: None });
    let OpResponse::Put { prev_kv: Some(before) } = store.ok(asking("2")) else { panic!("no previous pair") };
    assert_eq!((&before.value[..], before.mod_revision), (&b"1"[..], 2));
    assert_eq!(store.ok(KvOp::Put(put("a", "3"))), OpResponse::Put { prev_kv: None });
}

#[test]
fn ignore_value_and_ignore_lease_keep_what_stood() {
    let mut store = KeySpace::default();
    store.ok(grant(7));
    store.ok(KvOp::Put(Put { lease: 7, ..put("a", "1") }));
    store.ok(KvOp::Put(Put { ignore_lease: true, ..put("a", "2") }));
    assert_eq!((&kv(&store, "a").value[..], kv(&store, "a").lease), (&b"2"[..], 7));
    store.ok(KvOp::Put(Put { ignore_value: true, ..put("a", "") }));
    assert_eq!(
        (&kv(&store, "a").value[..], kv(&store, "a").lease, kv(&store, "a").version),
        (&b"2"[..], 0, 3)
    );
}

#[test]
fn malformed_writes_are_refused_with_etcds_reasons() {
    let mut store = KeySpace::default();
    store.put("a", "1");
    for (op, expected) in [
        (KvOp::Put(put("", "1")), KvRefusal::EmptyKey),
        (KvOp::DeleteRange(delete("", "b")), KvRefusal::EmptyKey),
        (KvOp::Put(Put { ignore_value: true, ..put("a", "1") }), KvRefusal::ValueProvided),
        (KvOp::Put(Put { ignore_lease: true, lease: 7, ..put("a", "1") }), KvRefusal::LeaseProvided),
        (KvOp::Put(Put { ignore_value: true, ..put("x", "") }), KvRefusal::KeyNotFound),
        (KvOp::Put(Put { ignore_lease: true, ..put("x", "") }), KvRefusal::KeyNotFound),
        (KvOp::Put(Put { lease: 7, ..put("a", "1") }), KvRefusal::LeaseNotFound),
        // The lease is looked up before the key.
        (KvOp::Put(Put { lease: 7, ignore_value: true, ..put("x", "") }), KvRefusal::LeaseNotFound),
        (KvOp::LeaseRevoke(LeaseRevoke { id: 7 }), KvRefusal::LeaseNotFound),
        (KvOp::LeaseGrant(LeaseGrant { id: 0, ttl_seconds: 1 }), KvRefusal::LeaseNotFound),
        (KvOp::LeaseGrant(LeaseGrant { id: 7, ttl_seconds: 9_000_000_001 }), KvRefusal::LeaseTtlTooLarge),
    ] {
        assert_eq!(refusal(&mut store, op.clone()), expected, "{op:?}");
    }
}

#[test]
fn command_that_does_not_decode_is_refused_alike_everywhere() {
    use crate::state_machine::{Output, StateMachine};
    let mut store = KeySpace::default();
    for bytes in [&b""[..], b"\xff\xff", b"\x0a\x05ab", b"\xfa\x01\x00"] {
        let expected = Response { revision: 1, result: Err(KvRefusal::UnknownCommand) };
        assert_eq!(store.apply(crate::types::Index(1), bytes), Output::Kv(expected), "{bytes:?}");
    }
}

#[test]
fn compaction_refuses_what_is_compacted_or_to_come() {
    let mut store = KeySpace::default();
    store.put("a", "1");
    store.put("a", "2");
    assert_eq!(refusal(&mut store, compact(-1)), KvRefusal::Compacted);
    assert_eq!(refusal(&mut store, compact(4)), KvRefusal::FutureRevision);
    assert!(store.run_op(compact(0)).result.is_ok(), "etcd takes 0, once");
    assert_eq!(refusal(&mut store, compact(0)), KvRefusal::Compacted);
    assert_eq!(
        store.run_op(compact(3)),
        Response { revision: 3, result: Ok(OpResponse::Range(RangeResponse::default())) }
    );
    assert_eq!(refusal(&mut store, compact(3)), KvRefusal::Compacted);
    assert_eq!(refusal(&mut store, compact(2)), KvRefusal::Compacted);
}

#[test]
fn compaction_drops_the_history_and_keeps_the_living() {
    let mut store = KeySpace::default();
    for i in 0..1000 {
        store.put(&format!("k{}", i % 10), "value");
    }
    store.put("gone", "value");
    store.ok(KvOp::DeleteRange(delete("gone", "")));
    let full = store.now();
    assert_eq!((full.log.len(), full.history_len(), full.len()), (1002, 991, 10));
    store.ok(compact(1003));
    while store.sweep(7) {}
    let swept = store.now();
    assert_eq!(
        (swept.log.len(), swept.history_len(), swept.len()),
        (1, 0, 10),
        "only the compacted revision's write stays"
    );
    store.put("k0", "value");
    store.ok(compact(1004));
    while store.sweep(1) {}
    let mut fresh = KeySpace::default();
    for i in 0..10 {
        fresh.put(&format!("k{i}"), "value");
    }
    let (size, expected) = (store.now().size_bytes(), fresh.now().size_bytes());
    // A little more: later revisions are longer numbers.
    assert!(
        size >= expected && size <= expected + 40,
        "{size} bytes of 10 living keys, {expected} in a fresh store"
    );
}

#[test]
fn sweep_without_a_budget_forgets_nothing() {
    let mut store = KeySpace::default();
    for _ in 0..5000 {
        store.put("a", "1");
    }
    store.ok(compact(5001));
    assert!(store.sweep(0), "more than one compaction sweeps at once");
    while store.sweep(100) {}
    assert_eq!((store.now().log.len(), store.now().history_len()), (1, 0));
}

#[test]
fn lease_that_is_granted_holds_keys_and_takes_them_along() {
    let mut store = KeySpace::default();
    assert_eq!(store.run_op(grant(7)).revision, 1, "a grant is no write of the key space");
    assert_eq!(refusal(&mut store, grant(7)), KvRefusal::LeaseExists);
    store.ok(grant(8));
    for key in ["a", "b", "c"] {
        store.ok(KvOp::Put(Put { lease: 7, ..put(key, "1") }));
    }
    store.ok(KvOp::Put(Put { lease: 8, ..put("b", "2") }));
    store.put("c", "2");
    let keys =
        |store: &KeySpace, id| store.now().leases().keys(LeaseId(id)).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!((keys(&store, 7), keys(&store, 8)), (vec![b"a".to_vec()], vec![b"b".to_vec()]));
    assert_eq!(store.run_op(KvOp::LeaseRevoke(LeaseRevoke { id: 7 })).revision, 7);
    assert_eq!(pairs(&store.now().range(&get("a", "\0")).unwrap()), ["b=2", "c=2"]);
    store.ok(KvOp::DeleteRange(delete("b", "")));
    assert!(keys(&store, 8).is_empty());
    assert_eq!(
        store.run_op(KvOp::LeaseRevoke(LeaseRevoke { id: 8 })).revision,
        8,
        "a lease without keys writes nothing"
    );
    assert_eq!(store.now().leases().iter().collect::<Vec<Lease>>(), []);
}

fn events(view: &View, start: i64, range: &KeyRange) -> Result<Vec<String>, Compacted> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let describe = |event: crate::watch::Event<'_>| {
        let before = event.prev_kv().map_or("-".to_owned(), |kv| text(&kv.value));
        let kv = event.kv();
        assert_eq!((kv.mod_revision, &kv.key[..]), (event.revision().0, event.key()));
        let kind = match event.kind() {
            EventKind::Put => format!("={}", text(&kv.value)),
            EventKind::Delete => " gone".to_owned(),
        };
        format!("{} {}{kind} was {before}", event.revision(), text(&kv.key))
    };
    Ok(events_since(view, Revision(start), range)?.map(describe).collect())
}

#[test]
fn watcher_sees_every_write_once_in_order_with_what_stood_before() {
    let mut store = KeySpace::default();
    store.put("a", "1");
    store.ok(KvOp::Txn(txn(vec![], vec![TxnOp::Put(put("c", "1")), TxnOp::Put(put("b", "1"))], vec![])));
    store.put("a", "2");
    store.ok(KvOp::DeleteRange(delete("a", "c")));
    let all = key_range("\0", "\0");
    let everything =
        ["2 a=1 was -", "3 c=1 was -", "3 b=1 was -", "4 a=2 was 1", "5 a gone was 2", "5 b gone was 1"];
    assert_eq!(events(&store.now(), 1, &all).unwrap(), everything);
    assert_eq!(events(&store.now(), 4, &all).unwrap(), everything[3..]);
    assert_eq!(events(&store.now(), 6, &all).unwrap(), [""; 0]);
    assert_eq!(events(&store.now(), 1, &key_range("b", "")).unwrap(), [everything[2], everything[5]]);
}

#[test]
fn watcher_may_start_at_the_compacted_revision_and_not_below() {
    let mut store = KeySpace::default();
    store.put("a", "1");
    store.put("a", "2");
    store.ok(KvOp::DeleteRange(delete("a", "")));
    store.put("a", "3");
    store.ok(compact(4));
    while store.sweep(1) {}
    let all = key_range("a", "\0");
    assert_eq!(events(&store.now(), 3, &all), Err(Compacted { compacted: Revision(4) }));
    assert_eq!(events(&store.now(), 4, &all).unwrap(), ["4 a gone was -", "5 a=3 was -"]);
}
