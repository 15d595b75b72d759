//! `etcdserverpb.Maintenance`: Status, Alarm, HashKV and MoveLeader; the rest is not served.
//!
//! May import: its siblings, the wire. Deliberately absent: Hash (it is of etcd's own file), Snapshot (another form of
//! file, by the admin port), Defragment (there is nothing to defragment), and alarms by hand.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use outrigger_core::event::{AdminRequest, MemberSelector};
use outrigger_core::status::Role;
use outrigger_core::types::MemberId;
use outrigger_proto::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use super::door::{ClientDoor, header, leader_id};
use super::errors::ClientError;
use super::hash_kv;
use crate::api::alarms::{Alarm, alarms};

/// The protocol version that is told to clients, which compare it: kube-apiserver wants at least 3.4.31 and nothing
/// between 3.5.0 and 3.5.12 before it asks for watch progress, and 3.6 would promise calls that are not served here
/// (downgrade, the storage version). It says which protocol is spoken, not which software runs.
pub const PROTOCOL_VERSION: &str = "3.5.21";

/// The service.
#[derive(Clone, Debug)]
pub(super) struct MaintenanceService {
    door: ClientDoor,
    /// Held while the key space is hashed: it takes a core, so that many may ask and one is answered at a time.
    hashing: Arc<Mutex<()>>,
}

impl MaintenanceService {
    pub(super) fn new(door: ClientDoor) -> Self {
        Self { door, hashing: Arc::default() }
    }
}

/// What is not served, and what to do instead.
fn not_served<T>(what: &str, instead: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!(
        "etcdserver: Maintenance/{what} is not implemented by outrigger {}: {instead}",
        env!("CARGO_PKG_VERSION")
    )))
}

/// The alarms as the protocol has them: one a member, however many causes there are, of the asked member alone unless that
/// is 0, and of the asked kind alone unless that is `NONE`.
fn shown(known: &[Alarm], request: &pb::AlarmRequest) -> Vec<pb::AlarmMember> {
    let nospace = pb::AlarmType::Nospace;
    let is_wanted = |member: u64| request.member_id == 0 || request.member_id == member;
    if request.alarm != i32::from(pb::AlarmType::None) && request.alarm != i32::from(nospace) {
        return Vec::new();
    }
    let mut members: Vec<u64> =
        known.iter().map(|alarm| alarm.member.0).filter(|id| is_wanted(*id)).collect();
    members.sort_unstable();
    members.dedup();
    members.into_iter().map(|member_id| pb::AlarmMember { member_id, alarm: nospace.into() }).collect()
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

    /// An alarm stands as long as its cause, so that none is raised by hand, and one that stands cannot be cleared by
    /// hand: the answer to that is the truth, that nothing was cleared. A tool that clears after it made room goes on.
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let request = request.into_inner();
        let status = self.door.node()?.status();
        let action = AlarmAction::try_from(request.action)
            .map_err(|_| ClientError::UnknownEnum { field: "action", value: request.action })?;
        let alarms = match action {
            AlarmAction::Get => shown(&alarms(&status), &request),
            AlarmAction::Deactivate => Vec::new(),
            AlarmAction::Activate => {
                return not_served(
                    "Alarm (ACTIVATE)",
                    "a NOSPACE alarm is raised and cleared by the member itself, as its disk and its quota say",
                );
            }
        };
        Ok(Response::new(pb::AlarmResponse { header: Some(header(&status, 0)), alarms }))
    }

    async fn defragment(
        &self,
        _request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        not_served(
            "Defragment",
            "there is no file to defragment; a compaction gives its space back by itself",
        )
    }

    async fn hash(&self, _request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        not_served("Hash", "it is a hash of etcd's own file; ask for HashKV (`etcdctl endpoint hashkv`)")
    }

    /// Of this member's own state, as in etcd: whoever compares members compares those at one revision.
    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let revision = request.into_inner().revision;
        let node = self.door.serving()?;
        let _one_at_a_time = self.hashing.lock().await;
        let published = self.door.view(&node, true).await?;
        let hashing = tokio::task::spawn_blocking(move || {
            let view = &published.kv;
            let hashed = hash_kv::hash(view, revision)?;
            Ok((hashed, view.revision().0, view.compacted_revision().0))
        });
        let hashed: Result<_, ClientError> = hashing.await.map_err(|_| ClientError::Mismatched)?;
        let (hashed, current, compacted) = hashed?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(header(&node.status(), current)),
            hash: hashed.hash,
            compact_revision: compacted,
            hash_revision: hashed.revision,
        }))
    }

    async fn snapshot(
        &self,
        _request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        not_served("Snapshot", "use `outrigger snapshot save FILE` against the admin port (2380)")
    }

    async fn downgrade(
        &self,
        _request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        not_served("Downgrade", "start the older version; it refuses what it cannot read")
    }
}
