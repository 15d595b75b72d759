//! A leader that contradicts what is committed here.
//!
//! An elected leader has every committed entry (Raft thesis §3.6.3, leader completeness), so an append that names another
//! term for one cannot come of an honest history: a majority of the disks lost what they had acknowledged and elected one
//! of their own, or this disk holds what never was. Either way this member's state is not the cluster's. It must not go on
//! serving it, and must not be overwritten by itself: perhaps it has the only copy of what the others lost.
//!
//! One such message is refused and counted, as all malformed ones are. Only when the leader repeats it, and nothing that
//! fits comes in between, does the node end with [`Fatal::Diverged`].
//!
//! May import: raft's messages, `node`. Deliberately absent: what the member does then (its lifecycle's).

use raft::eraftpb::Message;

use super::Node;
use crate::error::Fatal;
use crate::types::{Index, MemberId, Term};

/// How long a leader must go on contradicting, in election timeouts, and how often at least.
const PATIENCE_TIMEOUTS: u64 = 2;
const LEAST_TIMES: u64 = 3;

/// What is suspected, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    leader: MemberId,
    index: Index,
    held: Term,
    told: Term,
    since: u64,
    times: u64,
}

impl Node {
    /// Whether this acceptable append of a leader contradicts what is committed here; takes note of it.
    pub(super) fn contradicts(&mut self, from: MemberId, append: &Message) -> bool {
        if append.term < self.raw.raft.term {
            return false;
        }
        let Some((index, held, told)) = self.contradiction(append) else {
            self.suspicion = None;
            return false;
        };
        let since = self.leadership.ticks;
        let fresh = Suspicion { leader: from, index, held, told, since, times: 0 };
        let suspicion = self.suspicion.get_or_insert(fresh);
        suspicion.times += 1;
        true
    }

    fn contradiction(&self, append: &Message) -> Option<(Index, Term, Term)> {
        let log = &self.raw.raft.raft_log;
        let entries = append.entries.iter().map(|entry| (entry.index, entry.term));
        std::iter::once((append.index, append.log_term))
            .chain(entries)
            .filter(|(index, _)| (1..=log.committed).contains(index))
            // 0: the entry is below the log's start.
            .filter_map(|(index, told)| Some((index, log.term(index).ok().filter(|held| *held != 0)?, told)))
            .find(|(_, held, told)| held != told)
            .map(|(index, held, told)| (Index(index), Term(held), Term(told)))
    }

    /// The verdict, once there has been time for anything that fits.
    pub(super) fn judge_suspicion(&self) -> Result<(), Fatal> {
        let Some(Suspicion { leader, index, held, told, since, times }) = self.suspicion else {
            return Ok(());
        };
        let patience = PATIENCE_TIMEOUTS * u64::from(self.config.election_ticks);
        if times < LEAST_TIMES || self.leadership.ticks < since + patience {
            return Ok(());
        }
        Err(Fatal::Diverged { leader, index, held, told })
    }
}
