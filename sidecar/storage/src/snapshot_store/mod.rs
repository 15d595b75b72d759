//! Snapshots on disk: `snap/snap-<index>-<term>` (decimal, 20 digits each), written whole or not at all.
//!
//! A file is begun under a temporary name, synced, renamed, and its directory synced. It is used only when a mark in
//! the log names it: between the rename and the mark a crash leaves a file that nobody asks for.
//!
//! May import: core's `types` and `log`, `fs`, `codec`. Deliberately absent: what a snapshot holds (its header and
//! chunks are opaque bytes), when to take one, and deadlines of a transfer.

mod format;
mod incoming;
mod reader;
mod reserve;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use outrigger_core::log::SnapshotMark;
use outrigger_core::types::{ClusterId, Index, Term};

use crate::fs::{FileSystem, IoFailure, Naming, OpenMode};

pub use format::MAX_CHUNK_BYTES;
pub use incoming::{Incoming, Transfer};
pub use reader::{Chunks, SnapshotReader};
pub(crate) use reserve::give_back;
pub use writer::SnapshotWriter;

const PREFIX: &str = "snap-";
const TEMPORARY: &str = ".tmp";
const PARTIAL: &str = ".part";

/// Which snapshot: the applied index that it holds, and that entry's term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The applied index.
    pub index: Index,
    /// The term of the entry there.
    pub term: Term,
}

impl From<&SnapshotMark> for SnapshotId {
    fn from(mark: &SnapshotMark) -> Self {
        Self { index: mark.index, term: mark.term }
    }
}

impl SnapshotId {
    fn file_name(self) -> String {
        format!("{PREFIX}{:020}-{:020}", self.index.0, self.term.0)
    }

    fn parse(name: &str) -> Option<Self> {
        let (index, term) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let id = Self { index: Index(index.parse().ok()?), term: Term(term.parse().ok()?) };
        (id.file_name() == name).then_some(id)
    }
}

/// A finished snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Which one.
    pub id: SnapshotId,
    /// The file's length in bytes.
    pub len: u64,
    /// CRC-32C of the whole file.
    pub crc: u32,
}

/// Why a snapshot cannot be written, read or received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no such file.
    #[error("there is no snapshot at {}", path.display())]
    NotFound {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file does not validate.
    #[error("snapshot {} is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// How.
        reason: &'static str,
    },
    /// A snapshot of another cluster.
    #[error("snapshot {} is of cluster {found:016x}, not of {expected:016x}", path.display(), found = found.0, expected = expected.0)]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// The file holds another snapshot than its name or its sender says.
    #[error("snapshot {} holds index {} and term {}", path.display(), found.index, found.term)]
    OtherSnapshot {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: SnapshotId,
    },
    /// A chunk (or the header) is empty or too large.
    #[error("a snapshot's part of {bytes} bytes is refused: give 1 to {limit}")]
    PartSize {
        /// Its size.
        bytes: usize,
        /// Most.
        limit: usize,
    },
    /// A received piece does not continue what is there. Retryable: send from `expected`.
    #[error("a piece at byte {found} was received where byte {expected} is due: send from there")]
    OutOfOrder {
        /// The offset due.
        expected: u64,
        /// The offset received.
        found: u64,
    },
    /// A received piece is not what was sent. Retryable: send it again.
    #[error("the piece at byte {offset} was damaged on its way: send it again")]
    BadPiece {
        /// Its offset.
        offset: u64,
    },
    /// The transfer is not complete. Retryable: send the rest.
    #[error("{have} of {want} bytes were received: send the rest")]
    Incomplete {
        /// Bytes there.
        have: u64,
        /// Bytes announced.
        want: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

impl SnapshotError {
    /// Whether the disk was full: nothing is damaged, the snapshot is just not there.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Io(failure) => failure.is_no_space(),
            Self::NotFound { .. }
            | Self::Damaged { .. }
            | Self::OtherCluster { .. }
            | Self::OtherSnapshot { .. }
            | Self::PartSize { .. }
            | Self::OutOfOrder { .. }
            | Self::BadPiece { .. }
            | Self::Incomplete { .. } => false,
        }
    }
}

/// What the snapshots take on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotUsage {
    /// Finished ones.
    pub snapshots: usize,
    /// Bytes of all files, unfinished ones included.
    pub bytes: u64,
}

/// The snapshots of one data directory. Clones share it; all methods of a store and its clones may be called from any
/// thread.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    cluster: ClusterId,
    /// Held while the reserve is made or taken: one that becomes a snapshot must not grow meanwhile.
    reserve: Arc<Mutex<()>>,
}

/// The snapshots' folder inside a data directory.
#[must_use]
pub fn snapshot_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("snap")
}

impl SnapshotStore {
    /// The store in `data_dir`; nothing is touched yet.
    #[must_use]
    pub fn new(fs: Arc<dyn FileSystem>, data_dir: &Path, cluster: ClusterId) -> Self {
        Self { fs, dir: snapshot_dir(data_dir), cluster, reserve: Arc::default() }
    }

    /// Begins a snapshot. Nobody sees it before [`SnapshotWriter::finish`].
    ///
    /// # Errors
    /// When the disk fails or the header is too large.
    pub fn begin(&self, id: SnapshotId, header: &[u8]) -> Result<SnapshotWriter, SnapshotError> {
        self.make_dir()?;
        let temporary = self.temporary(id);
        let file = self.fs.create(&temporary).naming("create", &temporary)?;
        SnapshotWriter::over(self, id, header, file)
    }

    /// Opens a finished snapshot; its header and frame are checked now, its chunks as they are read.
    ///
    /// # Errors
    /// When there is none, or it does not validate.
    pub fn open(&self, id: SnapshotId) -> Result<SnapshotReader, SnapshotError> {
        SnapshotReader::open(self, id, &self.path(id))
    }

    /// Reads the whole snapshot that a mark names, and checks every byte of it.
    ///
    /// # Errors
    /// When it is not there or not whole.
    pub fn verify(&self, mark: &SnapshotMark) -> Result<SnapshotInfo, SnapshotError> {
        let reader = self.open(mark.into())?;
        for chunk in reader.chunks() {
            drop(chunk?);
        }
        Ok(reader.info())
    }

    /// Begins or resumes receiving a snapshot.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn incoming(&self, transfer: Transfer) -> Result<Incoming, SnapshotError> {
        self.make_dir()?;
        Incoming::open(self, transfer)
    }

    /// The finished snapshots, oldest first, marked or not.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn list(&self) -> Result<Vec<SnapshotId>, SnapshotError> {
        let entries = self.fs.list(&self.dir).naming("list", &self.dir)?;
        let mut ids: Vec<_> = entries.iter().filter_map(|entry| SnapshotId::parse(&entry.name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Deletes the snapshots older than `newest`, whose mark must be durable; returns how many went. Readers that have one
    /// open keep reading it. Unfinished files of older snapshots go as well.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn purge(&self, newest: &SnapshotMark) -> Result<usize, SnapshotError> {
        let newest = SnapshotId::from(newest);
        self.delete(|name| match SnapshotId::parse(name) {
            Some(id) => id < newest,
            None => Transfer::parse_id(name).is_some_and(|id| id <= newest),
        })
    }

    /// At start, before anything is written here: deletes all but the marked snapshot and transfers that may resume;
    /// returns how many files went.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discard_unmarked(&self, marked: Option<&SnapshotMark>) -> Result<usize, SnapshotError> {
        let marked = marked.map(SnapshotId::from);
        self.delete(|name| match (SnapshotId::parse(name), Transfer::parse_id(name)) {
            (Some(id), _) => Some(id) != marked,
            (None, Some(id)) => Some(id) <= marked,
            (None, None) => name.ends_with(TEMPORARY),
        })
    }

    /// What the snapshots take on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn usage(&self) -> Result<SnapshotUsage, SnapshotError> {
        let mut usage = SnapshotUsage::default();
        for entry in self.fs.list(&self.dir).naming("list", &self.dir)? {
            let path = self.dir.join(&entry.name);
            // A file may go between the two calls: then it takes nothing.
            match self.fs.open(&path, OpenMode::Read) {
                Ok(file) => usage.bytes += file.len().naming("measure", &path)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(IoFailure { operation: "open", path, source }.into()),
            }
            usage.snapshots += usize::from(SnapshotId::parse(&entry.name).is_some());
        }
        Ok(usage)
    }

    fn delete(&self, is_to_go: impl Fn(&str) -> bool) -> Result<usize, SnapshotError> {
        let mut gone = 0;
        for entry in self.fs.list(&self.dir).naming("list", &self.dir)? {
            if is_to_go(&entry.name) {
                let path = self.dir.join(&entry.name);
                self.fs.remove_file(&path).naming("delete", &path)?;
                gone += 1;
            }
        }
        if gone > 0 {
            self.fs.sync_dir(&self.dir).naming("sync the directory", &self.dir)?;
        }
        Ok(gone)
    }

    fn make_dir(&self) -> Result<(), SnapshotError> {
        if !self.fs.exists(&self.dir).naming("look for", &self.dir)? {
            self.fs.create_dir(&self.dir).naming("create the directory", &self.dir)?;
        }
        // Also where it is there: the sync that should have followed its making may have failed, and what failed to write or
        // receive a snapshot is tried again in the same process.
        Ok(crate::fs::sync_parent(&*self.fs, &self.dir)?)
    }

    fn path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(id.file_name())
    }
}
