//! The `Peer` service: who may speak is checked here, before anything is stepped.
//!
//! May import: `inbox`, `snapshot`'s receiving half. Deliberately absent: what the messages say, and any answer of raft's
//! own (that goes over this member's stream to the peer).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::{Stream, StreamExt, stream};
use outrigger_core::event::Event;
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_member::admission::{self, Called, Refused};
use outrigger_proto::v1::peer_server::Peer;
use outrigger_proto::v1::{
    ExchangeRequest, ExchangeResponse, Hello, SendSnapshotResponse, SnapshotChunk, SnapshotOffsetRequest,
    SnapshotOffsetResponse, SnapshotTarget, exchange_request, exchange_response,
};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::snapshot::SnapshotReceiver;
use super::{Local, route_of};
use crate::tls::Caller;

/// A stream that does not say who it is within this is closed: it holds a place for nothing.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that peers may speak to.
#[derive(Debug)]
pub struct Acceptor {
    /// This member.
    pub local: Local,
    /// Where snapshots from a leader go.
    pub snapshots: SnapshotReceiver,
}

/// The service; it answers `UNAVAILABLE` while no node runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PeerService {
    acceptor: Arc<ArcSwapOption<Acceptor>>,
}

impl PeerService {
    /// From now on peers speak to this node, or to none.
    pub fn set(&self, acceptor: Option<Arc<Acceptor>>) {
        self.acceptor.store(acceptor);
    }

    fn acceptor(&self) -> Result<Arc<Acceptor>, Status> {
        self.acceptor
            .load_full()
            .ok_or_else(|| Status::unavailable("this process is no member of a cluster yet"))
    }
}

/// What a call says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    cluster: u64,
    from: u64,
    to: u64,
    /// The sender's name, where the call tells it.
    name: Option<&'a str>,
}

impl<'a> Claim<'a> {
    /// A stream's.
    #[must_use]
    pub fn of_hello(hello: &'a Hello) -> Self {
        Self { cluster: hello.cluster_id, from: hello.from, to: hello.to, name: Some(&hello.name) }
    }

    /// A snapshot's, which does not repeat the name.
    #[must_use]
    pub fn of_target(target: &SnapshotTarget) -> Self {
        Self { cluster: target.cluster_id, from: target.from, to: target.to, name: None }
    }
}

/// Whose word this is, once it is verified that it is meant for this member of this cluster, and that its sender is whom
/// its certificate names. Refusals are counted.
///
/// # Errors
/// `FAILED_PRECONDITION` for another cluster or another target, `PERMISSION_DENIED` for a removed sender or under another
/// member's certificate, `INVALID_ARGUMENT` for a sender that cannot be.
pub fn verify(local: &Local, caller: &Caller, claim: &Claim<'_>) -> Result<MemberId, Status> {
    let refused = |(reason, status): (&'static str, Status)| {
        local.metrics.peer_refused(reason);
        status
    };
    let from = judge(local, claim).map_err(refused)?;
    vouch(local, caller, from, claim.name).map_err(|status| refused(("wrong_certificate", *status)))?;
    Ok(from)
}

/// The certificate's name is the one that the sender says, and the one that its id is known under. A sender that nobody here
/// has heard of yet may speak under its own name.
fn vouch(local: &Local, caller: &Caller, from: MemberId, claimed: Option<&str>) -> Result<(), Box<Status>> {
    let status = local.node.status();
    let known = status.members.iter().find(|member| member.route.id == from);
    let known = known.map(|member| member.route.name.as_str()).filter(|name| !name.is_empty());
    claimed.into_iter().chain(known).try_for_each(|name| caller.vouch_for(name))
}

/// The verdict, and for a refusal its word in the metrics.
fn judge(local: &Local, claim: &Claim<'_>) -> Result<MemberId, (&'static str, Status)> {
    let said = admission::Claim {
        cluster: ClusterId(claim.cluster),
        from: MemberId(claim.from),
        to: MemberId(claim.to),
    };
    let status = local.node.status();
    let called = Called {
        cluster: local.cluster,
        member: local.own.id,
        tombstones: &status.tombstones,
        removal_settled: status.removal_settled,
    };
    admission::judge(&called, &said).map_err(|refused| refusal(local, &said, refused))
}

fn refusal(local: &Local, claim: &admission::Claim, refused: Refused) -> (&'static str, Status) {
    let admission::Claim { cluster, from, to } = *claim;
    match refused {
        Refused::WrongCluster => {
            let text = format!(
                "cluster id mismatch: this member belongs to cluster {:016x}, the caller to {:016x}; two clusters \
                 share a DNS name or an address",
                local.cluster.0, cluster.0
            );
            ("wrong_cluster", Status::failed_precondition(text))
        }
        Refused::WrongTarget => {
            let text = format!(
                "member id mismatch: this is member {:016x} ({}), the caller wants {:016x}; its address map is older \
                 than this disk",
                local.own.id.0, local.own.name, to.0
            );
            ("wrong_target", Status::failed_precondition(text))
        }
        Refused::ImpossibleSender => {
            let text = format!("member {:016x} cannot be the sender", from.0);
            ("impossible_sender", Status::invalid_argument(text))
        }
        Refused::Removed => ("removed_sender", Status::permission_denied(removed_text(local.cluster, from))),
        Refused::BeingRemoved => {
            let text = format!("member {:016x} is being removed: ask the leader again", from.0);
            ("removed_sender", Status::unavailable(text))
        }
    }
}

/// What a removed member is told, word for word: the code alone could be a proxy's.
#[must_use]
pub fn removed_text(cluster: ClusterId, member: MemberId) -> String {
    format!(
        "member {:016x} was removed from cluster {:016x}: its data must be moved aside and a new id taken",
        member.0, cluster.0
    )
}

type Answers = Pin<Box<dyn Stream<Item = Result<ExchangeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Peer for PeerService {
    type ExchangeStream = Answers;

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let acceptor = self.acceptor()?;
        let caller = Caller::of(&request);
        let mut inbound = request.into_inner();
        let hello = read_hello(&mut inbound).await?;
        let from = verify(&acceptor.local, &caller, &Claim::of_hello(&hello))?;
        stopped(acceptor.local.node.notify(Event::Handshake(route_of(&hello))).await)?;
        // Whoever dials is up: if it is waited for here, that wait is over.
        acceptor.local.pokes.poke(from);
        let answer = exchange_response::Kind::Hello(acceptor.local.hello(from));
        let (ended, until_ended) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = read_frames(&acceptor.local, from, inbound).await;
            // The caller may be gone already: then nobody waits for how it ended.
            drop(ended.send(outcome));
        });
        let first = stream::once(std::future::ready(Ok(ExchangeResponse { kind: Some(answer) })));
        let end = stream::once(until_ended).filter_map(|outcome| {
            std::future::ready(match outcome {
                Ok(Err(status)) => Some(Err(status)),
                Ok(Ok(())) | Err(_) => None,
            })
        });
        Ok(Response::new(Box::pin(first.chain(end))))
    }

    async fn snapshot_offset(
        &self,
        request: Request<SnapshotOffsetRequest>,
    ) -> Result<Response<SnapshotOffsetResponse>, Status> {
        let acceptor = self.acceptor()?;
        let caller = Caller::of(&request);
        let target = request
            .into_inner()
            .target
            .ok_or_else(|| Status::invalid_argument("a snapshot offset without a target"))?;
        verify(&acceptor.local, &caller, &Claim::of_target(&target))?;
        let offset = acceptor.snapshots.offset(&target).await?;
        Ok(Response::new(SnapshotOffsetResponse { offset }))
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<SendSnapshotResponse>, Status> {
        let acceptor = self.acceptor()?;
        let caller = Caller::of(&request);
        acceptor.snapshots.receive(&acceptor.local, &caller, request.into_inner()).await?;
        Ok(Response::new(SendSnapshotResponse {}))
    }
}

async fn read_hello(inbound: &mut Streaming<ExchangeRequest>) -> Result<Hello, Status> {
    let first = tokio::time::timeout(HELLO_TIMEOUT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello within 5 s"))??;
    match first.and_then(|request| request.kind) {
        Some(exchange_request::Kind::Hello(hello)) => Ok(hello),
        Some(exchange_request::Kind::Frame(_)) | None => {
            Err(Status::invalid_argument("a stream begins with a hello"))
        }
    }
}

/// Hands every message to the node, under the sender that the handshake named. Waits while the inbox is full: HTTP/2
/// then slows the peer down.
async fn read_frames(
    local: &Local,
    from: MemberId,
    mut inbound: Streaming<ExchangeRequest>,
) -> Result<(), Status> {
    while let Some(request) = inbound.message().await? {
        match request.kind {
            Some(exchange_request::Kind::Frame(frame)) => {
                for bytes in frame.messages {
                    stopped(local.node.notify(Event::Peer { from, bytes }).await)?;
                }
            }
            Some(exchange_request::Kind::Hello(_)) => {
                return Err(Status::invalid_argument("a second hello on one stream"));
            }
            // A newer version's kind of message: what is not understood is not stepped.
            None => {}
        }
    }
    Ok(())
}

/// The node is gone: the caller should dial again later.
pub(super) fn stopped<T, E>(outcome: Result<T, E>) -> Result<T, Status> {
    outcome.map_err(|_| Status::unavailable("this member stops"))
}
