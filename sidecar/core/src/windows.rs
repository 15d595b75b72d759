//! Deduplication windows: which proposals were applied already, one window a member, of its highest boot only.
//!
//! May import: `types`, `membership`. Deliberately absent: the results; a repeat answers that it was one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;

use crate::types::{MemberId, ProposalId};

/// Sequences remembered above the contiguous part. The node keeps at most half as many proposals pending
/// (`node::proposals` caps [`crate::node::NodeConfig::max_pending`]), but that bounds their number, not how far apart they
/// are: a proposal that was lost on its way may still be pending while this many later ones are applied, and then counts as
/// a repeat although it never was one. It is not applied any more, and its caller is told that the outcome is unknown: a
/// repeat is never answered as done.
pub(crate) const WINDOW: usize = 32_768;

/// The window of one boot of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    boot: u64,
    nonce: u64,
    /// Every sequence up to this one counts as applied.
    floor: u64,
    /// Applied sequences above the floor.
    above: BTreeSet<u64>,
}

impl Window {
    fn note(&mut self, sequence: u64) -> bool {
        if sequence <= self.floor {
            return false;
        }
        if sequence == self.floor + 1 {
            self.floor = sequence;
        } else if !self.above.insert(sequence) {
            return false;
        }
        while self.above.remove(&(self.floor + 1)) {
            self.floor += 1;
        }
        while self.above.len() > WINDOW {
            // The gap below will never be filled: what left it was refused or timed out long ago.
            if let Some(first) = self.above.pop_first() {
                self.floor = first;
            }
            while self.above.remove(&(self.floor + 1)) {
                self.floor += 1;
            }
        }
        true
    }
}

/// The windows of all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Windows {
    members: BTreeMap<MemberId, Window>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WindowWire {
    #[prost(fixed64, tag = "1")]
    member: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(fixed64, tag = "3")]
    nonce: u64,
    #[prost(uint64, tag = "4")]
    floor: u64,
    #[prost(uint64, repeated, tag = "5")]
    above: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WindowsWire {
    #[prost(message, repeated, tag = "1")]
    windows: Vec<WindowWire>,
}

impl Windows {
    /// Notes that the proposal is applied now; false if it was before, or belongs to an earlier boot.
    pub(crate) fn note(&mut self, id: ProposalId) -> bool {
        let window = self.members.entry(id.member).or_default();
        if id.boot < window.boot || (id.boot == window.boot && id.nonce != window.nonce && window.floor > 0) {
            return false;
        }
        if id.boot > window.boot || window.nonce != id.nonce {
            *window = Window { boot: id.boot, nonce: id.nonce, ..Window::default() };
        }
        window.note(id.sequence)
    }

    /// Forgets who is no member any more.
    pub(crate) fn retain(&mut self, is_member: impl Fn(MemberId) -> bool) {
        self.members.retain(|id, _| is_member(*id));
    }

    pub(crate) fn encode(&self) -> Bytes {
        let windows = self
            .members
            .iter()
            .map(|(member, window)| WindowWire {
                member: member.0,
                boot: window.boot,
                nonce: window.nonce,
                floor: window.floor,
                above: window.above.iter().copied().collect(),
            })
            .collect();
        Bytes::from(WindowsWire { windows }.encode_to_vec())
    }

    /// Decodes; `None` for garbage.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let wire = WindowsWire::decode(bytes).ok()?;
        let members = wire
            .windows
            .into_iter()
            .map(|w| {
                let above = w.above.into_iter().collect();
                (MemberId(w.member), Window { boot: w.boot, nonce: w.nonce, floor: w.floor, above })
            })
            .collect();
        Some(Self { members })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(boot: u64, sequence: u64) -> ProposalId {
        ProposalId { member: MemberId(1), boot, nonce: boot * 7, sequence }
    }

    #[test]
    fn a_repeat_is_a_no_op_whatever_the_order() {
        let mut windows = Windows::default();
        for sequence in [3, 1, 2, 7] {
            assert!(windows.note(id(1, sequence)));
            assert!(!windows.note(id(1, sequence)));
        }
        assert!(windows.note(id(1, 5)), "a sequence in the gap is still new");
    }

    #[test]
    fn an_older_boot_is_refused_and_a_newer_one_starts_over() {
        let mut windows = Windows::default();
        assert!(windows.note(id(2, 1)));
        assert!(!windows.note(id(1, 9)));
        assert!(windows.note(id(3, 1)));
        assert!(!windows.note(id(2, 2)));
    }

    #[test]
    fn the_window_is_bounded_and_forgets_only_the_oldest_gap() {
        let mut windows = Windows::default();
        for sequence in 1..=(WINDOW as u64 + 10) {
            assert!(windows.note(id(1, sequence * 2)));
        }
        assert!(windows.members[&MemberId(1)].above.len() <= WINDOW);
        assert!(!windows.note(id(1, 2)));
        assert!(windows.note(id(1, WINDOW as u64 * 2 + 1)));
    }

    proptest! {
        #[test]
        fn every_sequence_is_new_exactly_once_and_the_codec_keeps_it(
            sequences in proptest::collection::vec(1u64..200, 1..300),
        ) {
            let mut windows = Windows::default();
            let mut seen = BTreeSet::new();
            for sequence in sequences {
                prop_assert_eq!(windows.note(id(1, sequence)), seen.insert(sequence));
                windows = Windows::decode(&windows.encode()).unwrap();
            }
        }
    }
}
