//! What a [`KeyRange`] means: one key, the keys up to an end, or every key from a start.
//!
//! May import: `command`. Deliberately absent: the store.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::command::KeyRange;

/// The one-byte end that stands for "no end": etcd's wire has no other way to say it.
const NO_END: &[u8] = &[0];

/// The keys that a [`KeyRange`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span<'a> {
    /// One key.
    Point(&'a [u8]),
    /// From the first, up to and without the second; nothing if they are the wrong way round.
    Between(&'a [u8], &'a [u8]),
    /// From a key on.
    From(&'a [u8]),
}

impl<'a> Span<'a> {
    pub(crate) fn of(range: &'a KeyRange) -> Self {
        if range.end.is_empty() {
            Self::Point(&range.key)
        } else if range.end == NO_END {
            Self::From(&range.key)
        } else {
            Self::Between(&range.key, &range.end)
        }
    }

    /// Where the span begins.
    pub(crate) const fn start(self) -> &'a [u8] {
        match self {
            Self::Point(start) | Self::Between(start, _) | Self::From(start) => start,
        }
    }

    /// Whether a key that is not below the start is past the end.
    pub(crate) fn ends_before(self, key: &[u8]) -> bool {
        match self {
            Self::Point(start) => key > start,
            Self::Between(_, end) => key >= end,
            Self::From(_) => false,
        }
    }

    /// Whether the key is in the span.
    pub(crate) fn contains(self, key: &[u8]) -> bool {
        key >= self.start() && !self.ends_before(key)
    }
}

/// A union of spans that have an end, kept merged, so that asking stays logarithmic however many were added.
#[derive(Debug, Default)]
pub(crate) struct SpanSet {
    /// Start → end, exclusive; none is empty, no two touch.
    spans: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl SpanSet {
    /// Adds `[start, end)`.
    pub(crate) fn add(&mut self, mut start: Vec<u8>, mut end: Vec<u8>) {
        if start >= end {
            return;
        }
        while let Some((at, _)) = self.last_from_up_to(&end).filter(|(_, until)| **until >= start) {
            let at = at.clone();
            end = end.max(self.spans.remove(&at).unwrap_or_default());
            start = start.min(at);
        }
        self.spans.insert(start, end);
    }

    /// Adds everything of another set.
    pub(crate) fn add_all(&mut self, other: Self) {
        for (start, end) in other.spans {
            self.add(start, end);
        }
    }

    /// Whether one of the spans has the key.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.last_from_up_to(key).is_some_and(|(_, end)| key < end.as_slice())
    }

    /// The last span that starts at or below the key.
    fn last_from_up_to(&self, key: &[u8]) -> Option<(&Vec<u8>, &Vec<u8>)> {
        self.spans.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange { key: key.into(), end: end.into() }
    }

    #[test]
    fn span_contains_what_the_range_names() {
        for (key, end, inside, outside) in [
            ("b", "", vec!["b"], vec!["a", "ba", "c"]),
            ("b", "d", vec!["b", "ba", "c"], vec!["a", "d", "da"]),
            ("b", "\0", vec!["b", "c", "zz"], vec!["a", "ab"]),
            ("d", "b", vec![], vec!["a", "b", "c", "d", "e"]),
            ("b", "b", vec![], vec!["a", "b", "c"]),
        ] {
            let range = range(key, end);
            for probe in inside {
                assert!(Span::of(&range).contains(probe.as_bytes()), "{probe} in [{key}, {end:?})");
            }
            for probe in outside {
                assert!(!Span::of(&range).contains(probe.as_bytes()), "{probe} not in [{key}, {end:?})");
            }
        }
    }

    proptest! {
        #[test]
        fn span_set_contains_what_one_of_its_spans_contains(
            spans in prop::collection::vec((prop::collection::vec(0_u8..4, 1..3), prop::collection::vec(0_u8..4, 1..3)), 0..8),
            probe in prop::collection::vec(0_u8..5, 0..4),
        ) {
            let mut set = SpanSet::default();
            for (start, end) in &spans {
                set.add(start.clone(), end.clone());
            }
            prop_assert_eq!(set.contains(&probe), spans.iter().any(|(start, end)| *start <= probe && probe < *end));
        }
    }
}
