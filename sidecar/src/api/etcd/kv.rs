//! `etcdserverpb.KV`: writes are proposed, reads are answered from the published view.
//!
//! May import: its siblings, core's commands, the wire. Deliberately absent: logging and spans; this is the hot path.

use outrigger_core::mvcc::{self, Command, KvOp, OpResponse};
use outrigger_core::status::NodeStatus;
use outrigger_proto::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use super::door::{ClientDoor, header};
use super::errors::ClientError;
use super::translate;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct KvService {
    pub(super) door: ClientDoor,
}

impl KvService {
    /// Checks the command where that needs no state, proposes it, and gives its answer with a full header.
    async fn propose(&self, op: KvOp) -> Result<(pb::ResponseHeader, OpResponse), ClientError> {
        let command = Command { op: Some(op) };
        mvcc::validate(&command)?;
        let node = self.door.serving()?;
        let answer = node.propose(&command).await.map_err(|refusal| self.door.refused(refusal))?;
        let status = node.status();
        Ok((header(&status, answer.revision), answer.result?))
    }

    async fn read(&self, range: mvcc::Range, serializable: bool) -> Result<pb::RangeResponse, ClientError> {
        let node = self.door.serving()?;
        let published = self.door.view(&node, serializable).await?;
        let answer = published.kv.range(&range)?;
        let status: &NodeStatus = &node.status();
        Ok(translate::range_response(answer, header(status, published.kv.revision().0)))
    }

    /// A transaction that only reads needs no entry in the log, and works where there is no leader if it says so.
    async fn read_txn(
        &self,
        txn: mvcc::Txn,
        serializable: bool,
    ) -> Result<(pb::ResponseHeader, OpResponse), ClientError> {
        let command = Command { op: Some(KvOp::Txn(txn)) };
        mvcc::validate(&command)?;
        let Some(KvOp::Txn(txn)) = &command.op else { return Err(ClientError::Mismatched) };
        let node = self.door.serving()?;
        let published = self.door.view(&node, serializable).await?;
        let answer = published.kv.txn(txn)?;
        Ok((header(&node.status(), published.kv.revision().0), answer))
    }
}

#[tonic::async_trait]
impl pb::kv_server::Kv for KvService {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let request = request.into_inner();
        let serializable = request.serializable;
        let range = translate::range(request);
        mvcc::validate_range(&range).map_err(ClientError::from)?;
        Ok(Response::new(self.read(range, serializable).await?))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let request = request.into_inner();
        self.door.check_size(&request)?;
        match self.propose(KvOp::Put(translate::put(request))).await? {
            (header, OpResponse::Put { prev_kv }) => Ok(Response::new(pb::PutResponse {
                header: Some(header),
                prev_kv: prev_kv.map(translate::key_value),
            })),
            (_, OpResponse::Range(_) | OpResponse::DeleteRange { .. } | OpResponse::Txn { .. }) => {
                Err(ClientError::Mismatched.into())
            }
        }
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        self.door.check_size(&request)?;
        match self.propose(KvOp::DeleteRange(translate::delete_range(request))).await? {
            (header, OpResponse::DeleteRange { deleted, prev_kvs }) => {
                Ok(Response::new(pb::DeleteRangeResponse {
                    header: Some(header),
                    deleted,
                    prev_kvs: prev_kvs.into_iter().map(translate::key_value).collect(),
                }))
            }
            (_, OpResponse::Range(_) | OpResponse::Put { .. } | OpResponse::Txn { .. }) => {
                Err(ClientError::Mismatched.into())
            }
        }
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let request = request.into_inner();
        self.door.check_size(&request)?;
        let serializable = translate::is_serializable(&request);
        let txn = translate::txn(request)?;
        let answer = if txn.is_read_only() {
            self.read_txn(txn, serializable).await?
        } else {
            self.propose(KvOp::Txn(txn)).await?
        };
        match answer {
            (header, OpResponse::Txn { succeeded, responses }) => {
                Ok(Response::new(translate::txn_response(succeeded, responses, header)))
            }
            (_, OpResponse::Range(_) | OpResponse::Put { .. } | OpResponse::DeleteRange { .. }) => {
                Err(ClientError::Mismatched.into())
            }
        }
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        // `physical` asks to wait until the space is free: here a compaction is done when it is applied.
        let revision = request.into_inner().revision;
        let (header, _) = self.propose(KvOp::Compact(mvcc::Compact { revision })).await?;
        Ok(Response::new(pb::CompactionResponse { header: Some(header) }))
    }
}
