//! Damage to a member's log on disk, as a disk does it: a flipped bit in the middle, a write that was begun, a write that
//! went to the wrong place or was never done.
//!
//! May import: storage's constants of the format. Deliberately absent: storage's reader. This file finds frames by
//! their magic on block borders, so that damage does not depend on the code that must notice it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const BLOCK_BYTES: usize = 4096;
const FRAME_MAGIC: &[u8] = b"ORFR";
const HEADER_BYTES: usize = 32;

/// One frame as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The segment's file.
    pub file: PathBuf,
    /// Where the frame begins in it, in bytes.
    pub offset: usize,
    /// Its number.
    pub number: u64,
    /// Length of its payload, in bytes.
    pub payload_bytes: usize,
}

/// All frames below a data directory, by number; stale frames of recycled segments are among the lowest.
///
/// # Errors
/// When the directory cannot be read.
pub fn frames(data: &Path) -> Result<Vec<Frame>> {
    let mut found = Vec::new();
    for file in segments(data)? {
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        for (block, bytes) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let Some(header) = bytes.get(..HEADER_BYTES) else { continue };
            if !header.starts_with(FRAME_MAGIC) {
                continue;
            }
            let number = header.get(8..16).and_then(|field| field.try_into().ok()).map(u64::from_le_bytes);
            let length = header.get(16..20).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
            let (number, length) = number.zip(length).context("a frame header of 32 bytes")?;
            let payload_bytes = usize::try_from(length)?;
            found.push(Frame { file: file.clone(), offset: block * BLOCK_BYTES, number, payload_bytes });
        }
    }
    found.sort_by_key(|frame| frame.number);
    Ok(found)
}

fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(segments(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "wal") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Flips one bit in the payload of the frame in the middle of the log, and says which frame that is.
///
/// # Errors
/// When the log has fewer than three frames: then there is no middle.
pub fn flip_a_bit_in_the_middle(data: &Path) -> Result<Frame> {
    let frame = middle(data)?;
    change(&frame, |payload| {
        if let Some(byte) = payload.first_mut() {
            *byte ^= 1;
        }
    })?;
    Ok(frame)
}

/// The frame in the middle of the log.
///
/// # Errors
/// When the log has fewer than three frames: then there is no middle.
pub fn middle(data: &Path) -> Result<Frame> {
    let frames = frames(data)?;
    ensure!(frames.len() >= 3, "{} has only {} frames", data.display(), frames.len());
    Ok(frames.get(frames.len() / 2).context("the middle frame")?.clone())
}

/// The frame with the highest number.
///
/// # Errors
/// When the log has no frame.
pub fn last(data: &Path) -> Result<Frame> {
    frames(data)?.pop().with_context(|| format!("{} has no frames", data.display()))
}

/// The frame of that number.
///
/// # Errors
/// When the log has none, or not yet.
pub fn numbered(data: &Path, number: u64) -> Result<Frame> {
    let found = frames(data)?.into_iter().find(|frame| frame.number == number);
    found.with_context(|| format!("{} has no frame {number}", data.display()))
}

impl Frame {
    /// Where the next frame would begin, in bytes.
    #[must_use]
    pub const fn end(&self) -> usize {
        (self.offset + HEADER_BYTES + self.payload_bytes).next_multiple_of(BLOCK_BYTES)
    }

    /// All of it as it lies there, to the end of its last block.
    ///
    /// # Errors
    /// When the file cannot be read, or ends before.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let file = fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))?;
        let whole = file.get(self.offset..self.end());
        Ok(whole.with_context(|| format!("{self:?} ends behind its file"))?.to_vec())
    }
}

/// Writes `bytes` where they do not belong, as a disk does that mistakes an address.
///
/// # Errors
/// When the file cannot be written, or has no room there.
pub fn misdirect(bytes: &[u8], file: &Path, offset: usize) -> Result<()> {
    let mut content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let place = content.get_mut(offset..offset + bytes.len());
    place.with_context(|| format!("no room at {offset} of {}", file.display()))?.copy_from_slice(bytes);
    fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}

/// Leaves the second half of a frame's block behind the last one, as a crash in the middle of a write that nobody was told
/// of does.
///
/// # Errors
/// When the log cannot be read or written, or has no frames.
pub fn begin_a_frame(data: &Path) -> Result<()> {
    let last = last(data)?;
    misdirect(&[0xA5; BLOCK_BYTES / 2], &last.file, last.end() + BLOCK_BYTES / 2)
}

/// Flips one bit in the payload of the last frame, and says which frame that is.
///
/// # Errors
/// When the log cannot be read or written, or has no frames.
pub fn flip_a_bit_in_the_last(data: &Path) -> Result<Frame> {
    let frame = last(data)?;
    change(&frame, |payload| {
        if let Some(byte) = payload.last_mut() {
            *byte ^= 1;
        }
    })?;
    Ok(frame)
}

/// Cuts the segment of the last frame where that frame begins, and says which frame that was.
///
/// # Errors
/// When the log cannot be read or written, or has no frames.
pub fn cut_off_the_last(data: &Path) -> Result<Frame> {
    let frame = last(data)?;
    let file = fs::File::options().write(true).open(&frame.file);
    let file = file.with_context(|| format!("opening {}", frame.file.display()))?;
    file.set_len(u64::try_from(frame.offset)?)
        .with_context(|| format!("cutting {}", frame.file.display()))?;
    Ok(frame)
}

/// Zeroes every frame from that number on, as a disk does that acknowledged writes and never did them.
///
/// # Errors
/// When the log cannot be read or written.
pub fn forget_from(data: &Path, number: u64) -> Result<()> {
    for frame in frames(data)?.into_iter().filter(|frame| frame.number >= number) {
        misdirect(&vec![0; frame.end() - frame.offset], &frame.file, frame.offset)?;
    }
    Ok(())
}

fn change(frame: &Frame, damage: impl FnOnce(&mut [u8])) -> Result<()> {
    let mut bytes = fs::read(&frame.file).with_context(|| format!("reading {}", frame.file.display()))?;
    let start = frame.offset + HEADER_BYTES;
    let payload = bytes.get_mut(start..start + frame.payload_bytes);
    damage(payload.with_context(|| format!("{frame:?} ends behind its file"))?);
    fs::write(&frame.file, bytes).with_context(|| format!("writing {}", frame.file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with a header block and one frame a block, numbered from 1.
    fn log(folder: &Path, frames: u64) -> PathBuf {
        let mut bytes = vec![0; BLOCK_BYTES];
        for number in 1..=frames {
            let mut block = vec![0; BLOCK_BYTES];
            block[..4].copy_from_slice(FRAME_MAGIC);
            block[8..16].copy_from_slice(&number.to_le_bytes());
            block[16..20].copy_from_slice(&100_u32.to_le_bytes());
            block[32..132].fill(7);
            bytes.extend(block);
        }
        let path = folder.join("wal").join("1-1.wal");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_flipped_bit_is_one_bit_in_the_middle_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), 5);
        let before = fs::read(&path).unwrap();
        let frame = flip_a_bit_in_the_middle(folder.path()).unwrap();
        assert_eq!((frame.number, frame.offset), (3, 3 * BLOCK_BYTES));
        let after = fs::read(&path).unwrap();
        let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(changed, [frame.offset + HEADER_BYTES]);
    }

    #[test]
    fn a_misdirected_frame_is_whole_at_its_wrong_place_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), 5);
        let before = fs::read(&path).unwrap();
        let (second, target) = (numbered(folder.path(), 2).unwrap(), middle(folder.path()).unwrap());
        assert_eq!((target.offset, target.end()), (3 * BLOCK_BYTES, 4 * BLOCK_BYTES));
        misdirect(&second.bytes().unwrap(), &target.file, target.offset).unwrap();
        let after = fs::read(&path).unwrap();
        let block = |bytes: &[u8], number: usize| bytes[number * BLOCK_BYTES..][..BLOCK_BYTES].to_vec();
        for number in 0..6 {
            let from = if number == 3 { 2 } else { number };
            assert_eq!(block(&after, number), block(&before, from), "block {number}");
        }
        assert!(misdirect(&[0; 1], &path, 6 * BLOCK_BYTES).is_err(), "there is no room behind the end");
    }

    #[test]
    fn a_begun_frame_lies_behind_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), 5);
        fs::write(&path, [fs::read(&path).unwrap(), vec![0; BLOCK_BYTES]].concat()).unwrap();
        begin_a_frame(folder.path()).unwrap();
        let after = fs::read(&path).unwrap();
        let changed: Vec<usize> = (0..after.len()).filter(|at| after[*at] == 0xA5).collect();
        let half = BLOCK_BYTES / 2;
        assert_eq!(changed, (6 * BLOCK_BYTES + half..7 * BLOCK_BYTES).collect::<Vec<_>>());
        assert_eq!(last(folder.path()).unwrap().number, 5);
    }
}
