//! From the disk to a node: log, snapshot, replay up to the persisted commit, then the node.
//!
//! May import: storage, core's replay and applier. Deliberately absent: threads; this blocks, and its caller gives it one.

use std::path::Path;
use std::sync::Arc;

use outrigger_core::applier::{Applier, ApplyTask};
use outrigger_core::error::Fatal;
use outrigger_core::log::{Recovered as RecoveredLog, Seed};
use outrigger_core::mvcc::KeySpace;
use outrigger_core::node::{Node, NodeConfig};
use outrigger_core::replay::{Replay, forms};
use outrigger_core::types::Index;
use outrigger_storage::fs::FileSystem;
use outrigger_storage::snapshot_store::SnapshotStore;
use outrigger_storage::{LogReader, OpenError, OpenReport, Opened, ReadError, Wal, WalOptions, Writer};

use crate::snapshots::{SnapshotError, Snapshots};

/// Bytes of entries read back at once.
const CHUNK_BYTES: usize = 4 << 20;

/// Why there is no node. All but the disk's own failures ([`RecoveryError::is_of_the_disk`]) mean: no vote, no serving,
/// replace the volume.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The log does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Entries that the log has cannot be read back.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The snapshot that the log stands on is not whole.
    #[error(
        "the snapshot that the log stands on cannot be restored: replace this member with one on an empty disk"
    )]
    Snapshot(#[from] SnapshotError),
    /// Entries that the log says it has are not in it.
    #[error("the log's entries {first}..{end} cannot be replayed: entry {first} is not there")]
    Gap {
        /// The first one.
        first: Index,
        /// Behind the last one.
        end: Index,
    },
    /// A committed entry does not decode or fit.
    #[error("the log cannot be replayed")]
    Replay(#[from] Fatal),
}

impl RecoveryError {
    /// Whether a call to the disk failed, in whatever layer: then nothing is known of what it holds. Damage is what a
    /// disk gave without failing.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if error.is::<std::io::Error>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// A member as it was when it stopped.
#[derive(Debug)]
pub struct Recovered {
    /// Ready to run.
    pub node: Node,
    /// The state up to the persisted commit.
    pub applier: Applier<KeySpace>,
    /// At the log's end.
    pub writer: Writer,
    /// Reads entries back.
    pub reader: LogReader,
    /// The snapshot files; all but the marked one are gone.
    pub store: SnapshotStore,
    /// Whom to dial before the log says more.
    pub seeds: Vec<Seed>,
    /// What was found on the way, for the log of the process.
    pub report: OpenReport,
    /// What the log said.
    pub log: RecoveredLog,
}

/// Rebuilds everything. Blocks.
///
/// # Errors
/// [`RecoveryError`].
pub fn recover(
    fs: Arc<dyn FileSystem>,
    dir: &Path,
    options: WalOptions,
    config: NodeConfig,
) -> Result<Recovered, RecoveryError> {
    let cluster = options.cluster;
    let mut opened = Wal::open(Arc::clone(&fs), dir, options)?;
    let store = SnapshotStore::new(fs, dir, cluster);
    store.discard_unmarked(opened.recovered.snapshot.as_ref()).map_err(SnapshotError::from)?;
    let snapshots = Snapshots::new(store.clone());
    let header = match &opened.recovered.snapshot {
        Some(mark) => Some(snapshots.header(mark.into())?),
        None => None,
    };
    let mut applier = match &header {
        Some(header) => snapshots.restore(header)?,
        None => Applier::empty(cluster, KeySpace::default()),
    };
    let log = opened.recovered.clone();
    let seeds = log.seeds.clone();
    let mut replay = Replay::new(config, std::mem::take(&mut opened.recovered), header)?;
    loop {
        let wanted = replay.wanted();
        if wanted.start >= wanted.end {
            break;
        }
        let entries = opened.reader.read(wanted.clone(), CHUNK_BYTES)?;
        match replay.apply(entries)? {
            // Whoever asked is long gone: the results are dropped.
            ApplyTask::Entries { epoch, items } => drop(applier.apply(epoch, items)),
            ApplyTask::Install { .. } | ApplyTask::TakeSnapshot => {}
        }
        if replay.wanted().start == wanted.start {
            return Err(RecoveryError::Gap { first: wanted.start, end: wanted.end });
        }
    }
    let wanted = replay.tail_wanted();
    let (mut tail, mut next) = (Vec::new(), wanted.start);
    while next < wanted.end {
        let entries = opened.reader.read(next..wanted.end, CHUNK_BYTES)?;
        let Some(last) = entries.last() else {
            return Err(RecoveryError::Gap { first: next, end: wanted.end });
        };
        next = last.index.next();
        tail.extend(entries);
    }
    let node = replay.into_node(tail)?;
    let Opened { writer, reader, report, .. } = opened;
    Ok(Recovered { node, applier, writer, reader, store, seeds, report, log })
}

/// Whether the log (or the snapshot that it stands on) has the entry that forms the cluster, applied or not. The log must
/// be closed: then nothing can come in behind what is seen here. Blocks.
///
/// # Errors
/// [`RecoveryError`]: nobody knows what is in the log.
pub fn is_forming(fs: Arc<dyn FileSystem>, dir: &Path, options: WalOptions) -> Result<bool, RecoveryError> {
    let cluster = options.cluster;
    let opened = Wal::open(Arc::clone(&fs), dir, options)?;
    if let Some(mark) = &opened.recovered.snapshot {
        let snapshots = Snapshots::new(SnapshotStore::new(fs, dir, cluster));
        if snapshots.header(mark.into())?.is_formed() {
            return Ok(true);
        }
    }
    let (mut next, end) = (opened.recovered.first_index, opened.recovered.last_index.next());
    while next < end {
        let entries = opened.reader.read(next..end, CHUNK_BYTES)?;
        let Some(last) = entries.last() else { return Err(RecoveryError::Gap { first: next, end }) };
        next = last.index.next();
        if entries.iter().any(forms) {
            return Ok(true);
        }
    }
    Ok(false)
}
