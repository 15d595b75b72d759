//! Leases: the replicated table (who was granted what, and which keys hang on it), and apart from it the countdown,
//! which only a leader runs and nobody replicates.
//!
//! The table changes by applied commands alone, in seconds as clients gave them, so it is equal on every member. Time
//! enters in ticks, from outside, into the countdown; what expires there must still be revoked through the log.
//!
//! May import: `types`, the key space's persistent tree. Deliberately absent: clocks, and keys' values.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mvcc::tree::Tree;
use crate::types::LeaseId;

/// The longest TTL that is granted, in seconds; etcd's.
pub const MAX_TTL_SECONDS: i64 = 9_000_000_000;

/// A lease as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id, never 0.
    pub id: LeaseId,
    /// How long it lives without a keepalive, in seconds.
    pub ttl_seconds: i64,
}

impl Ord for Lease {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl PartialOrd for Lease {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// That a key hangs on a lease; ordered by lease, then key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attachment {
    lease: LeaseId,
    key: Arc<[u8]>,
}

/// The replicated table of leases. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub struct Leases {
    granted: Tree<Lease>,
    attached: Tree<Attachment>,
}

impl Leases {
    /// The lease, if it stands.
    #[must_use]
    pub fn get(&self, id: LeaseId) -> Option<Lease> {
        self.granted.get(|lease| lease.id.cmp(&id)).copied()
    }

    /// All leases in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = Lease> + Send + '_ {
        self.granted.iter().copied()
    }

    /// How many leases stand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.granted.len()
    }

    /// Whether no lease stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that hang on the lease, in order.
    pub fn keys(&self, id: LeaseId) -> impl Iterator<Item = &[u8]> + Send + '_ {
        self.attached
            .iter_from(move |attachment| attachment.lease < id)
            .take_while(move |attachment| attachment.lease == id)
            .map(|attachment| attachment.key.as_ref())
    }

    /// Adds a lease; false if its id is in use.
    pub(crate) fn grant(&mut self, lease: Lease) -> bool {
        self.get(lease.id).is_none() && self.granted.insert(lease).is_none()
    }

    /// Drops a lease, whose keys the caller deletes; false if there is none.
    pub(crate) fn revoke(&mut self, id: LeaseId) -> bool {
        self.granted.remove(|lease| lease.id.cmp(&id)).is_some()
    }

    /// Moves a key from the lease that it hung on to another; id 0 stands for none.
    pub(crate) fn reattach(&mut self, key: &[u8], from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if from != LeaseId(0) {
            self.attached.remove(|at| at.lease.cmp(&from).then_with(|| at.key.as_ref().cmp(key)));
        }
        if to != LeaseId(0) {
            self.attached.insert(Attachment { lease: to, key: key.into() });
        }
    }
}

/// How long each lease has left, in ticks: the leader's own, lost with its term.
///
/// A new leader starts every lease at its full TTL, because it cannot know of the last keepalive: a lease may live
/// longer than granted, never shorter.
#[derive(Debug, Default)]
pub struct Countdown {
    now_ticks: u64,
    deadlines: BTreeMap<LeaseId, u64>,
    due: BTreeSet<(u64, LeaseId)>,
}

impl Countdown {
    /// Starts every lease at its full TTL. `ticks_per_second` is rounded up by the caller.
    #[must_use]
    pub fn start(leases: &Leases, ticks_per_second: u64) -> Self {
        let mut countdown = Self::default();
        for Lease { id, ttl_seconds } in leases.iter() {
            let seconds = u64::try_from(ttl_seconds).unwrap_or_default();
            countdown.renew(id, seconds.saturating_mul(ticks_per_second));
        }
        countdown
    }

    /// Gives a lease its full TTL, in ticks; also the first time.
    pub fn renew(&mut self, id: LeaseId, ttl_ticks: u64) {
        let deadline = self.now_ticks.saturating_add(ttl_ticks);
        if let Some(before) = self.deadlines.insert(id, deadline) {
            self.due.remove(&(before, id));
        }
        self.due.insert((deadline, id));
    }

    /// Forgets a lease that was revoked.
    pub fn forget(&mut self, id: LeaseId) {
        if let Some(deadline) = self.deadlines.remove(&id) {
            self.due.remove(&(deadline, id));
        }
    }

    /// What the lease has left, in ticks; 0 if it is due.
    #[must_use]
    pub fn remaining_ticks(&self, id: LeaseId) -> Option<u64> {
        self.deadlines.get(&id).map(|deadline| deadline.saturating_sub(self.now_ticks))
    }

    /// One tick passes.
    pub fn tick(&mut self) {
        self.now_ticks += 1;
    }

    /// The leases that are due, longest first. They stay due until they are renewed or forgotten: the revoke that
    /// the leader proposes may fail.
    pub fn due(&self) -> impl Iterator<Item = LeaseId> + '_ {
        self.due.iter().take_while(|(deadline, _)| *deadline <= self.now_ticks).map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(id: i64, ttl_seconds: i64) -> Lease {
        Lease { id: LeaseId(id), ttl_seconds }
    }

    fn keys(leases: &Leases, id: i64) -> Vec<&[u8]> {
        leases.keys(LeaseId(id)).collect()
    }

    #[test]
    fn key_hangs_on_one_lease_at_a_time() {
        let mut leases = Leases::default();
        assert!(leases.grant(lease(1, 10)) && leases.grant(lease(2, 10)));
        leases.reattach(b"b", LeaseId(0), LeaseId(1));
        leases.reattach(b"a", LeaseId(0), LeaseId(1));
        leases.reattach(b"a", LeaseId(1), LeaseId(1));
        assert_eq!(keys(&leases, 1), [b"a", b"b"]);
        leases.reattach(b"a", LeaseId(1), LeaseId(2));
        assert_eq!((keys(&leases, 1), keys(&leases, 2)), (vec![&b"b"[..]], vec![&b"a"[..]]));
        leases.reattach(b"a", LeaseId(2), LeaseId(0));
        assert!(keys(&leases, 2).is_empty());
    }

    #[test]
    fn grant_of_a_standing_lease_changes_nothing() {
        let mut leases = Leases::default();
        assert!(leases.grant(lease(7, 10)));
        assert!(!leases.grant(lease(7, 20)));
        assert_eq!(leases.get(LeaseId(7)), Some(lease(7, 10)));
        assert!(leases.revoke(LeaseId(7)) && !leases.revoke(LeaseId(7)) && leases.is_empty());
    }

    #[test]
    fn lease_is_due_when_its_ticks_are_over_and_not_before() {
        let mut leases = Leases::default();
        leases.grant(lease(1, 2));
        leases.grant(lease(2, 1));
        let mut countdown = Countdown::start(&leases, 10);
        let ticks = |countdown: &mut Countdown, n: u64| {
            for _ in 0..n {
                countdown.tick();
            }
            countdown.due().map(|id| id.0).collect::<Vec<_>>()
        };
        assert!(ticks(&mut countdown, 9).is_empty());
        assert_eq!(countdown.remaining_ticks(LeaseId(2)), Some(1));
        assert_eq!(ticks(&mut countdown, 1), [2]);
        countdown.renew(LeaseId(2), 15);
        assert_eq!(ticks(&mut countdown, 10), [1]);
        assert_eq!(ticks(&mut countdown, 5), [1, 2], "what is due stays due, the longest first");
        countdown.forget(LeaseId(1));
        assert_eq!(countdown.due().collect::<Vec<_>>(), [LeaseId(2)]);
        assert_eq!(countdown.remaining_ticks(LeaseId(1)), None);
    }
}
