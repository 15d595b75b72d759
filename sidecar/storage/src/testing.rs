//! A disk for tests: it forgets what was not synced, fails on demand, and counts.
//!
//! Files and directories are inodes with a current and a durable content. A crash makes a new disk out of the durable
//! ones; which unsynced 512-byte sectors survive is the test's choice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::fs::{DirEntry, File, FileSystem, Lock, OpenMode};

mod fixtures;

pub(crate) use fixtures::*;

pub(crate) const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Inode {
    File { now: Vec<u8>, durable: Vec<u8> },
    Dir { now: BTreeMap<String, usize>, durable: BTreeMap<String, usize> },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) sync_data: u64,
    pub(crate) sync_all: u64,
    pub(crate) sync_dir: u64,
}

/// What is to fail, and from then on: `None` means nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// All changes fail from this one on, counted from 0.
    pub(crate) stop_at: Option<u64>,
    pub(crate) sync_data: Option<io::ErrorKind>,
    pub(crate) allocate: Option<io::ErrorKind>,
    /// Files take no more than so many bytes together.
    pub(crate) capacity: Option<usize>,
}

#[derive(Clone, Debug)]
struct Disk {
    inodes: Vec<Inode>,
    locks: BTreeSet<PathBuf>,
    changes: u64,
    counts: Counts,
    faults: Faults,
}

#[derive(Clone, Debug)]
pub(crate) struct SimFs(Arc<Mutex<Disk>>);

impl SimFs {
    /// An empty disk, on which the data directory's own name is durable (as `DataDir` sees to).
    pub(crate) fn new() -> Self {
        let root = Inode::Dir { now: BTreeMap::new(), durable: BTreeMap::new() };
        let fs = Self::of(vec![root]);
        fs.create_dir(&data_dir()).unwrap();
        fs.copy()
    }

    fn of(inodes: Vec<Inode>) -> Self {
        let faults = Faults::default();
        let counts = Counts::default();
        Self(Arc::new(Mutex::new(Disk { inodes, locks: BTreeSet::new(), changes: 0, counts, faults })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    pub(crate) fn shared(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.clone())
    }

    pub(crate) fn counts(&self) -> Counts {
        self.disk().counts
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut disk = self.disk();
        disk.faults = faults;
        disk.changes = 0;
    }

    pub(crate) fn changes(&self) -> u64 {
        self.disk().changes
    }

    /// The disk after a power cut: `keeps` says of each unsynced sector, in order, whether it survives.
    pub(crate) fn crash(&self, mut keeps: impl FnMut() -> bool) -> Self {
        let mut inodes = self.disk().inodes.clone();
        for inode in &mut inodes {
            match inode {
                Inode::Dir { now, durable } => *now = durable.clone(),
                Inode::File { now, durable } => {
                    let mut after = durable.clone();
                    for start in (0..now.len()).step_by(SECTOR) {
                        let end = now.len().min(start + SECTOR);
                        if durable.get(start..end) != Some(&now[start..end]) && keeps() {
                            after.resize(after.len().max(end), 0);
                            after[start..end].copy_from_slice(&now[start..end]);
                        }
                    }
                    *now = after.clone();
                    *durable = after;
                }
            }
        }
        Self::of(inodes)
    }

    /// The disk after the process was killed: nothing is lost, nothing is synced.
    pub(crate) fn kill(&self) -> Self {
        Self::of(self.disk().inodes.clone())
    }

    /// An independent copy, all of it durable.
    pub(crate) fn copy(&self) -> Self {
        let mut inodes = self.disk().inodes.clone();
        for inode in &mut inodes {
            match inode {
                Inode::Dir { now, durable } => *durable = now.clone(),
                Inode::File { now, durable } => *durable = now.clone(),
            }
        }
        Self::of(inodes)
    }

    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let disk = self.disk();
        match &disk.inodes[disk.find(path).unwrap()] {
            Inode::File { now, .. } => now.clone(),
            Inode::Dir { .. } => panic!("{} is a directory", path.display()),
        }
    }

    /// Changes a file behind everybody's back, durably.
    pub(crate) fn patch(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let at = disk.find(path).unwrap();
        match &mut disk.inodes[at] {
            Inode::File { now, durable } => {
                change(now);
                *durable = now.clone();
            }
            Inode::Dir { .. } => panic!("{} is a directory", path.display()),
        }
    }
}

fn names(path: &Path) -> Vec<String> {
    path.iter().map(|name| name.to_str().unwrap().to_owned()).filter(|name| name != "/").collect()
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk {
    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for name in names(path) {
            at = match &self.inodes[at] {
                Inode::Dir { now, .. } => *now.get(&name).ok_or_else(not_found)?,
                Inode::File { .. } => return Err(not_found()),
            };
        }
        Ok(at)
    }

    fn entries(&mut self, dir: &Path) -> io::Result<&mut BTreeMap<String, usize>> {
        let at = self.find(dir)?;
        match &mut self.inodes[at] {
            Inode::Dir { now, .. } => Ok(now),
            Inode::File { .. } => Err(not_found()),
        }
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut BTreeMap<String, usize>, String)> {
        let name = names(path).pop().unwrap();
        Ok((self.entries(path.parent().unwrap())?, name))
    }

    fn add(&mut self, path: &Path, inode: Inode) -> io::Result<usize> {
        let at = self.inodes.len();
        let (entries, name) = self.parent(path)?;
        entries.insert(name, at);
        self.inodes.push(inode);
        Ok(at)
    }

    /// Whether the file may become so long.
    fn grow(&self, at: usize, len: usize) -> io::Result<()> {
        let len_of = |at: usize| match &self.inodes[at] {
            Inode::File { now, .. } => now.len(),
            Inode::Dir { .. } => 0,
        };
        let Some(capacity) = self.faults.capacity.filter(|_| len > len_of(at)) else { return Ok(()) };
        let named = self.inodes.iter().flat_map(|inode| match inode {
            Inode::Dir { now, .. } => now.values().copied().collect::<Vec<_>>(),
            Inode::File { .. } => Vec::new(),
        });
        let used: usize = named.map(len_of).sum();
        let fits = used - len_of(at) + len <= capacity;
        if fits { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn change(&mut self) -> io::Result<()> {
        if self.faults.stop_at.is_some_and(|stop| self.changes >= stop) {
            return Err(io::Error::other("the power is gone"));
        }
        self.changes += 1;
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    at: usize,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> T) -> T {
        match &mut self.fs.disk().inodes[self.at] {
            Inode::File { now, durable } => act(now, durable),
            Inode::Dir { .. } => panic!("a directory is no file"),
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|now, _| {
            let rest = now.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.change()?;
        disk.counts.writes += 1;
        disk.grow(self.at, offset as usize + bytes.len())?;
        drop(disk);
        self.with(|now, _| {
            let end = offset as usize + bytes.len();
            now.resize(now.len().max(end), 0);
            now[offset as usize..end].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.change()?;
        disk.counts.sync_data += 1;
        if let Some(kind) = disk.faults.sync_data {
            return Err(kind.into());
        }
        drop(disk);
        self.with(|now, durable| durable.clone_from(now));
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.change()?;
        disk.counts.sync_all += 1;
        drop(disk);
        self.with(|now, durable| durable.clone_from(now));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|now, _| now.len() as u64))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.change()?;
        if let Some(kind) = disk.faults.allocate {
            return Err(kind.into());
        }
        disk.grow(self.at, len as usize)?;
        drop(disk);
        self.with(|now, _| now.resize(now.len().max(len as usize), 0));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fs.disk().change()?;
        self.with(|now, _| now.resize(len as usize, 0));
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        self.fs.disk().change()?;
        self.with(|now, durable| durable.clone_from(now));
        Ok(())
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.fs.disk().locks.remove(&self.path);
    }
}

impl FileSystem for SimFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.change()?;
        let at = match disk.find(path) {
            Ok(at) => {
                if let Inode::File { now, .. } = &mut disk.inodes[at] {
                    now.clear();
                }
                at
            }
            Err(_) => disk.add(path, Inode::File { now: Vec::new(), durable: Vec::new() })?,
        };
        Ok(Arc::new(SimFile { fs: self.clone(), at }))
    }

    fn open(&self, path: &Path, _mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let at = self.disk().find(path)?;
        Ok(Arc::new(SimFile { fs: self.clone(), at }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.disk().find(path).is_ok())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut disk = self.disk();
        let Ok(entries) = disk.entries(dir).map(|entries| entries.clone()) else { return Ok(Vec::new()) };
        let is_dir = |at: usize| matches!(disk.inodes[at], Inode::Dir { .. });
        Ok(entries.into_iter().map(|(name, at)| DirEntry { name, is_dir: is_dir(at) }).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        let mut path = PathBuf::from("/");
        for name in names(dir) {
            path.push(name);
            if disk.find(&path).is_err() {
                disk.add(&path, Inode::Dir { now: BTreeMap::new(), durable: BTreeMap::new() })?;
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        let (entries, name) = disk.parent(from)?;
        let at = entries.remove(&name).ok_or_else(not_found)?;
        let (entries, name) = disk.parent(to)?;
        entries.insert(name, at);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        let (entries, name) = disk.parent(path)?;
        entries.remove(&name).map(|_| ()).ok_or_else(not_found)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        assert!(disk.entries(dir)?.is_empty(), "{} is not empty", dir.display());
        let (entries, name) = disk.parent(dir)?;
        entries.remove(&name).map(|_| ()).ok_or_else(not_found)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        disk.counts.sync_dir += 1;
        let at = disk.find(dir)?;
        if let Inode::Dir { now, durable } = &mut disk.inodes[at] {
            durable.clone_from(now);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let is_free = self.disk().locks.insert(path.to_path_buf());
        let lock = || Box::new(SimLock { fs: self.clone(), path: path.to_path_buf() }) as Box<dyn Lock>;
        Ok(is_free.then(lock))
    }
}
