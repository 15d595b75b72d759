use CompareResult::{Equal, Greater, Less, NotEqual};
use CompareTarget::{CreateRevision, ModRevision, Value, Version};

use super::build::*;
use crate::mvcc::*;

/// a=1@2, b=2@3 and again @4.
fn store() -> KeySpace {
    let mut store = KeySpace::default();
    store.put("a", "1");
    store.put("b", "1");
    store.put("b", "2");
    store
}

fn succeeded(store: &mut KeySpace, compares: Vec<Compare>) -> bool {
    let response = store.ok(KvOp::Txn(txn(compares, vec![], vec![])));
    let OpResponse::Txn { succeeded, .. } = response else { panic!("{response:?}") };
    succeeded
}

#[test]
fn compares_hold_as_in_etcd() {
    let mut store = store();
    let value = |value: &'static str| Value(value.into());
    for (key, end, result, target, expected) in [
        ("b", "", Equal, Version(2), true),
        ("b", "", Greater, Version(1), true),
        ("b", "", Less, Version(2), false),
        ("b", "", NotEqual, Version(2), false),
        ("b", "", Equal, CreateRevision(3), true),
        ("b", "", Equal, ModRevision(4), true),
        ("b", "", Equal, value("2"), true),
        ("b", "", Greater, value("10"), true),
        ("b", "", Equal, CompareTarget::Lease(0), true),
        // A missing key is 0 in everything but its value.
        ("x", "", Equal, Version(0), true),
        ("x", "", Equal, CreateRevision(0), true),
        ("x", "", Less, ModRevision(1), true),
        ("x", "", Equal, CompareTarget::Lease(0), true),
        ("x", "", Equal, value(""), false),
        ("x", "", NotEqual, value("1"), false),
        // Over a range every key must match; an empty range is a missing key.
        ("a", "c", Greater, Version(0), true),
        ("a", "c", Equal, Version(1), false),
        ("a", "\0", Less, ModRevision(5), true),
        ("x", "\0", Equal, Version(0), true),
        ("x", "\0", NotEqual, value("1"), false),
    ] {
        let compare = compare(key, end, result, target);
        assert_eq!(succeeded(&mut store, vec![compare.clone()]), expected, "{compare:?}");
    }
    assert!(succeeded(&mut store, vec![]), "no compare means success");
    let holds = compare("a", "", Equal, Version(1));
    let fails = compare("a", "", Equal, Version(2));
    assert!(!succeeded(&mut store, vec![holds, fails]), "all must hold");
}

#[test]
fn txn_is_one_revision_and_its_reads_see_its_writes() {
    let mut store = store();
    let ops = vec![
        TxnOp::Range(get("a", "\0")),
        TxnOp::Put(put("c", "3")),
        TxnOp::Range(get("a", "\0")),
        TxnOp::DeleteRange(delete("a", "c")),
        TxnOp::Range(get("a", "\0")),
        TxnOp::Range(Range { revision: 4, ..get("a", "\0") }),
    ];
    let response = store.run_op(KvOp::Txn(txn(vec![], ops, vec![])));
    assert_eq!((response.revision, store.now().revision().0), (5, 5));
    let Ok(OpResponse::Txn { succeeded: true, responses }) = response.result else { panic!("{response:?}") };
    let read = |i: usize| {
        let OpResponse::Range(response) = &responses[i] else { panic!("{responses:?}") };
        pairs(response)
    };
    assert_eq!(read(0), ["a=1", "b=2"]);
    assert_eq!(read(2), ["a=1", "b=2", "c=3"]);
    assert_eq!(responses[3], OpResponse::DeleteRange { deleted: 2, prev_kvs: vec![] });
    assert_eq!(read(4), ["c=3"]);
    assert_eq!(read(5), ["a=1", "b=2"], "an older revision is read as it was");
    assert_eq!(pairs(&store.now().range(&get("a", "\0")).unwrap()), ["c=3"]);
}

#[test]
fn branch_that_writes_nothing_does_not_bump_the_revision() {
    let mut store = store();
    let writes = vec![TxnOp::Put(put("c", "3"))];
    let reads = vec![TxnOp::Range(get("a", "")), TxnOp::DeleteRange(delete("x", ""))];
    let never = vec![compare("a", "", Equal, Version(0))];
    assert_eq!(store.run_op(KvOp::Txn(txn(never, writes, reads))).revision, 4);
}

#[test]
fn nested_compares_are_decided_before_anything_is_written() {
    let mut store = store();
    let is_new = vec![compare("c", "", Equal, Version(0))];
    let nested = txn(is_new, vec![TxnOp::Range(get("c", ""))], vec![]);
    let response =
        store.run_op(KvOp::Txn(txn(vec![], vec![TxnOp::Put(put("c", "3")), TxnOp::Txn(nested)], vec![])));
    let Ok(OpResponse::Txn { responses, .. }) = response.result else { panic!("{response:?}") };
    let OpResponse::Txn { succeeded: true, responses } = &responses[1] else { panic!("{responses:?}") };
    let OpResponse::Range(range) = &responses[0] else { panic!("{responses:?}") };
    assert_eq!((pairs(range), response.revision), (vec!["c=3".to_owned()], 5));
}

#[test]
fn txn_that_is_refused_writes_nothing() {
    let mut store = store();
    store.ok(compact(3));
    let after = |op| vec![TxnOp::Put(put("c", "3")), op];
    let nested = |op| TxnOp::Txn(txn(vec![], vec![op], vec![]));
    for (op, expected) in [
        (TxnOp::Range(Range { revision: 5, ..get("a", "") }), KvRefusal::FutureRevision),
        (TxnOp::Range(Range { revision: 2, ..get("a", "") }), KvRefusal::Compacted),
        (TxnOp::Range(Range { revision: -1, ..get("a", "") }), KvRefusal::Compacted),
        (TxnOp::Put(Put { lease: 7, ..put("a", "") }), KvRefusal::LeaseNotFound),
        (TxnOp::Put(Put { ignore_value: true, ..put("x", "") }), KvRefusal::KeyNotFound),
        (TxnOp::Put(Put { ignore_lease: true, ..put("x", "") }), KvRefusal::KeyNotFound),
        (nested(TxnOp::Put(Put { lease: 7, ..put("a", "") })), KvRefusal::LeaseNotFound),
    ] {
        let before = store.now();
        let response = store.run_op(KvOp::Txn(txn(vec![], after(op.clone()), vec![])));
        assert_eq!(response, Response { revision: 4, result: Err(expected) }, "{op:?}");
        assert_eq!(digest(&store.now()), digest(&before), "{op:?}");
        // The branch that is not taken is not looked at.
        let never = vec![compare("a", "", Equal, Version(0))];
        assert!(store.run_op(KvOp::Txn(txn(never, after(op.clone()), vec![]))).result.is_ok(), "{op:?}");
    }
}

fn digest(view: &View) -> u64 {
    <KeySpace as crate::state_machine::StateMachine>::digest(view)
}

fn overlap(success: Vec<TxnOp>) -> Result<(), KvRefusal> {
    let in_success = validate(&Command { op: Some(KvOp::Txn(txn(vec![], success.clone(), vec![]))) });
    let in_failure = validate(&Command { op: Some(KvOp::Txn(txn(vec![], vec![], success))) });
    assert_eq!(in_success, in_failure, "both branches are judged alike");
    in_success
}

#[test]
fn two_writes_of_one_key_are_refused_where_etcd_refuses_them() {
    let p = |key: &str| TxnOp::Put(put(key, "1"));
    let d = |key: &str, end: &str| TxnOp::DeleteRange(delete(key, end));
    let both = |success, failure| TxnOp::Txn(txn(vec![], success, failure));
    let keeping = |key: &str| TxnOp::Put(Put { ignore_value: true, ..put(key, "") });
    let duplicate = Err(KvRefusal::DuplicateKey);
    for (name, ops, expected) in [
        ("put, put of one key", vec![p("a"), p("a")], duplicate),
        ("put, put of two keys", vec![p("a"), p("b")], Ok(())),
        ("put, delete", vec![p("a"), d("a", "")], duplicate),
        ("delete, put", vec![d("a", ""), p("a")], duplicate),
        ("put inside a deleted range", vec![p("b"), d("a", "c")], duplicate),
        ("put at a deleted range's end", vec![p("c"), d("a", "c")], Ok(())),
        ("put just after a deleted key", vec![p("aa"), d("a", "")], Ok(())),
        ("put in a range the wrong way round", vec![p("b"), d("c", "a")], Ok(())),
        ("delete, delete", vec![d("a", ""), d("a", "c"), d("a", "\0")], Ok(())),
        ("put in the second of overlapping deletes", vec![d("a", "c"), d("b", "e"), p("d")], duplicate),
        ("put above a nested put", vec![p("a"), both(vec![p("a")], vec![])], duplicate),
        ("put above a nested delete", vec![p("a"), both(vec![], vec![d("a", "")])], duplicate),
        ("delete above a nested put", vec![d("a", ""), both(vec![p("a")], vec![])], duplicate),
        ("one key in both branches of a nested txn", vec![both(vec![p("a")], vec![p("a")])], Ok(())),
        ("put and delete in different branches", vec![both(vec![p("a")], vec![d("a", "")])], Ok(())),
        (
            "siblings that put one key",
            vec![both(vec![p("a")], vec![]), both(vec![], vec![p("a")])],
            duplicate,
        ),
        (
            "sibling puts what one deleted",
            vec![both(vec![d("a", "")], vec![]), both(vec![p("a")], vec![])],
            duplicate,
        ),
        (
            "sibling deletes what one put",
            vec![both(vec![p("a")], vec![]), both(vec![d("a", "")], vec![])],
            Ok(()),
        ),
        ("delete without end, put", vec![d("a", "\0"), p("b")], Ok(())),
        ("delete without end, put that keeps", vec![d("a", "\0"), keeping("b")], duplicate),
        (
            "nested delete without end, put that keeps",
            vec![both(vec![d("a", "\0")], vec![]), keeping("b")],
            duplicate,
        ),
        (
            "delete without end, nested put that keeps",
            vec![d("a", "\0"), both(vec![keeping("b")], vec![])],
            duplicate,
        ),
        ("delete without end, put that keeps below", vec![d("b", "\0"), keeping("a")], Ok(())),
    ] {
        assert_eq!(overlap(ops), expected, "{name}");
    }
}

#[test]
fn key_may_be_deleted_and_put_in_one_revision() {
    let mut store = store();
    let before = store.now().revision().0;
    store.ok(KvOp::Txn(txn(
        vec![],
        vec![TxnOp::DeleteRange(delete("a", "\0")), TxnOp::Put(put("b", "3"))],
        vec![],
    )));
    let response = store.now().range(&get("a", "\0")).unwrap();
    assert_eq!(pairs(&response), ["b=3"]);
    assert_eq!((response.kvs[0].create_revision, response.kvs[0].version), (before + 1, 1));
    let older = store.now().range(&Range { revision: before, ..get("a", "\0") }).unwrap();
    assert_eq!(pairs(&older), ["a=1", "b=2"]);
}

#[test]
fn key_that_is_put_and_deleted_in_one_revision_never_stood() {
    let mut store = store();
    let nested = |op| TxnOp::Txn(txn(vec![], vec![op], vec![]));
    let ops = vec![nested(TxnOp::Put(put("c", "3"))), nested(TxnOp::DeleteRange(delete("c", "")))];
    assert_eq!(store.run_op(KvOp::Txn(txn(vec![], ops, vec![]))).revision, 5);
    store.put("d", "4");
    for revision in [0, 5] {
        let response = store.now().range(&Range { revision, ..get("c", "") }).unwrap();
        assert_eq!(response.count, 0, "at {revision}");
    }
}

#[test]
fn lists_longer_than_the_limit_are_refused_and_nesting_shares_it() {
    let gets = |n: usize| vec![TxnOp::Range(get("a", "")); n];
    let compares = |n: usize| vec![compare("a", "", Equal, Version(1)); n];
    let nest = |above: usize, below: usize| {
        let mut ops = gets(above - 1);
        ops.push(TxnOp::Txn(txn(compares(below), vec![], vec![])));
        txn(vec![], ops, vec![])
    };
    let too_many = Err(KvRefusal::TooManyOps);
    for (name, txn, expected) in [
        ("128 compares", txn(compares(128), vec![], vec![]), Ok(())),
        ("129 compares", txn(compares(129), vec![], vec![]), too_many),
        ("128 of each", txn(compares(128), gets(128), gets(128)), Ok(())),
        ("129 in success", txn(vec![], gets(129), vec![]), too_many),
        ("129 in failure", txn(vec![], vec![], gets(129)), too_many),
        ("100 above 28", nest(100, 28), Ok(())),
        ("100 above 29", nest(100, 29), too_many),
    ] {
        assert_eq!(validate(&Command { op: Some(KvOp::Txn(txn)) }), expected, "{name}");
    }
}

#[test]
fn malformed_operations_are_refused_wherever_they_are() {
    let empty_compare = compare("", "", Equal, Version(0));
    for (txn, expected) in [
        (txn(vec![empty_compare], vec![], vec![]), KvRefusal::EmptyKey),
        (txn(vec![], vec![TxnOp::Range(get("", ""))], vec![]), KvRefusal::EmptyKey),
        (txn(vec![], vec![], vec![TxnOp::Put(put("", ""))]), KvRefusal::EmptyKey),
        (
            txn(
                vec![],
                vec![TxnOp::Txn(txn(vec![], vec![TxnOp::DeleteRange(delete("", ""))], vec![]))],
                vec![],
            ),
            KvRefusal::EmptyKey,
        ),
        (Txn { success: vec![TxnOperation { op: None }], ..Default::default() }, KvRefusal::KeyNotFound),
    ] {
        assert_eq!(validate(&Command { op: Some(KvOp::Txn(txn.clone())) }), Err(expected), "{txn:?}");
    }
}

#[test]
fn deep_nesting_is_bounded_by_the_limit_not_by_the_stack() {
    let mut deep = txn(vec![], vec![TxnOp::Put(put("a", "1"))], vec![]);
    for _ in 0..126 {
        deep = txn(vec![], vec![TxnOp::Txn(deep)], vec![]);
    }
    assert_eq!(validate(&Command { op: Some(KvOp::Txn(deep.clone())) }), Ok(()));
    deep = txn(vec![], vec![TxnOp::Txn(txn(vec![], vec![TxnOp::Txn(deep)], vec![]))], vec![]);
    assert_eq!(validate(&Command { op: Some(KvOp::Txn(deep)) }), Err(KvRefusal::TooManyOps));
}
