//! The translation, table by table.

use super::*;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn the_numbers_of_every_enumeration_are_the_protocols() {
    use pb::range_request::{SortOrder, SortTarget};
    let orders = [
        (mvcc::SortOrder::None, SortOrder::None),
        (mvcc::SortOrder::Ascend, SortOrder::Ascend),
        (mvcc::SortOrder::Descend, SortOrder::Descend),
    ];
    for (core, wire) in orders {
        assert_eq!(core as i32, wire as i32);
    }
    let targets = [
        (mvcc::SortTarget::Key, SortTarget::Key),
        (mvcc::SortTarget::Version, SortTarget::Version),
        (mvcc::SortTarget::Create, SortTarget::Create),
        (mvcc::SortTarget::Mod, SortTarget::Mod),
        (mvcc::SortTarget::Value, SortTarget::Value),
    ];
    for (core, wire) in targets {
        assert_eq!(core as i32, wire as i32);
    }
    let results = [
        (mvcc::CompareResult::Equal, pb::compare::CompareResult::Equal),
        (mvcc::CompareResult::Greater, pb::compare::CompareResult::Greater),
        (mvcc::CompareResult::Less, pb::compare::CompareResult::Less),
        (mvcc::CompareResult::NotEqual, pb::compare::CompareResult::NotEqual),
    ];
    for (core, wire) in results {
        assert_eq!(core as i32, wire as i32);
    }
}

#[test]
fn a_range_keeps_every_field() {
    let request = pb::RangeRequest {
        key: bytes("a"),
        range_end: bytes("z"),
        limit: 3,
        revision: 4,
        sort_order: 2,
        sort_target: 3,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 5,
        max_mod_revision: 6,
        min_create_revision: 7,
        max_create_revision: 8,
    };
    let expected = mvcc::Range {
        range: mvcc::KeyRange { key: bytes("a"), end: bytes("z") },
        limit: 3,
        revision: 4,
        order: 2,
        target: 3,
        keys_only: true,
        count_only: true,
        min_mod_revision: 5,
        max_mod_revision: 6,
        min_create_revision: 7,
        max_create_revision: 8,
    };
    assert_eq!(range(request), expected);
}

#[test]
fn a_negative_limit_or_revision_means_all_and_now() {
    let request = pb::RangeRequest { key: bytes("a"), limit: -1, revision: -9, ..Default::default() };
    let translated = range(request);
    assert_eq!((translated.limit, translated.revision), (0, 0));
}

#[test]
fn put_and_delete_keep_every_field() {
    let request = pb::PutRequest {
        key: bytes("k"),
        value: bytes("v"),
        lease: 9,
        prev_kv: true,
        ignore_value: true,
        ignore_lease: true,
    };
    let expected = mvcc::Put {
        key: bytes("k"),
        value: bytes("v"),
        lease: 9,
        prev_kv: true,
        ignore_value: true,
        ignore_lease: true,
    };
    assert_eq!(put(request), expected);
    let request = pb::DeleteRangeRequest { key: bytes("k"), range_end: bytes("l"), prev_kv: true };
    let expected =
        mvcc::DeleteRange { range: mvcc::KeyRange { key: bytes("k"), end: bytes("l") }, prev_kv: true };
    assert_eq!(delete_range(request), expected);
}

#[test]
fn a_compare_takes_the_value_of_its_target_and_zero_for_any_other() {
    use pb::compare::{CompareTarget as T, TargetUnion as U};
    let table: Vec<(T, Option<U>, mvcc::CompareTarget)> = vec![
        (T::Version, Some(U::Version(1)), mvcc::CompareTarget::Version(1)),
        (T::Create, Some(U::CreateRevision(2)), mvcc::CompareTarget::CreateRevision(2)),
        (T::Mod, Some(U::ModRevision(3)), mvcc::CompareTarget::ModRevision(3)),
        (T::Value, Some(U::Value(bytes("x"))), mvcc::CompareTarget::Value(bytes("x"))),
        (T::Lease, Some(U::Lease(4)), mvcc::CompareTarget::Lease(4)),
        (T::Version, None, mvcc::CompareTarget::Version(0)),
        (T::Mod, Some(U::Version(7)), mvcc::CompareTarget::ModRevision(0)),
        (T::Value, None, mvcc::CompareTarget::Value(Bytes::new())),
    ];
    for (target, union, expected) in table {
        let wire = pb::Compare {
            result: 1,
            target: target as i32,
            key: bytes("k"),
            range_end: bytes("z"),
            target_union: union,
        };
        let translated = compare(wire).unwrap();
        assert_eq!(translated.target, Some(expected));
        assert_eq!(translated.result, 1);
        assert_eq!(translated.range, mvcc::KeyRange { key: bytes("k"), end: bytes("z") });
    }
    let unknown = pb::Compare { result: 4, key: bytes("k"), ..Default::default() };
    assert_eq!(compare(unknown), Err(ClientError::UnknownEnum { field: "compare result", value: 4 }));
    let unknown = pb::Compare { target: 5, key: bytes("k"), ..Default::default() };
    assert_eq!(compare(unknown), Err(ClientError::UnknownEnum { field: "compare target", value: 5 }));
}

#[test]
fn a_nested_transaction_is_translated_whole_and_an_empty_operation_refused() {
    use pb::request_op::Request;
    let inner = pb::TxnRequest {
        success: vec![pb::RequestOp {
            request: Some(Request::RequestPut(pb::PutRequest { key: bytes("a"), ..Default::default() })),
        }],
        ..Default::default()
    };
    let outer = pb::TxnRequest {
        failure: vec![pb::RequestOp { request: Some(Request::RequestTxn(inner)) }],
        ..Default::default()
    };
    let translated = txn(outer).unwrap();
    let Some(mvcc::TxnOp::Txn(nested)) = &translated.failure[0].op else { panic!("{translated:?}") };
    let Some(mvcc::TxnOp::Put(put)) = &nested.success[0].op else { panic!("{nested:?}") };
    assert_eq!(put.key, bytes("a"));
    let empty = pb::TxnRequest { success: vec![pb::RequestOp { request: None }], ..Default::default() };
    let command = mvcc::Command { op: Some(mvcc::KvOp::Txn(txn(empty).unwrap())) };
    assert_eq!(mvcc::validate(&command), Err(mvcc::KvRefusal::KeyNotFound));
    let many = vec![pb::RequestOp { request: None }; mvcc::MAX_TXN_OPS + 1];
    let many = pb::TxnRequest { success: many, ..Default::default() };
    let command = mvcc::Command { op: Some(mvcc::KvOp::Txn(txn(many).unwrap())) };
    assert_eq!(mvcc::validate(&command), Err(mvcc::KvRefusal::TooManyOps));
}

#[test]
fn every_answer_inside_a_transaction_has_a_header_with_the_revision() {
    use pb::response_op::Response;
    let kv = mvcc::KeyValue {
        key: bytes("k"),
        create_revision: 2,
        mod_revision: 3,
        version: 4,
        value: bytes("v"),
        lease: 5,
    };
    let responses = vec![
        mvcc::OpResponse::Put { prev_kv: Some(kv.clone()) },
        mvcc::OpResponse::DeleteRange { deleted: 1, prev_kvs: vec![kv.clone()] },
        mvcc::OpResponse::Range(mvcc::RangeResponse { kvs: vec![kv], more: true, count: 9 }),
        mvcc::OpResponse::Txn { succeeded: true, responses: vec![mvcc::OpResponse::Put { prev_kv: None }] },
    ];
    let header = pb::ResponseHeader { cluster_id: 1, member_id: 2, revision: 12, raft_term: 3 };
    let translated = txn_response(true, responses, header);
    assert_eq!(translated.header, Some(header));
    let inner = Some(pb::ResponseHeader { revision: 12, ..Default::default() });
    let wire = mvccpb::KeyValue {
        key: bytes("k"),
        create_revision: 2,
        mod_revision: 3,
        version: 4,
        value: bytes("v"),
        lease: 5,
    };
    let got: Vec<Response> =
        translated.responses.into_iter().map(|op| op.response.expect("an answer")).collect();
    let expected = vec![
        Response::ResponsePut(pb::PutResponse { header: inner, prev_kv: Some(wire.clone()) }),
        Response::ResponseDeleteRange(pb::DeleteRangeResponse {
            header: inner,
            deleted: 1,
            prev_kvs: vec![wire.clone()],
        }),
        Response::ResponseRange(pb::RangeResponse { header: inner, kvs: vec![wire], more: true, count: 9 }),
        Response::ResponseTxn(pb::TxnResponse {
            header: inner,
            succeeded: true,
            responses: vec![pb::ResponseOp {
                response: Some(Response::ResponsePut(pb::PutResponse { header: inner, prev_kv: None })),
            }],
        }),
    ];
    assert_eq!(got, expected);
}
