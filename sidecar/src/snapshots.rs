//! Snapshots of this member's state: written by the applier, restored at start and at install, streamed to peers and
//! received from them.
//!
//! May import: storage's snapshot store, core's applier. Deliberately absent: when to take one (the node says), which
//! one counts (the log's mark says), deadlines (transport's).

use bytes::Bytes;
use outrigger_core::applier::Applier;
use outrigger_core::snapshot::{HeaderError, SnapshotHeader};
use outrigger_core::state_machine::{RestoreError, StateMachine};
use outrigger_core::types::{Index, Term};
use outrigger_storage::snapshot_store::{
    Incoming, SnapshotError as StoreError, SnapshotId, SnapshotReader, SnapshotStore, SnapshotWriter,
    Transfer,
};
use tokio::sync::mpsc;

use crate::lifecycle_commands::SnapshotFile;

/// Bytes read at once for a caller of the admin service.
const PIECE_BYTES: usize = 256 << 10;

/// Why a snapshot could not be written, read or received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Its chunks.
    #[error("the snapshot cannot be restored")]
    Restore(#[from] RestoreError),
    /// The process ends.
    #[error("the process ends")]
    Stopping(#[from] tokio::task::JoinError),
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
        let (id, encoded) = (id_of(header), header.encode());
        let fill = |begun: Result<SnapshotWriter, StoreError>| -> Result<u64, StoreError> {
            let mut file = begun?;
            for chunk in chunks() {
                file.chunk(&chunk)?;
            }
            Ok(file.finish()?.len)
        };
        let written = match fill(self.0.begin(id, &encoded)) {
            Err(error) if error.is_no_space() => {
                self.0.discard_unfinished(id)?;
                match fill(self.0.begin_in_reserve(id, &encoded)) {
                    Err(StoreError::NotFound { .. }) => Err(error),
                    other => other,
                }
            }
            other => other,
        };
        if written.is_err() {
            // A disk that refuses this as well is told of by the error itself.
            drop(self.0.discard_unfinished(id));
        }
        Ok(written?)
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

    /// Opens a finished snapshot for a peer.
    ///
    /// # Errors
    /// When it is not there or damaged.
    pub async fn open(&self, index: Index, term: Term) -> Result<OpenSnapshot, SnapshotError> {
        let store = self.0.clone();
        let open = tokio::task::spawn_blocking(move || store.open(SnapshotId { index, term }));
        Ok(OpenSnapshot(open.await??))
    }

    /// Opens a finished snapshot for a caller of the admin service.
    ///
    /// # Errors
    /// When it is not there or damaged.
    pub async fn hand_out(&self, id: SnapshotId) -> Result<SnapshotFile, SnapshotError> {
        let file = self.open(id.index, id.term).await?.0;
        let total_bytes = file.info().len;
        let (pieces, chunks) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let mut offset = 0;
            while offset < total_bytes {
                let piece = file.read_range(offset, PIECE_BYTES).map_err(std::io::Error::other);
                let read = piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
                // A caller that hung up needs no more; a failed read was just told.
                if pieces.blocking_send(piece).is_err() || read == 0 {
                    return;
                }
                offset += read;
            }
        });
        Ok(SnapshotFile { total_bytes, chunks })
    }

    /// How much of a transfer is here already.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn received(&self, transfer: Transfer) -> Result<u64, SnapshotError> {
        Ok(self.receive(transfer).await?.offset())
    }

    /// Begins or resumes receiving.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn receive(&self, transfer: Transfer) -> Result<Receiving, SnapshotError> {
        let store = self.0.clone();
        let open = tokio::task::spawn_blocking(move || store.incoming(transfer));
        Ok(Receiving { file: open.await??, snapshots: self.clone(), id: transfer.id })
    }
}

/// A finished snapshot on its way to a peer. It stays readable when it is purged meanwhile.
#[derive(Clone, Debug)]
pub struct OpenSnapshot(SnapshotReader);

impl OpenSnapshot {
    /// What the peer is told.
    #[must_use]
    pub fn transfer(&self) -> Transfer {
        self.0.info().into()
    }

    /// At most `max_bytes` from `offset` on.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn read(&self, offset: u64, max_bytes: usize) -> Result<Bytes, SnapshotError> {
        let file = self.0.clone();
        Ok(tokio::task::spawn_blocking(move || file.read_range(offset, max_bytes)).await??)
    }
}

/// A snapshot on its way from a peer. What was written stays for a later stream to resume.
#[derive(Debug)]
pub struct Receiving {
    file: Incoming,
    snapshots: Snapshots,
    id: SnapshotId,
}

impl Receiving {
    /// The offset that is due.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.file.offset()
    }

    /// Takes a piece, whose checksum the peer gave, and gives itself back.
    ///
    /// # Errors
    /// When the piece is damaged or out of order, or the disk fails.
    pub async fn write(mut self, offset: u64, piece: Bytes, crc: u32) -> Result<Self, SnapshotError> {
        let write = move || self.file.write_at(offset, &piece, crc).map(|()| self);
        Ok(tokio::task::spawn_blocking(write).await??)
    }

    /// Checks the whole file and makes it durable; gives its header.
    ///
    /// # Errors
    /// When it is not what was announced, or the disk fails.
    pub async fn finish(self) -> Result<SnapshotHeader, SnapshotError> {
        let finish = move || {
            self.file.finish()?;
            self.snapshots.header(self.id)
        };
        tokio::task::spawn_blocking(finish).await?
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use outrigger_core::types::ClusterId;
    use outrigger_storage::fs::RealFs;

    use super::*;

    /// Snapshots in a directory.
    pub(crate) fn in_dir(dir: &Path, cluster: ClusterId) -> Snapshots {
        Snapshots::new(SnapshotStore::new(Arc::new(RealFs), dir, cluster))
    }
}
