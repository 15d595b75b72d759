//! What every client call needs first: a serving node, its header, the limits.
//!
//! May import: `inbox`, `member`, `metrics`, the wire. Deliberately absent: any one call.

use std::sync::Arc;

use outrigger_core::error::Refusal;
use outrigger_core::membership::Route;
use outrigger_core::status::NodeStatus;
use outrigger_core::types::MemberId;
use outrigger_proto::{Message, etcdserverpb as pb};

use super::errors::ClientError;
use crate::api::{Identity, refusals};
use crate::inbox::NodeHandle;
use crate::member::{MemberHandle, Phase};
use crate::metrics::Metrics;
use crate::publication::Published;

/// The client port's way in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientDoor {
    /// The process.
    pub member: MemberHandle,
    /// What it knows of itself.
    pub identity: Arc<Identity>,
    /// Where answers are counted.
    pub metrics: Arc<Metrics>,
    /// Largest request, in bytes of its encoding; etcd's default is 1.5 MiB.
    pub max_request_bytes: usize,
}

impl ClientDoor {
    /// The node, if clients are served.
    ///
    /// # Errors
    /// `NotServing`, with what the member waits for.
    pub(super) fn serving(&self) -> Result<Arc<NodeHandle>, ClientError> {
        let node = self.node()?;
        if node.status().formed { Ok(node) } else { Err(Refusal::NotFormed.into()) }
    }

    /// The node, formed or not.
    ///
    /// # Errors
    /// `NotServing`, with what the member waits for, or `Faulted`.
    pub(super) fn node(&self) -> Result<Arc<NodeHandle>, ClientError> {
        self.member.node().ok_or_else(|| why_not(&self.member))
    }

    /// Counts a refusal on its way to the client.
    pub(super) fn refused(&self, refusal: Refusal) -> ClientError {
        self.metrics.refused(refusals::reason(&refusal));
        refusal.into()
    }

    /// The published view, after everything acknowledged before is in it unless `serializable`.
    ///
    /// # Errors
    /// As [`NodeHandle::read_barrier`]; `NoLeader` before the first view is published.
    pub(super) async fn view(
        &self,
        node: &NodeHandle,
        serializable: bool,
    ) -> Result<Arc<Published>, ClientError> {
        if !serializable {
            node.read_barrier().await.map_err(|refusal| self.refused(refusal))?;
        }
        node.view().await.ok_or_else(|| self.refused(Refusal::NoLeader))
    }

    /// # Errors
    /// `TooLarge` beyond the limit.
    pub(super) fn check_size(&self, request: &impl Message) -> Result<(), ClientError> {
        if request.encoded_len() > self.max_request_bytes {
            self.metrics.refused("too_large");
            return Err(ClientError::TooLarge);
        }
        Ok(())
    }

    /// Where clients reach a member: this one as it was configured, another under its peer address's host and this
    /// one's client port, since all pods of a set are made from one template.
    pub(super) fn client_url(&self, own: bool, route: &Route) -> String {
        if own {
            return self.identity.client_url.clone();
        }
        if !route.client_url.is_empty() {
            return route.client_url.clone();
        }
        let peer_address = route.address.as_str();
        let host = peer_address.rsplit_once(':').map_or(peer_address, |(host, _)| host);
        let (scheme, port) = split_url(&self.identity.client_url);
        format!("{scheme}://{host}:{port}")
    }
}

fn split_url(url: &str) -> (&str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    (scheme, rest.rsplit_once(':').map_or("2379", |(_, port)| port))
}

fn why_not(member: &MemberHandle) -> ClientError {
    let standing = member.standing();
    if !standing.fault.is_empty() {
        return ClientError::Faulted(standing.fault);
    }
    if !standing.waiting_for.is_empty() {
        return ClientError::NotServing(standing.waiting_for);
    }
    let why = match standing.phase {
        Phase::Empty => "this member waits to be founded or to find a member to join through",
        Phase::Joining => "this member waits to be admitted",
        Phase::Member => "this member is starting or stopping",
        Phase::Removed => "this member was removed from the cluster",
        Phase::Faulted => "this member's disk cannot be used: replace its volume",
    };
    ClientError::NotServing(why.to_owned())
}

/// The header of an answer that the key space gave at `revision`; member calls say 0.
pub(super) fn header(status: &NodeStatus, revision: i64) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: status.cluster.0,
        member_id: status.member.0,
        revision,
        raft_term: status.term.0,
    }
}

/// The leader's id as the wire has it: 0 for none.
pub(super) fn leader_id(status: &NodeStatus) -> u64 {
    status.leader.unwrap_or(MemberId(0)).0
}
