//! `outrigger.v1.Admin` on the peer port: what the operator, the local runner and the command line ask of a member.
//!
//! May import: `inbox`, `member`, `lifecycle_commands`, `metrics`, the wire. Deliberately absent: decisions; a running
//! node decides on membership, the lifecycle on everything that comes before one.

mod convert;
mod status;

use std::sync::Arc;

use futures::stream::BoxStream;
use outrigger_core::error::{MembershipRefusal, Refusal};
use outrigger_core::event::{AdminReply, AdminRequest, Event};
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_proto::v1;
use outrigger_proto::v1::admin_server::{Admin, AdminServer};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

use super::{Identity, refusals};
use crate::inbox::NodeHandle;
use crate::lifecycle_commands::{Founding, LifecycleCommand, LifecycleRefusal, SnapshotFile};
use crate::member::MemberHandle;
use crate::metrics::Metrics;
use crate::tls::Caller;

/// The admin service's way in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AdminDoor {
    /// The process.
    pub member: MemberHandle,
    /// What it knows of itself.
    pub identity: Arc<Identity>,
    /// Send failures and sizes on disk are read from it.
    pub metrics: Arc<Metrics>,
    /// Founding, abandoning and snapshots go there.
    pub lifecycle: mpsc::Sender<LifecycleCommand>,
}

/// The service, to be added to the peer port's router.
#[must_use]
pub fn service(door: AdminDoor) -> AdminServer<AdminDoor> {
    AdminServer::new(door)
}

impl AdminDoor {
    fn node(&self) -> Result<Arc<NodeHandle>, Status> {
        self.member.node().ok_or_else(|| {
            Status::unavailable(format!("no node runs here: {}", self.member.standing().why_no_node()))
        })
    }

    async fn ask_node(&self, request: AdminRequest) -> Result<AdminReply, Status> {
        let node = self.node()?;
        node.admin(request).await.map_err(|refusal| {
            self.metrics.refused(refusals::reason(&refusal));
            refusals::admin_status(&refusal)
        })
    }

    /// Sends a command to the lifecycle and waits for its word.
    async fn ask_lifecycle<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, LifecycleRefusal>>) -> LifecycleCommand,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.lifecycle
            .try_send(command(reply))
            .map_err(|_| convert::lifecycle_status(&LifecycleRefusal::Busy))?;
        let answer = answer.await.unwrap_or(Err(LifecycleRefusal::Busy));
        answer.map_err(|refusal| convert::lifecycle_status(&refusal))
    }

    /// Checks the cluster where the node is not asked with one.
    fn check_cluster(&self, given: u64) -> Result<(), Status> {
        let actual = self.member.standing().cluster;
        if given == actual.0 {
            return Ok(());
        }
        let refusal = MembershipRefusal::WrongCluster { actual, given: ClusterId(given) };
        Err(refusals::admin_status(&refusal.into()))
    }
}

/// The node's answer is of another kind than what was asked: a bug, not the caller's.
fn mismatched() -> Status {
    Status::internal("the answer is not of the request's kind")
}

fn configuration(reply: &AdminReply) -> Result<u64, Status> {
    match reply {
        AdminReply::Configuration { index } => Ok(index.0),
        AdminReply::Joined { .. } | AdminReply::Done | AdminReply::Leader { .. } => Err(mismatched()),
    }
}

#[tonic::async_trait]
impl Admin for AdminDoor {
    type SnapshotStream = BoxStream<'static, Result<v1::SnapshotResponse, Status>>;

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(status::response(self)))
    }

    async fn found(&self, request: Request<v1::FoundRequest>) -> Result<Response<v1::FoundResponse>, Status> {
        let request = request.into_inner();
        let founding = Founding {
            cluster: convert::cluster(request.cluster_id)?,
            member: MemberId(request.member_id),
            roster: convert::roster(request.roster)?,
            seeds: request.seeds.into_iter().map(convert::route).collect(),
        };
        self.ask_lifecycle(|reply| LifecycleCommand::Found { founding, reply }).await?;
        Ok(Response::new(v1::FoundResponse {}))
    }

    async fn form(&self, request: Request<v1::FormRequest>) -> Result<Response<v1::FormResponse>, Status> {
        let cluster = convert::cluster(request.into_inner().cluster_id)?;
        self.ask_node(AdminRequest::Form { cluster }).await?;
        Ok(Response::new(v1::FormResponse {}))
    }

    async fn abandon(
        &self,
        request: Request<v1::AbandonRequest>,
    ) -> Result<Response<v1::AbandonResponse>, Status> {
        let cluster = convert::cluster(request.into_inner().cluster_id)?;
        self.ask_lifecycle(|reply| LifecycleCommand::Abandon { cluster, reply }).await?;
        Ok(Response::new(v1::AbandonResponse {}))
    }

    async fn admit(&self, request: Request<v1::AdmitRequest>) -> Result<Response<v1::AdmitResponse>, Status> {
        let request = request.into_inner();
        let reply = self
            .ask_node(AdminRequest::Admit {
                cluster: convert::cluster(request.cluster_id)?,
                expected: convert::expected(request.expected_configuration_index),
                roster: convert::roster(request.roster)?,
            })
            .await?;
        Ok(Response::new(v1::AdmitResponse { configuration_index: configuration(&reply)? }))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        // Whoever is let in under a name is believed under it: only its own certificate may ask.
        Caller::of(&request).vouch_for(&request.get_ref().name).map_err(|status| {
            self.metrics.peer_refused("wrong_certificate");
            *status
        })?;
        let reply = self.ask_node(convert::join(request.into_inner())?).await?;
        match reply {
            AdminReply::Joined { cluster, members } => Ok(Response::new(v1::JoinResponse {
                cluster_id: cluster.0,
                members: members.into_iter().map(convert::member).collect(),
            })),
            AdminReply::Configuration { .. } | AdminReply::Done | AdminReply::Leader { .. } => {
                Err(mismatched())
            }
        }
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveRequest>,
    ) -> Result<Response<v1::RemoveResponse>, Status> {
        let request = request.into_inner();
        let target = convert::selector(request.member_id, request.name)?;
        let target =
            target.ok_or_else(|| Status::invalid_argument("name a member: set member_id or name"))?;
        let reply = self
            .ask_node(AdminRequest::Remove {
                cluster: convert::cluster(request.cluster_id)?,
                target,
                expected: convert::expected(request.expected_configuration_index),
            })
            .await?;
        Ok(Response::new(v1::RemoveResponse { configuration_index: configuration(&reply)? }))
    }

    async fn transfer(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<Response<v1::TransferResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(request.cluster_id)?;
        let to = convert::selector(request.to, request.to_name)?;
        match self.ask_node(AdminRequest::Transfer { to }).await? {
            AdminReply::Leader { id } => Ok(Response::new(v1::TransferResponse { leader_id: id.0 })),
            AdminReply::Configuration { .. } | AdminReply::Joined { .. } | AdminReply::Done => {
                Err(mismatched())
            }
        }
    }

    /// Idempotent; without a node there is nothing to drain, and a pod's hook must not fail for it.
    async fn drain(
        &self,
        _request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        if let Some(node) = self.member.node() {
            let told = node.notify(Event::Drain).await;
            told.map_err(|refusal: Refusal| refusals::admin_status(&refusal))?;
        }
        Ok(Response::new(v1::DrainResponse {}))
    }

    async fn snapshot(
        &self,
        _request: Request<v1::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let file = self.ask_lifecycle(|reply| LifecycleCommand::Snapshot { reply }).await?;
        let SnapshotFile { total_bytes, chunks } = file;
        let stream = futures::stream::unfold(chunks, |mut chunks| async move {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        });
        let stream = futures::StreamExt::map(stream, move |chunk| match chunk {
            Ok(chunk) => Ok(v1::SnapshotResponse { total_bytes, chunk }),
            Err(error) => Err(Status::data_loss(format!("the snapshot file could not be read: {error}"))),
        });
        Ok(Response::new(futures::StreamExt::boxed(stream)))
    }
}

#[cfg(test)]
mod tests;
