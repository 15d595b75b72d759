//! Who waits for which answer: ids are made here, and met here again.
//!
//! May import: `inbox`'s reply types, core's ids. Deliberately absent: deadlines' expiry (the node counts ticks and
//! answers everything that it was asked, so nothing is left behind here).

use std::collections::HashMap;

use bytes::Bytes;
use outrigger_core::effects::Reply;
use outrigger_core::error::Refusal;
use outrigger_core::event::{AdminReply, AdminRequest, Event};
use outrigger_core::state_machine::Output;
use outrigger_core::types::{AdminId, Index, MemberId, ProposalId, ReadId};
use tokio::sync::oneshot;

/// How long the node keeps a request, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Proposals and reads.
    pub request_ticks: u32,
    /// Membership requests: they may wait for a peer to catch up.
    pub admin_ticks: u32,
}

type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// The callers that wait. Bounded by what the node lets be pending.
#[derive(Debug)]
pub struct Waiters {
    /// Member, boot and nonce of every id; the sequence counts.
    base: ProposalId,
    deadlines: Deadlines,
    proposals: HashMap<u64, Answer<Output>>,
    reads: HashMap<ReadId, Answer<Index>>,
    admins: HashMap<AdminId, Answer<AdminReply>>,
    last_read: u64,
    last_admin: u64,
}

impl Waiters {
    /// Ids of this boot of this member. `boot` is durable and never seen before; `nonce` is drawn.
    #[must_use]
    pub fn new(member: MemberId, boot: u64, nonce: u64, deadlines: Deadlines) -> Self {
        Self {
            base: ProposalId { member, boot, nonce, sequence: 0 },
            deadlines,
            proposals: HashMap::new(),
            reads: HashMap::new(),
            admins: HashMap::new(),
            last_read: 0,
            last_admin: 0,
        }
    }

    /// Names a proposal and keeps its caller.
    pub fn propose(&mut self, command: Bytes, reply: Answer<Output>) -> Event {
        self.base.sequence += 1;
        self.proposals.insert(self.base.sequence, reply);
        Event::Propose { id: self.base, command, deadline_ticks: self.deadlines.request_ticks }
    }

    /// Names a read and keeps its caller.
    pub fn read(&mut self, reply: Answer<Index>) -> Event {
        self.last_read += 1;
        let id = ReadId(self.last_read);
        self.reads.insert(id, reply);
        Event::Read { id, deadline_ticks: self.deadlines.request_ticks }
    }

    /// Names a membership request and keeps its caller.
    pub fn admin(&mut self, request: AdminRequest, reply: Answer<AdminReply>) -> Event {
        self.last_admin += 1;
        let id = AdminId(self.last_admin);
        self.admins.insert(id, reply);
        Event::Admin { id, request, deadline_ticks: self.deadlines.admin_ticks }
    }

    /// Hands an answer to its caller, who may have gone away meanwhile.
    pub fn answer(&mut self, reply: Reply) {
        match reply {
            Reply::Proposal { id, outcome } => {
                if id.boot == self.base.boot && id.nonce == self.base.nonce {
                    deliver(self.proposals.remove(&id.sequence), outcome);
                }
            }
            Reply::Read { id, outcome } => deliver(self.reads.remove(&id), outcome),
            Reply::Admin { id, outcome } => deliver(self.admins.remove(&id), outcome),
        }
    }
}

fn deliver<T>(waiter: Option<Answer<T>>, outcome: Result<T, Refusal>) {
    if let Some(waiter) = waiter {
        // A caller that is gone has dropped its end: nothing is lost with the answer.
        drop(waiter.send(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines { request_ticks: 7, admin_ticks: 9 };

    fn waiters() -> Waiters {
        Waiters::new(MemberId(1), 2, 3, DEADLINES)
    }

    #[test]
    fn every_answer_finds_its_own_caller() {
        let mut waiters = waiters();
        let (first, mut first_answer) = oneshot::channel();
        let (second, mut second_answer) = oneshot::channel();
        let Event::Propose { id, .. } = waiters.propose(Bytes::new(), first) else { panic!("a proposal") };
        let Event::Propose { id: other, deadline_ticks, .. } = waiters.propose(Bytes::new(), second) else {
            panic!("a proposal")
        };
        assert_eq!((id.sequence, other.sequence, deadline_ticks), (1, 2, 7));
        waiters.answer(Reply::Proposal { id: other, outcome: Ok(Output::Duplicate) });
        assert_eq!(second_answer.try_recv(), Ok(Ok(Output::Duplicate)));
        assert!(first_answer.try_recv().is_err(), "the first still waits");
        waiters.answer(Reply::Proposal { id, outcome: Err(Refusal::NoLeader) });
        assert_eq!(first_answer.try_recv(), Ok(Err(Refusal::NoLeader)));
    }

    #[test]
    fn an_answer_to_another_boot_acknowledges_nothing() {
        let mut waiters = waiters();
        let (reply, mut answer) = oneshot::channel();
        let Event::Propose { id, .. } = waiters.propose(Bytes::new(), reply) else { panic!("a proposal") };
        for stale in [ProposalId { boot: 1, ..id }, ProposalId { nonce: 9, ..id }] {
            waiters.answer(Reply::Proposal { id: stale, outcome: Ok(Output::Duplicate) });
        }
        assert!(answer.try_recv().is_err());
    }

    #[test]
    fn an_answer_to_a_caller_that_left_is_dropped() {
        let mut waiters = waiters();
        let (reply, answer) = oneshot::channel();
        let Event::Read { id, .. } = waiters.read(reply) else { panic!("a read") };
        drop(answer);
        waiters.answer(Reply::Read { id, outcome: Ok(Index(4)) });
        waiters.answer(Reply::Read { id, outcome: Ok(Index(4)) });
        assert!(waiters.reads.is_empty());
    }
}
