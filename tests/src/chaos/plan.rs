//! Which faults, in which order, for how long: out of a seed.
//!
//! Kinds are dealt like cards: each comes once before any comes twice, so that a run of as many strikes meets them all.
//!
//! May import: std, rand. Deliberately absent: how a fault is made.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `kill -9`.
    Kill,
    /// `kill -9` of all members at once.
    KillAll,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// Nothing passes between a member and the others, either way.
    Partition,
    /// Nothing passes from a member to one other.
    OneWay,
    /// Packets are lost between all members.
    LossyNetwork,
    /// A sync of the log fails with EIO.
    FailedSync,
    /// A write of the log fails with EIO.
    FailedWrite,
    /// A write of the log fails with ENOSPC.
    NoRoomToWrite,
    /// A write of the log is cut short, then fails with ENOSPC.
    ShortWrite,
    /// No room for another segment of the log.
    FullDisk,
    /// Each sync of the log takes longer.
    SlowDisk,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 12] = [
        Self::Kill,
        Self::KillAll,
        Self::Pause,
        Self::Partition,
        Self::OneWay,
        Self::LossyNetwork,
        Self::FailedSync,
        Self::FailedWrite,
        Self::NoRoomToWrite,
        Self::ShortWrite,
        Self::FullDisk,
        Self::SlowDisk,
    ];

    /// As the summary calls it.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill of all",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::OneWay => "one-way loss",
            Self::LossyNetwork => "lossy network",
            Self::FailedSync => "failed sync",
            Self::FailedWrite => "failed write",
            Self::NoRoomToWrite => "no room to write",
            Self::ShortWrite => "short write",
            Self::FullDisk => "full disk",
            Self::SlowDisk => "slow disk",
        }
    }

    /// Whether writes go on while it lasts: a majority is whole and in touch.
    #[must_use]
    pub(super) const fn spares_a_majority(self) -> bool {
        !matches!(self, Self::KillAll | Self::LossyNetwork)
    }

    /// What the log's writer of the member does meanwhile, as the sidecar's fail points take it.
    #[must_use]
    pub(super) const fn fail_point(self) -> Option<&'static str> {
        match self {
            Self::FailedSync => Some("wal-sync=1*return(eio)"),
            Self::FailedWrite => Some("wal-write=1*return(eio)"),
            Self::NoRoomToWrite => Some("wal-write=1*return(enospc)"),
            Self::ShortWrite => Some("wal-write=1*return(short)"),
            Self::FullDisk => Some("wal-allocate=return(enospc)"),
            Self::SlowDisk => Some("wal-sync=sleep(150)"),
            Self::Kill
            | Self::KillAll
            | Self::Pause
            | Self::Partition
            | Self::OneWay
            | Self::LossyNetwork => None,
        }
    }
}

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// Whoever leads then.
    Leader,
    /// The member at this place.
    Member(usize),
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    /// What.
    pub(super) kind: Kind,
    /// At whom.
    pub(super) victim: Victim,
    /// Places behind the victim, of the other end of a one-way loss.
    pub(super) towards: usize,
    /// How long it lasts.
    pub(super) hold: Duration,
}

/// So many strikes on so many members.
#[must_use]
pub(super) fn plan(seed: u64, strikes: usize, members: usize) -> Vec<Strike> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut deck = Vec::new();
    let mut planned = Vec::new();
    while planned.len() < strikes {
        if deck.is_empty() {
            deck.extend(Kind::ALL);
            deck.shuffle(&mut random);
        }
        let Some(kind) = deck.pop() else { break };
        let victim = if random.random_bool(0.5) {
            Victim::Leader
        } else {
            Victim::Member(random.random_range(0..members.max(1)))
        };
        let towards = random.random_range(1..members.max(2));
        let hold = Duration::from_millis(random.random_range(200..3_000));
        planned.push(Strike { kind, victim, towards, hold });
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_comes_once_before_any_comes_twice_and_a_seed_gives_one_plan() {
        let planned = plan(3, 2 * Kind::ALL.len(), 3);
        assert_eq!(planned, plan(3, 2 * Kind::ALL.len(), 3));
        assert_ne!(planned, plan(4, 2 * Kind::ALL.len(), 3));
        for half in planned.chunks(Kind::ALL.len()) {
            let mut kinds: Vec<Kind> = half.iter().map(|strike| strike.kind).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, Kind::ALL);
        }
        assert!(planned.iter().all(|strike| (1..3).contains(&strike.towards)));
    }
}
