//! The room of one snapshot, kept against a full disk: without it no snapshot could be taken, nothing of the log be
//! released, and the member would end over and over.
//!
//! `snap/reserve` is a file of the snapshot's expected length and nothing in it counts. A snapshot that finds the disk
//! full is written *into* it, over space that is allocated already, and cut to its length at the end. What was
//! reserved is then the snapshot; the old one's space, once it is purged, is the next reserve.
//!
//! May import: `fs`, its siblings. Deliberately absent: how much to keep, and when (the log's thread knows), and room for
//! a snapshot on its way from a peer: the leader sends it again.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use crate::fs::{FileSystem, IoFailure, Naming, OpenMode};

use super::{SnapshotError, SnapshotId, SnapshotStore, SnapshotWriter, TEMPORARY, snapshot_dir};

const RESERVE: &str = "reserve";
/// What a small file beside the snapshots needs at most: the identity, its temporary copy, their directory.
const GIVE_BACK_BYTES: u64 = 1 << 20;

impl SnapshotStore {
    /// Bytes that are reserved now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn reserved(&self) -> Result<u64, SnapshotError> {
        let path = self.dir.join(RESERVE);
        if !self.fs.exists(&path).naming("look for", &path)? {
            return Ok(0);
        }
        let file = self.fs.open(&path, OpenMode::Read).naming("open", &path)?;
        Ok(file.len().naming("measure", &path)?)
    }

    /// Reserves at least `bytes` for a snapshot. What is reserved already stays.
    ///
    /// # Errors
    /// [`SnapshotError::is_no_space`]: as much as before is reserved, try again later. All else: the disk fails.
    pub fn reserve(&self, bytes: u64) -> Result<(), SnapshotError> {
        let _alone = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.reserved()?;
        if held >= bytes {
            return Ok(());
        }
        self.make_dir()?;
        let path = self.dir.join(RESERVE);
        let file = if held > 0 {
            self.fs.open(&path, OpenMode::ReadWrite).naming("open", &path)?
        } else {
            self.fs.create(&path).naming("create", &path)?
        };
        let allocated = file.allocate(bytes).naming("take the space for", &path);
        if let Err(failure) = allocated.and_then(|()| file.sync_all().naming("sync", &path)) {
            // Half of what was asked for would only keep the space from others. If even this fails, the next attempt
            // finds a file that is longer than it takes space for, and the snapshot that needs it fails like any other.
            return match file.set_len(held) {
                Ok(()) | Err(_) => Err(failure.into()),
            };
        }
        Ok(self.fs.sync_dir(&self.dir).naming("sync the directory", &self.dir)?)
    }

    /// Begins a snapshot in the space that is reserved: on a full disk, after [`SnapshotStore::begin`]'s has failed.
    /// Its remains go.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`] when nothing is reserved; else as [`SnapshotStore::begin`].
    pub fn begin_in_reserve(&self, id: SnapshotId, header: &[u8]) -> Result<SnapshotWriter, SnapshotError> {
        let path = self.dir.join(RESERVE);
        let _alone = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        if self.reserved()? == 0 {
            return Err(SnapshotError::NotFound { path });
        }
        let temporary = self.temporary(id);
        self.fs.rename(&path, &temporary).naming("rename", &path)?;
        let file = self.fs.open(&temporary, OpenMode::ReadWrite).naming("open", &temporary)?;
        SnapshotWriter::over(self, id, header, file)
    }

    /// Deletes what an unfinished snapshot left, if anything.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discard_unfinished(&self, id: SnapshotId) -> Result<(), SnapshotError> {
        let temporary = self.temporary(id);
        if self.fs.exists(&temporary).naming("look for", &temporary)? {
            self.fs.remove_file(&temporary).naming("delete", &temporary)?;
        }
        Ok(())
    }

    pub(super) fn temporary(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(format!("{}{TEMPORARY}", id.file_name()))
    }
}

/// Gives a little of the reserve back to the disk, so that the small files which every start writes find room. Whether
/// there was anything to give.
pub(crate) fn give_back(fs: &dyn FileSystem, data_dir: &Path) -> Result<bool, IoFailure> {
    let path = snapshot_dir(data_dir).join(RESERVE);
    if !fs.exists(&path).naming("look for", &path)? {
        return Ok(false);
    }
    let file = fs.open(&path, OpenMode::ReadWrite).naming("open", &path)?;
    let len = file.len().naming("measure", &path)?;
    file.set_len(len.saturating_sub(GIVE_BACK_BYTES)).naming("cut", &path)?;
    Ok(len > 0)
}
