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

/// Why there is no node. All but the disk's own failures mean: no vote, no serving, replace the volume.
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
            "a write that was never acknowledged was torn by a crash; a copy is kept"
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
mod tests {
    use bytes::Bytes;
    use outrigger_core::log::{Batch, Entry, EntryKind};
    use outrigger_core::membership::{RosterEntry, Route};
    use outrigger_core::types::{BatchNumber, ClusterId, MemberId, Term};
    use outrigger_storage::fs::RealFs;

    use super::super::founding::{Ground, found};
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0xC1);
    const MEMBER: MemberId = MemberId(5);
    /// A membership entry (2) that holds an empty message in field 3: `Formed`.
    const FORMED: &[u8] = &[2, 0x1a, 0];

    fn options() -> WalOptions {
        WalOptions { segment_size_bytes: 8 << 20, must_exist: true, ..WalOptions::new(CLUSTER, MEMBER) }
    }

    fn entry(index: u64, term: u64, data: &'static [u8]) -> Entry {
        let (index, data, context) = (Index(index), Bytes::from_static(data), Bytes::new());
        Entry { index, term: Term(term), kind: EntryKind::Normal, data, context }
    }

    #[test]
    fn a_log_is_forming_while_it_holds_the_entry_whether_it_is_applied_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
        let own = Route { id: MEMBER, name: "orders-0".to_string(), ..Route::default() };
        let roster = [RosterEntry { name: own.name.clone(), learner: false }];
        let (fs, path, segment_size_bytes) = (&fs, dir.path(), options().segment_size_bytes);
        let ground = Ground { fs, dir: path, cluster: CLUSTER, member: MEMBER, segment_size_bytes };
        found(ground, &own, &roster, &[]).unwrap();
        let forming = || is_forming(Arc::clone(fs), path, options()).unwrap();
        assert!(!forming(), "just founded");
        let append = |entries: Vec<Entry>| {
            let mut log = Wal::open(Arc::clone(fs), path, options()).unwrap();
            log.writer.append(&[Batch { number: BatchNumber(1), entries, ..Batch::default() }]).unwrap();
        };
        append(vec![entry(2, 2, b""), entry(3, 2, FORMED), entry(4, 2, b"")]);
        assert!(forming(), "appended and nowhere committed");
        append(vec![entry(3, 3, b"")]);
        assert!(!forming(), "overwritten by a leader that does not have it");
    }
}
