//! Files and directories with a present and a durable content.
//!
//! What was written since the last sync is kept as ranges, so that a sync costs what was written and not what the file holds.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Component, Path};

use outrigger_storage::fs::DirEntry;

use super::names::{Change, Unsynced};
use super::{Damage, SECTOR_BYTES};

/// What disks write as one under their sectors.
const BLOCK_BYTES: usize = 4_096;

/// What becomes of a written sector at a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Written,
    Lost,
    /// It is lost with all of its block.
    BlockEmptied,
}

/// A file or directory by number; 0 is the root.
pub(super) type Number = usize;

#[derive(Debug, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Written since the last sync, in order of writing.
    dirty: Vec<Range<usize>>,
}

#[derive(Debug)]
enum Inode {
    File(Content),
    Dir {
        now: BTreeMap<String, Number>,
        durable: BTreeMap<String, Number>,
    },
    /// Nobody can reach it any more.
    Gone,
}

#[derive(Debug)]
pub(super) struct Inodes {
    all: Vec<Inode>,
    used_bytes: u64,
    unsynced: Unsynced,
}

impl Default for Inodes {
    fn default() -> Self {
        let root = Inode::Dir { now: BTreeMap::new(), durable: BTreeMap::new() };
        Self { all: vec![root], used_bytes: 0, unsynced: Unsynced::default() }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    })
}

impl Content {
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let rest = self.now.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        count
    }

    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.resize(self.now.len().max(end));
        if let Some(place) = self.now.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        self.dirty.push(offset..end);
    }

    /// A shorter file is durable as such with the next sync; what lies behind reads as nothing meanwhile.
    pub(super) fn resize(&mut self, len: usize) {
        let before = self.now.len();
        self.now.resize(len, 0);
        if before != len {
            self.dirty.push(before.min(len)..before.max(len));
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for range in self.dirty.drain(..) {
            let end = range.end.min(self.now.len());
            if let (Some(to), Some(from)) =
                (self.durable.get_mut(range.start..end), self.now.get(range.start..end))
            {
                to.copy_from_slice(from);
            }
        }
    }

    /// The sync failed: the pages count as clean and are nowhere.
    pub(super) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    /// What is still dirty is written out; what is clean is read from the disk from now on.
    pub(super) fn settle(&mut self) {
        self.sync();
        self.now.clone_from(&self.durable);
    }

    fn lose_power(&mut self, fate: &mut impl FnMut() -> Fate) -> u64 {
        let mut lost = 0;
        let dirty = std::mem::take(&mut self.dirty);
        let mut sectors: Vec<usize> = dirty
            .into_iter()
            .flat_map(|range| range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES))
            .collect();
        sectors.sort_unstable();
        sectors.dedup();
        let mut emptied = Vec::new();
        for sector in sectors {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.now.len());
            let Some(written) = self.now.get(start..end).filter(|written| !written.is_empty()) else {
                continue;
            };
            if self.durable.get(start..end) == Some(written) {
                continue;
            }
            match fate() {
                Fate::Written => {
                    let written = written.to_vec();
                    self.durable.resize(self.durable.len().max(end), 0);
                    if let Some(place) = self.durable.get_mut(start..end) {
                        place.copy_from_slice(&written);
                    }
                }
                Fate::Lost => lost += 1,
                Fate::BlockEmptied => {
                    emptied.push(start / BLOCK_BYTES * BLOCK_BYTES);
                    lost += 1;
                }
            }
        }
        for start in emptied {
            let end = (start + BLOCK_BYTES).min(self.durable.len());
            if let Some(block) = self.durable.get_mut(start..end) {
                block.fill(0);
            }
        }
        self.now.clone_from(&self.durable);
        lost
    }
}

impl Inodes {
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Number> {
        names(path).try_fold(0, |at, name| match self.all.get(at) {
            Some(Inode::Dir { now, .. }) => now.get(name).copied().ok_or_else(not_found),
            Some(Inode::File(_) | Inode::Gone) | None => Err(not_found()),
        })
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<Number> {
        let at = self.find(path)?;
        match self.all.get(at) {
            Some(Inode::File(_)) => Ok(at),
            Some(Inode::Dir { .. } | Inode::Gone) | None => Err(not_found()),
        }
    }

    fn entries(&mut self, dir: &Path) -> io::Result<&mut BTreeMap<String, Number>> {
        let at = self.find(dir)?;
        match self.all.get_mut(at) {
            Some(Inode::Dir { now, .. }) => Ok(now),
            Some(Inode::File(_) | Inode::Gone) | None => Err(not_found()),
        }
    }

    /// The directory that a path's last name is in, and that name.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(Number, &'a str)> {
        let name = names(path).last().ok_or_else(not_found)?;
        Ok((self.find(path.parent().ok_or_else(not_found)?)?, name))
    }

    /// Changes a name, not yet durably; gives what it led to before.
    fn set_name(&mut self, change: &Change) -> Option<Number> {
        let Some(Inode::Dir { now, .. }) = self.all.get_mut(change.dir) else { return None };
        match change.to {
            Some(to) => now.insert(change.name.clone(), to),
            None => now.remove(&change.name),
        }
    }

    fn add(&mut self, path: &Path, inode: Inode) -> io::Result<Number> {
        let number = self.all.len();
        let (dir, name) = self.place(path)?;
        let change = Change { dir, name: name.to_owned(), to: Some(number) };
        self.set_name(&change);
        self.unsynced.note(vec![change]);
        self.all.push(inode);
        Ok(number)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Number> {
        match self.find(path) {
            Ok(number) => {
                self.resize(number, 0)?;
                Ok(number)
            }
            Err(_) => self.add(path, Inode::File(Content::default())),
        }
    }

    pub(super) fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        let mut path = std::path::PathBuf::from("/");
        for name in names(dir) {
            path.push(name);
            if self.find(&path).is_err() {
                self.add(&path, Inode::Dir { now: BTreeMap::new(), durable: BTreeMap::new() })?;
            }
        }
        Ok(())
    }

    pub(super) fn list(&mut self, dir: &Path) -> Vec<DirEntry> {
        let Ok(entries) = self.entries(dir).map(|entries| entries.clone()) else { return Vec::new() };
        let is_dir = |at: Number| matches!(self.all.get(at), Some(Inode::Dir { .. }));
        entries.into_iter().map(|(name, at)| DirEntry { name, is_dir: is_dir(at) }).collect()
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let at = self.find(from)?;
        let ((from_dir, from_name), (to_dir, to_name)) = (self.place(from)?, self.place(to)?);
        let goes = Change { dir: from_dir, name: from_name.to_owned(), to: None };
        let comes = Change { dir: to_dir, name: to_name.to_owned(), to: Some(at) };
        self.set_name(&goes);
        if let Some(replaced) = self.set_name(&comes) {
            self.release(replaced);
        }
        self.unsynced.note(vec![goes, comes]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let at = self.find(path)?;
        if matches!(self.all.get(at), Some(Inode::Dir { now, .. }) if !now.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.place(path)?;
        let change = Change { dir, name: name.to_owned(), to: None };
        self.set_name(&change);
        self.unsynced.note(vec![change]);
        self.release(at);
        Ok(())
    }

    /// Its space is free. Its content stays for whoever has it open, and for a crash that brings its name back.
    fn release(&mut self, at: Number) {
        if let Some(Inode::File(content)) = self.all.get(at) {
            self.used_bytes = self.used_bytes.saturating_sub(content.now.len() as u64);
        }
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let at = self.find(dir)?;
        match self.all.get_mut(at) {
            Some(Inode::Dir { now, durable }) => {
                durable.clone_from(now);
                self.unsynced.synced(at);
                Ok(())
            }
            Some(Inode::File(_) | Inode::Gone) | None => Err(not_found()),
        }
    }

    pub(super) fn file(&mut self, at: Number) -> io::Result<&mut Content> {
        match self.all.get_mut(at) {
            Some(Inode::File(content)) => Ok(content),
            Some(Inode::Dir { .. } | Inode::Gone) | None => Err(not_found()),
        }
    }

    /// How many bytes more the file takes if it becomes so long.
    pub(super) fn growth(&mut self, at: Number, len: usize) -> u64 {
        self.file(at).map_or(0, |content| len.saturating_sub(content.len()) as u64)
    }

    pub(super) fn write(&mut self, at: Number, bytes: &[u8], offset: usize) -> io::Result<()> {
        self.used_bytes += self.growth(at, offset + bytes.len());
        self.file(at)?.write(bytes, offset);
        Ok(())
    }

    pub(super) fn resize(&mut self, at: Number, len: usize) -> io::Result<()> {
        let before = self.file(at)?.len();
        self.used_bytes = (self.used_bytes + len as u64).saturating_sub(before as u64);
        self.file(at)?.resize(len);
        Ok(())
    }

    /// How many changes of names no sync has made durable.
    pub(super) fn unsynced_names(&self) -> usize {
        self.unsynced.len()
    }

    /// Names and contents go back to what is durable, but for the first `names` changes of names and what `fate` spares of
    /// contents; returns how many sectors were lost.
    pub(super) fn lose_power(&mut self, names: usize, mut fate: impl FnMut() -> Fate) -> u64 {
        for Change { dir, name, to } in self.unsynced.take_first(names) {
            let Some(Inode::Dir { durable, .. }) = self.all.get_mut(dir) else { continue };
            match to {
                Some(to) => drop(durable.insert(name, to)),
                None => drop(durable.remove(&name)),
            }
        }
        let mut lost = 0;
        for inode in &mut self.all {
            match inode {
                Inode::Dir { now, durable } => now.clone_from(durable),
                Inode::File(content) => lost += content.lose_power(&mut fate),
                Inode::Gone => {}
            }
        }
        self.sweep();
        lost
    }

    /// Frees what no name leads to any more. After a crash only: before it, a name may come back.
    fn sweep(&mut self) {
        let mut reached = vec![false; self.all.len()];
        let mut open = vec![0];
        let mut used = 0;
        while let Some(at) = open.pop() {
            if let Some(seen) = reached.get_mut(at) {
                *seen = true;
            }
            match self.all.get(at) {
                Some(Inode::Dir { now, .. }) => open.extend(now.values().copied()),
                Some(Inode::File(content)) => used += content.now.len() as u64,
                Some(Inode::Gone) | None => {}
            }
        }
        for (inode, reached) in self.all.iter_mut().zip(reached) {
            if !reached {
                *inode = Inode::Gone;
            }
        }
        self.used_bytes = used;
    }

    pub(super) fn damage(&mut self, path: &Path, offset: usize, damage: &Damage) -> bool {
        let Ok(content) = self.find_file(path).and_then(|at| self.file(at)) else { return false };
        let length = match damage {
            Damage::Flip(_) => 1,
            Damage::Holds(found) => found.len(),
        };
        let Some(place) = content.durable.get_mut(offset..offset + length) else { return false };
        match damage {
            Damage::Flip(bit) => place.iter_mut().for_each(|byte| *byte ^= 1 << (bit % 8)),
            Damage::Holds(found) => place.copy_from_slice(found),
        }
        content.now.clone_from(&content.durable);
        true
    }

    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        match self.all.get(self.find_file(path).ok()?) {
            Some(Inode::File(content)) => Some(content.now.clone()),
            Some(Inode::Dir { .. } | Inode::Gone) | None => None,
        }
    }
}
