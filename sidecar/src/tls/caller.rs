//! Who called: what the connection's certificate said, as every request on it carries it.
//!
//! May import: tonic's requests. Deliberately absent: which call needs whom (`gate`).

use outrigger_tls::Identity;
use tonic::{Request, Status};

/// Whom a connection's certificate names. In every request's extensions, put there by the connection itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// The port is plain: nobody knows.
    #[default]
    Unknown,
    /// The holder of a certificate of this cluster.
    Named(Identity),
}

impl Caller {
    /// Who sent this request. On a port with certificates `gate` has let through named ones alone.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or(Self::Unknown)
    }

    /// Whether a member may speak as the member of this name: under its own certificate alone.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` with both names.
    pub fn vouch_for(&self, claimed: &str) -> Result<(), Box<Status>> {
        let seen = match self {
            Self::Unknown => return Ok(()),
            Self::Named(identity) => identity,
        };
        if seen.member_name() == Some(claimed) {
            return Ok(());
        }
        tracing::warn!(%seen, claimed, "a peer's certificate is another member's: refused");
        Err(Box::new(Status::permission_denied(format!(
            "the certificate is {seen}'s, and the call is made as the member {claimed:?}: each member has a certificate of its own"
        ))))
    }
}
