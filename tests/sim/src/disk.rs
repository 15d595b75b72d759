//! A disk that forgets what was not synced, tears, rots, fills up and fails.
//!
//! Files and directories have a present and a durable content. Written bytes become durable by a sync of the file, names by
//! one of the directory. A power cut keeps of what was not synced whatever sectors chance says, and of the changes of names
//! the first ones, however many; a killed process loses nothing, and makes nothing durable either. A fuse cuts the power in the middle of whatever is being done.
//!
//! May import: storage's `FileSystem`. Deliberately absent: when anything of this happens (the nemesis says).

mod file;
mod inodes;
mod names;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_storage::fs::{DirEntry, File, FileSystem, Lock, OpenMode};

use crate::random::Random;
use file::SimFile;
use inodes::{Fate, Inodes};

/// What a disk keeps or loses whole at a power cut.
pub const SECTOR_BYTES: usize = 512;

/// What is wrong with a disk now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// So many changes are carried out; the next one fails, and all that follow, until the process has crashed.
    pub fuse: Option<u64>,
    /// The next sync, of a file or of a directory, fails and throws away what it should have made durable (as Linux does
    /// after EIO).
    pub failing_sync: bool,
    /// The next read of a file fails. It may be of the next process.
    pub failing_read: bool,
    /// Files take no more than so many bytes together.
    pub capacity_bytes: Option<u64>,
    /// A planted bug: syncs do nothing.
    pub lying_sync: bool,
}

/// What becomes of something that was durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// This bit of a byte flips.
    Flip(u8),
    /// The place holds these bytes instead.
    Holds(Vec<u8>),
}

/// What the disk saw: a fault counts when it was felt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Changes of any kind.
    pub changes: u64,
    /// Changes refused by a burnt fuse.
    pub burnt: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Calls refused for want of space.
    pub full: u64,
    /// Sectors that a power cut took back.
    pub sectors_lost: u64,
}

impl Counts {
    /// Whether anything that was asked of the disk has failed since `before`.
    #[must_use]
    pub const fn has_failed_since(&self, before: &Self) -> bool {
        self.burnt > before.burnt
            || self.failed_syncs > before.failed_syncs
            || self.failed_reads > before.failed_reads
            || self.full > before.full
    }
}

#[derive(Debug)]
struct State {
    inodes: Inodes,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    counts: Counts,
    is_burnt: bool,
}

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

impl Default for SimDisk {
    fn default() -> Self {
        let state = State {
            inodes: Inodes::default(),
            locks: BTreeSet::new(),
            faults: Faults::default(),
            counts: Counts::default(),
            is_burnt: false,
        };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As storage takes it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.clone())
    }

    /// What it saw.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Changes what is wrong with it.
    pub fn with_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// Looks at it from outside, as if nothing were wrong with it: what only a process would meet stays in wait for one.
    pub fn undisturbed<T>(&self, look: impl FnOnce(&Self) -> T) -> T {
        let faults = std::mem::take(&mut self.state().faults);
        let seen = look(self);
        self.state().faults = faults;
        seen
    }

    /// The files of a directory.
    #[must_use]
    pub fn files(&self, dir: &Path) -> Vec<String> {
        let entries = self.state().inodes.list(dir);
        entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect()
    }

    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state().faults
    }

    /// Whether the fuse has cut something off since the disk was last started on.
    #[must_use]
    pub fn is_burnt(&self) -> bool {
        self.state().is_burnt
    }

    /// Bytes that its files take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().inodes.used_bytes()
    }

    /// The process was killed: what it wrote is there, what it locked is free, nothing more is durable.
    pub fn kill(&self) {
        let mut state = self.state();
        state.locks.clear();
        state.faults.fuse = None;
        state.is_burnt = false;
        state.faults.failing_sync = false;
    }

    /// The power is gone: of what was not synced, each sector survives or not.
    pub fn lose_power(&self, random: &mut Random) {
        self.kill();
        let mut state = self.state();
        // All, nothing and anything in between: each is what some crash leaves.
        let per_mille = match random.below(4) {
            0 => 0,
            1 => 1_000,
            _ => 500,
        };
        let unsynced = state.inodes.unsynced_names();
        let names = match random.below(4) {
            0 => 0,
            1 => unsynced,
            _ => random.below(unsynced + 1),
        };
        // A disk with 4 KiB sectors under its 512-byte ones writes a block by reading it first: one that the power cut in the
        // middle of that may come back empty, with all that was in it before.
        let is_emulated = random.chance(300);
        let fate = || match () {
            () if random.chance(per_mille) => Fate::Written,
            () if is_emulated && random.chance(500) => Fate::BlockEmptied,
            () => Fate::Lost,
        };
        let lost = state.inodes.lose_power(names, fate);
        state.counts.sectors_lost += lost;
    }

    /// Changes a file behind everybody's back, durably. `false`: there is no such file or place.
    pub fn damage(&self, path: &Path, offset: usize, damage: &Damage) -> bool {
        self.state().inodes.damage(path, offset, damage)
    }

    /// A file's present content.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.state().inodes.content(path)
    }
}

impl State {
    fn change(&mut self) -> io::Result<()> {
        self.counts.changes += 1;
        match &mut self.faults.fuse {
            Some(0) => {
                self.counts.burnt += 1;
                self.is_burnt = true;
                Err(io::Error::other("the power is gone"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn fails_to_sync(&mut self) -> bool {
        let fails = std::mem::take(&mut self.faults.failing_sync);
        self.counts.failed_syncs += u64::from(fails);
        fails
    }

    fn room_for(&mut self, more_bytes: u64) -> io::Result<()> {
        match self.faults.capacity_bytes {
            Some(capacity) if more_bytes > 0 && self.inodes.used_bytes() + more_bytes > capacity => {
                self.counts.full += 1;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

impl FileSystem for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.change()?;
        let inode = state.inodes.create(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path, _mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inode = self.state().inodes.find_file(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().inodes.find(path).is_ok())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(self.state().inodes.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.inodes.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.inodes.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.inodes.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.inodes.remove(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if state.faults.lying_sync {
            return Ok(());
        }
        if state.fails_to_sync() {
            return Err(io::Error::other("EIO"));
        }
        state.inodes.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let is_free = self.state().locks.insert(path.to_path_buf());
        Ok(is_free
            .then(|| Box::new(SimLock { disk: self.clone(), path: path.to_path_buf() }) as Box<dyn Lock>))
    }
}
