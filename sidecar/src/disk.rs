//! Storage as the log's thread, the driver and the dialler use it.
//!
//! May import: storage, `log_thread`'s and `discovery`'s traits, `metrics`. Deliberately absent: any policy.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_core::log::{Batch, Entry, SnapshotMark};
use outrigger_core::types::Index;
use outrigger_storage::identity::DataDir;
use outrigger_storage::snapshot_store::SnapshotStore;
use outrigger_storage::{Appended, LogReader, Preparation, ReadError, WriteError, Writer};

use crate::discovery::Remember;
use crate::log_thread::{DiskError, DurableLog, ObserveSync, OldEntries};
use crate::metrics::Metrics;

/// The data directory, shared by the lifecycle and the dialler's memory.
pub type SharedDir = Arc<Mutex<DataDir>>;

/// The log's writer, which also lets go of snapshots that a newer durable mark has replaced.
#[derive(Debug)]
pub struct WalLog {
    /// The log.
    pub writer: Writer,
    /// The snapshots that its marks name.
    pub snapshots: SnapshotStore,
    /// Sizes are told there.
    pub metrics: Arc<Metrics>,
}

impl WalLog {
    fn tell_size(&self) {
        let usage = self.writer.usage();
        self.metrics.wal_size(usage.segment_bytes + usage.spare_bytes, usage.segments);
    }

    /// Off the log's thread: a large file takes its time to go.
    fn purge(&self, mark: SnapshotMark) {
        let store = self.snapshots.clone();
        let purge = move || {
            if let Err(error) = store.purge(&mark) {
                tracing::warn!(%error, "old snapshots cannot be deleted; the next one tries again");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("purge".to_string()).spawn(purge) {
            tracing::warn!(%error, "no thread to delete old snapshots; the next one tries again");
        }
    }
}

impl DurableLog for WalLog {
    fn append(&mut self, batches: &[Batch]) -> Result<Appended, DiskError> {
        let appended = self.writer.append(batches)?;
        if let Some(mark) = batches.iter().rev().find_map(|batch| batch.mark) {
            self.purge(mark);
        }
        Ok(appended)
    }

    fn prepare_spare(&mut self) -> Result<bool, DiskError> {
        match self.writer.prepare_spare() {
            Ok(Preparation::More) => Ok(true),
            Ok(Preparation::Done) => Ok(false),
            Err(WriteError::NoSpace(error)) => {
                tracing::warn!(%error, "no room for a spare segment of the log: the disk is nearly full");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn release_below(&mut self, index: Index) -> Result<(), DiskError> {
        let released = self.writer.release(index)?;
        tracing::debug!(segments = released.segments, first = released.first_index.0, "log released");
        self.tell_size();
        Ok(())
    }
}

impl OldEntries for LogReader {
    fn read(&self, range: Range<Index>, max_bytes: usize) -> Result<Vec<Entry>, DiskError> {
        match LogReader::read(self, range, max_bytes) {
            Ok(entries) => Ok(entries),
            // Answers about the range: the log moved on meanwhile, and a snapshot or newer entries go instead.
            Err(ReadError::Compacted { .. } | ReadError::Unavailable { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Tells the metrics what the log's thread measures.
#[derive(Clone, Debug)]
pub struct SyncMetrics(pub Arc<Metrics>);

impl ObserveSync for SyncMetrics {
    fn synced(&self, took: Duration, appended: Appended) {
        if appended.frames > 0 {
            self.0.frame_persisted(took, appended.bytes);
        }
    }
}

/// Remembers resolved addresses in the data directory.
#[derive(Clone, Debug)]
pub struct RememberOnDisk(pub SharedDir);

impl Remember for RememberOnDisk {
    fn recall(&self, host: &str) -> Vec<IpAddr> {
        let dir = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dir.resolved().get(host).cloned().unwrap_or_default()
    }

    fn note(&self, host: &str, addresses: &[IpAddr]) {
        let mut dir = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = dir.set_resolved(host, addresses) {
            tracing::warn!(host, %error, "a resolved address cannot be remembered");
        }
    }
}
