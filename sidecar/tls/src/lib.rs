//! Who is who on the peer and admin port (2380), and mutual TLS that holds both ends to it.
//!
//! A cluster has a certificate authority of its own; a certificate names its holder in one URI ([`Identity`]). Both ends
//! verify the other's chain and that it belongs to the same cluster, before a byte of a request is read.
//! TLS 1.3 alone, rustls with ring. Sessions are not resumed, so that every connection shows its certificate again: what was
//! valid under an authority that has been dropped must not live on in a ticket.
//!
//! May be imported by the sidecar and the operator alike. Deliberately absent: which call needs whom (the service's), when
//! material is read again (the sidecar's), when it is renewed (the operator's), and host names: a member is known by its
//! name whatever address it is dialled at.

mod ends;
mod files;
mod identity;
#[cfg(feature = "issue")]
mod issue;
mod material;
mod validity;
mod verify;

pub use ends::{ConnectError, Ends, Expected};
pub use files::{FilesError, Source};
/// An encrypted connection, at the end that dialled.
pub use tokio_rustls::client::TlsStream as ClientStream;

pub use identity::{Cluster, Identity, IdentityError, Who};
#[cfg(feature = "issue")]
pub use issue::{Authority, BACKDATED_SECONDS, IssueError, Issued, Leaf, Window};
pub use material::{Material, MaterialError, Pem};
/// What rustls refuses.
pub use rustls::Error as TlsError;
pub use validity::{Validity, ValidityError};
