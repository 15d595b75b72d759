//! Inputs that are drawn: noise, and what is good with a few things wrong in it.
//!
//! May import: the simulator's chance. Deliberately absent: what an input means.

use outrigger_sim::random::Random;

/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, u32::MAX as u64, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];

/// Random bytes, mostly few.
pub(crate) fn noise(random: &mut Random) -> Vec<u8> {
    let len = match random.below(8) {
        0 => random.below(2_000),
        1..=3 => random.below(200),
        _ => random.below(24),
    };
    (0..len).map(|_| random.bits() as u8).collect()
}

/// One of these with up to eight things wrong: bits that flip, numbers that are not what they were, parts that are gone or
/// are there twice, an end that is missing, or is another one's.
pub(crate) fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(seeds).cloned().unwrap_or_default();
    for _ in 0..1 + random.below(8) {
        let at = random.below(bytes.len().max(1));
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(7) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                let edge = random.pick(&EDGES).copied().unwrap_or_default().to_le_bytes();
                let width = [1, 2, 4, 8].get(random.below(4)).copied().unwrap_or(1);
                bytes.iter_mut().skip(at).zip(edge).take(width).for_each(|(byte, edge)| *byte = edge);
            }
            3 => drop(bytes.drain(at.min(end)..end)),
            4 => {
                let twice: Vec<u8> = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(at..at, twice);
            }
            5 => bytes.truncate(at),
            _ => {
                let other = random.pick(seeds).map(Vec::as_slice).unwrap_or_default();
                let from = random.below(other.len().max(1));
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
        }
    }
    bytes
}

/// Changes bytes as a script says: four bytes a step, which replaces, inserts, deletes or cuts.
#[must_use]
pub fn edited(original: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for step in script.chunks_exact(4) {
        let [what, high, low, value] = step else { continue };
        let at = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len().max(1);
        match what % 4 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *value;
                }
            }
            1 => bytes.insert(at, *value),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 if *value < 32 => bytes.truncate(at),
            _ => {}
        }
    }
    bytes
}

/// Parts one after the other, each behind its length in two bytes; of one that is longer than that can say, the beginning.
pub(crate) fn framed<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(part.get(..usize::from(len)).unwrap_or(part));
    }
    bytes
}

/// The parts of what [`framed`] made, or of any bytes: the last one may be shorter than it says.
pub(crate) fn unframed(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let (part, after) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
        parts.push(part);
        bytes = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_their_frame() {
        let parts: [&[u8]; 4] = [b"one", b"", b"two", &[7; 300]];
        assert_eq!(unframed(&framed(parts)), parts);
        assert_eq!(unframed(&[9, 0, 1, 2]), [&[1, 2]], "cut off");
        assert!(unframed(&[1]).is_empty());
    }

    #[test]
    fn what_is_drawn_from_good_inputs_is_mostly_near_them_and_never_the_same_for_long() {
        let seeds = vec![vec![7; 100], vec![9; 50]];
        let mut random = Random::new(1, 1);
        let drawn: Vec<Vec<u8>> = (0..200).map(|_| mutated(&seeds, &mut random)).collect();
        let like =
            |bytes: &[u8]| bytes.iter().filter(|byte| [7, 9].contains(*byte)).count() * 4 > bytes.len() * 3;
        assert!(drawn.iter().filter(|bytes| like(bytes)).count() > 100);
        assert!(drawn.iter().filter(|bytes| seeds.contains(bytes)).count() < 40);
    }
}
