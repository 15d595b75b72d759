//! Reading a finished snapshot: its header and chunks for restoring, or its raw bytes for a peer.
//!
//! May import: core's `types`, `fs`. Deliberately absent: the whole snapshot in memory; one chunk is all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::fs::{File, IoFailure, Naming, OpenMode};

use super::format::{
    CHUNK_HEAD_BYTES, MAX_CHUNK_BYTES, PREFACE_BYTES, Preface, TRAILER_BYTES, Trailer, chunk_crc,
};
use super::{SnapshotError, SnapshotId, SnapshotInfo, SnapshotStore};

/// An open snapshot. It stays readable when the store purges it meanwhile.
#[derive(Clone, Debug)]
pub struct SnapshotReader {
    path: PathBuf,
    file: Arc<dyn File>,
    info: SnapshotInfo,
    header: Bytes,
    trailer: Trailer,
    /// CRC-32C of the preface and the header.
    start_crc: u32,
}

impl SnapshotReader {
    pub(super) fn open(store: &SnapshotStore, id: SnapshotId, path: &Path) -> Result<Self, SnapshotError> {
        let file = match store.fs.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SnapshotError::NotFound { path: path.to_path_buf() });
            }
            Err(source) => {
                return Err(IoFailure { operation: "open", path: path.to_path_buf(), source }.into());
            }
        };
        let damaged = |offset, reason| SnapshotError::Damaged { path: path.to_path_buf(), offset, reason };
        let len = file.len().naming("measure", path)?;
        let start = read(&*file, path, 0, PREFACE_BYTES)?;
        let preface = Preface::decode(&start).ok_or_else(|| damaged(0, "its preface does not validate"))?;
        let start = read(&*file, path, 0, PREFACE_BYTES + preface.header_bytes)?;
        if start.len() < PREFACE_BYTES + preface.header_bytes || !preface.covers(&start) {
            return Err(damaged(0, "its header does not validate"));
        }
        if preface.cluster != store.cluster {
            let (found, expected) = (preface.cluster, store.cluster);
            return Err(SnapshotError::OtherCluster { path: path.to_path_buf(), found, expected });
        }
        if preface.id != id {
            return Err(SnapshotError::OtherSnapshot { path: path.to_path_buf(), found: preface.id });
        }
        let end = len
            .checked_sub(TRAILER_BYTES as u64)
            .filter(|end| *end >= start.len() as u64)
            .ok_or_else(|| damaged(len, "it ends before its trailer"))?;
        let trailer = Trailer::decode(&read(&*file, path, end, TRAILER_BYTES)?)
            .ok_or_else(|| damaged(end, "its trailer does not validate"))?;
        let start_crc = crc32c::crc32c(&start);
        let header = Bytes::from(start).slice(PREFACE_BYTES..);
        let info = SnapshotInfo { id, len, crc: trailer.file_crc() };
        Ok(Self { path: path.to_path_buf(), file, info, header, trailer, start_crc })
    }

    /// The header as it was given to the writer.
    #[must_use]
    pub const fn header(&self) -> &Bytes {
        &self.header
    }

    /// Which snapshot, its length and its checksum.
    #[must_use]
    pub const fn info(&self) -> SnapshotInfo {
        self.info
    }

    /// The chunks in order, each checked. The last item is an error unless the whole file validates: restore into
    /// something new, and take it only when the iterator has ended without one.
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        let offset = (PREFACE_BYTES + self.header.len()) as u64;
        Chunks {
            reader: self.clone(),
            offset,
            number: 0,
            payload_bytes: 0,
            crc: self.start_crc,
            is_done: false,
        }
    }

    /// Raw bytes of the file for a peer: `max_bytes` from `offset` on, fewer at the end, none behind it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read_range(&self, offset: u64, max_bytes: usize) -> Result<Bytes, SnapshotError> {
        let count = self.info.len.saturating_sub(offset).min(max_bytes as u64) as usize;
        Ok(Bytes::from(read(&*self.file, &self.path, offset, count)?))
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), offset, reason }
    }
}

/// See [`SnapshotReader::chunks`].
#[derive(Clone, Debug)]
pub struct Chunks {
    reader: SnapshotReader,
    offset: u64,
    number: u64,
    payload_bytes: u64,
    crc: u32,
    is_done: bool,
}

impl Iterator for Chunks {
    type Item = Result<Bytes, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let chunk = self.step().transpose();
        // After an error nothing more is told apart: one is enough to refuse the snapshot.
        self.is_done = !matches!(chunk, Some(Ok(_)));
        chunk
    }
}

impl Chunks {
    fn step(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let end = self.reader.info.len - TRAILER_BYTES as u64;
        if self.offset == end {
            return self.finish().map(|()| None);
        }
        let (file, path) = (&*self.reader.file, &self.reader.path);
        let head = read(file, path, self.offset, CHUNK_HEAD_BYTES)?;
        let mut fields = crate::codec::Fields::new(&head);
        let (Some(len), Some(crc)) = (fields.u32(), fields.u32()) else {
            return Err(self.reader.damaged(self.offset, "it ends inside a chunk"));
        };
        let room = end.saturating_sub(self.offset + CHUNK_HEAD_BYTES as u64);
        if len == 0 || len as usize > MAX_CHUNK_BYTES || u64::from(len) > room {
            return Err(self.reader.damaged(self.offset, "a chunk's length is impossible"));
        }
        let bytes = read(file, path, self.offset + CHUNK_HEAD_BYTES as u64, len as usize)?;
        if bytes.len() != len as usize || chunk_crc(self.number, &bytes) != crc {
            return Err(self.reader.damaged(self.offset, "a chunk does not validate"));
        }
        self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, &head), &bytes);
        self.offset += (CHUNK_HEAD_BYTES + bytes.len()) as u64;
        self.number += 1;
        self.payload_bytes += bytes.len() as u64;
        Ok(Some(Bytes::from(bytes)))
    }

    fn finish(&self) -> Result<(), SnapshotError> {
        let trailer = &self.reader.trailer;
        let tail = read(&*self.reader.file, &self.reader.path, self.offset, TRAILER_BYTES - 8)?;
        let crc = crc32c::crc32c_append(self.crc, &tail);
        if trailer.chunks != self.number || trailer.payload_bytes != self.payload_bytes || trailer.crc != crc
        {
            return Err(self.reader.damaged(self.offset, "the trailer does not fit what stands before it"));
        }
        Ok(())
    }
}

fn read(file: &dyn File, path: &Path, offset: u64, count: usize) -> Result<Vec<u8>, IoFailure> {
    let mut bytes = vec![0; count];
    let read = file.read_at(&mut bytes, offset).naming("read", path)?;
    bytes.truncate(read);
    Ok(bytes)
}
