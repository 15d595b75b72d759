//! The data directory: who it belongs to, and that only one process uses it.
//!
//! ```text
//! DIR/LOCK            held by flock while the member runs
//! DIR/identity        member id, cluster id, boot counter, own address, abandoned clusters
//! DIR/resolved        last addresses of names; may be lost without harm
//! DIR/wal/            the log
//! DIR/snap/           snapshots
//! DIR/removed-<id>/   all of the above of a member that was removed
//! ```
//!
//! The member id is written before anything else, the cluster id after everything else: a crash anywhere in a founding
//! or a joining leaves a directory without a cluster id, and that is an empty disk, whatever else lies in it. An
//! identity file that is gone or damaged beside a log is refused: a new id for old data would be a lie, and the old id
//! is unknown.
//!
//! May import: core's `types`, `fs`, and the names of the log's and the snapshots' folders. Deliberately absent:
//! randomness (ids are handed in), DNS, and reading the log.

mod aside;
mod file;

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_core::types::{ClusterId, MemberId};

use crate::fs::{FileSystem, IoFailure, Lock, Naming, read_file, remove_tree, replace_file, sync_parent};
use crate::segment::wal_dir;
use crate::snapshot_store::{give_back, snapshot_dir};

pub use file::{Identity, Resolved};

const LOCK: &str = "LOCK";
/// The name of the file in the data directory that says whose it is.
pub const IDENTITY: &str = "identity";
const RESOLVED: &str = "resolved";

/// Why a data directory cannot be used, or not so.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process uses the directory.
    #[error(
        "data directory {} is in use by another process: stop that one, or give this member a directory of its own",
        dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The identity file does not validate.
    #[error(
        "{} is damaged: without it nobody knows whose log this is. Restore it, or move the whole directory away and let \
         this member join as a new one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// There is a log, but no identity.
    #[error(
        "data directory {} holds a log but no identity file: restore it, or move the whole directory away and let this \
         member join as a new one",
        dir.display()
    )]
    Lost {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory belongs to another cluster already.
    #[error(
        "data directory {} belongs to cluster {found:016x}, not to {wanted:016x}: give each cluster a directory of its own",
        dir.display(), found = found.0, wanted = wanted.0
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it was to become.
        wanted: ClusterId,
    },
    /// The cluster's founding was abandoned.
    #[error("the founding of cluster {id:016x} was abandoned: it is refused for ever", id = cluster.0)]
    Abandoned {
        /// The cluster.
        cluster: ClusterId,
    },
    /// The id 0 names nobody.
    #[error("0 is no id of a member or a cluster: draw one that is not")]
    ZeroId,
    /// The new id is the old one.
    #[error("member id {id:016x} was used by this directory before: draw a new one, ids are never reused", id = member.0)]
    ReusedId {
        /// The id.
        member: MemberId,
    },
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// An open data directory. The lock ends with it.
#[derive(Debug)]
pub struct DataDir {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    identity: Identity,
    resolved: Resolved,
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Opens and locks `dir`, makes it a member's if it is nobody's, finishes a move that a crash interrupted, and counts
    /// the boot. All of that is durable when this returns.
    ///
    /// `fresh` is a newly drawn id, used only when the directory has none (or is just being given a new one).
    ///
    /// # Errors
    /// When another process holds the lock, the identity is damaged or lost, or the disk fails.
    pub fn open(fs: Arc<dyn FileSystem>, dir: &Path, fresh: MemberId) -> Result<Self, IdentityError> {
        if fresh.0 == 0 {
            return Err(IdentityError::ZeroId);
        }
        let is_there = fs.exists(dir).naming("look for", dir)?;
        if !is_there {
            fs.create_dir(dir).naming("create the directory", dir)?;
        }
        sync_name(&*fs, dir, is_there)?;
        let lock_path = dir.join(LOCK);
        let lock = fs.lock(&lock_path).naming("lock", &lock_path)?;
        let lock = lock.ok_or_else(|| IdentityError::Locked { dir: dir.to_path_buf() })?;
        let identity = match Self::load(&*fs, dir)? {
            Some(identity) => identity,
            None => Identity { member: fresh, ..Identity::default() },
        };
        let mut data_dir =
            Self { resolved: load_resolved(&*fs, dir)?, fs, dir: dir.to_path_buf(), identity, _lock: lock };
        if data_dir.identity.is_moving {
            data_dir.finish_move(fresh)?;
        }
        data_dir.count_boot()?;
        if data_dir.identity.cluster.is_none() {
            data_dir.clear_unfounded()?;
        }
        Ok(data_dir)
    }

    /// Counts one more boot of the member, durably. Opening does; so must whoever runs the member again without opening.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn count_boot(&mut self) -> Result<(), IdentityError> {
        self.update(|identity| identity.boot += 1)
    }

    /// Reads an identity without lock or change; `None` when the directory has none.
    ///
    /// # Errors
    /// When the file is damaged, or lost beside a log, or the disk fails.
    pub fn load(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Identity>, IdentityError> {
        let path = dir.join(IDENTITY);
        match read_file(fs, &path, file::MAX_FILE_BYTES)? {
            Some(bytes) => file::decode_identity(&bytes).map(Some).ok_or(IdentityError::Damaged { path }),
            None => {
                let wal = wal_dir(dir);
                if fs.list(&wal).naming("list", &wal)?.is_empty() {
                    Ok(None)
                } else {
                    Err(IdentityError::Lost { dir: dir.to_path_buf() })
                }
            }
        }
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Who it belongs to.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last step of founding and of joining: with this on disk the member belongs to the cluster, for ever. The log
    /// (and, for a founder, the snapshot) must be durable. Idempotent.
    ///
    /// # Errors
    /// When the cluster was abandoned, or the directory belongs to another one, or the disk fails.
    pub fn set_cluster(&mut self, cluster: ClusterId) -> Result<(), IdentityError> {
        if cluster.0 == 0 {
            return Err(IdentityError::ZeroId);
        }
        if self.identity.abandoned.contains(&cluster) {
            return Err(IdentityError::Abandoned { cluster });
        }
        match self.identity.cluster {
            Some(found) if found == cluster => Ok(()),
            Some(found) => Err(IdentityError::OtherCluster { dir: self.dir.clone(), found, wanted: cluster }),
            None => self.update(|identity| identity.cluster = Some(cluster)),
        }
    }

    /// Deletes what a founding or joining that never came to its end left in the log's and the snapshots' folders. To be
    /// called before each attempt; opening does it too.
    ///
    /// # Errors
    /// When the directory belongs to a cluster, or the disk fails.
    pub fn clear_unfounded(&mut self) -> Result<(), IdentityError> {
        if let Some(found) = self.identity.cluster {
            return Err(IdentityError::OtherCluster { dir: self.dir.clone(), found, wanted: ClusterId(0) });
        }
        let mut is_changed = false;
        for folder in [wal_dir(&self.dir), snapshot_dir(&self.dir)] {
            if self.fs.exists(&folder).naming("look for", &folder)? {
                remove_tree(&*self.fs, &folder)?;
                is_changed = true;
            }
        }
        if is_changed {
            self.fs.sync_dir(&self.dir).naming("sync the directory", &self.dir)?;
        }
        Ok(())
    }

    /// Takes another id in a directory that belongs to no cluster: the one that it has was let in and removed again before it came to know of
    /// either, and an id that was removed never comes back.
    ///
    /// # Errors
    /// When the directory belongs to a cluster, an id is 0 or reused, or the disk fails.
    pub fn begin_anew(&mut self, fresh: MemberId) -> Result<(), IdentityError> {
        if let Some(found) = self.identity.cluster {
            return Err(IdentityError::OtherCluster { dir: self.dir.clone(), found, wanted: ClusterId(0) });
        }
        if fresh.0 == 0 {
            return Err(IdentityError::ZeroId);
        }
        if fresh == self.identity.member {
            return Err(IdentityError::ReusedId { member: fresh });
        }
        self.clear_unfounded()?;
        self.update(|identity| identity.member = fresh)
    }

    /// Refuses a cluster for ever: its founder's disk is gone. Idempotent.
    ///
    /// A directory that belongs to it is moved aside and begins anew as `fresh`, without a cluster: the old member id
    /// may stand in the abandoned log. The log must be closed. Any other directory keeps its member id.
    ///
    /// # Errors
    /// When an id is 0 or reused, or the disk fails.
    pub fn abandon(&mut self, cluster: ClusterId, fresh: MemberId) -> Result<(), IdentityError> {
        if cluster.0 == 0 || fresh.0 == 0 {
            return Err(IdentityError::ZeroId);
        }
        if fresh == self.identity.member {
            return Err(IdentityError::ReusedId { member: fresh });
        }
        let is_ours = self.identity.cluster == Some(cluster);
        if !is_ours && self.identity.abandoned.contains(&cluster) {
            return Ok(());
        }
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::AbandonNotDurable) {
            self.update(|identity| identity.is_moving = is_ours)?;
            if is_ours {
                self.finish_move(fresh)?;
            }
            self.identity.abandoned.push(cluster);
            return Ok(());
        }
        // One write for both: between two, a crash would start the member once more in a cluster that it gave up.
        self.update(|identity| {
            if !identity.abandoned.contains(&cluster) {
                identity.abandoned.push(cluster);
            }
            identity.is_moving = is_ours;
        })?;
        if is_ours {
            self.finish_move(fresh)?;
        }
        Ok(())
    }

    /// Sets the own name and address; the version grows when the address differs, and is then above `at_least` (the
    /// newest version that the log knows). Returns the version.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn set_address(&mut self, name: &str, address: &str, at_least: u64) -> Result<u64, IdentityError> {
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::OldIdOnEmptyDisk)
            && self.identity.name.is_empty()
        {
            self.update(|identity| {
                identity.member = MemberId(1 + u64::from(crc32c::crc32c(name.as_bytes())))
            })?;
        }
        let is_moved = self.identity.address != address;
        if is_moved || self.identity.name != name || self.identity.address_version < at_least {
            self.update(|identity| {
                identity.address_version = identity.address_version.max(at_least) + u64::from(is_moved);
                name.clone_into(&mut identity.name);
                address.clone_into(&mut identity.address);
            })?;
        }
        Ok(self.identity.address_version)
    }

    /// The last addresses that names resolved to.
    #[must_use]
    pub const fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Remembers what a name resolved to; writes only when that is new. An empty answer is not remembered.
    ///
    /// # Errors
    /// When the disk fails; nothing depends on it but the next start under a silent DNS.
    pub fn set_resolved(&mut self, name: &str, addresses: &[IpAddr]) -> Result<(), IdentityError> {
        let is_known = self.resolved.get(name).is_some_and(|held| held == addresses);
        if addresses.is_empty() || is_known {
            return Ok(());
        }
        self.resolved.insert(name.to_owned(), addresses.to_vec());
        Ok(replace_file(&*self.fs, &self.dir.join(RESOLVED), &file::encode_resolved(&self.resolved))?)
    }

    /// Changes the identity, on disk first.
    fn update(&mut self, change: impl FnOnce(&mut Identity)) -> Result<(), IdentityError> {
        let mut identity = self.identity.clone();
        change(&mut identity);
        let write = || replace_file(&*self.fs, &self.dir.join(IDENTITY), &file::encode_identity(&identity));
        match write() {
            // Every start counts its boot: a full disk must not keep the member from serving what it has.
            Err(failure) if failure.is_no_space() && give_back(&*self.fs, &self.dir)? => write()?,
            other => other?,
        }
        self.identity = identity;
        Ok(())
    }
}

/// Makes the directory's own name durable, also where it is there: an earlier start may have ended before it did, and a power
/// cut would take the whole directory, with all that was made durable in it. Where this process may not open the parent,
/// or that is on a file system which nobody writes to, the directory is a volume's, and its name is nobody's to lose.
fn sync_name(fs: &dyn FileSystem, dir: &Path, is_there: bool) -> Result<(), IoFailure> {
    match sync_parent(fs, dir) {
        Err(failure) if is_there && is_of_others(&failure) => Ok(()),
        other => other,
    }
}

fn is_of_others(failure: &IoFailure) -> bool {
    let kind = failure.source.kind();
    matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// The addresses are a convenience: damaged, they count as unknown.
fn load_resolved(fs: &dyn FileSystem, dir: &Path) -> Result<Resolved, IdentityError> {
    let bytes = read_file(fs, &dir.join(RESOLVED), file::MAX_FILE_BYTES)?;
    Ok(bytes.and_then(|bytes| file::decode_resolved(&bytes)).unwrap_or_default())
}
