//! The disk as this crate sees it: a trait for the file system, one for an open file, one for a lock, and the
//! error that names what was tried on which path.
//!
//! May import: std. Deliberately absent: any policy (what to sync when is the writer's business) and any retry:
//! after a failed sync nobody knows what is on the disk, so errors travel up unchanged.
//!
//! A simulated disk implements the same two traits. What it may lose at a crash is what these methods do *not*
//! promise: written bytes before [`File::sync_data`], names before [`FileSystem::sync_dir`].

mod real;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use real::RealFs;

/// An open file. All methods take `&self`, because the reader of old entries and the writer share one.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, extending the file when needed. Not durable before a sync.
    ///
    /// # Errors
    /// Whatever the disk says; how much was written is then unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// `fdatasync`: what was written, and the metadata needed to read it back, are on the disk.
    ///
    /// # Errors
    /// After an error the file's state is unknown: the kernel may have marked the lost pages clean.
    fn sync_data(&self) -> io::Result<()>;

    /// `fsync`: as [`File::sync_data`], and all metadata.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn sync_all(&self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no byte.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Takes the space for `len` bytes from the disk and makes the file that long; new bytes read as zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when there is not that much room.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file to `len` bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Flushes what an earlier process left in the cache and drops the cache, so that the next read tells what
    /// the *disk* holds. A process killed between write and sync leaves frames that read well and are not
    /// durable; one killed after a failed sync leaves pages that are clean, read well and are nowhere.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn settle(&self) -> io::Result<()>;
}

/// Held as long as the lock is; dropping it lets go.
pub trait Lock: Send + Sync + fmt::Debug {}

/// How to open an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading only: nothing about the file changes.
    Read,
    /// For reading and writing.
    ReadWrite,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without the directory. Names that are not UTF-8 are never ours and never listed.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
}

/// The disk. Names become durable by [`FileSystem::sync_dir`] on the directory that holds them, contents by the
/// file's own sync.
pub trait FileSystem: Send + Sync + fmt::Debug + 'static {
    /// Creates a file for reading and writing; an existing one is cut to nothing.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none, else whatever the disk says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Whether the path names anything.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The names in a directory, sorted; empty when the directory does not exist.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates a directory and its parents; fine if it exists.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or a directory; an existing file at `to` is replaced atomically.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Deletes an empty directory.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable as they are now.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on the file, creating it when needed, without waiting; `None` when another process
    /// (or another opener in this one) holds it.
    ///
    /// # Errors
    /// Whatever the disk says, short of "somebody else has it".
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// A call to the disk that failed: what was tried, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct IoFailure {
    /// A verb: what was tried.
    pub operation: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the disk answered.
    #[source]
    pub source: io::Error,
}

impl IoFailure {
    /// Whether the disk was full (`ENOSPC` or a quota).
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Names the operation and the path that an [`io::Error`] does not.
pub(crate) trait Naming<T> {
    fn naming(self, operation: &'static str, path: &Path) -> Result<T, IoFailure>;
}

impl<T> Naming<T> for io::Result<T> {
    fn naming(self, operation: &'static str, path: &Path) -> Result<T, IoFailure> {
        self.map_err(|source| IoFailure { operation, path: path.to_path_buf(), source })
    }
}

/// Writes a small file so that a crash leaves the old one or the new one, never a mixture: a temporary file, its
/// sync, the rename, the directory's sync, in this order.
pub(crate) fn replace_file(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
    let temporary = path.with_extension("tmp");
    let file = fs.create(&temporary).naming("create", &temporary)?;
    file.write_at(bytes, 0).naming("write", &temporary)?;
    file.sync_all().naming("sync", &temporary)?;
    fs.rename(&temporary, path).naming("rename into place", path)?;
    sync_parent(fs, path)
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(fs: &dyn FileSystem, path: &Path) -> Result<(), IoFailure> {
    match path.parent() {
        // Of a path with one part, that is the working directory.
        Some(parent) if parent.as_os_str().is_empty() => {
            fs.sync_dir(Path::new(".")).naming("sync the directory", path)
        }
        Some(parent) => fs.sync_dir(parent).naming("sync the directory", parent),
        None => Ok(()),
    }
}

/// Reads a whole small file of at most `limit` bytes; `None` when it does not exist. What is longer comes back cut
/// at the limit, and fails the caller's checksum.
pub(crate) fn read_file(fs: &dyn FileSystem, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, IoFailure> {
    let file = match fs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IoFailure { operation: "open", path: path.to_path_buf(), source }),
    };
    let len = file.len().naming("measure", path)?.min(limit);
    let mut bytes = vec![0; len as usize];
    let read = file.read_at(&mut bytes, 0).naming("read", path)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Deletes a directory and all that is in it. Not durable before the parent's sync.
pub(crate) fn remove_tree(fs: &dyn FileSystem, dir: &Path) -> Result<(), IoFailure> {
    for entry in fs.list(dir).naming("list", dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_tree(fs, &path)?;
        } else {
            fs.remove_file(&path).naming("delete", &path)?;
        }
    }
    fs.remove_dir(dir).naming("delete", dir)
}
