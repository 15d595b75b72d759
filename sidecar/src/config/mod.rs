//! What `outrigger run` is told: flags over environment over a YAML file over defaults, checked before anything is
//! opened.
//!
//! One table ([`SETTINGS`]) gives every setting its flag, its variable (`OUTRIGGER_` and the flag in capitals), its key in
//! the file, its default and its help. May import: std, clap, serde_yaml. Deliberately absent: opening, resolving,
//! listening.

mod layers;
pub(crate) mod parse;
mod resolve;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use layers::{Layers, Source};
pub use parse::LogFormat;
pub use settings::{RunArgs, SETTINGS, Setting};

use crate::api::Identity;

/// What `--max-request-bytes` is at most, on any member: another member's requests may be larger than this one's own limit.
pub const MAX_REQUEST_BYTES: usize = 16 << 20;

/// Every setting of a member, checked. Nothing in it has been opened, resolved or bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The member's name: the pod's.
    pub name: String,
    /// Where log, snapshots and identity lie.
    pub data_dir: PathBuf,
    /// The client port.
    pub listen_client: SocketAddr,
    /// The peer and admin port.
    pub listen_peer: SocketAddr,
    /// The HTTP port.
    pub listen_http: SocketAddr,
    /// `host:port` under which peers reach this member.
    pub advertise_peer: String,
    /// URL under which clients reach this member.
    pub advertise_client: String,
    /// Whom to ask for seeds; `None`: nobody, the member is alone or knows the others from its log.
    pub peers_dns: Option<PeersDns>,
    /// The DNS server to ask; `None`: the system's.
    pub dns_server: Option<SocketAddr>,
    /// Where the peer port's certificate, key and authorities lie; `None`: the port is plain.
    pub peer_tls: Option<outrigger_tls::Source>,
    /// Pods that the founding expects.
    pub cluster_size: u32,
    /// Founding by hand: `Some(n)` founds once n seeds, this one included, answer with empty disks. On a founded disk it
    /// does nothing.
    pub found: Option<u32>,
    /// One tick.
    pub heartbeat_interval: Duration,
    /// Ticks of silence until an election.
    pub election_ticks: u32,
    /// How long a proposal, a read or an admin request may wait for its answer.
    pub request_timeout: Duration,
    /// Snapshot when the entries since the last one outgrow max(this, the last snapshot).
    pub snapshot_every_bytes: u64,
    /// Size of a log segment.
    pub wal_segment_bytes: u64,
    /// Largest client request.
    pub max_request_bytes: usize,
    /// How large the key space may grow, with its history; never 0.
    pub quota_bytes: u64,
    /// Directives of what is logged.
    pub log_level: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Threads of the runtime.
    pub worker_threads: usize,
    /// Stop as on SIGTERM once standard input ends.
    pub exit_with_stdin: bool,
}

/// The headless service's name and the port of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersDns {
    /// A DNS name that resolves to every pod.
    pub name: String,
    /// The peer port of all of them.
    pub port: u16,
}

impl Config {
    /// The settings' word: flags, then the environment, then the file, then defaults.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first: each names the setting, where it came from, the value and the fix.
    pub fn load(args: &RunArgs) -> Result<Self, ConfigErrors> {
        let layers = Layers::read(args, |name| std::env::var(name).ok())?;
        Self::from_layers(&layers)
    }

    /// The ticks of the election timeout and of a request's deadline are derived from the interval.
    #[must_use]
    pub fn request_ticks(&self) -> u32 {
        resolve::ticks(self.request_timeout, self.heartbeat_interval)
    }

    /// What the doors show of it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            name: self.name.clone(),
            peer_address: self.advertise_peer.clone(),
            peer_scheme: if self.peer_tls.is_some() { "https" } else { "http" },
            client_url: self.advertise_client.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            heartbeat_interval: self.heartbeat_interval,
            election_ticks: self.election_ticks,
            cluster_size: self.cluster_size,
            quota_bytes: self.quota_bytes,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting's value is not usable.
    #[error("--{flag} {value:?} (from {origin}): {problem}; {fix}")]
    Invalid {
        /// The setting.
        flag: &'static str,
        /// Where the value came from.
        origin: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// A setting that has no default was given nowhere.
    #[error("--{flag} is not given: set the flag, {variable}, or `{flag}:` in the file; {fix}")]
    Missing {
        /// The setting.
        flag: &'static str,
        /// Its variable.
        variable: String,
        /// What to do.
        fix: &'static str,
    },
    /// The file cannot be read.
    #[error("--config {path:?}: {problem}; check that the file exists and may be read")]
    UnreadableFile {
        /// Which.
        path: String,
        /// What the system said.
        problem: String,
    },
    /// The file is not a flat YAML map.
    #[error(
        "--config {path:?}: {problem}; write one `setting: value` a line, as `outrigger run --help` lists them"
    )]
    MalformedFile {
        /// Which.
        path: String,
        /// What does not fit.
        problem: String,
    },
    /// The file has a key that is no setting.
    #[error("--config {path:?}: `{key}` is no setting; the nearest is `{nearest}`")]
    UnknownKey {
        /// Which file.
        path: String,
        /// Which key.
        key: String,
        /// The one that was probably meant.
        nearest: &'static str,
    },
}

/// All that is wrong, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests;
