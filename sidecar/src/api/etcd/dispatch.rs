//! From a call's path to its service, and the count of its answer.
//!
//! May import: tonic, the generated servers. Deliberately absent: what any call means.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use outrigger_proto::etcdserverpb::cluster_server::ClusterServer;
use outrigger_proto::etcdserverpb::kv_server::KvServer;
use outrigger_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use prometheus_client::metrics::counter::Counter;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::{Code, Status};

use super::cluster::ClusterService;
use super::door::ClientDoor;
use super::errors::ClientError;
use super::kv::KvService;
use super::maintenance::MaintenanceService;
use super::unfinished::{self, Budget};
use crate::metrics::Metrics;

/// Room for the envelope beyond the request limit, so that a request a little too large is decoded and refused with
/// the protocol's own text; etcd leaves as much.
const DECODE_SLACK_BYTES: usize = 512 * 1024;

type Reply = Result<http::Response<Body>, Infallible>;

/// Whose call it is.
enum Target {
    Kv,
    Cluster,
    Maintenance,
    None,
}

/// The methods that are counted one by one; all others share one counter. The slot is the index into
/// [`Dispatch::ok`].
const METHODS: [(&str, &str); 11] = [
    ("/etcdserverpb.KV/Range", "Range"),
    ("/etcdserverpb.KV/Put", "Put"),
    ("/etcdserverpb.KV/DeleteRange", "DeleteRange"),
    ("/etcdserverpb.KV/Txn", "Txn"),
    ("/etcdserverpb.KV/Compact", "Compact"),
    ("/etcdserverpb.Cluster/MemberList", "MemberList"),
    ("/etcdserverpb.Maintenance/Status", "Status"),
    ("/etcdserverpb.Maintenance/MoveLeader", "MoveLeader"),
    ("/etcdserverpb.Maintenance/Alarm", "Alarm"),
    ("/etcdserverpb.Maintenance/HashKV", "HashKV"),
    ("", "other"),
];

/// The whole client port. Cheap to clone: every connection has one.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    kv: KvServer<KvService>,
    cluster: ClusterServer<ClusterService>,
    maintenance: MaintenanceServer<MaintenanceService>,
    unfinished: Arc<Budget>,
    metrics: Arc<Metrics>,
    /// Looked up once: a call that succeeds costs one atomic addition.
    ok: Arc<[(&'static str, &'static str, Counter)]>,
}

impl Dispatch {
    pub(super) fn new(door: ClientDoor) -> Self {
        let limit = door.max_request_bytes.saturating_add(DECODE_SLACK_BYTES);
        let metrics = Arc::clone(&door.metrics);
        let ok =
            METHODS.iter().map(|(path, name)| (*path, *name, metrics.grpc_counter(name, "Ok"))).collect();
        Self {
            kv: KvServer::new(KvService { door: door.clone() }).max_decoding_message_size(limit),
            cluster: ClusterServer::new(ClusterService { door: door.clone() })
                .max_decoding_message_size(limit),
            maintenance: MaintenanceServer::new(MaintenanceService::new(door))
                .max_decoding_message_size(limit),
            unfinished: Budget::new(unfinished::Limits::default(), Arc::clone(&metrics)),
            metrics,
            ok,
        }
    }

    fn slot(&self, path: &str) -> usize {
        self.ok.iter().position(|(known, _, _)| *known == path).unwrap_or(METHODS.len() - 1)
    }
}

fn target(path: &str) -> Target {
    if path.starts_with("/etcdserverpb.KV/") {
        Target::Kv
    } else if path.starts_with("/etcdserverpb.Cluster/") {
        Target::Cluster
    } else if path.starts_with("/etcdserverpb.Maintenance/") {
        Target::Maintenance
    } else {
        Target::None
    }
}

fn unserved(path: &str) -> http::Response<Body> {
    Status::unimplemented(format!(
        "etcdserver: {} is not implemented by outrigger {}: it serves KV, Cluster/MemberList and, of Maintenance, \
         Status, Alarm, HashKV and MoveLeader",
        path.trim_start_matches('/'),
        env!("CARGO_PKG_VERSION")
    ))
    .into_http()
}

impl Service<http::Request<Body>> for Dispatch {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Counted;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Counted {
        let path = request.uri().path();
        let slot = self.slot(path);
        let answer = match target(path) {
            Target::Kv => Answer::Served(self.kv.call(self.unfinished.count(request))),
            Target::Cluster => Answer::Served(self.cluster.call(self.unfinished.count(request))),
            Target::Maintenance => Answer::Served(self.maintenance.call(self.unfinished.count(request))),
            Target::None => Answer::Refused(ready(Ok(unserved(path)))),
        };
        Counted { answer, slot, ok: Arc::clone(&self.ok), metrics: Arc::clone(&self.metrics) }
    }
}

/// An answer under way.
enum Answer {
    Served(BoxFuture<http::Response<Body>, Infallible>),
    Refused(Ready<Reply>),
}

/// Counts the answer when it is there.
pub(super) struct Counted {
    answer: Answer,
    slot: usize,
    ok: Arc<[(&'static str, &'static str, Counter)]>,
    metrics: Arc<Metrics>,
}

impl Future for Counted {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        let this = self.get_mut();
        let polled = match &mut this.answer {
            Answer::Served(future) => future.as_mut().poll(cx),
            Answer::Refused(future) => Pin::new(future).poll(cx),
        };
        polled.map(|reply| reply.map(|response| this.count(response)))
    }
}

impl Counted {
    /// An error is told in the headers, a success in the trailers: without `grpc-status` up here it went well.
    fn count(&self, response: http::Response<Body>) -> http::Response<Body> {
        let Some((_, method, ok)) = self.ok.get(self.slot) else { return response };
        let Some(code) = response.headers().get(Status::GRPC_STATUS) else {
            ok.inc();
            return response;
        };
        let code = Code::from_bytes(code.as_bytes());
        self.metrics.grpc_counter(method, &format!("{code:?}")).inc();
        if code == Code::OutOfRange && is_decode_limit(&response) {
            return Status::from(ClientError::TooLarge).into_http();
        }
        response
    }
}

/// Whether tonic refused the message for its length: OutOfRange with a text of its own, where the protocol's
/// OutOfRange speaks of revisions.
fn is_decode_limit(response: &http::Response<Body>) -> bool {
    let text = response.headers().get(Status::GRPC_MESSAGE);
    text.and_then(|text| text.to_str().ok())
        .is_some_and(|text| text.contains("message%20length%20too%20large"))
}
