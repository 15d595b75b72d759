use bytes::Bytes;
use proptest::prelude::*;

use super::model::{Model, is_within};
use crate::mvcc::*;
use crate::state_machine::{Output, StateMachine};
use crate::types::{Index, Revision};
use crate::watch::{EventKind, events_since};

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "aa", "ab", "b", "ba", "c", "d"]).prop_map(Bytes::from)
}

fn key_range() -> impl Strategy<Value = KeyRange> {
    let end = prop::sample::select(vec!["", "", "\0", "b", "bb", "c", "e"]).prop_map(Bytes::from);
    (key(), end).prop_map(|(key, end)| KeyRange { key, end })
}

fn range() -> impl Strategy<Value = Range> {
    let filters =
        (prop::sample::select(vec![0_i64, 0, 0, 3, 9]), prop::sample::select(vec![0_i64, 0, 0, 5, 20]));
    (key_range(), 0_i64..4, -1_i64..30, 0..3, 0..5, any::<(bool, bool)>(), filters.clone(), filters).prop_map(
        |(range, limit, revision, order, target, (keys_only, count_only), mods, creates)| Range {
            range,
            limit,
            revision: if revision > 20 { 0 } else { revision },
            order,
            target,
            keys_only,
            count_only: count_only && keys_only,
            min_mod_revision: mods.0,
            max_mod_revision: mods.1,
            min_create_revision: creates.0,
            max_create_revision: creates.1,
        },
    )
}

fn put() -> impl Strategy<Value = Put> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (key(), "[x-z]{0,3}", prop::sample::select(vec![0_i64, 0, 0, 1, 2]), flags).prop_map(
        |(key, value, lease, (prev_kv, ignore_value, ignore_lease))| Put {
            key,
            value: if ignore_value { Bytes::new() } else { value.into() },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0_i64..3).prop_map(CompareTarget::Version),
        (0_i64..20).prop_map(CompareTarget::CreateRevision),
        (0_i64..20).prop_map(CompareTarget::ModRevision),
        "[x-z]{0,2}".prop_map(|value| CompareTarget::Value(value.into())),
        (0_i64..3).prop_map(CompareTarget::Lease),
    ];
    (key_range(), 0..4, target).prop_map(|(range, result, target)| Compare {
        range,
        result,
        target: Some(target),
    })
}

fn txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![
        range().prop_map(TxnOp::Range),
        put().prop_map(TxnOp::Put),
        delete().prop_map(TxnOp::DeleteRange)
    ];
    let list = |op: BoxedStrategy<TxnOp>| {
        prop::collection::vec(op.prop_map(|op| TxnOperation { op: Some(op) }), 0..4).boxed()
    };
    let of = move |op: BoxedStrategy<TxnOp>| {
        (prop::collection::vec(compare(), 0..3), list(op.clone()), list(op))
            .prop_map(|(compare, success, failure)| Txn { compare, success, failure })
    };
    let op = leaf.boxed().prop_recursive(2, 12, 4, move |inner| {
        prop_oneof![inner.clone(), of(inner).prop_map(TxnOp::Txn)].boxed()
    });
    of(op.boxed())
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        8 => put().prop_map(KvOp::Put),
        3 => delete().prop_map(KvOp::DeleteRange),
        6 => txn().prop_map(KvOp::Txn),
        1 => (-1_i64..25).prop_map(|revision| KvOp::Compact(Compact { revision })),
        1 => (1_i64..4).prop_map(|id| KvOp::LeaseGrant(LeaseGrant { id, ttl_seconds: 10 })),
        1 => (1_i64..4).prop_map(|id| KvOp::LeaseRevoke(LeaseRevoke { id })),
    ]
    .prop_map(|op| Command { op: Some(op) })
}

fn apply(store: &mut KeySpace, command: &Command) -> Response {
    let output = store.apply(Index(1), &command.encode_to_bytes());
    let Output::Kv(response) = output else { panic!("{output:?}") };
    response
}

fn everything() -> KeyRange {
    KeyRange { key: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") }
}

/// Every revision reads as the model has it, and every event is there once, in order.
fn check(view: &View, model: &Model) {
    assert_eq!((view.revision().0, view.compacted_revision().0), (model.revision, model.compacted.max(0)));
    assert_eq!(view.len(), model.at(model.revision).len());
    for revision in 1..=model.revision {
        let answer = view.range(&Range { range: everything(), revision, ..Default::default() });
        if revision < model.compacted {
            assert_eq!(answer, Err(KvRefusal::Compacted));
        } else {
            assert_eq!(answer.unwrap().kvs, model.at(revision), "at {revision}");
        }
    }
    let range = everything();
    for start in [model.compacted.max(1), model.revision / 2, model.revision] {
        match events_since(view, Revision(start), &range) {
            Err(_) => assert!(start < model.compacted),
            Ok(events) => {
                let seen: Vec<_> = events
                    .map(|event| {
                        let kv = (event.kind() == EventKind::Put).then(|| event.kv());
                        (event.revision().0, Bytes::copy_from_slice(event.key()), kv)
                    })
                    .collect();
                let expected: Vec<_> =
                    model.events.iter().filter(|event| event.0 >= start).cloned().collect();
                assert_eq!(seen, expected, "events since {start}");
            }
        }
    }
    for event in events_since(view, view.compacted_revision(), &range).unwrap() {
        let before = event.revision().0 - 1;
        let is_creation = event.kind() == EventKind::Put && event.kv().create_revision == event.revision().0;
        let known = before >= model.compacted.max(1) && !is_creation;
        let expected = known.then(|| model.at(before).into_iter().find(|kv| kv.key == event.key())).flatten();
        assert_eq!(event.prev_kv(), expected, "before {event:?}");
    }
    for id in 1..4 {
        let held: Vec<Bytes> =
            model.at(model.revision).into_iter().filter(|kv| kv.lease == id).map(|kv| kv.key).collect();
        assert!(
            view.leases().keys(crate::types::LeaseId(id)).eq(held.iter().map(|key| &key[..])),
            "lease {id}"
        );
    }
}

fn restore(view: &View) -> KeySpace {
    KeySpace::restore(&mut KeySpace::snapshot_chunks(view).map(Ok)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn key_space_answers_as_the_model_does(commands in prop::collection::vec(command(), 1..40)) {
        let (mut store, mut model) = (KeySpace::default(), Model::default());
        let mut kept = Vec::new();
        for command in &commands {
            prop_assert_eq!(apply(&mut store, command), model.apply(command));
            kept.push((store.view(), model.clone()));
        }
        // Checked at the end: no view may have changed with what came after it.
        for (view, model) in kept {
            check(&view, &model);
        }
    }

    #[test]
    fn a_view_answers_a_transaction_that_only_reads_as_if_it_were_applied(
        commands in prop::collection::vec(command(), 1..40),
        txns in prop::collection::vec(txn(), 20),
    ) {
        let mut store = KeySpace::default();
        for command in &commands {
            apply(&mut store, command);
        }
        for txn in txns {
            let (view, revision) = (store.view(), store.view().revision());
            let answer = view.txn(&txn);
            prop_assert_eq!(view.revision(), revision, "a view never changes");
            let response = apply(&mut store, &Command { op: Some(KvOp::Txn(txn.clone())) });
            if txn.is_read_only() && validate(&Command { op: Some(KvOp::Txn(txn.clone())) }).is_ok() {
                prop_assert_eq!(answer, response.result, "{:?}", txn);
                prop_assert_eq!(store.view().revision(), revision);
            }
        }
    }

    #[test]
    fn ranges_answer_as_the_model_does(
        commands in prop::collection::vec(command(), 1..40),
        ranges in prop::collection::vec(range(), 20),
    ) {
        let (mut store, mut model) = (KeySpace::default(), Model::default());
        for command in &commands {
            apply(&mut store, command);
            model.apply(command);
        }
        for range in ranges {
            prop_assert_eq!(store.view().range(&range), model.range(&range), "{:?}", range);
        }
    }

    #[test]
    fn restored_store_equals_the_replayed_one(
        before in prop::collection::vec(command(), 0..40),
        after in prop::collection::vec(command(), 0..20),
    ) {
        let (mut store, mut model) = (KeySpace::default(), Model::default());
        for command in &before {
            apply(&mut store, command);
            model.apply(command);
        }
        let mut restored = restore(&store.view());
        prop_assert_eq!(KeySpace::digest(&restored.view()), KeySpace::digest(&store.view()));
        check(&restored.view(), &model);
        for command in &after {
            prop_assert_eq!(apply(&mut restored, command), apply(&mut store, command));
            model.apply(command);
        }
        prop_assert_eq!(KeySpace::digest(&restored.view()), KeySpace::digest(&store.view()));
        check(&restored.view(), &model);
        let again: Vec<Bytes> = KeySpace::snapshot_chunks(&restored.view()).collect();
        prop_assert_eq!(again.concat().len(), KeySpace::snapshot_chunks(&store.view()).map(|c| c.len()).sum::<usize>());
    }

    #[test]
    fn when_rows_are_swept_makes_no_difference(
        commands in prop::collection::vec((command(), 0_usize..3), 1..60),
    ) {
        let (mut store, mut swept) = (KeySpace::default(), KeySpace::default());
        for (command, budget) in &commands {
            // Not `apply_command`, which would sweep by itself: what a large compaction leaves behind.
            let lazy = validate(command).and_then(|()| store.run(command.op.as_ref().unwrap()));
            prop_assert_eq!(lazy, apply(&mut swept, command).result);
            store.sweep(*budget);
            let (a, b) = (store.view(), swept.view());
            prop_assert_eq!(KeySpace::digest(&a), KeySpace::digest(&b));
            // So few commands are swept at once, so that nothing is left in `b`; nor is anything in a snapshot.
            let c = restore(&a).view();
            prop_assert_eq!(KeySpace::digest(&c), KeySpace::digest(&b));
            prop_assert_eq!((c.log.len(), c.history_len(), c.size_bytes()), (b.log.len(), b.history_len(), b.size_bytes()));
        }
        while store.sweep(2) {}
        while swept.sweep(2) {}
        let (a, b) = (store.view(), swept.view());
        prop_assert_eq!((a.log.len(), a.history_len(), a.size_bytes()), (b.log.len(), b.history_len(), b.size_bytes()));
        let c = restore(&a).view();
        prop_assert_eq!((a.log.len(), a.history_len(), a.size_bytes()), (c.log.len(), c.history_len(), c.size_bytes()));
    }

    #[test]
    fn refused_command_changes_nothing(commands in prop::collection::vec(command(), 1..40)) {
        let mut store = KeySpace::default();
        for command in &commands {
            let before = KeySpace::digest(&store.view());
            if apply(&mut store, command).result.is_err() {
                prop_assert_eq!(KeySpace::digest(&store.view()), before);
            }
        }
    }

    #[test]
    fn command_survives_its_codec(command in command()) {
        let decoded: Command = prost::Message::decode(command.encode_to_bytes()).unwrap();
        prop_assert_eq!(decoded, command);
    }

    #[test]
    fn bytes_that_are_no_command_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut store = KeySpace::default();
        prop_assert!(matches!(store.apply(Index(1), &bytes), Output::Kv(_)));
    }

    #[test]
    fn overlap_check_agrees_with_trying_every_key(
        ops in prop::collection::vec(prop_oneof![put().prop_map(TxnOp::Put), delete().prop_map(TxnOp::DeleteRange)], 0..6),
    ) {
        // Flat lists only; the table has the nested ones.
        let list: Vec<TxnOperation> = ops.iter().cloned().map(|op| TxnOperation { op: Some(op) }).collect();
        let command = Command { op: Some(KvOp::Txn(Txn { success: list, ..Default::default() })) };
        let puts: Vec<&Put> = ops.iter().filter_map(|op| if let TxnOp::Put(put) = op { Some(put) } else { None }).collect();
        let deletes = || ops.iter().filter_map(|op| if let TxnOp::DeleteRange(delete) = op { Some(&delete.range) } else { None });
        let twice = puts.iter().enumerate().any(|(i, put)| puts[..i].iter().any(|other| other.key == put.key));
        let deleted = puts.iter().any(|put| deletes().any(|range| {
            let keeps = put.ignore_value || put.ignore_lease;
            is_within(&put.key, range) && (range.end != b"\0"[..] || keeps)
        }));
        prop_assert_eq!(validate(&command) == Err(KvRefusal::DuplicateKey), twice || deleted);
    }
}
