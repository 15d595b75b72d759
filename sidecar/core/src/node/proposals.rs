//! Proposals that await their result: bounded, with deadlines in ticks, forwarded to the leader, and proposed anew when
//! a newer term proves that they were lost.
//!
//! Why that proof holds: an entry's term is the term in which it was sent (a forward carries it, another term refuses),
//! and terms in the log never fall. Once an entry of a later term is applied, an unanswered proposal of an earlier one
//! is in no log that can still win, so it may be proposed again under the same id.
//!
//! A refusal is the one *definite* failure, so it counts only for the very attempt that it refuses: the same proposal may
//! have been handed over again since, and be on its way to a commit.
//!
//! May import: `types`, `error`, `wire`. Deliberately absent: raft; `node` decides where a proposal goes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Refusal;
use crate::types::{ProposalId, Term};

/// One proposal of a client of this member.
#[derive(Debug)]
struct Pending {
    id: ProposalId,
    /// The entry's data, kept to be sent again.
    data: Bytes,
    deadline: u64,
    /// When it was handed to a leader last; `None` while it waits for one.
    sent: Option<Attempt>,
}

/// One handing over of proposals to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The term in which it was made; an entry of another term is never made of it.
    pub(crate) term: Term,
    /// Counted from 1 within the boot.
    pub(crate) number: u64,
}

/// Who refused what: proposals of the boot with this nonce, as they were handed over in this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused<'a> {
    pub(crate) nonce: u64,
    pub(crate) attempt: Attempt,
    pub(crate) sequences: &'a [u64],
}

/// What is pending may weigh at most, in bytes: a client that finds it full is told to come again.
const MAX_PENDING_BYTES: usize = 64 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Proposals {
    by_sequence: BTreeMap<u64, Pending>,
    /// Sequences to hand to a leader at the next flush, in the order of arrival.
    queued: Vec<u64>,
    /// Refused for want of a leader: queued again at the next tick, so that two members never toss them to and fro.
    deferred: Vec<u64>,
    attempts: u64,
    max_pending: usize,
    /// Of all that is pending.
    size_bytes: usize,
    /// Of what was handed over and is not answered.
    sent_bytes: usize,
}

/// What may be handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// At once, if it is not a single proposal, in bytes.
    pub(crate) piece_bytes: usize,
    /// In all, as long as nothing of it is answered.
    pub(crate) window_bytes: usize,
}

impl Proposals {
    pub(crate) fn new(max_pending: usize) -> Self {
        let max_pending = max_pending.min(crate::windows::WINDOW / 2);
        Self {
            by_sequence: BTreeMap::new(),
            queued: Vec::new(),
            deferred: Vec::new(),
            attempts: 0,
            max_pending,
            size_bytes: 0,
            sent_bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_sequence.len()
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Takes a proposal in.
    ///
    /// # Errors
    /// `TooManyRequests` at the bounds. One alone is taken in whatever its size: another limit says what that may be.
    pub(crate) fn insert(&mut self, id: ProposalId, data: Vec<u8>, deadline: u64) -> Result<(), Refusal> {
        let is_heavy = self.size_bytes + data.len() > MAX_PENDING_BYTES && !self.by_sequence.is_empty();
        if self.by_sequence.len() >= self.max_pending || is_heavy {
            return Err(Refusal::TooManyRequests);
        }
        self.size_bytes += data.len();
        self.by_sequence.insert(id.sequence, Pending { id, data: Bytes::from(data), deadline, sent: None });
        self.queued.push(id.sequence);
        Ok(())
    }

    /// What waits for a leader, the oldest first, within these bounds: marked as handed over in this term, and the attempt
    /// that this is. `None` when nothing waits, or all of it waits for an answer to what went before.
    pub(crate) fn take_queued(&mut self, term: Term, bounds: Bounds) -> Option<(Attempt, Vec<Bytes>)> {
        let attempt = Attempt { term, number: self.attempts + 1 };
        let (mut data, mut size_bytes) = (Vec::new(), 0);
        let mut taken = 0;
        for sequence in &self.queued {
            if let Some(pending) = self.by_sequence.get_mut(sequence) {
                size_bytes += pending.data.len();
                let is_next = size_bytes > bounds.piece_bytes && !data.is_empty();
                if is_next
                    || self.sent_bytes + pending.data.len() > bounds.window_bytes && self.sent_bytes > 0
                {
                    break;
                }
                self.sent_bytes += pending.data.len();
                pending.sent = Some(attempt);
                data.push(pending.data.clone());
            }
            taken += 1;
        }
        self.queued.drain(..taken);
        if data.is_empty() {
            return None;
        }
        self.attempts += 1;
        Some((attempt, data))
    }

    fn remove(&mut self, sequence: u64) -> Option<Pending> {
        let pending = self.by_sequence.remove(&sequence)?;
        self.size_bytes -= pending.data.len();
        if pending.sent.is_some() {
            self.sent_bytes -= pending.data.len();
        }
        Some(pending)
    }

    /// A leader refused these without proposing them: later again, or over. What is not of this boot, or was handed over
    /// again since, is none of the refusal's business.
    pub(crate) fn refused(&mut self, refused: Refused<'_>, refusal: &Refusal) -> Vec<(ProposalId, Refusal)> {
        let again = matches!(refusal, Refusal::LeaderChanged | Refusal::NoLeader);
        let mut over = Vec::new();
        for sequence in refused.sequences {
            let Some(pending) = self.by_sequence.get_mut(sequence) else { continue };
            if pending.id.nonce != refused.nonce || pending.sent != Some(refused.attempt) {
                continue;
            }
            if again {
                self.sent_bytes -= pending.data.len();
                pending.sent = None;
                self.deferred.push(*sequence);
            } else {
                over.push((pending.id, refusal.clone()));
                self.remove(*sequence);
            }
        }
        over
    }

    /// An entry of `term` is applied: what was handed over in an earlier one is lost, and is queued again.
    pub(crate) fn term_applied(&mut self, term: Term) {
        for (sequence, pending) in &mut self.by_sequence {
            if pending.sent.is_some_and(|sent| sent.term < term) {
                self.sent_bytes -= pending.data.len();
                pending.sent = None;
                self.queued.push(*sequence);
            }
        }
    }

    /// The applier answered: whether it was one that waits here. The whole id must fit: an entry of an earlier boot
    /// must never acknowledge a proposal of this one.
    pub(crate) fn answered(&mut self, id: ProposalId) -> bool {
        if self.by_sequence.get(&id.sequence).is_some_and(|pending| pending.id == id) {
            self.remove(id.sequence);
            return true;
        }
        false
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn confused(&self, id: ProposalId) -> ProposalId {
        let waiting = self.by_sequence.get(&id.sequence).map(|pending| pending.id);
        let is_confused = outrigger_mutants::is_alive(outrigger_mutants::Mutant::OldBootAccepted);
        waiting.filter(|waiting| is_confused && waiting.member == id.member).unwrap_or(id)
    }

    /// Queues what was deferred, and gives what is past its deadline.
    pub(crate) fn tick(&mut self, now: u64) -> Vec<(ProposalId, Refusal)> {
        self.queued.append(&mut self.deferred);
        let late: Vec<u64> = self
            .by_sequence
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(sequence, _)| *sequence)
            .collect();
        let gone = late.into_iter().filter_map(|sequence| self.remove(sequence));
        gone.map(|pending| (pending.id, Refusal::Timeout)).collect()
    }

    /// Everything that is pending, given up.
    pub(crate) fn drain(&mut self) -> Vec<ProposalId> {
        self.queued.clear();
        self.deferred.clear();
        (self.size_bytes, self.sent_bytes) = (0, 0);
        std::mem::take(&mut self.by_sequence).into_values().map(|pending| pending.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MemberId;

    fn id(boot: u64, sequence: u64) -> ProposalId {
        ProposalId { member: MemberId(1), boot, nonce: 5, sequence }
    }

    const UNBOUNDED: Bounds = Bounds { piece_bytes: usize::MAX, window_bytes: usize::MAX };

    /// All that waits.
    fn take(proposals: &mut Proposals, term: u64) -> (Attempt, Vec<Bytes>) {
        proposals.take_queued(Term(term), UNBOUNDED).unwrap()
    }

    fn proposals() -> Proposals {
        let mut proposals = Proposals::new(10);
        for sequence in 1..=3 {
            proposals.insert(id(2, sequence), vec![sequence as u8], 10).unwrap();
        }
        proposals
    }

    #[test]
    fn an_entry_of_an_earlier_boot_acknowledges_nothing() {
        let mut proposals = proposals();
        assert!(!proposals.answered(id(1, 2)));
        assert!(proposals.answered(id(2, 2)));
        assert!(!proposals.answered(id(2, 2)));
    }

    #[test]
    fn only_what_was_sent_in_an_earlier_term_is_proposed_again() {
        let mut proposals = proposals();
        assert_eq!(take(&mut proposals, 4).1.len(), 3);
        proposals.insert(id(2, 4), vec![4], 10).unwrap();
        assert_eq!(take(&mut proposals, 5).1.len(), 1);
        proposals.term_applied(Term(4));
        assert!(!proposals.has_queued());
        proposals.term_applied(Term(5));
        assert_eq!(take(&mut proposals, 5).1.len(), 3);
    }

    #[test]
    fn what_waits_is_handed_over_in_pieces_of_their_own_attempt() {
        let mut proposals = Proposals::new(10);
        for (sequence, size) in [(1, 400), (2, 600), (3, 1), (4, 2_000), (5, 1)] {
            proposals.insert(id(2, sequence), vec![0; size], 10).unwrap();
        }
        assert!(
            !proposals.answered(id(1, 3)) && proposals.answered(id(2, 3)),
            "what is answered is not sent any more"
        );
        let pieces = || proposals.take_queued(Term(4), Bounds { piece_bytes: 1_000, ..UNBOUNDED });
        let pieces: Vec<_> = std::iter::from_fn(pieces).collect();
        let sizes: Vec<Vec<usize>> =
            pieces.iter().map(|(_, piece)| piece.iter().map(Bytes::len).collect()).collect();
        assert_eq!(sizes, [vec![400, 600], vec![2_000], vec![1]]);
        let numbers: Vec<u64> = pieces.iter().map(|(attempt, _)| attempt.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        // A refusal of one piece is no word about another.
        let (first, second) = (pieces[0].0, pieces[1].0);
        let of_other = Refused { nonce: 5, attempt: first, sequences: &[4] };
        assert!(proposals.refused(of_other, &Refusal::TooManyRequests).is_empty());
        let named = Refused { attempt: second, ..of_other };
        assert_eq!(proposals.refused(named, &Refusal::TooManyRequests).len(), 1);
    }

    /// Else a burst would be larger than what may wait for the way to the leader, and be dropped there.
    #[test]
    fn what_is_handed_over_and_not_answered_is_bounded() {
        let mut proposals = Proposals::new(10);
        for (sequence, size) in [(1, 900), (2, 100), (3, 100), (4, 5_000)] {
            proposals.insert(id(2, sequence), vec![0; size], 10).unwrap();
        }
        let bounds = Bounds { piece_bytes: 950, window_bytes: 1_000 };
        let next = |proposals: &mut Proposals, term| {
            let (attempt, taken) = proposals.take_queued(Term(term), bounds)?;
            Some((attempt, taken.iter().map(Bytes::len).collect::<Vec<_>>()))
        };
        assert_eq!(next(&mut proposals, 4).unwrap().1, [900]);
        let (second, sizes) = next(&mut proposals, 4).unwrap();
        assert_eq!((sizes, next(&mut proposals, 4)), (vec![100], None));
        assert!(proposals.has_queued(), "it waits, and is not lost");
        let refused = Refused { nonce: 5, attempt: second, sequences: &[2] };
        proposals.refused(refused, &Refusal::LeaderChanged);
        assert_eq!(next(&mut proposals, 4).unwrap().1, [100], "the third");
        assert!(proposals.answered(id(2, 1)) && proposals.answered(id(2, 3)));
        assert_eq!(next(&mut proposals, 4).unwrap().1, [5_000], "alone, whatever its size");
        proposals.tick(0);
        assert_eq!(next(&mut proposals, 4), None);
        // What a newer term proves to be lost is in nobody's way any more.
        proposals.term_applied(Term(5));
        let sizes: Vec<_> = std::iter::from_fn(|| next(&mut proposals, 5)).map(|(_, sizes)| sizes).collect();
        assert_eq!(sizes, [vec![100]], "the refused one, then the large one waits");
        proposals.drain();
        proposals.insert(id(2, 9), vec![0; 5_000], 10).unwrap();
        assert_eq!(next(&mut proposals, 6).unwrap().1, [5_000]);
    }

    #[test]
    fn what_is_pending_is_bounded_in_bytes_and_what_ends_frees_them() {
        let mut proposals = Proposals::new(10);
        let half = || vec![0; MAX_PENDING_BYTES / 2];
        let large = vec![0; MAX_PENDING_BYTES + 1];
        proposals.insert(id(2, 1), large, 3).unwrap();
        assert_eq!(proposals.insert(id(2, 2), vec![0], 9), Err(Refusal::TooManyRequests));
        assert_eq!(proposals.tick(3).len(), 1, "its deadline");
        for sequence in [2, 3] {
            proposals.insert(id(2, sequence), half(), 9).unwrap();
        }
        assert_eq!(proposals.insert(id(2, 4), vec![0], 9), Err(Refusal::TooManyRequests));
        assert!(proposals.answered(id(2, 2)));
        proposals.insert(id(2, 5), half(), 9).unwrap();
        let (attempt, _) = take(&mut proposals, 4);
        let refused = Refused { nonce: 5, attempt, sequences: &[3] };
        assert_eq!(proposals.refused(refused, &Refusal::NoSpace).len(), 1);
        proposals.insert(id(2, 6), half(), 9).unwrap();
        proposals.drain();
        proposals.insert(id(2, 7), half(), 9).unwrap();
        proposals.insert(id(2, 8), half(), 9).unwrap();
    }

    #[test]
    fn a_refusal_counts_for_the_very_attempt_that_it_names_and_for_no_other() {
        let mut proposals = proposals();
        let (first, _) = take(&mut proposals, 4);
        proposals.term_applied(Term(5));
        let (second, sent) = take(&mut proposals, 5);
        assert_eq!(sent.len(), 3);
        let named = |nonce, attempt| Refused { nonce, attempt, sequences: &[1] };
        let stale = [
            named(5, first),
            named(6, second),
            named(5, Attempt { term: Term(4), ..second }),
            named(5, Attempt { number: first.number, ..second }),
        ];
        for refused in stale {
            for refusal in [Refusal::TooManyRequests, Refusal::LeaderChanged] {
                assert!(proposals.refused(refused, &refusal).is_empty(), "{refused:?}");
            }
        }
        assert!(proposals.tick(0).is_empty() && !proposals.has_queued(), "nothing is sent again either");
        let over = vec![(id(2, 1), Refusal::TooManyRequests)];
        assert_eq!(proposals.refused(named(5, second), &Refusal::TooManyRequests), over);
        assert!(proposals.refused(named(5, second), &Refusal::TooManyRequests).is_empty(), "once");
    }

    #[test]
    fn a_repeated_refusal_queues_once() {
        let mut proposals = proposals();
        let (attempt, _) = take(&mut proposals, 4);
        let refused = Refused { nonce: 5, attempt, sequences: &[1, 2] };
        for _ in 0..2 {
            assert!(proposals.refused(refused, &Refusal::LeaderChanged).is_empty());
        }
        proposals.tick(0);
        assert_eq!(take(&mut proposals, 4).1.len(), 2);
        proposals.refused(refused, &Refusal::LeaderChanged);
        proposals.tick(0);
        assert!(!proposals.has_queued(), "it speaks of the attempt before");
    }

    #[test]
    fn the_bound_refuses_and_a_deadline_frees_the_place() {
        let mut proposals = Proposals::new(1);
        proposals.insert(id(2, 1), Vec::new(), 3).unwrap();
        assert_eq!(proposals.insert(id(2, 2), Vec::new(), 3), Err(Refusal::TooManyRequests));
        assert!(proposals.tick(2).is_empty());
        assert_eq!(proposals.tick(3), vec![(id(2, 1), Refusal::Timeout)]);
        assert!(proposals.insert(id(2, 2), Vec::new(), 9).is_ok());
    }
}
