//! Snapshots of a member's state as files: written from a view, restored at start and at install.
//!
//! May import: storage's snapshot store, core's applier. Deliberately absent: when to take one (the node says), which
//! one counts (the log's mark says), and how one travels.

use bytes::Bytes;
use outrigger_core::applier::Applier;
use outrigger_core::snapshot::{HeaderError, SnapshotHeader};
use outrigger_core::state_machine::{RestoreError, StateMachine};
use outrigger_storage::snapshot_store::{
    SnapshotError as StoreError, SnapshotId, SnapshotStore, SnapshotWriter,
};

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Nobody wants it any more.
    #[error("the writing of the snapshot was cut off")]
    CutOff,
    /// Its chunks.
    #[error("the snapshot cannot be restored")]
    Restore(#[from] RestoreError),
}

impl SnapshotError {
    /// Whether a call to the disk failed, for whatever reason.
    #[must_use]
    pub const fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Store(StoreError::Io(_)) => true,
            Self::Store(
                StoreError::NotFound { .. }
                | StoreError::Damaged { .. }
                | StoreError::OtherCluster { .. }
                | StoreError::OtherSnapshot { .. }
                | StoreError::PartSize { .. }
                | StoreError::OutOfOrder { .. }
                | StoreError::BadPiece { .. }
                | StoreError::Incomplete { .. },
            )
            | Self::Header(_)
            | Self::CutOff
            | Self::Restore(_) => false,
        }
    }

    /// Whether the disk was full: nothing is damaged, the snapshot is just not there.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Store(error) => error.is_no_space(),
            Self::Header(_) | Self::CutOff | Self::Restore(_) => false,
        }
    }
}

/// The snapshots of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshots(SnapshotStore);

/// The file name's part of a header.
#[must_use]
pub fn id_of(header: &SnapshotHeader) -> SnapshotId {
    SnapshotId { index: header.index, term: header.term }
}

impl Snapshots {
    /// Over a store.
    #[must_use]
    pub fn new(store: SnapshotStore) -> Self {
        Self(store)
    }

    /// Writes a snapshot and makes it durable; gives the file's length. Blocks. It counts once the log has its mark. On
    /// a full disk it goes into the space that is reserved for it; what `chunks` gives is then asked for twice.
    ///
    /// # Errors
    /// When the disk fails, or is full and the reserve is too small or gone.
    pub fn write<C: Iterator<Item = Bytes>>(
        &self,
        header: &SnapshotHeader,
        chunks: impl Fn() -> C,
    ) -> Result<u64, SnapshotError> {
        self.write_while(header, chunks, || true)
    }

    /// As [`Snapshots::write`], as long as it is wanted, which is asked before each chunk and before it gets its name.
    ///
    /// # Errors
    /// [`SnapshotError::CutOff`] then; and those of [`Snapshots::write`].
    pub fn write_while<C: Iterator<Item = Bytes>>(
        &self,
        header: &SnapshotHeader,
        chunks: impl Fn() -> C,
        is_wanted: impl Fn() -> bool,
    ) -> Result<u64, SnapshotError> {
        let (id, encoded) = (id_of(header), header.encode());
        let go_on = || if is_wanted() { Ok(()) } else { Err(SnapshotError::CutOff) };
        let fill = |begun: Result<SnapshotWriter, StoreError>| -> Result<u64, SnapshotError> {
            let mut file = begun?;
            for chunk in chunks() {
                go_on()?;
                file.chunk(&chunk)?;
            }
            go_on()?;
            Ok(file.finish()?.len)
        };
        let written = match fill(self.0.begin(id, &encoded)) {
            Err(error) if error.is_no_space() => {
                self.0.discard_unfinished(id)?;
                match fill(self.0.begin_in_reserve(id, &encoded)) {
                    Err(SnapshotError::Store(StoreError::NotFound { .. })) => Err(error),
                    other => other,
                }
            }
            other => other,
        };
        if written.is_err() {
            // A disk that refuses this as well is told of by the error itself.
            drop(self.0.discard_unfinished(id));
        }
        written
    }

    /// The header of a finished snapshot. Blocks.
    ///
    /// # Errors
    /// When it is not there or damaged.
    pub fn header(&self, id: SnapshotId) -> Result<SnapshotHeader, SnapshotError> {
        Ok(SnapshotHeader::decode(self.0.open(id)?.header())?)
    }

    /// The state that a finished snapshot holds. Blocks.
    ///
    /// # Errors
    /// When it is not there or damaged.
    pub fn restore<S: StateMachine>(&self, header: &SnapshotHeader) -> Result<Applier<S>, SnapshotError> {
        let file = self.0.open(id_of(header))?;
        let mut chunks = file
            .chunks()
            .map(|chunk| chunk.map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>));
        let applier = Applier::restore(header, &mut chunks)?;
        // The last item tells whether the whole file validates; a state machine may stop before it.
        for rest in chunks {
            rest.map_err(|source| RestoreError::Source { chunk: usize::MAX, source })?;
        }
        Ok(applier)
    }

    /// The files.
    #[must_use]
    pub const fn store(&self) -> &SnapshotStore {
        &self.0
    }
}
