//! From the disk to a node: log, snapshot, replay up to the persisted commit, then the node.
//!
//! May import: storage, core's replay and applier. Deliberately absent: threads; this blocks and runs on one of its own.

use std::path::Path;
use std::sync::Arc;

use outrigger_core::applier::{Applier, ApplyTask};
use outrigger_core::error::Fatal;
use outrigger_core::log::Seed;
use outrigger_core::mvcc::KeySpace;
use outrigger_core::node::{Node, NodeConfig};
use outrigger_core::replay::{Replay, forms};
use outrigger_core::types::Index;
use outrigger_storage::fs::FileSystem;
use outrigger_storage::snapshot_store::SnapshotStore;
use outrigger_storage::{LogReader, OpenError, ReadError, Wal, WalOptions, Writer};

use crate::snapshots::{SnapshotError, Snapshots};

/// Bytes of entries read back at once.
const CHUNK_BYTES: usize = 4 << 20;

/// Why there is no node. All but the disk's own failures ([`RecoveryError::is_of_the_disk`]) mean: no vote, no serving,
/// replace the volume.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(
        "the snapshot that the log stands on cannot be restored: replace this member with one on an empty disk"
    )]
    Snapshot(#[from] SnapshotError),
    #[error("the log's entries {first}..{end} cannot be replayed: entry {first} is not there")]
    Gap { first: Index, end: Index },
    #[error("the log cannot be replayed")]
    Replay(#[from] Fatal),
}

impl RecoveryError {
    /// Whether a call to the disk failed, in whatever layer: then nothing is known of what it holds. Damage is what a
    /// disk gave without failing.
    pub(super) fn is_of_the_disk(&self) -> bool {
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
pub(super) struct Recovered {
    pub(super) node: Node,
    pub(super) applier: Applier<KeySpace>,
    pub(super) writer: Writer,
    pub(super) reader: LogReader,
    pub(super) store: SnapshotStore,
    pub(super) seeds: Vec<Seed>,
}

/// Rebuilds everything. Blocks.
///
/// # Errors
/// [`RecoveryError`].
pub(super) fn recover(
    fs: Arc<dyn FileSystem>,
    dir: &Path,
    options: WalOptions,
    config: NodeConfig,
) -> Result<Recovered, RecoveryError> {
    let cluster = options.cluster;
    let opened = Wal::open(Arc::clone(&fs), dir, options)?;
    for torn in &opened.report.torn {
        tracing::warn!(
            file = %torn.path.display(), offset = torn.offset, bytes = torn.bytes, copy = %torn.copy.display(),
            "the log's last frame does not validate and is left out; a copy is kept. A crash tears a frame that nobody was told \
             of; a disk that lost what it had synced may take an acknowledged one"
        );
    }
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
    let seeds = opened.recovered.seeds.clone();
    let mut replay = Replay::new(config, opened.recovered, header)?;
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
    Ok(Recovered { node, applier, writer: opened.writer, reader: opened.reader, store, seeds })
}

/// Whether the log (or the snapshot that it stands on) has the entry that forms the cluster, applied or not. The log must
/// be closed: then nothing can come in behind what is seen here. Blocks.
///
/// # Errors
/// [`RecoveryError`]: nobody knows what is in the log.
pub(super) fn is_forming(
    fs: Arc<dyn FileSystem>,
    dir: &Path,
    options: WalOptions,
) -> Result<bool, RecoveryError> {
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

#[cfg(test)]
mod tests;
