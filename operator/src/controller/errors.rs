//! What can go wrong in a pass, and what it means.
//!
//! May import: kube's errors. Deliberately absent: retries; a pass that fails is begun again, later each time.

use std::net::SocketAddr;
use std::time::Duration;

use kube::core::Status;
use kube_lease_manager::LeaseManagerError;

use crate::admin_client::AdminError;
use crate::certificates::UnusableError;
use crate::cluster::register::RegisterError;

/// Why a pass ended early. The next one looks again.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    /// The API server refused or did not answer.
    #[error("{what}")]
    Api {
        /// What was being done to which object.
        what: String,
        /// The API server's words.
        #[source]
        source: Box<kube::Error>,
    },
    /// A member refused or did not answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The register in the status cannot be read: nothing is decided on it.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Certificates cannot be made.
    #[error(transparent)]
    Issue(#[from] outrigger_tls::IssueError),
    /// The operator's own certificate cannot be used.
    #[error("the operator's own certificate cannot be used")]
    Certificate(#[from] UnusableError),
    /// A call does not come back.
    #[error(
        "the pass did not end within {0:?}: the API server, or a member, takes calls and does not answer"
    )]
    Hangs(Duration),
    /// The resource has a form that this operator does not know.
    #[error("the RaftCluster cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// An object of ours cannot be written as JSON.
    #[error("an object cannot be encoded")]
    Encode(#[from] serde_json::Error),
}

impl PassError {
    /// What the API server has against an object of ours, in its words; other errors are given back.
    pub(super) fn refusal(self) -> Result<String, Self> {
        match (&self, self.answer()) {
            (Self::Api { what, .. }, Some(status)) if is_refusal(status) => {
                Ok(format!("{what}: {}", status.message))
            }
            _ => Err(self),
        }
    }

    /// Whether the namespace is being deleted: its objects go one after the other, and none is to be made again.
    #[must_use]
    pub(super) fn is_namespace_going(&self) -> bool {
        self.answer().is_some_and(is_of_a_going_namespace)
    }

    /// Whether somebody else changed the object meanwhile: no fault, the next pass decides anew.
    #[must_use]
    pub(super) fn is_conflict(&self) -> bool {
        self.answer().is_some_and(Status::is_conflict)
    }

    /// What the API server answered, if it is that.
    fn answer(&self) -> Option<&Status> {
        if let Self::Api { source, .. } = self
            && let kube::Error::Api(status) = &**source
        {
            return Some(status);
        }
        None
    }
}

/// Whether the API server has something against the object itself, so that trying again at once would not help. A field that no schema
/// knows is a 500 in a server-side apply, and so is a webhook that does not answer.
pub(super) fn is_refusal(status: &Status) -> bool {
    (matches!(status.code, 400 | 403 | 422) && !is_of_a_going_namespace(status))
        || (status.code == 500
            && [
                "failed to create typed patch object",
                "failed to convert new object",
                "failed calling webhook",
            ]
            .iter()
            .any(|said| status.message.contains(said)))
}

fn is_of_a_going_namespace(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Names what was being done.
pub(super) trait Doing<T> {
    /// Adds it to the error.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, PassError>;
}

impl<T> Doing<T> for Result<T, kube::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, PassError> {
        self.map_err(|source| PassError::Api { what: what(), source: Box::new(source) })
    }
}

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// There is no way to reach an API server.
    #[error("no API server can be reached: run in a pod with a service account, or set KUBECONFIG")]
    Config(#[source] Box<kube::Error>),
    /// The system refuses signal handlers.
    #[error("signals cannot be listened to")]
    Signals(#[source] std::io::Error),
    /// The HTTP port is taken.
    #[error("cannot listen on {address} for probes and metrics: name another with --http-listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The Lease cannot be made or read.
    #[error(
        "the Lease that says which operator leads cannot be used: check the rights on leases.coordination.k8s.io in the operator's namespace, or run with --leader-election=false"
    )]
    Lease(#[source] LeaseManagerError),
    /// Another operator leads now.
    #[error("the Lease is lost: another operator leads; this one ends, and starts again as a stand-by")]
    LeaseLost,
    /// The resource is not known to the API server.
    #[error(
        "the API server does not serve raftclusters.outrigger.dev: apply crds/raftclusters.outrigger.dev.yaml first"
    )]
    NoDefinition(#[source] Box<kube::Error>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_has_against_an_object_is_told_apart_from_what_passes() {
        let status = |json: &str| -> Status { serde_json::from_str(json).unwrap() };
        let typo = r#"{"code": 500, "message": "failed to create typed patch object (a; apps/v1): field not declared"}"#;
        let quota = r#"{"code": 403, "message": "exceeded quota: small", "reason": "Forbidden"}"#;
        let going = r#"{"code": 403, "message": "forbidden: unable to create new content", "reason": "Forbidden",
            "details": {"causes": [{"reason": "NamespaceTerminating", "message": "it is being terminated", "field": "metadata.namespace"}]}}"#;
        let quantity = r#"{"code": 500, "message": "failed to convert new object (shop/a; apps/v1) to smd typed: quantities must match"}"#;
        let webhook = r#"{"code": 500, "message": "Internal error occurred: failed calling webhook \"a.b\": no endpoints"}"#;
        let broken = r#"{"code": 500, "message": "etcdserver: request timed out"}"#;
        for (json, refusal, passing) in [
            (typo, true, false),
            (webhook, true, false),
            (quantity, true, false),
            (quota, true, false),
            (going, false, true),
            (broken, false, false),
        ] {
            let status = status(json);
            let error = PassError::Api {
                what: "applying".into(),
                source: Box::new(kube::Error::Api(Box::new(status.clone()))),
            };
            assert_eq!((is_refusal(&status), error.is_namespace_going()), (refusal, passing), "{json}");
        }
    }
}
