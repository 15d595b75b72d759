//! `etcdserverpb.Maintenance`: Status and MoveLeader; the rest is not served yet.
//!
//! May import: its siblings, the wire. Deliberately absent: Hash, Snapshot, Alarm, Defragment.

use std::pin::Pin;

use futures::Stream;
use outrigger_core::event::{AdminRequest, MemberSelector};
use outrigger_core::status::Role;
use outrigger_core::types::MemberId;
use outrigger_proto::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use super::door::{ClientDoor, header, leader_id};
use super::errors::ClientError;
use crate::api::alarms::alarms;

/// The protocol version that is told to clients, which compare it: kube-apiserver wants at least 3.4.31 and nothing
/// between 3.5.0 and 3.5.12 before it asks for watch progress, and 3.6 would promise calls that are not served here
/// (downgrade, the storage version). It says which protocol is spoken, not which software runs.
pub const PROTOCOL_VERSION: &str = "3.5.21";

/// The service.
#[derive(Clone, Debug)]
pub(super) struct MaintenanceService {
    pub(super) door: ClientDoor,
}

fn not_yet<T>(what: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!(
        "etcdserver: Maintenance/{what} is not implemented by outrigger {}",
        env!("CARGO_PKG_VERSION")
    )))
}

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for MaintenanceService {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<pb::SnapshotResponse, Status>> + Send>>;

    /// Answers before the cluster is formed, too: `errors` then says so.
    async fn status(
        &self,
        _request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let node = self.door.node()?;
        let status = node.status();
        let published = node.summary().unwrap_or_default();
        let size = published.size_bytes;
        // etcd never reports an empty database, so etcdctl 3.7 divides by this size: 0 would crash it.
        let size = i64::try_from(size).unwrap_or(i64::MAX).max(1);
        let mut errors = Vec::new();
        if status.leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        if !status.formed {
            errors.push("the cluster is not formed yet: clients are not served".to_owned());
        }
        errors.extend(alarms(&status).iter().map(|alarm| alarm.text()));
        Ok(Response::new(pb::StatusResponse {
            header: Some(header(&status, published.revision.0)),
            version: PROTOCOL_VERSION.to_owned(),
            db_size: size,
            leader: leader_id(&status),
            raft_index: status.commit.0,
            raft_term: status.term.0,
            raft_applied_index: status.applied.0,
            errors,
            db_size_in_use: size,
            is_learner: status.role == Role::Learner,
            storage_version: String::new(),
            db_size_quota: i64::try_from(self.door.identity.quota_bytes).unwrap_or(i64::MAX),
            downgrade_info: None,
        }))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let target = MemberId(request.into_inner().target_id);
        let node = self.door.serving()?;
        let status = node.status();
        // A client looks for the leader's endpoint and asks there; anywhere else the protocol answers "not leader".
        if status.role != Role::Leader {
            return Err(ClientError::NotLeader.into());
        }
        if !status.members.iter().any(|member| member.route.id == target && member.voter) {
            return Err(ClientError::BadTransferee.into());
        }
        let request = AdminRequest::Transfer { to: Some(MemberSelector::Id(target)) };
        node.admin(request).await.map_err(|refusal| self.door.refused(refusal))?;
        Ok(Response::new(pb::MoveLeaderResponse { header: Some(header(&node.status(), 0)) }))
    }

    async fn alarm(
        &self,
        _request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        not_yet("Alarm")
    }

    async fn defragment(
        &self,
        _request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        not_yet("Defragment")
    }

    async fn hash(&self, _request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        not_yet("Hash")
    }

    async fn hash_kv(
        &self,
        _request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        not_yet("HashKV")
    }

    async fn snapshot(
        &self,
        _request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        not_yet("Snapshot")
    }

    async fn downgrade(
        &self,
        _request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        not_yet("Downgrade")
    }
}
