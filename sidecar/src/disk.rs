//! Storage as the log's thread, the driver and the dialler use it.
//!
//! May import: storage, `log_thread`'s and `discovery`'s traits, `metrics`, `space`. Deliberately absent: what is refused
//! while the disk is full (core's).

use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_core::log::{Batch, Entry, SnapshotMark};
use outrigger_core::types::Index;
use outrigger_storage::identity::DataDir;
use outrigger_storage::snapshot_store::{SnapshotError, SnapshotStore};
use outrigger_storage::{Appended, LogReader, Preparation, ReadError, WriteError, Writer};

use crate::discovery::Remember;
use crate::log_thread::{DiskError, DurableLog, ObserveSync, OldEntries, Prepared};
use crate::metrics::Metrics;
use crate::space::Space;
use crate::transport::dial::chain;

/// A full disk is asked for the reserve again after this.
pub const RESERVE_RETRY: Duration = Duration::from_secs(1);

/// The data directory, shared by the lifecycle and the dialler's memory.
pub type SharedDir = Arc<Mutex<DataDir>>;

/// The log's writer, which also lets go of snapshots that a newer durable mark has replaced.
#[derive(Debug)]
pub struct WalLog {
    /// The log.
    writer: Writer,
    /// The snapshots that its marks name.
    snapshots: SnapshotStore,
    /// Sizes are told there.
    metrics: Arc<Metrics>,
    /// And what the disk has no room for.
    space: Arc<Space>,
    segment_bytes: u64,
    reserved_bytes: u64,
    /// When a full disk is asked again; `None` while it is not known to be full.
    ask_again: Option<Instant>,
    /// The room that the log had when a snapshot was last asked for to widen it.
    room_at_request: u64,
}

impl WalLog {
    /// Over an open log with segments of `segment_bytes`.
    #[must_use]
    pub fn new(
        writer: Writer,
        snapshots: SnapshotStore,
        segment_bytes: u64,
        metrics: Arc<Metrics>,
        space: Arc<Space>,
    ) -> Self {
        Self {
            writer,
            snapshots,
            metrics,
            space,
            segment_bytes,
            reserved_bytes: 0,
            ask_again: None,
            room_at_request: u64::MAX,
        }
    }

    /// Keeps two segments and the room of one snapshot in reserve. `false`: the disk is too full for that; it is asked
    /// again after [`RESERVE_RETRY`], by whatever call comes then.
    fn keep_reserve(&mut self) -> Result<bool, DiskError> {
        if self.space.take_snapshot_failed() {
            self.reserved_bytes = 0;
        }
        let is_complete =
            self.writer.usage().is_reserve_complete && self.reserved_bytes >= self.space.snapshot_bytes();
        let is_waiting = self.ask_again.is_some_and(|at| Instant::now() < at);
        if is_waiting || (is_complete && self.ask_again.is_none()) {
            self.tell_space();
            return Ok(!is_waiting);
        }
        let spares = match self.writer.restore_reserve() {
            Err(WriteError::NoSpace(failure)) => Some(chain(&failure)),
            Err(error) => return Err(error.into()),
            Ok(()) => None,
        };
        let missing = match (spares, self.reserve_snapshot()) {
            (Some(text), _) => Some(text),
            (None, Err(error)) if error.is_no_space() => Some(chain(&error)),
            (None, Err(error)) => return Err(error.into()),
            (None, Ok(())) => None,
        };
        match (&missing, self.ask_again) {
            (Some(error), None) => tracing::warn!(
                error,
                "the disk is full: only reads, deletes and compactions are served until there is space again"
            ),
            (None, Some(_)) => tracing::info!("the disk has space again: the reserve is complete"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.ask_again = missing.map(|_| Instant::now() + RESERVE_RETRY);
        self.tell_space();
        self.tell_size();
        Ok(self.ask_again.is_none())
    }

    /// A little more than is needed, so that a growing state does not ask the disk all the time; exactly that when the
    /// disk does not have more.
    fn reserve_snapshot(&mut self) -> Result<(), SnapshotError> {
        let least = self.space.snapshot_bytes();
        self.reserved_bytes = self.snapshots.reserved()?;
        if self.reserved_bytes >= least {
            return Ok(());
        }
        match self.snapshots.reserve(least + least / 8) {
            Err(error) if error.is_no_space() => self.snapshots.reserve(least)?,
            other => other?,
        }
        self.reserved_bytes = self.snapshots.reserved()?;
        Ok(())
    }

    /// While the disk is full the log lives on its reserve: a snapshot is asked for when it begins to, and each time half
    /// a segment more is gone. Not before: it would only use up its own reserve.
    fn tell_space(&mut self) {
        if self.ask_again.is_none() {
            self.room_at_request = u64::MAX;
            self.space.disk_measured(false, false);
            return;
        }
        let usage = self.writer.usage();
        let room = usage.room_bytes;
        self.space.disk_measured(true, room < self.segment_bytes / 2);
        if usage.is_reserve_complete {
            self.room_at_request = u64::MAX;
        } else if room < self.room_at_request.saturating_sub(self.segment_bytes / 2) {
            self.room_at_request = room;
            self.space.snapshot_is_due();
        }
    }

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
            // It may be the reserve that this snapshot was written into.
            self.reserved_bytes = 0;
        }
        // Not only when the log is idle: under load it never is.
        self.keep_reserve()?;
        Ok(appended)
    }

    fn prepare_spare(&mut self) -> Result<Prepared, DiskError> {
        if !self.keep_reserve()? {
            return Ok(Prepared::Later(RESERVE_RETRY));
        }
        match self.writer.prepare_spare() {
            Ok(Preparation::More) => Ok(Prepared::More),
            Ok(Preparation::Done) => Ok(Prepared::Done),
            // The reserve is there; where the file system copies on write, even zeros may find no room.
            Err(WriteError::NoSpace(_)) => Ok(Prepared::Later(RESERVE_RETRY)),
            Err(error) => Err(error.into()),
        }
    }

    fn release_below(&mut self, index: Index) -> Result<(), DiskError> {
        let released = self.writer.release(index)?;
        tracing::debug!(segments = released.segments, first = released.first_index.0, "log released");
        self.tell_size();
        // What was released may complete the reserve.
        self.ask_again = self.ask_again.map(|_| Instant::now());
        self.keep_reserve()?;
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

/// Remembers in the data directory where names were met.
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
            tracing::warn!(host, %error, "a peer's address cannot be remembered");
        }
    }
}

#[cfg(test)]
mod tests;
