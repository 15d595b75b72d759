//! The only source of chance: streams of numbers that a seed gives, one for each purpose, so that a fault left out of a
//! schedule does not change what the others draw.
//!
//! SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014), here and not in a crate, because
//! a schedule must replay the same for ever.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed for a purpose.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.bits();
        random
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to just below `high`; `low` where the range is empty.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % high.saturating_sub(low).max(1)
    }

    /// An index below `count`; 0 where that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % count.max(1) as u64) as usize
    }

    /// True in `per_mille` of 1000 draws.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.bits() % 1_000 < u64::from(per_mille)
    }

    /// An id: 63 bits, never 0.
    pub fn id(&mut self) -> u64 {
        (self.bits() >> 1).max(1)
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_purposes_give_others() {
        let drawn = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            (0..64).map(|_| random.bits()).collect::<Vec<u64>>()
        };
        assert_eq!(drawn(1, 1), drawn(1, 1));
        assert_ne!(drawn(1, 1), drawn(1, 2));
        assert_ne!(drawn(1, 1), drawn(2, 1));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut random = Random::new(3, 0);
        for _ in 0..1_000 {
            assert!((5..9).contains(&random.within(5, 9)));
            assert!(random.below(3) < 3);
        }
        assert_eq!((random.within(7, 7), random.below(0)), (7, 0));
        assert!(!random.chance(0) && random.chance(1_000));
    }
}
