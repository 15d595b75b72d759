//! Spare segments: files of a segment's size that wait for their turn, so that an append neither waits for an
//! allocation nor finds the disk full.
//!
//! A spare is `spare-<number>`; nothing in it counts. One made new reads as zeros at once (`fallocate`), one recycled
//! holds stale frames and is zeroed before use: behind the end of a log there must be zeros, else a clean end could
//! not be told from a torn tail. Zeros are written out even where the file already reads as zeros, because a write into
//! an extent that was never written makes `fdatasync` commit metadata too (measured: 7.0k against 5.2k synced
//! appends a second). After a restart nobody knows how far a spare was zeroed, so it counts as dirty.
//!
//! May import: `fs`, `segment`. Deliberately absent: when to do all this (the writer decides, when it is idle).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fail_point;
use crate::fs::{File, FileSystem, IoFailure, Naming, OpenMode};

/// Bytes zeroed and synced at a time: a few milliseconds in which an append may have to wait.
pub(crate) const ZERO_SLICE_BYTES: u64 = 1 << 20;

const PREFIX: &str = "spare-";

#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// Zeros were written and synced up to here.
    pub(crate) zeroed_until: u64,
    /// Whether the rest reads as zeros too, though they were never written.
    pub(crate) reads_zero: bool,
}

/// The spares of one log.
#[derive(Debug)]
pub(crate) struct SparePool {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    size: u64,
    next_number: u64,
    spares: Vec<Spare>,
    /// Released, but a reader may still be going through them.
    retired: Vec<(PathBuf, Arc<dyn File>)>,
}

impl SparePool {
    /// Takes over what an earlier boot left; files of another size go.
    pub(crate) fn open(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        size: u64,
        keep: usize,
    ) -> Result<Self, IoFailure> {
        let mut pool = Self {
            fs,
            dir: dir.to_path_buf(),
            size,
            next_number: 1,
            spares: Vec::new(),
            retired: Vec::new(),
        };
        for entry in pool.fs.list(dir).naming("list", dir)? {
            let Some(number) = parse_name(&entry.name) else { continue };
            pool.next_number = pool.next_number.max(number + 1);
            let path = dir.join(&entry.name);
            let file = pool.fs.open(&path, OpenMode::ReadWrite).naming("open", &path)?;
            if pool.spares.len() < keep && file.len().naming("measure", &path)? == size {
                pool.spares.push(Spare { path, file, zeroed_until: 0, reads_zero: false });
            } else {
                pool.fs.remove_file(&path).naming("delete", &path)?;
            }
        }
        Ok(pool)
    }

    pub(crate) fn count(&self) -> usize {
        self.spares.len() + self.retired.len()
    }

    /// Whether the next spare is zeros to its end.
    pub(crate) fn is_next_zeroed(&self) -> bool {
        self.spares.iter().any(|spare| spare.zeroed_until >= self.size)
    }

    fn next_path(&mut self) -> PathBuf {
        let path = self.dir.join(format!("{PREFIX}{:016x}", self.next_number));
        self.next_number += 1;
        path
    }

    /// Makes a new spare and its space; zeros are written later.
    pub(crate) fn create(&mut self) -> Result<(), IoFailure> {
        let spare = self.create_one()?;
        self.spares.push(spare);
        Ok(())
    }

    fn create_one(&mut self) -> Result<Spare, IoFailure> {
        let path = self.next_path();
        let file = self.fs.create(&path).naming("create", &path)?;
        let allocated = fail_point::allocate(&*file, self.size).naming("take the space for", &path);
        if let Err(failure) = allocated.and_then(|()| file.sync_all().naming("sync", &path)) {
            // Half a spare on a full disk would keep from others what is of no use here. If even the deletion
            // fails, the next start finds a file of the wrong size and tries again.
            return match self.fs.remove_file(&path) {
                Ok(()) | Err(_) => Err(failure),
            };
        }
        self.fs.sync_dir(&self.dir).naming("sync the directory", &self.dir)?;
        Ok(Spare { path, file, zeroed_until: 0, reads_zero: true })
    }

    /// Zeroes one slice of the next spare; whether there was anything to do.
    pub(crate) fn zero_slice(&mut self) -> Result<bool, IoFailure> {
        let size = self.size;
        let Some(spare) = self.spares.iter_mut().find(|spare| spare.zeroed_until < size) else {
            return Ok(false);
        };
        spare.zeroed_until = zero(&*spare.file, &spare.path, spare.zeroed_until, size)?;
        Ok(true)
    }

    /// Gives out a spare that reads as zeros throughout: the one furthest prepared, else a new file (quick), else, on a
    /// full disk, a recycled one zeroed here and now.
    pub(crate) fn take(&mut self) -> Result<Spare, IoFailure> {
        let size = self.size;
        let best = (self.spares.iter().enumerate())
            .filter(|(_, spare)| spare.reads_zero || spare.zeroed_until >= size)
            .max_by_key(|(_, spare)| spare.zeroed_until)
            .map(|(position, _)| position);
        if let Some(position) = best {
            return Ok(self.spares.swap_remove(position));
        }
        match self.create_one() {
            Ok(spare) => Ok(spare),
            Err(failure) if failure.is_no_space() => match self.spares.pop() {
                Some(mut spare) => {
                    while spare.zeroed_until < size {
                        spare.zeroed_until = zero(&*spare.file, &spare.path, spare.zeroed_until, size)?;
                    }
                    Ok(spare)
                }
                None => Err(failure),
            },
            Err(failure) => Err(failure),
        }
    }

    /// Takes a segment that counts no more: its name goes durably, here and now, its file is kept as a spare when
    /// fewer than `keep` wait.
    pub(crate) fn retire(&mut self, path: &Path, file: Arc<dyn File>, keep: usize) -> Result<(), IoFailure> {
        if self.count() < keep && file.len().naming("measure", path)? == self.size {
            let to = self.next_path();
            self.fs.rename(path, &to).naming("rename into a spare", path)?;
            self.retired.push((to, file));
        } else {
            self.fs.remove_file(path).naming("delete", path)?;
        }
        self.fs.sync_dir(&self.dir).naming("sync the directory", &self.dir)
    }

    /// Turns retired files that no reader holds any more into spares. One that is still read keeps its bytes.
    pub(crate) fn reclaim(&mut self) {
        let (free, held): (Vec<_>, Vec<_>) =
            self.retired.drain(..).partition(|(_, file)| Arc::strong_count(file) == 1);
        self.retired = held;
        let spare = |(path, file)| Spare { path, file, zeroed_until: 0, reads_zero: false };
        self.spares.extend(free.into_iter().map(spare));
    }

    /// Bytes taken by spares.
    pub(crate) fn bytes(&self) -> u64 {
        self.count() as u64 * self.size
    }
}

/// Zeroes one slice of a file from `from` towards `until` and syncs it; returns where the next one begins.
///
/// The sync is `fsync`: new extents are metadata. It is not counted among the log's `fdatasync`s, one a frame.
pub(crate) fn zero(file: &dyn File, path: &Path, from: u64, until: u64) -> Result<u64, IoFailure> {
    let count = ZERO_SLICE_BYTES.min(until.saturating_sub(from));
    let zeros = vec![0; count as usize];
    file.write_at(&zeros, from).naming("zero", path)?;
    file.sync_all().naming("sync", path)?;
    Ok(from + count)
}

fn parse_name(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()
}
