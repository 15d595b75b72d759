//! The peer and admin port's certificates in a running process: loaded, looked at again, and what they let through.
//!
//! May import: `outrigger-tls`, `listener`, `metrics`. Deliberately absent: what a name in a certificate must look like and
//! how it is verified (`outrigger-tls`), and clients: their port is another one.

mod accept;
mod caller;
mod gate;
mod reload;

pub use accept::incoming;
pub use caller::Caller;
pub use gate::GateLayer;
pub use reload::{LOOK_INTERVAL, PeerTls, TlsError};
