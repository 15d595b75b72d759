//! Clients: each with one call at a time, through one member after the other, remembering all that they were told.

use bytes::Bytes;
use outrigger_core::error::Refusal;
use outrigger_core::event::Event;
use outrigger_core::mvcc::{
    Command, Compact, Compare, CompareResult, CompareTarget, KeyRange, KvOp, OpResponse, Put, Range, Txn,
    TxnOp, TxnOperation, View,
};
use outrigger_core::state_machine::Output;
use outrigger_core::types::{ReadId, Revision};

use super::end::Ending;
use super::event::{Happening, Input};
use super::process::{Life, Process};
use super::{MS, SECOND, Time, World};
use crate::history::{Call, KeyId, Operation, Outcome, Stored, ValueId};
use crate::random::Random;

const PURPOSE: u64 = 3;
/// Few, so that calls meet.
const KEYS: usize = 4;
/// Ticks that the node keeps a request: the sidecar's default of five seconds.
const REQUEST_TICKS: u32 = 50;
/// A client that hears nothing for so long gives the call up.
const PATIENCE: Time = 8 * SECOND;

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
    pub(super) done: u64,
}

#[derive(Debug, Default)]
struct Client {
    pod: u8,
    open: Option<Open>,
    /// Between two calls, at most.
    pause: Time,
    /// How often, in 1,000 calls, it goes through another member than the last time.
    roams: u32,
}

#[derive(Debug)]
struct Open {
    number: u64,
    key: usize,
    what: What,
    invoked: Time,
}

/// A call on its way to a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) client: usize,
    pub(super) number: u64,
    key: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Call(Call),
    /// Keeps the history of the key space short; not recorded.
    Compact(i64),
}

impl Clients {
    pub(super) fn new(seed: u64, count: u8) -> Self {
        let mut random = Random::new(seed, PURPOSE);
        let busy = [200 * MS, SECOND, 2 * SECOND, 4 * SECOND];
        let client = |random: &mut Random| Client {
            pause: busy.get(random.below(busy.len())).copied().unwrap_or(SECOND),
            roams: random.pick(&[50, 200, 500, 1_000]).copied().unwrap_or(50),
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
            done: 0,
        }
    }

    /// From now on nobody rests for long: the liveness phase counts answers.
    pub(super) fn hurry(&mut self) {
        for client in &mut self.all {
            client.pause = client.pause.min(300 * MS);
        }
    }

    pub(super) fn stop(&mut self) {
        self.is_over = true;
    }
}

/// Mostly small; some take several sectors of a disk, so that they can tear.
fn bytes_of(value: ValueId) -> Bytes {
    let size_bytes = if value.0.is_multiple_of(2) { 16 + (value.0 * 37 % 3_000) as usize } else { 16 };
    value.to_bytes(size_bytes)
}

fn key_of(key: usize) -> Bytes {
    Bytes::from(format!("k{key}"))
}

fn range(key: usize) -> KeyRange {
    KeyRange { key: key_of(key), end: Bytes::new() }
}

/// What a key holds.
fn read(view: &View, key: usize) -> Option<Stored> {
    let found = view.range(&Range { range: range(key), ..Range::default() }).ok()?;
    let kv = found.kvs.first()?;
    Some(Stored { value: ValueId::from_bytes(&kv.value)?, mod_revision: Revision(kv.mod_revision) })
}

/// What all keys hold.
pub(super) fn stored(view: &View) -> impl Iterator<Item = (KeyId, Stored)> + '_ {
    (0..KEYS).filter_map(|key| Some((KeyId(key as u32), read(view, key)?)))
}

fn put(key: usize, value: ValueId) -> Put {
    Put { key: key_of(key), value: bytes_of(value), ..Put::default() }
}

fn command(key: usize, call: Call) -> Option<Command> {
    let op = match call {
        Call::Get => return None,
        Call::Put(value) => KvOp::Put(put(key, value)),
        Call::CompareAndSet { expected, new } => {
            let target = match expected {
                Some(value) => CompareTarget::Value(bytes_of(value)),
                None => CompareTarget::Version(0),
            };
            let compare =
                Compare { range: range(key), result: CompareResult::Equal as i32, target: Some(target) };
            KvOp::Txn(Txn {
                compare: vec![compare],
                success: vec![TxnOperation { op: Some(TxnOp::Put(put(key, new))) }],
                failure: Vec::new(),
            })
        }
    };
    Some(Command { op: Some(op) })
}

impl World {
    pub(super) fn start_clients(&mut self) {
        for client in 0..self.clients.all.len() {
            let delay = self.clients.random.within(0, SECOND);
            self.after(delay, Happening::Client(client));
        }
    }

    /// The next call.
    pub(super) fn client_acts(&mut self, client: usize) {
        let now = self.now;
        let is_busy = self.clients.all.get(client).is_none_or(|client| client.open.is_some());
        if is_busy || self.clients.is_over {
            return;
        }
        let pods = self.pods.len().max(1);
        let clients = &mut self.clients;
        clients.next_call += 1;
        let number = clients.next_call;
        let key = clients.random.below(KEYS);
        let what = clients.next_what(key);
        let Some(open) = clients.all.get_mut(client) else { return };
        if clients.random.chance(open.roams) {
            open.pod = clients.random.below(pods) as u8;
        }
        open.open = Some(Open { number, key, what, invoked: now });
        self.after(100, Happening::ClientCall(client, number));
        self.after(PATIENCE, Happening::ClientGivesUp(client, number));
    }

    /// The call is at the pod: refused if no process is there; in the sockets of one that is stopped, until it goes on.
    pub(super) fn call_arrives(&mut self, client: usize, number: u64) {
        let open = self.clients.all.get(client).and_then(|client| Some((client.pod, client.open.as_ref()?)));
        let Some((pod, open)) = open.filter(|(_, open)| open.number == number) else { return };
        let asked = Asked { client, number, key: open.key, what: open.what };
        match self.process(pod).map(|process| process.at) {
            Some(at) => self.process_event(at, Input::Call(asked)),
            None => self.finish(client, number, Outcome::Failed),
        }
    }

    /// The process takes a call in, also one whose client has given up: it cannot know that.
    pub(super) fn take_call(&mut self, process: &mut Process, asked: Asked) -> Ending {
        let Asked { client, number, key, what } = asked;
        let Life::Member(running) = &mut process.life else {
            self.finish(client, number, Outcome::Failed);
            return Ending::GoesOn;
        };
        let command = match what {
            What::Call(call) => command(key, call),
            What::Compact(revision) => Some(Command { op: Some(KvOp::Compact(Compact { revision })) }),
        };
        let event = match command {
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

    pub(super) fn proposal_answered(&mut self, client: usize, number: u64, outcome: Result<Output, Refusal>) {
        let Some(call) = self.call_of(client, number) else { return };
        let answered = match outcome {
            Ok(Output::Kv(response)) => {
                let revision = Revision(response.revision);
                match (response.result, call) {
                    (Ok(OpResponse::Txn { succeeded: false, .. }), _) => Outcome::NotEqual { revision },
                    (Ok(_), _) => Outcome::Written { revision },
                    (Err(_), What::Compact(_)) => Outcome::Failed,
                    (Err(refusal), What::Call(_)) => {
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
        self.finish(client, number, answered);
    }

    pub(super) fn read_answered(
        &mut self,
        client: usize,
        number: u64,
        view: &View,
        outcome: Result<(), Refusal>,
    ) {
        let Some(key) = self
            .clients
            .all
            .get(client)
            .and_then(|client| client.open.as_ref())
            .filter(|open| open.number == number)
            .map(|open| open.key)
        else {
            return;
        };
        if let Err(refusal) = outcome {
            let answered = refused(&refusal);
            self.finish(client, number, answered);
            return;
        }
        let stored = read(view, key);
        if let Some(seen) = self.clients.seen.get_mut(key) {
            *seen = stored.map(|stored| stored.value);
        }
        let revision = view.revision();
        self.finish(client, number, Outcome::Read { stored, revision });
    }

    fn call_of(&self, client: usize, number: u64) -> Option<What> {
        let open = self.clients.all.get(client)?.open.as_ref()?;
        (open.number == number).then_some(open.what)
    }

    /// Nobody will say what became of the call.
    pub(super) fn call_lost(&mut self, client: usize, number: u64) {
        self.finish(client, number, Outcome::Unknown);
    }

    fn finish(&mut self, client: usize, number: u64, outcome: Outcome) {
        let now = self.now;
        let Some(this) = self.clients.all.get_mut(client) else { return };
        let Some(open) = this.open.take_if(|open| open.number == number) else { return };
        let pause = this.pause;
        if !matches!(outcome, Outcome::Written { .. } | Outcome::Read { .. } | Outcome::NotEqual { .. }) {
            this.pod = self.clients.random.below(self.pods.len().max(1)) as u8;
        } else {
            self.clients.done += 1;
        }
        if let What::Call(call) = open.what {
            let key = KeyId(open.key as u32);
            let (invoked, returned) = (open.invoked, now);
            self.clients.history.push(Operation {
                client: client as u32,
                key,
                call,
                outcome,
                invoked,
                returned,
            });
        }
        let number = open.number;
        self.tell(
            None,
            || format!("client {client}: {:?} on k{} → {outcome:?}", open.what, open.key),
            number,
        );
        let delay = self.clients.random.within(MS, pause);
        self.after(delay, Happening::Client(client));
    }
}

impl Clients {
    fn next_what(&mut self, key: usize) -> What {
        let mut value = || {
            self.next_value += 1;
            ValueId(self.next_value)
        };
        match self.random.below(20) {
            0..=7 => What::Call(Call::Put(value())),
            8..=14 => What::Call(Call::Get),
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
