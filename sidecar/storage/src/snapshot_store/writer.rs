//! Writing a snapshot chunk by chunk, off the consensus thread.
//!
//! What was written is synced every few MiB: one sync of all at the end would make the log's next `fdatasync`, which
//! shares the journal with it, wait for hundreds of MiB.
//!
//! May import: core's `types`, `fs`. Deliberately absent: the whole snapshot in memory; one buffer is all.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::BufMut;

use crate::codec::len32;
use crate::fs::{File, FileSystem, IoFailure, Naming};

use super::format::{CHUNK_HEAD_BYTES, MAX_CHUNK_BYTES, chunk_crc, put_preface, put_trailer};
use super::{SnapshotError, SnapshotId, SnapshotInfo, SnapshotStore};

const BUFFER_BYTES: usize = 256 << 10;
pub(super) const SYNC_EVERY_BYTES: u64 = 8 << 20;

/// A snapshot being written. Dropped before [`SnapshotWriter::finish`], it leaves a temporary file that the next one
/// overwrites or the next start deletes.
#[derive(Debug)]
pub struct SnapshotWriter {
    fs: Arc<dyn FileSystem>,
    id: SnapshotId,
    temporary: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
    crc: u32,
    chunks: u64,
    payload_bytes: u64,
}

impl SnapshotWriter {
    /// Writes over `file`, which has the temporary name already.
    pub(super) fn over(
        store: &SnapshotStore,
        id: SnapshotId,
        header: &[u8],
        file: Arc<dyn File>,
    ) -> Result<Self, SnapshotError> {
        if header.len() > MAX_CHUNK_BYTES {
            return Err(SnapshotError::PartSize { bytes: header.len(), limit: MAX_CHUNK_BYTES });
        }
        let path = store.path(id);
        let temporary = store.temporary(id);
        let mut writer = Self {
            fs: Arc::clone(&store.fs),
            id,
            temporary,
            path,
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
            synced: 0,
            crc: 0,
            chunks: 0,
            payload_bytes: 0,
        };
        put_preface(&mut writer.buffer, store.cluster, id, header);
        writer.drain_when(BUFFER_BYTES)?;
        Ok(writer)
    }

    /// Appends a chunk, 1 byte to [`MAX_CHUNK_BYTES`].
    ///
    /// # Errors
    /// When the disk fails or the chunk's size is refused.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        if bytes.is_empty() || bytes.len() > MAX_CHUNK_BYTES {
            return Err(SnapshotError::PartSize { bytes: bytes.len(), limit: MAX_CHUNK_BYTES });
        }
        self.drain_when(BUFFER_BYTES.saturating_sub(CHUNK_HEAD_BYTES + bytes.len()))?;
        self.buffer.put_u32_le(len32(bytes.len()));
        self.buffer.put_u32_le(chunk_crc(self.chunks, bytes));
        self.buffer.put_slice(bytes);
        self.chunks += 1;
        self.payload_bytes += bytes.len() as u64;
        self.drain_when(BUFFER_BYTES)
    }

    /// Bytes of the file so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Makes the snapshot durable and gives it its name. It is used once a mark in the log names it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(mut self) -> Result<SnapshotInfo, SnapshotError> {
        let before = crc32c::crc32c_append(self.crc, &self.buffer);
        let crc = put_trailer(&mut self.buffer, self.chunks, self.payload_bytes, before);
        self.drain_when(0)?;
        // What was reserved beyond it goes back.
        self.file.set_len(self.written).naming("cut", &self.temporary)?;
        #[cfg(feature = "mutants")]
        let is_synced = !outrigger_mutants::is_alive(outrigger_mutants::Mutant::SnapshotNotSynced);
        #[cfg(not(feature = "mutants"))]
        let is_synced = true;
        if is_synced {
            self.file.sync_all().naming("sync", &self.temporary)?;
        }
        self.fs.rename(&self.temporary, &self.path).naming("rename into place", &self.path)?;
        crate::fs::sync_parent(&*self.fs, &self.path)?;
        Ok(SnapshotInfo { id: self.id, len: self.written, crc })
    }

    /// Throws the unfinished file away.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn abandon(self) -> Result<(), SnapshotError> {
        Ok(self.fs.remove_file(&self.temporary).naming("delete", &self.temporary)?)
    }

    /// Writes the buffer out when it holds at least this much.
    fn drain_when(&mut self, least: usize) -> Result<(), SnapshotError> {
        if self.buffer.is_empty() || self.buffer.len() < least {
            return Ok(());
        }
        self.file.write_at(&self.buffer, self.written).naming("write", &self.temporary)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        self.synced = sync_now_and_then(&*self.file, &self.temporary, self.synced, self.written)?;
        Ok(())
    }
}

/// Syncs when enough has been written since; returns up to where the file is synced.
pub(super) fn sync_now_and_then(
    file: &dyn File,
    path: &std::path::Path,
    synced: u64,
    written: u64,
) -> Result<u64, IoFailure> {
    if written - synced < SYNC_EVERY_BYTES {
        return Ok(synced);
    }
    file.sync_data().naming("sync", path)?;
    Ok(written)
}
