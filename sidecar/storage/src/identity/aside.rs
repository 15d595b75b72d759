//! Moving a removed member's whole state aside, so that its directory can join again under a new id.
//!
//! The order: the identity says durably that a move is under way; the folders are renamed; the old identity is copied
//! beside them; the new identity replaces the old. At no point does the old id stand beside an empty log without the
//! note: opened then, the member would vote again under an id that forgot its votes.
//!
//! May import: core's `types`, `fs`. Deliberately absent: when a member is removed (it is told so by others).

use std::path::{Path, PathBuf};

use outrigger_core::types::MemberId;

use crate::fs::{Naming, read_file, remove_tree, replace_file};
use crate::segment::wal_dir;
use crate::snapshot_store::snapshot_dir;

use super::file::{MAX_FILE_BYTES, decode_identity, encode_identity};
use super::{DataDir, IDENTITY, Identity, IdentityError, RESOLVED};

const PREFIX: &str = "removed-";

impl DataDir {
    /// Moves the log, the snapshots and the identity to `removed-<id>` and begins anew as `fresh`, without a cluster.
    /// The log must be closed. The abandoned clusters, the own address and the boot count stay. Returns the folder.
    ///
    /// Older folders of this kind stay until [`DataDir::reclaim`] is called.
    ///
    /// # Errors
    /// When `fresh` is no new id or the disk fails; the next opening then finishes the move.
    pub fn move_aside(&mut self, fresh: MemberId) -> Result<PathBuf, IdentityError> {
        if fresh.0 == 0 {
            return Err(IdentityError::ZeroId);
        }
        if fresh == self.identity.member {
            return Err(IdentityError::ReusedId { member: fresh });
        }
        self.update(|identity| identity.is_moving = true)?;
        self.finish_move(fresh)
    }

    /// Does what is left of a move. Every step may find itself done already.
    pub(super) fn finish_move(&mut self, fresh: MemberId) -> Result<PathBuf, IdentityError> {
        if fresh == self.identity.member {
            return Err(IdentityError::ReusedId { member: fresh });
        }
        let aside = self.dir.join(format!("{PREFIX}{:016x}", self.identity.member.0));
        self.fs.create_dir(&aside).naming("create the directory", &aside)?;
        for folder in [wal_dir(&self.dir), snapshot_dir(&self.dir), self.dir.join(RESOLVED)] {
            if let Some(name) = folder.file_name()
                && self.fs.exists(&folder).naming("look for", &folder)?
            {
                self.fs.rename(&folder, &aside.join(name)).naming("move aside", &folder)?;
            }
        }
        let old = Identity { is_moving: false, ..self.identity.clone() };
        replace_file(&*self.fs, &aside.join(IDENTITY), &encode_identity(&old))?;
        // Both directories: a name must be durable in its new place before it may be missing in the old one.
        self.fs.sync_dir(&aside).naming("sync the directory", &aside)?;
        self.fs.sync_dir(&self.dir).naming("sync the directory", &self.dir)?;
        self.resolved.clear();
        self.update(|identity| {
            identity.member = fresh;
            identity.cluster = None;
            identity.is_moving = false;
        })?;
        Ok(aside)
    }

    /// The folders of removed members.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn removed(&self) -> Result<Vec<PathBuf>, IdentityError> {
        let entries = self.fs.list(&self.dir).naming("list", &self.dir)?;
        let is_removed = |entry: &crate::fs::DirEntry| entry.is_dir && entry.name.starts_with(PREFIX);
        Ok(entries.into_iter().filter(is_removed).map(|entry| self.dir.join(entry.name)).collect())
    }

    /// Deletes the folders of removed members, all but the `kept` newest; returns how many. What they hold is of use to a
    /// person at best, and each may be as large as the log.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn reclaim(&mut self, kept: usize) -> Result<usize, IdentityError> {
        let mut folders = self.removed()?;
        // The boot count goes on over all of a directory's members, so that the newest has the highest.
        folders.sort_by_cached_key(|folder| std::cmp::Reverse(self.boot_of(folder)));
        let folders = folders.split_off(kept.min(folders.len()));
        for folder in &folders {
            remove_tree(&*self.fs, folder)?;
        }
        if !folders.is_empty() {
            self.fs.sync_dir(&self.dir).naming("sync the directory", &self.dir)?;
        }
        Ok(folders.len())
    }

    /// The last boot of the member that a folder was; 0 where nobody can tell, as after a deletion that was cut off.
    fn boot_of(&self, folder: &Path) -> u64 {
        let bytes = read_file(&*self.fs, &folder.join(IDENTITY), MAX_FILE_BYTES).ok().flatten();
        bytes.and_then(|bytes| decode_identity(&bytes)).map_or(0, |identity| identity.boot)
    }
}
