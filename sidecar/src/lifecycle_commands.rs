//! What the doors ask of the process itself: to found, to abandon, to hand out a snapshot file. The lifecycle receives
//! these, the admin service sends them.
//!
//! May import: core's types. Deliberately absent: how any of it is done, and every request that a running node answers
//! (those go through [`crate::inbox::NodeHandle::admin`]).

use bytes::Bytes;
use outrigger_core::types::ClusterId;
pub use outrigger_member::founding::{Founding, FoundingRefusal};
use tokio::sync::{mpsc, oneshot};

/// Commands that may queue; a caller beyond that is told that the member is busy. They come from a person or an
/// operator, one at a time, so that a full queue means a lifecycle that stands still.
pub const LIFECYCLE_CAPACITY: usize = 16;

/// A snapshot file on its way to a caller.
#[derive(Debug)]
pub struct SnapshotFile {
    /// The whole file's length.
    pub total_bytes: u64,
    /// Its bytes in order, at most 256 KiB each. The queue is short: a slow caller slows the reader down. The sender
    /// ends it with an error if the file cannot be read to its end.
    pub chunks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
}

/// What is asked, and where the answer goes.
#[derive(Debug)]
pub enum LifecycleCommand {
    /// Make this empty disk the founder. Idempotent for the same cluster id.
    Found {
        /// With what.
        founding: Founding,
        /// Answered once the cluster id is durable.
        reply: oneshot::Sender<Result<(), LifecycleRefusal>>,
    },
    /// Forget a cluster that was never formed, durably and for ever. Idempotent.
    Abandon {
        /// Which.
        cluster: ClusterId,
        /// Answered once it is durable.
        reply: oneshot::Sender<Result<(), LifecycleRefusal>>,
    },
    /// Take a fresh snapshot, or use one that is newer than a moment ago, and stream its file.
    Snapshot {
        /// Answered when the file is open.
        reply: oneshot::Sender<Result<SnapshotFile, LifecycleRefusal>>,
    },
}

/// Why the process does not do it.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleRefusal {
    /// The disk does not found so.
    #[error(transparent)]
    Founding(#[from] FoundingRefusal),
    /// The disk belongs to a cluster already.
    #[error(
        "this disk belongs to cluster {cluster:016x} already: it cannot found another; to start over, give it an empty data directory",
        cluster = .cluster.0
    )]
    AlreadyFounded {
        /// Which.
        cluster: ClusterId,
    },
    /// `Formed` is in this member's log, applied or not: clients may have been served, or may be still.
    #[error(
        "cluster {cluster:016x} is formed, or about to be (the entry that forms it is in this member's log): it cannot be abandoned",
        cluster = .cluster.0
    )]
    Formed {
        /// Which.
        cluster: ClusterId,
    },
    /// There is no node whose state could be handed out.
    #[error("no node runs here, so there is no snapshot: {waiting_for}")]
    NoNode {
        /// What the process waits for.
        waiting_for: String,
    },
    /// The disk failed.
    #[error("the data directory could not be read or written")]
    Disk(#[source] std::io::Error),
    /// The lifecycle is busy or gone.
    #[error("the member is starting or stopping: ask again")]
    Busy,
}
