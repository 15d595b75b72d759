//! The doors of a member: clients (etcd v3), the operator (`outrigger.v1.Admin`), people and probes (HTTP).
//!
//! May import: `inbox`, `member`, `metrics`, `lifecycle_commands`, core's types, the wire. Deliberately absent: decisions
//! of consensus, sockets to peers, files.

pub mod admin;
mod alarms;
pub mod etcd;
pub mod http;
pub(crate) mod refusals;

use std::time::Duration;

pub use etcd::{ClientDoor, serve_clients};
pub use http::{HttpDoor, serve_http};

/// How the answer of a member begins whose disk cannot be used; the fault follows.
pub const FAULTED: &str = "etcdserver: this member is faulted and serves nobody: ";

/// What a member knows of itself before it has a log: its configuration, as far as the doors show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The pod's name.
    pub name: String,
    /// `host:port` under which peers reach it.
    pub peer_address: String,
    /// What peers speak there, as a URL names it: `https` under certificates, else `http`.
    pub peer_scheme: &'static str,
    /// The URL under which clients reach it.
    pub client_url: String,
    /// The software's version.
    pub version: String,
    /// One tick.
    pub heartbeat_interval: Duration,
    /// Ticks of silence until an election.
    pub election_ticks: u32,
    /// Pods that the founding expects.
    pub cluster_size: u32,
    /// How large the key space may grow, in bytes.
    pub quota_bytes: u64,
}

impl Identity {
    /// Ticks as milliseconds.
    #[must_use]
    pub(crate) fn ticks_to_ms(&self, ticks: u64) -> u64 {
        let tick_ms = u64::try_from(self.heartbeat_interval.as_millis()).unwrap_or(u64::MAX);
        ticks.saturating_mul(tick_ms)
    }
}

#[cfg(test)]
pub(crate) mod testing;
