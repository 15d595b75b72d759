//! `etcdserverpb.Cluster`: who belongs. Changes are the operator's, by the roster, not a client's.
//!
//! May import: its siblings, the wire. Deliberately absent: membership changes.

use outrigger_core::status::{MemberStatus, NodeStatus};
use outrigger_proto::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use super::door::{ClientDoor, header};

/// The service.
#[derive(Clone, Debug)]
pub(super) struct ClusterService {
    pub(super) door: ClientDoor,
}

impl ClusterService {
    fn member(&self, status: &NodeStatus, member: &MemberStatus) -> pb::Member {
        let route = &member.route;
        pb::Member {
            id: route.id.0,
            name: route.name.clone(),
            peer_ur_ls: vec![format!("{}://{}", self.door.identity.peer_scheme, route.address)],
            client_ur_ls: vec![self.door.client_url(route.id == status.member, route)],
            is_learner: member.learner,
        }
    }
}

const SCALE: &str = "etcdserver: members are admitted and removed by the roster: change spec.replicas of the \
                     RaftCluster, or use `outrigger member` against the admin port";

#[tonic::async_trait]
impl pb::cluster_server::Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let node = self.door.serving()?;
        if request.into_inner().linearizable {
            node.read_barrier().await.map_err(|refusal| self.door.refused(refusal))?;
        }
        let status = node.status();
        let mut members: Vec<pb::Member> =
            status.members.iter().map(|member| self.member(&status, member)).collect();
        members.sort_by_key(|member| member.id);
        // Member calls leave the revision at 0: the key space plays no part in them.
        Ok(Response::new(pb::MemberListResponse { header: Some(header(&status, 0)), members }))
    }

    async fn member_add(
        &self,
        _request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        Err(Status::unimplemented(SCALE))
    }

    async fn member_remove(
        &self,
        _request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        Err(Status::unimplemented(SCALE))
    }

    async fn member_update(
        &self,
        _request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        Err(Status::unimplemented(
            "etcdserver: a member announces its own address: restart it with another --advertise-peer",
        ))
    }

    async fn member_promote(
        &self,
        _request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        Err(Status::unimplemented(
            "etcdserver: the leader promotes a learner by itself once it has caught up",
        ))
    }
}
