//! Snapshot files on their way: handed out to peers and callers, and received from a leader, off the runtime's threads.
//!
//! May import: `outrigger-member`'s snapshots. Deliberately absent: what is in one, and deadlines (transport's).

use bytes::Bytes;
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_core::types::{Index, Term};
pub use outrigger_member::snapshots::{SnapshotError as FileError, Snapshots, id_of};
use outrigger_storage::snapshot_store::{
    Incoming, SnapshotError as StoreError, SnapshotId, SnapshotReader, Transfer,
};
use tokio::sync::mpsc;

use crate::lifecycle_commands::SnapshotFile;

/// Bytes read at once for a caller of the admin service.
const PIECE_BYTES: usize = 256 << 10;

/// Why a snapshot could not be read or received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The process ends.
    #[error("the process ends")]
    Stopping(#[from] tokio::task::JoinError),
}

impl From<StoreError> for SnapshotError {
    fn from(error: StoreError) -> Self {
        Self::File(error.into())
    }
}

/// Opens a finished snapshot for a peer.
///
/// # Errors
/// When it is not there or damaged.
pub async fn open(files: &Snapshots, index: Index, term: Term) -> Result<OpenSnapshot, SnapshotError> {
    let store = files.store().clone();
    let open = tokio::task::spawn_blocking(move || store.open(SnapshotId { index, term }));
    Ok(OpenSnapshot(open.await??))
}

/// Opens a finished snapshot for a caller of the admin service.
///
/// # Errors
/// When it is not there or damaged.
pub async fn hand_out(files: &Snapshots, id: SnapshotId) -> Result<SnapshotFile, SnapshotError> {
    let file = open(files, id.index, id.term).await?.0;
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
pub async fn received(files: &Snapshots, transfer: Transfer) -> Result<u64, SnapshotError> {
    Ok(receive(files, transfer).await?.offset())
}

/// Begins or resumes receiving.
///
/// # Errors
/// When the disk fails.
pub async fn receive(files: &Snapshots, transfer: Transfer) -> Result<Receiving, SnapshotError> {
    let store = files.store().clone();
    let open = tokio::task::spawn_blocking(move || store.incoming(transfer));
    Ok(Receiving { file: open.await??, snapshots: files.clone(), id: transfer.id })
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
            Ok(self.snapshots.header(self.id)?)
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
    use outrigger_storage::snapshot_store::SnapshotStore;

    use super::*;

    /// Snapshots in a directory.
    pub(crate) fn in_dir(dir: &Path, cluster: ClusterId) -> Snapshots {
        Snapshots::new(SnapshotStore::new(Arc::new(RealFs), dir, cluster))
    }
}
