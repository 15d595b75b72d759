//! A latency histogram of fixed size: 32 buckets a power of two, so a quantile is at most 3.2% off.
//!
//! Deliberately absent: locks and allocation while recording. Each client has its own, and they are added up.

use std::time::Duration;

/// log2 of the buckets in a power of two.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Values are nanoseconds below 2^40, which is 18 minutes; a longer one counts in the last bucket.
const TOP_BITS: u32 = 40;
const BUCKETS: usize = ((TOP_BITS - SUB_BITS + 1) as usize) << SUB_BITS;

/// Counts of durations by size.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// How many were counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The duration that `per_thousand` of 1000 do not exceed, as the upper end of its bucket; zero when empty.
    #[must_use]
    pub fn quantile(&self, per_thousand: u64) -> Duration {
        let wanted = (self.total * per_thousand).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_end(index));
            }
        }
        Duration::ZERO
    }
}

/// Values below `SUB` have a bucket each; above, the leading bit chooses the row and the next five bits the column.
fn bucket(nanos: u64) -> usize {
    let clamped = nanos.min((1 << TOP_BITS) - 1);
    if clamped < SUB {
        return usize::try_from(clamped).unwrap_or(0);
    }
    let shift = clamped.ilog2() - SUB_BITS;
    let row = u64::from(shift + 1);
    usize::try_from((row << SUB_BITS) + ((clamped >> shift) - SUB)).unwrap_or(BUCKETS - 1)
}

fn upper_end(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(0);
    if index < SUB {
        return index;
    }
    let shift = (index >> SUB_BITS) - 1;
    let column = index & (SUB - 1);
    ((SUB + column + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_known_series_are_near_the_truth() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (per_thousand, micros) in [(500, 500.0), (990, 990.0), (1000, 1000.0)] {
            let got = histogram.quantile(per_thousand).as_secs_f64() * 1e6;
            assert!((got / micros - 1.0).abs() < 0.04, "{per_thousand}: {got} for {micros}");
        }
    }

    #[test]
    fn an_empty_histogram_has_a_zero_quantile() {
        assert_eq!(Histogram::default().quantile(990), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_within_three_percent_of_its_end(nanos in 0_u64..(1 << TOP_BITS)) {
            let index = bucket(nanos);
            prop_assert!(index < BUCKETS);
            let end = upper_end(index);
            prop_assert!(nanos <= end);
            prop_assert!(index == 0 || upper_end(index - 1) < nanos);
            prop_assert!(end - nanos <= nanos / 31 + 1);
        }

        #[test]
        fn adding_is_as_if_all_had_been_recorded_in_one(
            left in prop::collection::vec(0_u64..1 << 30, 0..50),
            right in prop::collection::vec(0_u64..1 << 30, 0..50),
        ) {
            let fill = |values: &[u64]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|nanos| histogram.record(Duration::from_nanos(*nanos)));
                histogram
            };
            let mut sum = fill(&left);
            sum.add(&fill(&right));
            let whole = fill(&[left, right].concat());
            prop_assert_eq!(sum.total(), whole.total());
            prop_assert_eq!(sum.counts, whole.counts);
        }
    }
}
