//! Between the etcd wire and the key space's commands, both ways. Keys and values are moved, never copied: the one copy
//! is made when the command is encoded for the log, which also frees the connection's receive buffer.
//!
//! May import: the wire, core's commands. Deliberately absent: IO, checks that the key space makes itself
//! ([`outrigger_core::mvcc::validate`] and [`outrigger_core::mvcc::validate_range`]).

use bytes::Bytes;
use outrigger_core::mvcc;
use outrigger_proto::etcdserverpb as pb;
use outrigger_proto::mvccpb;

use super::errors::ClientError;

/// A read. The numbers of order and target are the protocol's own (a test holds them together), so that an unknown one
/// goes through to where it is refused.
pub(crate) fn range(request: pb::RangeRequest) -> mvcc::Range {
    mvcc::Range {
        range: key_range(request.key, request.range_end),
        // The protocol takes anything at or below zero for "all" and "now".
        limit: request.limit.max(0),
        revision: request.revision.max(0),
        order: request.sort_order,
        target: request.sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

/// A put.
pub(crate) fn put(request: pb::PutRequest) -> mvcc::Put {
    mvcc::Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A delete.
pub(crate) fn delete_range(request: pb::DeleteRangeRequest) -> mvcc::DeleteRange {
    mvcc::DeleteRange { range: key_range(request.key, request.range_end), prev_kv: request.prev_kv }
}

/// A transaction, nested ones included. The depth is bounded by the decoder's recursion limit.
///
/// # Errors
/// An unknown compare.
pub(crate) fn txn(request: pb::TxnRequest) -> Result<mvcc::Txn, ClientError> {
    Ok(mvcc::Txn {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: request.success.into_iter().map(operation).collect::<Result<_, _>>()?,
        failure: request.failure.into_iter().map(operation).collect::<Result<_, _>>()?,
    })
}

/// Whether every operation of both branches is a serializable range: then the transaction is one, too (etcd's
/// `IsTxnSerializable`).
pub(crate) fn is_serializable(request: &pb::TxnRequest) -> bool {
    use pb::request_op::Request;
    let mut operations = request.success.iter().chain(&request.failure);
    operations.all(|op| matches!(&op.request, Some(Request::RequestRange(range)) if range.serializable))
}

fn operation(op: pb::RequestOp) -> Result<mvcc::TxnOperation, ClientError> {
    use pb::request_op::Request;
    let op = match op.request {
        // What it means is for `validate` to say, after the limits: the order of the answers is etcd's.
        None => return Ok(mvcc::TxnOperation { op: None }),
        Some(Request::RequestRange(request)) => mvcc::TxnOp::Range(range(request)),
        Some(Request::RequestPut(request)) => mvcc::TxnOp::Put(put(request)),
        Some(Request::RequestDeleteRange(request)) => mvcc::TxnOp::DeleteRange(delete_range(request)),
        Some(Request::RequestTxn(request)) => mvcc::TxnOp::Txn(txn(request)?),
    };
    Ok(mvcc::TxnOperation { op: Some(op) })
}

fn compare(compare: pb::Compare) -> Result<mvcc::Compare, ClientError> {
    use pb::compare::{CompareResult, CompareTarget as Target, TargetUnion as Given};
    if CompareResult::try_from(compare.result).is_err() {
        return Err(ClientError::UnknownEnum { field: "compare result", value: compare.result });
    }
    let target = Target::try_from(compare.target)
        .map_err(|_| ClientError::UnknownEnum { field: "compare target", value: compare.target })?;
    // A value of another kind than the target's counts as zero, as in etcd.
    let target = match (target, compare.target_union) {
        (Target::Version, Some(Given::Version(given))) => mvcc::CompareTarget::Version(given),
        (Target::Version, _) => mvcc::CompareTarget::Version(0),
        (Target::Create, Some(Given::CreateRevision(given))) => mvcc::CompareTarget::CreateRevision(given),
        (Target::Create, _) => mvcc::CompareTarget::CreateRevision(0),
        (Target::Mod, Some(Given::ModRevision(given))) => mvcc::CompareTarget::ModRevision(given),
        (Target::Mod, _) => mvcc::CompareTarget::ModRevision(0),
        (Target::Value, Some(Given::Value(given))) => mvcc::CompareTarget::Value(given),
        (Target::Value, _) => mvcc::CompareTarget::Value(Bytes::new()),
        (Target::Lease, Some(Given::Lease(given))) => mvcc::CompareTarget::Lease(given),
        (Target::Lease, _) => mvcc::CompareTarget::Lease(0),
    };
    Ok(mvcc::Compare {
        range: key_range(compare.key, compare.range_end),
        result: compare.result,
        target: Some(target),
    })
}

fn key_range(key: Bytes, end: Bytes) -> mvcc::KeyRange {
    mvcc::KeyRange { key, end }
}

/// A range's answer.
pub(crate) fn range_response(response: mvcc::RangeResponse, header: pb::ResponseHeader) -> pb::RangeResponse {
    pb::RangeResponse {
        header: Some(header),
        kvs: response.kvs.into_iter().map(key_value).collect(),
        more: response.more,
        count: response.count,
    }
}

/// A transaction's answer: its operations' headers carry the revision, which clients read.
pub(crate) fn txn_response(
    succeeded: bool,
    responses: Vec<mvcc::OpResponse>,
    header: pb::ResponseHeader,
) -> pb::TxnResponse {
    let revision = header.revision;
    let responses = responses
        .into_iter()
        .map(|response| pb::ResponseOp { response: Some(op_response(response, revision)) })
        .collect();
    pb::TxnResponse { header: Some(header), succeeded, responses }
}

fn op_response(response: mvcc::OpResponse, revision: i64) -> pb::response_op::Response {
    use pb::response_op::Response;
    // Inside a transaction etcd fills the revision alone.
    let header = pb::ResponseHeader { revision, ..pb::ResponseHeader::default() };
    match response {
        mvcc::OpResponse::Range(response) => Response::ResponseRange(range_response(response, header)),
        mvcc::OpResponse::Put { prev_kv } => {
            Response::ResponsePut(pb::PutResponse { header: Some(header), prev_kv: prev_kv.map(key_value) })
        }
        mvcc::OpResponse::DeleteRange { deleted, prev_kvs } => {
            Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                header: Some(header),
                deleted,
                prev_kvs: prev_kvs.into_iter().map(key_value).collect(),
            })
        }
        mvcc::OpResponse::Txn { succeeded, responses } => {
            Response::ResponseTxn(txn_response(succeeded, responses, header))
        }
    }
}

/// A stored pair.
pub(crate) fn key_value(kv: mvcc::KeyValue) -> mvccpb::KeyValue {
    let mvcc::KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
    mvccpb::KeyValue { key, create_revision, mod_revision, version, value, lease }
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
