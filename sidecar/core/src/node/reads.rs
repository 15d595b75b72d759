//! Linearizable reads that await their index: batched, one ReadIndex under way at a time, those that come meanwhile join
//! the next. A follower asks its leader the same way, a batch at a time.
//!
//! May import: `types`, `error`. Deliberately absent: raft; contexts here are numbers that are never used twice in a boot,
//! so an answer from before a leader change fits nothing.

use crate::error::Refusal;
use crate::types::{Index, MemberId, ReadId};

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this member.
    Local { id: ReadId, deadline: u64 },
    /// A follower's whole batch.
    Remote { from: MemberId, batch: u64 },
}

/// A batch whose index is awaited.
#[derive(Debug)]
struct Batch {
    number: u64,
    origins: Vec<Origin>,
    issued: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reads {
    waiting: Vec<Origin>,
    flying: Option<Batch>,
    /// The index is known; the view has to reach it.
    indexed: Vec<(Index, ReadId, u64)>,
    last_number: u64,
    max_pending: usize,
}

/// What becomes of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Local(ReadId, Result<Index, Refusal>),
    Remote { to: MemberId, batch: u64, outcome: Result<Index, Refusal> },
}

impl Reads {
    /// `nonce` is drawn anew at each start: an answer to an earlier boot's batch must fit nothing.
    pub(crate) fn new(max_pending: usize, nonce: u64) -> Self {
        Self { waiting: Vec::new(), flying: None, indexed: Vec::new(), last_number: nonce, max_pending }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.indexed.len() + self.flying.as_ref().map_or(0, |batch| batch.origins.len())
    }

    /// Takes a read in.
    ///
    /// # Errors
    /// `TooManyRequests` at the bound.
    pub(crate) fn insert(&mut self, origin: Origin) -> Result<(), Refusal> {
        if self.len() >= self.max_pending {
            return Err(Refusal::TooManyRequests);
        }
        self.waiting.push(origin);
        Ok(())
    }

    /// Starts a batch of everything that waits, unless one is under way; gives its number.
    pub(crate) fn issue(&mut self, now: u64) -> Option<u64> {
        if self.flying.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.last_number = self.last_number.wrapping_add(1);
        let origins = std::mem::take(&mut self.waiting);
        self.flying = Some(Batch { number: self.last_number, origins, issued: now });
        Some(self.last_number)
    }

    /// The batch's index is known, or it was refused.
    pub(crate) fn answered(&mut self, number: u64, outcome: &Result<Index, Refusal>) -> Vec<Verdict> {
        let Some(batch) = self.flying.take_if(|batch| batch.number == number) else { return Vec::new() };
        let mut verdicts = Vec::new();
        for origin in batch.origins {
            match (origin, outcome) {
                (Origin::Local { id, deadline }, Ok(index)) => self.indexed.push((*index, id, deadline)),
                (Origin::Local { .. }, Err(Refusal::LeaderChanged)) => self.waiting.push(origin),
                (Origin::Local { id, .. }, Err(refusal)) => {
                    verdicts.push(Verdict::Local(id, Err(refusal.clone())));
                }
                (Origin::Remote { from, batch }, outcome) => {
                    verdicts.push(Verdict::Remote { to: from, batch, outcome: outcome.clone() });
                }
            }
        }
        verdicts
    }

    /// The view has reached `applied`.
    pub(crate) fn applied(&mut self, applied: Index) -> Vec<Verdict> {
        let mut done = Vec::new();
        self.indexed.retain(|(index, id, _)| {
            let reached = *index <= applied;
            if reached {
                done.push(Verdict::Local(*id, Ok(applied)));
            }
            !reached
        });
        done
    }

    /// Leader or term changed: the batch under way is void. Local reads wait for the next leader, or are told at once that
    /// there is none; followers are refused.
    pub(crate) fn leader_changed(&mut self, leader_known: bool) -> Vec<Verdict> {
        let flying = self.flying.take().map_or_else(Vec::new, |batch| batch.origins);
        let mut verdicts = Vec::new();
        for origin in flying.into_iter().chain(std::mem::take(&mut self.waiting)) {
            match origin {
                Origin::Local { .. } if leader_known => self.waiting.push(origin),
                Origin::Local { id, .. } => verdicts.push(Verdict::Local(id, Err(Refusal::NoLeader))),
                Origin::Remote { from, batch } => {
                    let outcome = Err(Refusal::LeaderChanged);
                    verdicts.push(Verdict::Remote { to: from, batch, outcome });
                }
            }
        }
        verdicts
    }

    /// Gives what is past its deadline; a follower's batch without an answer for `patience` ticks is asked anew.
    pub(crate) fn tick(&mut self, now: u64, patience: u64) -> Vec<Verdict> {
        if let Some(batch) = self.flying.take_if(|batch| now.saturating_sub(batch.issued) >= patience) {
            self.waiting.extend(batch.origins);
        }
        let mut late = Vec::new();
        let mut expire = |id: ReadId, deadline: u64| {
            let over = deadline <= now;
            if over {
                late.push(Verdict::Local(id, Err(Refusal::Timeout)));
            }
            !over
        };
        let mut keep = |origin: &Origin| match origin {
            Origin::Local { id, deadline } => expire(*id, *deadline),
            Origin::Remote { .. } => true,
        };
        self.waiting.retain(&mut keep);
        if let Some(batch) = &mut self.flying {
            batch.origins.retain(&mut keep);
        }
        self.indexed.retain(|(_, id, deadline)| expire(*id, *deadline));
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(id: u64) -> Origin {
        Origin::Local { id: ReadId(id), deadline: 10 }
    }

    #[test]
    fn reads_that_come_while_one_is_under_way_join_the_next() {
        let mut reads = Reads::new(10, 0);
        reads.insert(local(1)).unwrap();
        assert_eq!(reads.issue(0), Some(1));
        reads.insert(local(2)).unwrap();
        assert_eq!(reads.issue(0), None);
        assert!(reads.answered(1, &Ok(Index(7))).is_empty());
        assert_eq!(reads.applied(Index(6)), vec![]);
        assert_eq!(reads.applied(Index(8)), vec![Verdict::Local(ReadId(1), Ok(Index(8)))]);
        assert_eq!(reads.issue(0), Some(2));
    }

    #[test]
    fn an_answer_from_before_a_leader_change_fits_nothing() {
        let mut reads = Reads::new(10, 0);
        reads.insert(local(1)).unwrap();
        let stale = reads.issue(0).unwrap();
        assert!(reads.leader_changed(true).is_empty());
        assert!(reads.answered(stale, &Ok(Index(1))).is_empty());
        assert_ne!(reads.issue(0), Some(stale));
    }

    #[test]
    fn without_a_leader_the_answer_comes_at_once() {
        let mut reads = Reads::new(10, 0);
        reads.insert(local(1)).unwrap();
        reads.insert(Origin::Remote { from: MemberId(3), batch: 9 }).unwrap();
        reads.issue(0);
        let verdicts = reads.leader_changed(false);
        assert!(verdicts.contains(&Verdict::Local(ReadId(1), Err(Refusal::NoLeader))));
        assert_eq!(verdicts.len(), 2);
    }
}
