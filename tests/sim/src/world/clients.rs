//! Clients: each with one call at a time or a burst of them, through one member after the other, remembering all that they
//! were told. What they ask for is in `calls`.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_core::error::Refusal;
use outrigger_core::event::Event;
use outrigger_core::mvcc::{OpResponse, View};
use outrigger_core::state_machine::Output;
use outrigger_core::types::{ReadId, Revision};

use super::calls::{DELETED_KEY, KEYS, What, command, is_paired, read};
use super::end::Ending;
use super::event::{Happening, Input};
use super::process::{Life, Process};
use super::streams::CLIENTS;
use super::{MS, SECOND, Time, World};
use crate::history::{Call, KeyId, Operation, Outcome, ValueId};
use crate::random::Random;

const PURPOSE: u64 = 3;
/// Ticks that the node keeps a request: the sidecar's default of five seconds.
const REQUEST_TICKS: u32 = 50;
/// A client that hears nothing for so long gives the call up.
const PATIENCE: Time = 8 * SECOND;
/// Calls that a client has under way at the most: mostly one, so that much depends on each; sometimes many, so that they
/// share batches and forwards.
const BURSTS: [usize; 6] = [1, 1, 1, 1, 4, 12];

/// All clients, and what they saw.
#[derive(Debug)]
pub(super) struct Clients {
    all: Vec<Client>,
    random: Random,
    next_call: u64,
    next_value: u64,
    /// What they did and were told, in no order.
    pub(super) history: Vec<Operation>,
    /// The last value that anybody read, by key: what a compare-and-set is likely to meet.
    seen: [Option<ValueId>; KEYS],
    is_over: bool,
    is_hurried: bool,
    /// Calls from then on must not fail.
    strict_since: Option<Time>,
    pub(super) answered: Answered,
}

/// Calls that were answered with what they asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    pub(super) written: u64,
    pub(super) read: u64,
    /// The pods that they went through.
    pub(super) through: BTreeSet<u8>,
}

#[derive(Debug, Default)]
struct Client {
    pod: u8,
    /// By number.
    open: BTreeMap<u64, Open>,
    /// Between two calls, at most.
    pause: Time,
    /// How often, in 1,000 calls, it goes through another member than the last time.
    roams: u32,
    burst: usize,
}

#[derive(Debug)]
struct Open {
    key: usize,
    what: What,
    invoked: Time,
    pod: u8,
}

/// A call on its way to a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) client: usize,
    pub(super) number: u64,
    key: usize,
    what: What,
}

impl Clients {
    pub(super) fn new(seed: u64, count: u8) -> Self {
        let mut random = Random::new(seed, PURPOSE);
        let busy = [200 * MS, SECOND, 2 * SECOND, 4 * SECOND];
        let client = |random: &mut Random| Client {
            pause: busy.get(random.below(busy.len())).copied().unwrap_or(SECOND),
            roams: random.pick(&[50, 200, 500, 1_000]).copied().unwrap_or(50),
            burst: random.pick(&BURSTS).copied().unwrap_or(1),
            ..Client::default()
        };
        let all = (0..count).map(|_| client(&mut random)).collect();
        Self {
            all,
            random,
            next_call: 0,
            next_value: 0,
            history: Vec::new(),
            seen: [None; KEYS],
            is_over: false,
            is_hurried: false,
            strict_since: None,
            answered: Answered::default(),
        }
    }

    /// From now on nobody rests for long, asks for more than one thing at a time, or turns to a member that is not asked for
    /// any more: the liveness phase counts answers.
    pub(super) fn hurry(&mut self, members: u8) {
        self.is_hurried = true;
        for client in &mut self.all {
            client.pause = client.pause.min(300 * MS);
            client.burst = 1;
            client.pod %= members.max(1);
        }
        self.answered = Answered::default();
    }

    /// From now on no call may fail, whichever member it goes through; and they go through all.
    pub(super) fn expect_answers(&mut self, now: Time) {
        self.strict_since = Some(now);
        self.all.iter_mut().for_each(|client| client.roams = 1_000);
        self.answered = Answered::default();
    }

    pub(super) fn stop(&mut self) {
        self.is_over = true;
    }

    fn next_what(&mut self, key: usize) -> What {
        let mut value = || {
            self.next_value += 1;
            ValueId(self.next_value)
        };
        match self.random.below(24) {
            0..=3 if key == DELETED_KEY => What::Call(Call::Delete),
            0..=7 => What::Call(Call::Put(value())),
            8..=14 => What::Call(Call::Get),
            20 => What::Pair(value()),
            21 => What::ReadPair,
            22 | 23 => What::Other(self.random.within(0, 1 << 16)),
            15..=18 => {
                let expected = self.seen.get(key).copied().flatten();
                What::Call(Call::CompareAndSet { expected, new: value() })
            }
            _ => {
                let newest = self.history.iter().rev().take(50).filter_map(revision_of).max();
                match newest {
                    Some(revision) if revision > 20 => What::Compact(revision - 20),
                    Some(_) | None => What::Call(Call::Get),
                }
            }
        }
    }
}

impl World {
    pub(super) fn start_clients(&mut self) {
        for client in 0..self.clients.all.len() {
            let delay = self.clients.random.within(0, SECOND);
            self.after(delay, Happening::Client(client));
        }
    }

    /// A pod that a client may turn to: while faults go on, also one that is not there any more.
    fn any_pod(&mut self) -> u8 {
        let count =
            if self.clients.is_hurried { usize::from(self.operator.replicas) } else { self.pods.len() };
        self.clients.random.below(count.max(1)) as u8
    }

    /// The next calls.
    pub(super) fn client_acts(&mut self, client: usize) {
        let is_busy = self.clients.all.get(client).is_none_or(|client| !client.open.is_empty());
        if is_busy || self.clients.is_over {
            return;
        }
        let (burst, roams) = self.clients.all.get(client).map_or((1, 0), |it| (it.burst, it.roams));
        for _ in 0..1 + self.clients.random.below(burst) {
            let elsewhere = self.clients.random.chance(roams).then(|| self.any_pod());
            self.clients.next_call += 1;
            let number = self.clients.next_call;
            let key = self.clients.random.below(KEYS);
            let what = self.clients.next_what(key);
            let invoked = self.now;
            let Some(this) = self.clients.all.get_mut(client) else { return };
            this.pod = elsewhere.unwrap_or(this.pod);
            this.open.insert(number, Open { key, what, invoked, pod: this.pod });
            self.after(100, Happening::ClientCall(client, number));
            self.after(PATIENCE, Happening::ClientGivesUp(client, number));
        }
    }

    fn open_call(&self, client: usize, number: u64) -> Option<&Open> {
        self.clients.all.get(client)?.open.get(&number)
    }

    /// The call is at the pod: refused if no process is there; in the sockets of one that is stopped, until it goes on.
    pub(super) fn call_arrives(&mut self, client: usize, number: u64) {
        let Some(&Open { key, what, pod, .. }) = self.open_call(client, number) else { return };
        if !self.call_passes(CLIENTS, pod) {
            return;
        }
        match self.process(pod).map(|process| process.at) {
            Some(at) => self.process_event(at, Input::Call(Asked { client, number, key, what })),
            None => self.answer(pod, client, number, Outcome::Failed),
        }
    }

    /// The process takes a call in, also one whose client has given up: it cannot know that.
    pub(super) fn take_call(&mut self, process: &mut Process, asked: Asked) -> Ending {
        let Asked { client, number, key, what } = asked;
        let Life::Member(running) = &mut process.life else {
            self.answer(process.at.pod, client, number, Outcome::Failed);
            return Ending::GoesOn;
        };
        let event = match command(key, what) {
            None => {
                running.last_read += 1;
                let id = ReadId(running.last_read);
                running.reads.insert(id, (client, number));
                Event::Read { id, deadline_ticks: REQUEST_TICKS }
            }
            Some(command) => {
                running.ids.sequence += 1;
                running.proposals.insert(running.ids.sequence, (client, number));
                let command = command.encode_to_bytes();
                Event::Propose { id: running.ids, command, deadline_ticks: REQUEST_TICKS }
            }
        };
        self.node_event(process, event)
    }

    pub(super) fn proposal_answered(
        &mut self,
        pod: u8,
        (client, number): (usize, u64),
        outcome: Result<Output, Refusal>,
    ) {
        let Some(what) = self.open_call(client, number).map(|open| open.what) else { return };
        let answered = match outcome {
            Ok(Output::Kv(response)) => {
                let revision = Revision(response.revision);
                match (response.result, what) {
                    (Ok(OpResponse::Txn { succeeded: false, .. }), _) => Outcome::NotEqual { revision },
                    (Ok(OpResponse::DeleteRange { deleted: 0, .. }), _) => {
                        Outcome::Read { stored: None, revision }
                    }
                    (Ok(_), _) => Outcome::Written { revision },
                    // Of a compacted revision, or of a lease that is not there.
                    (Err(_), What::Compact(_) | What::Other(_)) => Outcome::Failed,
                    (Err(refusal), What::Call(_) | What::Pair(_) | What::ReadPair) => {
                        self.broken("a good command is applied", format!("refused: {refusal:?}"));
                        Outcome::Failed
                    }
                }
            }
            // It was applied, and what it said then is gone.
            Ok(Output::Duplicate) => Outcome::Unknown,
            Ok(Output::Opaque(_)) => Outcome::Failed,
            Err(refusal) => refused(&refusal),
        };
        self.answer(pod, client, number, answered);
    }

    pub(super) fn read_answered(
        &mut self,
        pod: u8,
        (client, number): (usize, u64),
        view: &View,
        outcome: Result<(), Refusal>,
    ) {
        let Some(&Open { key, what, .. }) = self.open_call(client, number) else { return };
        if let Err(refusal) = outcome {
            self.answer(pod, client, number, refused(&refusal));
            return;
        }
        if matches!(what, What::ReadPair) && !is_paired(view) {
            let at = view.revision();
            self.broken(
                "a transaction is whole",
                format!("orders-{pod} showed half of one at revision {at}"),
            );
        }
        let stored = read(view, key);
        let revision = view.revision();
        self.answer(pod, client, number, Outcome::Read { stored, revision });
    }

    /// An answer on its way back. One that is lost the client waits for until it gives up.
    fn answer(&mut self, pod: u8, client: usize, number: u64, outcome: Outcome) {
        if self.call_passes(pod, CLIENTS) {
            self.finish(client, number, outcome);
        }
    }

    /// Nobody will say what became of the call.
    pub(super) fn call_lost(&mut self, client: usize, number: u64) {
        self.finish(client, number, Outcome::Unknown);
    }

    fn finish(&mut self, client: usize, number: u64, outcome: Outcome) {
        let now = self.now;
        let Some(this) = self.clients.all.get_mut(client) else { return };
        let Some(open) = this.open.remove(&number) else { return };
        let (pause, is_idle) = (this.pause, this.open.is_empty());
        self.count(&open, outcome);
        if let What::Call(call) = open.what {
            let key = KeyId(open.key as u32);
            let (client, invoked) = (client as u32, open.invoked);
            self.clients.history.push(Operation { client, key, call, outcome, invoked, returned: now });
        }
        self.tell(
            None,
            || format!("client {client}: {:?} on k{} → {outcome:?}", open.what, open.key),
            number,
        );
        if !matches!(outcome, Outcome::Written { .. } | Outcome::Read { .. } | Outcome::NotEqual { .. }) {
            let other = self.any_pod();
            if let Some(this) = self.clients.all.get_mut(client) {
                this.pod = other;
            }
        }
        if is_idle {
            let delay = self.clients.random.within(MS, pause);
            self.after(delay, Happening::Client(client));
        }
    }

    fn count(&mut self, open: &Open, outcome: Outcome) {
        if !matches!(outcome, Outcome::Unknown | Outcome::Failed) {
            self.clients.answered.through.insert(open.pod);
        }
        match outcome {
            Outcome::Written { .. } if matches!(open.what, What::Call(_)) => {
                self.clients.answered.written += 1
            }
            Outcome::Read { stored, .. } if matches!(open.what, What::Call(_)) => {
                self.clients.answered.read += 1;
                if let Some(seen) = self.clients.seen.get_mut(open.key) {
                    *seen = stored.map(|stored| stored.value);
                }
            }
            Outcome::Written { .. } | Outcome::NotEqual { .. } | Outcome::Read { .. } => {}
            Outcome::Unknown | Outcome::Failed => {
                let is_due = self.clients.strict_since.is_some_and(|since| open.invoked >= since);
                if is_due && matches!(open.what, What::Call(_)) {
                    let what = format!("{:?} through orders-{} came to {outcome:?}", open.what, open.pod);
                    self.broken("a settled cluster answers every call", what);
                }
            }
        }
    }
}

fn revision_of(operation: &Operation) -> Option<i64> {
    match operation.outcome {
        Outcome::Written { revision } | Outcome::NotEqual { revision } | Outcome::Read { revision, .. } => {
            Some(revision.0)
        }
        Outcome::Unknown | Outcome::Failed => None,
    }
}

/// Whether a refusal leaves open what became of the call.
fn refused(refusal: &Refusal) -> Outcome {
    match refusal {
        Refusal::Timeout | Refusal::OutcomeUnknown => Outcome::Unknown,
        Refusal::NoLeader
        | Refusal::LeaderChanged
        | Refusal::TooManyRequests
        | Refusal::NoSpace
        | Refusal::TooLarge { .. }
        | Refusal::NotFormed
        | Refusal::Stopped
        | Refusal::Membership(_) => Outcome::Failed,
    }
}
