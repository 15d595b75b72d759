//! Why a local run cannot start, or ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::control::ControlError;
use super::dns::DnsError;
use super::loopback::LoopbackError;
use super::manifest::ManifestError;
use super::record::RecordError;

/// Why a local run cannot start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The manifest does not stand. The process exits with 2.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The addresses cannot be had.
    #[error(transparent)]
    Loopback(#[from] LoopbackError),
    /// The zone cannot be served.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The record on disk cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Certificates cannot be made or used.
    #[error("the members' certificates cannot be had")]
    Certificates {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There is no run to speak to.
    #[error("no run of {name} is up in {}: {hint}", path.display())]
    NotUp {
        /// The cluster.
        name: String,
        /// The data directory.
        path: PathBuf,
        /// What is there, and how a run is started.
        hint: String,
    },
    /// The directory holds another cluster's data.
    #[error("{} holds the data of {found}, not of {asked}: give that name, or another --data-dir", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Whose data is there.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// There is no sidecar to run.
    #[error("no sidecar at {}: build it with `cargo build -p outrigger-sidecar`, or name one with --sidecar PATH", path.display())]
    NoSidecar {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A new cluster is to begin without DNS.
    #[error(
        "--no-dns, and no member's volume in {}: the members of a new cluster find each other by DNS. Start it once without \
         --no-dns, stop it, and start it with --no-dns again",
        root.display()
    )]
    FreshWithoutDns {
        /// The data directory.
        root: PathBuf,
    },
    /// Another process runs in this data directory.
    #[error("{} is in use by {holder}: stop it with `outrigger-operator local stop {name}`, or choose another --data-dir", path.display())]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
        /// Who holds it.
        holder: String,
        /// The cluster.
        name: String,
    },
    /// A member's port is taken by a process that is not ours.
    #[error(
        "{address} cannot be listened on: another process has that port; stop it, or choose another range with --loopback {other}"
    )]
    PortTaken {
        /// The address.
        address: SocketAddr,
        /// A range to try.
        other: String,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A file or directory.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// `--once` was not done in time.
    #[error("the cluster was not as the manifest says within {seconds} s; at last: {last}; logs are in {}", logs.display())]
    NotSettled {
        /// How long it was given.
        seconds: u64,
        /// What was waited for.
        last: String,
        /// Where to look.
        logs: PathBuf,
    },
    /// The system does not let signals be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] std::io::Error),
    /// A range has no address for another member.
    #[error("member {ordinal} has no address in {range}.0/24")]
    NoAddress {
        /// The pod.
        ordinal: u8,
        /// The range's first three numbers.
        range: Ipv4Addr,
    },
}

impl LocalError {
    /// The exit code: 2 for what a person wrote, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Manifest(_) | Self::OtherCluster { .. } | Self::FreshWithoutDns { .. } => 2,
            Self::Loopback(error) if error.is_usage() => 2,
            Self::Loopback(_)
            | Self::Dns(_)
            | Self::Record(_)
            | Self::Control(_)
            | Self::NotUp { .. }
            | Self::NoSidecar { .. }
            | Self::DataDirInUse { .. }
            | Self::PortTaken { .. }
            | Self::File { .. }
            | Self::NotSettled { .. }
            | Self::Signals(_)
            | Self::Certificates { .. }
            | Self::NoAddress { .. } => 1,
        }
    }
}
