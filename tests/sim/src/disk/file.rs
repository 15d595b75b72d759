//! An open file of the simulated disk.

use std::io;

use outrigger_storage::fs::File;

use super::SimDisk;
use super::inodes::Number;

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: Number,
}

impl SimFile {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        if state.faults.lying_sync {
            return Ok(());
        }
        if state.fails_to_sync() {
            state.inodes.file(self.inode)?.forget_dirty();
            return Err(io::Error::other("EIO"));
        }
        state.inodes.file(self.inode)?.sync();
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        if std::mem::take(&mut state.faults.failing_read) {
            state.counts.failed_reads += 1;
            return Err(io::Error::other("EIO"));
        }
        Ok(state.inodes.file(self.inode)?.read(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        let growth = state.inodes.growth(self.inode, offset as usize + bytes.len());
        state.room_for(growth)?;
        state.inodes.write(self.inode, bytes, offset as usize)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes.file(self.inode)?.len() as u64)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        let growth = state.inodes.growth(self.inode, len as usize);
        state.room_for(growth)?;
        if growth > 0 { state.inodes.resize(self.inode, len as usize) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        state.inodes.resize(self.inode, len as usize)
    }

    fn settle(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        state.inodes.file(self.inode)?.settle();
        Ok(())
    }
}
