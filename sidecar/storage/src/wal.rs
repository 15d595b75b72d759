//! Opening the write-ahead log: recovery, then a writer for one thread and readers for any.
//!
//! May import: core's `types` and `log`, this crate's rooms. Deliberately absent: who the member is (that is
//! `identity`'s; its lock must be held by the caller).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_core::log::{Recovered, SnapshotMark};
use outrigger_core::types::{ClusterId, Index, MemberId};

use crate::fs::{FileSystem, IoFailure};
use crate::reader::LogReader;
use crate::record::RecordError;
use crate::recovery;
use crate::segment::{BLOCK_BYTES, wal_dir};
use crate::snapshot_store::{SnapshotError, SnapshotStore};
use crate::state::Contradiction;
use crate::writer::{Setup, WriteError, Writer};

/// A segment's size unless told otherwise.
pub const DEFAULT_SEGMENT_SIZE_BYTES: u64 = 64 << 20;

/// The smallest segment: a header, and frames worth the name.
pub const MIN_SEGMENT_SIZE_BYTES: u64 = 4 * BLOCK_BYTES;

/// The largest segment: lengths inside must fit 32 bits with room to spare.
pub const MAX_SEGMENT_SIZE_BYTES: u64 = 1 << 30;

/// A frame's payload unless one entry alone is larger: bounds the memory that reading one back takes.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 8 << 20;

/// How to open a log.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Whose log it is; part of every checksum.
    pub cluster: ClusterId,
    /// Whose disk it is; part of every checksum.
    pub member: MemberId,
    /// Bytes of a segment, a multiple of 4,096. Segments of another size that are there stay in use.
    pub segment_size_bytes: u64,
    /// Bytes of a frame's payload, beyond which batches are split; one entry that is larger gets a frame of its own.
    pub max_frame_bytes: usize,
    /// Spare segments kept in reserve against a full disk.
    pub spare_segments: usize,
    /// Whether the identity says that this member belongs to the cluster. The log was then durable before, and an
    /// empty one is a loss: the member forgot its vote and must not speak.
    pub must_exist: bool,
}

impl WalOptions {
    /// The defaults for this member of this cluster, on a disk that may be empty.
    #[must_use]
    pub const fn new(cluster: ClusterId, member: MemberId) -> Self {
        Self {
            cluster,
            member,
            segment_size_bytes: DEFAULT_SEGMENT_SIZE_BYTES,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            spare_segments: 2,
            must_exist: false,
        }
    }
}

/// A log just opened.
#[derive(Debug)]
pub struct Opened {
    /// What it says.
    pub recovered: Recovered,
    /// Appends to it.
    pub writer: Writer,
    /// Reads entries back; cheap to clone.
    pub reader: LogReader,
    /// What was found on the way, for the log of the process.
    pub report: OpenReport,
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Segments that make up the log.
    pub segments: usize,
    /// Frames replayed.
    pub frames: u64,
    /// Remains of writes that were never acknowledged. Expected after a crash; worth a warning.
    pub torn: Vec<TornTail>,
    /// Segments whose header has rotted. Nothing is lost (their frames say the same), but the disk is not well.
    pub rotten_headers: Vec<PathBuf>,
}

/// Remains of a write that a crash interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Where the remains begin, in bytes.
    pub offset: u64,
    /// How far they reach, in bytes.
    pub bytes: u64,
    /// The file that keeps a copy of them until the segment is released.
    pub copy: PathBuf,
}

/// Why a log cannot be opened. Every one of them keeps the member from voting and serving.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option is out of bounds.
    #[error("segment size {bytes} bytes is not a multiple of 4096 between {min} and {max}")]
    SegmentSize {
        /// The value.
        bytes: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// Frames that were durable are gone.
    #[error(
        "{} is corrupt at byte {offset}: {reason}. Acknowledged data may be lost here: this member must not vote or \
         serve; keep the disk for inspection and replace the member with one on an empty disk",
        path.display()
    )]
    Corruption {
        /// The segment.
        path: PathBuf,
        /// Where it stops to validate, in bytes.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A segment between two others is gone.
    #[error(
        "{} is missing, though {} before it is there: put it back, or replace this member with one on an empty disk",
        path.display(),
        older.display()
    )]
    Missing {
        /// The one that is gone.
        path: PathBuf,
        /// An older one that is there.
        older: PathBuf,
    },
    /// The log is gone although the member belongs to a cluster.
    #[error(
        "{} holds no log, though this member belongs to a cluster: it forgot its vote and must not speak under its id; \
         put the log back, or replace the member with one on an empty disk",
        dir.display()
    )]
    Empty {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A valid frame holds a record that does not decode.
    #[error("{} holds a frame at byte {offset} that this version cannot read", path.display())]
    Record {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins, in bytes.
        offset: u64,
        /// Which record.
        #[source]
        source: RecordError,
    },
    /// Valid frames hold records that cannot follow each other.
    #[error("{} holds a frame at byte {offset} that contradicts those before it: replace this member", path.display())]
    Contradiction {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins, in bytes.
        offset: u64,
        /// How.
        #[source]
        source: Contradiction,
    },
    /// The snapshot that the log stands on is not whole.
    #[error(
        "the snapshot at index {} (term {}) that the log stands on cannot be used: replace this member with one on \
         an empty disk",
        mark.index,
        mark.term
    )]
    Snapshot {
        /// The log's word for it.
        mark: SnapshotMark,
        /// What is wrong with the file.
        #[source]
        source: SnapshotError,
    },
    /// There is a hole between the snapshot and the first entry.
    #[error(
        "the log begins at entry {first}, but the snapshot ends at {snapshot}: segments are missing; put them back, or \
         replace this member with one on an empty disk"
    )]
    EntriesMissing {
        /// The snapshot's index, 0 if there is none.
        snapshot: Index,
        /// The first entry held.
        first: Index,
    },
    /// A segment of another cluster.
    #[error(
        "{} belongs to cluster {found:016x}, this member to {expected:016x}: give each member a data directory of its own",
        path.display(), found = found.0, expected = expected.0
    )]
    OtherCluster {
        /// The segment.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// A segment of another member.
    #[error(
        "{} belongs to member {found:016x}, this directory to {expected:016x}: give each member a data directory of its \
         own, and never copy one",
        path.display(), found = found.0, expected = expected.0
    )]
    OtherMember {
        /// The segment.
        path: PathBuf,
        /// Whose it is.
        found: MemberId,
        /// Whose it should be.
        expected: MemberId,
    },
    /// The valid end could not be sealed behind a torn tail.
    #[error("the log's valid end cannot be sealed behind a torn tail")]
    Seal(#[source] WriteError),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// The write-ahead log.
#[derive(Clone, Copy, Debug)]
pub struct Wal;

impl Wal {
    /// Opens the log in `data_dir`, whose lock the caller holds, and recovers what it says. A torn tail is copied, sealed
    /// off and reported; nothing else on the disk changes except leftovers that never counted.
    ///
    /// # Errors
    /// Every [`OpenError`] means: no vote, no serving.
    pub fn open(fs: Arc<dyn FileSystem>, data_dir: &Path, options: WalOptions) -> Result<Opened, OpenError> {
        let WalOptions { cluster, member, segment_size_bytes, max_frame_bytes, spare_segments, must_exist } =
            options;
        let bounds = MIN_SEGMENT_SIZE_BYTES..=MAX_SEGMENT_SIZE_BYTES;
        if !bounds.contains(&segment_size_bytes) || !segment_size_bytes.is_multiple_of(BLOCK_BYTES) {
            let (min, max) = bounds.into_inner();
            return Err(OpenError::SegmentSize { bytes: segment_size_bytes, min, max });
        }
        let snapshots = SnapshotStore::new(Arc::clone(&fs), data_dir, cluster);
        let dir = wal_dir(data_dir);
        let setup = Setup { fs, dir, cluster, member, segment_size_bytes, max_frame_bytes, spare_segments };
        recovery::prepare_dir(&setup)?;
        let (recovered, writer, report) = recovery::recover(setup, &snapshots, must_exist)?;
        let reader = LogReader::new(Arc::clone(&writer.shared), cluster, member);
        Ok(Opened { recovered, writer, reader, report })
    }
}
