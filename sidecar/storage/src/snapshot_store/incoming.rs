//! Receiving a snapshot from a peer, resumably: `incoming-<index>-<term>-<crc>-<length>.part`.
//!
//! The name holds all that says which bytes these are, so what an earlier stream (or an earlier process) left is
//! continued only by the very same file. After a power loss the last stretch may read as zeros, and after a failed sync
//! what reads well may be nowhere: what is continued is read back from the disk at the end, and a bad one is deleted and
//! sent anew.
//!
//! May import: core's `types`, `fs`. Deliberately absent: deadlines, peers, and marking what arrived.

use std::path::PathBuf;
use std::sync::Arc;

use outrigger_core::types::{Index, Term};

use crate::fs::{File, Naming, OpenMode};

use super::writer::sync_now_and_then;
use super::{PARTIAL, SnapshotError, SnapshotId, SnapshotInfo, SnapshotReader, SnapshotStore};

const PREFIX: &str = "incoming-";
const CHECK_SLICE_BYTES: usize = 1 << 20;

/// What a peer announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which snapshot.
    pub id: SnapshotId,
    /// CRC-32C of its whole file.
    pub crc: u32,
    /// The file's length in bytes.
    pub len: u64,
}

impl From<SnapshotInfo> for Transfer {
    fn from(info: SnapshotInfo) -> Self {
        let SnapshotInfo { id, len, crc } = info;
        Self { id, crc, len }
    }
}

impl Transfer {
    fn file_name(&self) -> String {
        let Self { id, crc, len } = self;
        format!("{PREFIX}{:020}-{:020}-{crc:08x}-{len}{PARTIAL}", id.index.0, id.term.0)
    }

    /// Which snapshot a partial file is of; `None` for any other name.
    pub(super) fn parse_id(name: &str) -> Option<SnapshotId> {
        let mut parts = name.strip_prefix(PREFIX)?.strip_suffix(PARTIAL)?.split('-');
        let index = Index(parts.next()?.parse().ok()?);
        Some(SnapshotId { index, term: Term(parts.next()?.parse().ok()?) })
    }
}

/// A snapshot being received. One at a time for each [`Transfer`]; the caller sees to that.
#[derive(Debug)]
pub struct Incoming {
    store: SnapshotStore,
    transfer: Transfer,
    pub(super) path: PathBuf,
    file: Arc<dyn File>,
    offset: u64,
    synced: u64,
    /// It reads well and may not be on the disk: some of it was there before, or a sync failed.
    is_doubtful: bool,
}

impl Incoming {
    pub(super) fn open(store: &SnapshotStore, transfer: Transfer) -> Result<Self, SnapshotError> {
        let path = store.dir.join(transfer.file_name());
        let file = if store.fs.exists(&path).naming("look for", &path)? {
            store.fs.open(&path, OpenMode::ReadWrite).naming("open", &path)?
        } else {
            store.fs.create(&path).naming("create", &path)?
        };
        let mut offset = file.len().naming("measure", &path)?;
        if offset > transfer.len {
            file.set_len(0).naming("cut", &path)?;
            offset = 0;
        }
        let is_doubtful = offset > 0;
        Ok(Self { store: store.clone(), transfer, path, file, offset, synced: offset, is_doubtful })
    }

    /// How many bytes are there: the peer sends from here.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes a piece of the file, whose CRC-32C the peer computed.
    ///
    /// # Errors
    /// [`SnapshotError::OutOfOrder`] and [`SnapshotError::BadPiece`] change nothing: the peer sends the right one.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8], crc: u32) -> Result<(), SnapshotError> {
        if offset != self.offset {
            return Err(SnapshotError::OutOfOrder { expected: self.offset, found: offset });
        }
        let end = offset + bytes.len() as u64;
        if crc32c::crc32c(bytes) != crc || end > self.transfer.len {
            return Err(SnapshotError::BadPiece { offset });
        }
        self.file.write_at(bytes, offset).naming("write", &self.path)?;
        self.offset = end;
        let synced = sync_now_and_then(&*self.file, &self.path, self.synced, end);
        self.is_doubtful |= synced.is_err();
        self.synced = synced?;
        Ok(())
    }

    /// Checks the whole, makes it durable and gives it its name. It is used once a mark in the log names it.
    ///
    /// # Errors
    /// [`SnapshotError::Incomplete`] leaves what is there to be resumed; after any other but a failure of the disk the
    /// partial file is gone, and the transfer starts anew.
    pub fn finish(self) -> Result<SnapshotInfo, SnapshotError> {
        let Transfer { id, crc: _, len } = self.transfer;
        if self.offset < len {
            return Err(SnapshotError::Incomplete { have: self.offset, want: len });
        }
        if self.is_doubtful {
            self.file.settle().naming("sync", &self.path)?;
        }
        if let Err(error) = self.check() {
            if !matches!(error, SnapshotError::Io(_)) {
                self.store.fs.remove_file(&self.path).naming("delete", &self.path)?;
            }
            return Err(error);
        }
        self.file.sync_all().naming("sync", &self.path)?;
        let path = self.store.path(id);
        self.store.fs.rename(&self.path, &path).naming("rename into place", &path)?;
        crate::fs::sync_parent(&*self.store.fs, &path)?;
        Ok(SnapshotInfo { id, len, crc: self.transfer.crc })
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn abandon(self) -> Result<(), SnapshotError> {
        Ok(self.store.fs.remove_file(&self.path).naming("delete", &self.path)?)
    }

    /// Two independent checks: these are the announced bytes, and they are a whole snapshot of this cluster.
    fn check(&self) -> Result<(), SnapshotError> {
        let mut crc = 0;
        let mut buffer = vec![0; CHECK_SLICE_BYTES];
        let mut offset = 0;
        while offset < self.transfer.len {
            let read = self.file.read_at(&mut buffer, offset).naming("read", &self.path)?;
            if read == 0 {
                break;
            }
            crc = crc32c::crc32c_append(crc, buffer.get(..read).unwrap_or_default());
            offset += read as u64;
        }
        if crc != self.transfer.crc {
            let path = self.path.clone();
            return Err(SnapshotError::Damaged { path, offset: 0, reason: "it is not the file announced" });
        }
        let reader = SnapshotReader::open(&self.store, self.transfer.id, &self.path)?;
        for chunk in reader.chunks() {
            drop(chunk?);
        }
        Ok(())
    }
}
