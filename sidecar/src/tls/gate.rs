//! Who may call what on the peer port, decided before a request's body is read.
//!
//! Members speak to each other and read each other's status; joining is asked of a member by a member; what changes the
//! cluster is the operator's. A member's own certificate (a person in its pod, its `preStop` hook) may also drain it, hand
//! its leadership over and save a snapshot. What is not named here is the operator's alone.
//!
//! May import: tower's traits through tonic. Deliberately absent: the names *within* a call (`Caller::vouch_for`).

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use outrigger_tls::{Identity, Who};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower::Layer;

use super::caller::Caller;
use crate::metrics::Metrics;

/// Who is there to be asked, where certificates are demanded.
#[derive(Clone, Debug)]
struct Guard {
    own: Identity,
    metrics: Arc<Metrics>,
}

/// Puts the gate before the services of a port.
#[derive(Clone, Debug)]
pub struct GateLayer {
    guard: Option<Guard>,
}

impl GateLayer {
    /// Everything goes through: the port is plain.
    #[must_use]
    pub fn open() -> Self {
        Self { guard: None }
    }

    /// Only who may; `own` is this member.
    #[must_use]
    pub fn guarded(own: Identity, metrics: Arc<Metrics>) -> Self {
        Self { guard: Some(Guard { own, metrics }) }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { guard: self.guard.clone(), inner }
    }
}

/// The gate before a service.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    guard: Option<Guard>,
    inner: S,
}

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    /// Members alone.
    Members,
    /// Members and the operator.
    Anyone,
    /// This member's own certificate, and the operator's.
    Own,
    /// The operator alone.
    Operator,
}

fn allowed(path: &str) -> Allowed {
    let Some((service, method)) = path.trim_start_matches('/').split_once('/') else {
        return Allowed::Operator;
    };
    match (service, method) {
        ("outrigger.v1.Peer", _) => Allowed::Members,
        ("outrigger.v1.Admin", "Status" | "Join") => Allowed::Anyone,
        ("outrigger.v1.Admin", "Drain" | "Transfer" | "Snapshot") => Allowed::Own,
        _ => Allowed::Operator,
    }
}

impl Guard {
    fn check(&self, path: &str, caller: Option<&Caller>) -> Result<(), Status> {
        let seen = match caller {
            Some(Caller::Named(seen)) if seen.cluster == self.own.cluster => seen,
            Some(Caller::Named(_) | Caller::Unknown) | None => {
                self.metrics.peer_refused("no_certificate");
                return Err(Status::unauthenticated("this port demands a certificate of its cluster"));
            }
        };
        let (is_allowed, expected) = match (allowed(path), &seen.who) {
            (Allowed::Anyone, Who::Member(_) | Who::Operator) => (true, "anyone of the cluster"),
            (Allowed::Members, who) => (matches!(who, Who::Member(_)), "a member"),
            (Allowed::Own, Who::Member(_)) => (*seen == self.own, "this member itself or the operator"),
            (Allowed::Own | Allowed::Operator, Who::Operator) => (true, "the operator"),
            (Allowed::Operator, Who::Member(_)) => (false, "the operator"),
        };
        if is_allowed {
            return Ok(());
        }
        self.metrics.peer_refused("wrong_certificate");
        tracing::warn!(%seen, expected, path, "a call under a certificate that may not make it: refused");
        Err(Status::permission_denied(format!("{path} is for {expected}; the certificate is {seen}'s")))
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verdict = match &self.guard {
            Some(guard) => guard.check(request.uri().path(), request.extensions().get()),
            None => Ok(()),
        };
        match verdict {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_tls::Cluster;

    use super::*;

    #[test]
    fn each_call_is_for_those_who_need_it_and_an_unknown_one_for_the_operator() {
        let cluster = Cluster { namespace: "shop".into(), name: "orders".into() };
        let own = Identity::member(cluster.clone(), "orders-0");
        let other = Identity::member(cluster.clone(), "orders-1");
        let operator = Identity::operator(cluster);
        let foreign = Identity::operator(Cluster { namespace: "shop".into(), name: "carts".into() });
        let guard = Guard { own: own.clone(), metrics: Arc::default() };
        let table = [
            // Path; own certificate, another member's, the operator's.
            ("/outrigger.v1.Peer/Exchange", [true, true, false]),
            ("/outrigger.v1.Peer/SendSnapshot", [true, true, false]),
            ("/outrigger.v1.Admin/Status", [true, true, true]),
            ("/outrigger.v1.Admin/Join", [true, true, true]),
            ("/outrigger.v1.Admin/Drain", [true, false, true]),
            ("/outrigger.v1.Admin/Transfer", [true, false, true]),
            ("/outrigger.v1.Admin/Snapshot", [true, false, true]),
            ("/outrigger.v1.Admin/Found", [false, false, true]),
            ("/outrigger.v1.Admin/Form", [false, false, true]),
            ("/outrigger.v1.Admin/Abandon", [false, false, true]),
            ("/outrigger.v1.Admin/Admit", [false, false, true]),
            ("/outrigger.v1.Admin/Remove", [false, false, true]),
            ("/outrigger.v1.Admin/Later", [false, false, true]),
            ("/", [false, false, true]),
        ];
        for (path, expected) in table {
            let named =
                |identity: &Identity| guard.check(path, Some(&Caller::Named(identity.clone()))).is_ok();
            assert_eq!([named(&own), named(&other), named(&operator)], expected, "{path}");
            assert!(!named(&foreign), "{path}");
            for nobody in [None, Some(&Caller::Unknown)] {
                let refused = guard.check(path, nobody).unwrap_err();
                assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{path}");
            }
        }
    }
}
