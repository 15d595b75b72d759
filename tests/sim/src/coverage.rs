//! What a run met, by name: faults carried out, steps of membership taken, boundaries at which processes ended.

use std::collections::BTreeMap;

/// Counters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// Steps of membership and of the life of a cluster that every set of runs has to have met.
pub const STEPS: [&str; 22] = [
    "founded",
    "joined",
    "abandoned",
    "formed",
    "latched",
    "promoted",
    "replaced",
    "removed and moved aside",
    "joint configuration",
    "leave of a joint configuration",
    "snapshot taken",
    "snapshot streamed",
    "snapshot stream broken",
    "snapshot installed",
    "old entries fetched",
    "recovered from disk",
    "torn tail",
    "faulted disk",
    "unreadable directory",
    "wrong target refused",
    "states compared",
    "fail-over without a timeout",
];

/// Where a process was when it ended. Each has to have been met.
pub const BOUNDARIES: [&str; 12] = [
    "ended while idle",
    "ended in an append",
    "ended in a release",
    "ended in a purge",
    "ended in preparing a segment",
    "ended in a snapshot's write",
    "ended in a snapshot's receipt",
    "ended in opening the directory",
    "ended in recovery",
    "ended in founding",
    "ended in joining",
    "ended in moving aside",
];

impl Coverage {
    /// One more.
    pub fn note(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// So many more.
    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    /// How often.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Takes another run's in.
    pub fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            self.add(what, *count);
        }
    }

    /// All of it, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(what, count)| (*what, *count))
    }
}
