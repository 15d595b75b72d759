//! A disk for tests that is full, or cannot be read or synced, when it is told to: the real one otherwise.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use outrigger_storage::fs::{DirEntry, File, FileSystem, Lock, OpenMode, RealFs};

/// What is wrong with it now.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Nothing can be allocated.
    pub(crate) full: AtomicBool,
    /// Files whose name holds "wal" cannot be read: `EIO`.
    pub(crate) unreadable: AtomicBool,
    /// Snapshots' files cannot be synced: the system's number for the error; 0 for none.
    pub(crate) snapshot_sync: AtomicI32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyFs(pub(crate) Arc<Faults>);

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn File>,
    is_log: bool,
    is_snapshot: bool,
    faults: Arc<Faults>,
}

/// Linux's number for an error of the device.
pub(crate) const EIO: i32 = 5;
/// And for no space on it.
pub(crate) const ENOSPC: i32 = 28;

impl FaultyFs {
    fn wrap(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        let is_in = |folder| path.to_str().unwrap().contains(folder);
        let (is_log, is_snapshot) = (is_in("/wal/"), is_in("/snap/"));
        Arc::new(FaultyFile { file, is_log, is_snapshot, faults: Arc::clone(&self.0) })
    }
}

impl FaultyFile {
    fn may_sync(&self) -> io::Result<()> {
        match self.faults.snapshot_sync.load(Ordering::Relaxed) {
            0 => Ok(()),
            error if self.is_snapshot => Err(io::Error::from_raw_os_error(error)),
            _ => Ok(()),
        }
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.is_log && self.faults.unreadable.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.may_sync()?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.may_sync()?;
        self.file.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.faults.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn settle(&self) -> io::Result<()> {
        self.file.settle()
    }
}

impl FileSystem for FaultyFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(path, RealFs.create(path)?))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(path, RealFs.open(path, mode)?))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFs.exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealFs.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        RealFs.lock(path)
    }
}
