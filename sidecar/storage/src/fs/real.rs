//! The real disk: std's files, and rustix for what std lacks (`flock`, `fallocate`, `fadvise`).
//!
//! May import: std, rustix. Deliberately absent: `O_DIRECT` (it wants aligned memory, and every write is one call
//! followed by a sync anyway) and any cache of file handles.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, FlockOperation};

use super::{DirEntry, File, FileSystem, Lock, OpenMode};

/// Bytes written at a time where the file system has no `fallocate`.
const ZERO_SLICE_BYTES: usize = 1 << 20;

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl RealFs {
    /// The real disk, as the rest of the crate takes it.
    #[must_use]
    pub fn shared() -> Arc<dyn FileSystem> {
        Arc::new(Self)
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

#[derive(Debug)]
struct RealLock {
    // The lock belongs to the open file description: it ends when this is closed.
    _file: fs::File,
}

impl Lock for RealLock {}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => allocate_by_writing(&self.0, len),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn settle(&self) -> io::Result<()> {
        // The order matters: only clean pages are dropped.
        self.0.sync_data()?;
        match rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed) {
            // It is advice: a file system that has none (FUSE, some network ones) loses only this extra care.
            Ok(())
            | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn allocate_by_writing(file: &fs::File, len: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_SLICE_BYTES];
    let mut offset = file.metadata()?.len();
    while offset < len {
        let count = (len - offset).min(zeros.len() as u64) as usize;
        file.write_all_at(zeros.get(..count).unwrap_or(&zeros), offset)?;
        offset += count as u64;
    }
    Ok(())
}

impl FileSystem for RealFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        // Entries are users' data: nobody else on the machine is to read them.
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let write = match mode {
            OpenMode::Read => false,
            OpenMode::ReadWrite => true,
        };
        Ok(Arc::new(RealFile(fs::OpenOptions::new().read(true).write(write).open(path)?)))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let names = match fs::read_dir(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in names {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                found.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        found.sort();
        Ok(found)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(RealLock { _file: file }))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
