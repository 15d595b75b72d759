//! Damage to a member's log on disk, as a disk does it: a flipped bit in the middle, a torn last frame.
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
    let frames = frames(data)?;
    ensure!(frames.len() >= 3, "{} has only {} frames", data.display(), frames.len());
    let frame = frames.get(frames.len() / 2).context("the middle frame")?.clone();
    change(&frame, |payload| {
        if let Some(byte) = payload.first_mut() {
            *byte ^= 1;
        }
    })?;
    Ok(frame)
}

/// Zeroes the second half of the last frame, as a power cut in the middle of its write does.
///
/// # Errors
/// When the log has no frame.
pub fn tear_the_last_frame(data: &Path) -> Result<Frame> {
    let frame = frames(data)?.pop().with_context(|| format!("{} has no frames", data.display()))?;
    change(&frame, |payload| {
        let half = payload.len() / 2;
        payload.iter_mut().skip(half).for_each(|byte| *byte = 0);
    })?;
    Ok(frame)
}

/// Leaves half a block of a frame behind the last one, as a crash in the middle of a write that nobody was told of does.
///
/// # Errors
/// When the log cannot be read or written, or has no frames.
pub fn begin_a_frame(data: &Path) -> Result<()> {
    let last = frames(data)?.pop().with_context(|| format!("{} has no frames", data.display()))?;
    let mut bytes = fs::read(&last.file).with_context(|| format!("reading {}", last.file.display()))?;
    let end = (last.offset + HEADER_BYTES + last.payload_bytes).next_multiple_of(BLOCK_BYTES);
    let torn = bytes.get_mut(end..end + BLOCK_BYTES / 2).context("room behind the last frame")?;
    torn.fill(0xA5);
    fs::write(&last.file, bytes).with_context(|| format!("writing {}", last.file.display()))
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
    fn a_torn_frame_is_the_last_one_and_keeps_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), 5);
        let frame = tear_the_last_frame(folder.path()).unwrap();
        assert_eq!(frame.number, 5);
        let after = fs::read(&path).unwrap();
        assert_eq!(after[frame.offset..frame.offset + 4], *FRAME_MAGIC);
        assert_eq!(after[frame.offset + 81..frame.offset + 83], [7, 0]);
        assert_eq!(frames(folder.path()).unwrap().len(), 5);
    }
}
