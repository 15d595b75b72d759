//! Streams between members: dialled, shaken hands on, broken; and the network under them.
//!
//! One stream from each member to each peer, kept by the one that sends. Its handshake is judged by the code that ships
//! ([`outrigger_member::admission`]). Messages on it may be late, lost, doubled or out of order when the nemesis says so,
//! which is more than a TCP connection can do.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_core::effects::Outgoing;
use outrigger_core::event::Event;
use outrigger_core::types::{MemberId, Term};
use outrigger_member::admission::{self, Called, Claim, Refused};

use super::end::Ending;
use super::event::{At, Happening, Input};
use super::process::{Life, Process};
use super::{MS, SECOND, Time, World};
use crate::schedule::WHOLE;

/// A peer that says nothing for so long is taken for gone by the stream.
const KEEPALIVE: Time = 10 * SECOND;
const BACKOFF_FIRST: Time = 20 * MS;
const BACKOFF_LONGEST: Time = SECOND;

/// Where the clients are, for the network: on a host of their own, behind those of the pods.
pub(super) const CLIENTS: u8 = 7;
/// Where the operator is.
pub(super) const OPERATOR: u8 = 8;
/// How many hosts there are, pods' and others.
pub(super) const HOSTS: u8 = 9;

#[derive(Debug, Default)]
pub(super) struct Links {
    /// By sender and peer.
    streams: BTreeMap<(At, MemberId), Stream>,
    /// Pods between which nothing passes, in this direction.
    pub(super) cut: BTreeMap<(u8, u8), (Time, &'static str)>,
    pub(super) lossy: Lossy,
    /// Until when, and how much later at most.
    pub(super) slow: (Time, Time),
}

/// In so many of 1000, until then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lossy {
    pub(super) until: Time,
    pub(super) drop: u32,
    pub(super) duplicate: u32,
    pub(super) late: u32,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    open: Option<Open>,
    failures: u32,
    /// The term in which the peer led when its stream broke.
    led: Option<Term>,
    last_nonce: u64,
    is_dialling: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    to: At,
    /// Nothing on it overtakes what went before.
    last_arrival: Time,
    /// Since when nothing got through.
    silent_since: Option<Time>,
}

impl World {
    /// A message's way from pod to pod.
    pub(super) fn latency(&mut self) -> Time {
        let usual = self.network.within(100, 2 * MS);
        if self.links.slow.0 > self.now {
            self.feel("slow network", WHOLE);
            usual + self.network.within(0, self.links.slow.1 + 1)
        } else {
            usual
        }
    }

    pub(super) fn passes(&self, from: u8, to: u8) -> bool {
        self.links.cut.get(&(from, to)).is_none_or(|(until, _)| *until <= self.now)
    }

    /// The same, for something that is on its way: what cuts it off is felt.
    fn gets_through(&mut self, from: u8, to: u8) -> bool {
        match self.links.cut.get(&(from, to)) {
            Some(&(until, fault)) if until > self.now => {
                self.feel(fault, WHOLE);
                false
            }
            Some(_) | None => true,
        }
    }

    /// Whether a call, or the answer to one, gets through: on a connection of its own, which what is lost breaks.
    pub(super) fn call_passes(&mut self, from: u8, to: u8) -> bool {
        let lossy = self.links.lossy;
        let is_lost = lossy.until > self.now && self.network.chance(lossy.drop);
        if is_lost {
            self.feel("lossy network", WHOLE);
        }
        self.gets_through(from, to) && !is_lost
    }

    /// Dials who is new or has moved, hangs up on who is gone.
    pub(super) fn set_routes(&mut self, process: &mut Process) {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return };
        let (version, routes) = running.node.routes();
        running.routes_version = version;
        let wanted: BTreeSet<MemberId> = routes.iter().map(|route| route.id).collect();
        let known = std::mem::take(&mut running.routes);
        for gone in known.keys().filter(|id| !wanted.contains(id)) {
            self.links.streams.remove(&(at, *gone));
        }
        for route in &routes {
            let moved = known.get(&route.id).is_none_or(|known| known.address != route.address);
            if moved {
                self.links.streams.insert((at, route.id), Stream { is_dialling: true, ..Stream::default() });
                self.after(0, Happening::Process(at, Input::Dial { peer: route.id }));
            }
        }
        running.routes = routes.into_iter().map(|route| (route.id, route)).collect();
    }

    /// Queues a message. `false`: it was dropped, and raft is to be told.
    pub(super) fn send(&mut self, process: &Process, message: Outgoing) -> bool {
        let Some(own) = process.running().map(|running| running.own.id) else { return false };
        let delay = self.latency();
        let key = (process.at, message.to);
        let Some(Open { to, mut last_arrival, mut silent_since }) =
            self.links.streams.get(&key).and_then(|stream| stream.open)
        else {
            return false;
        };
        let passes = self.gets_through(process.at.pod, to.pod);
        let lossy = Some(self.links.lossy).filter(|lossy| lossy.until > self.now);
        let is_lost = !passes || lossy.is_some_and(|lossy| self.network.chance(lossy.drop));
        let is_late = lossy.is_some_and(|lossy| self.network.chance(lossy.late));
        let twice = lossy.is_some_and(|lossy| self.network.chance(lossy.duplicate));
        if passes && (is_lost || is_late || twice) {
            self.feel("lossy network", WHOLE);
        }
        if passes {
            silent_since = None;
        } else if silent_since.is_none() {
            silent_since = Some(self.now);
            let input = Input::StreamBroke { peer: message.to, other: to };
            self.after(KEEPALIVE, Happening::Process(process.at, input));
        }
        let mut arrival = self.now + delay;
        if is_late {
            arrival += self.network.within(0, 400 * MS);
        } else {
            arrival = arrival.max(last_arrival);
            last_arrival = arrival;
        }
        if let Some(stream) = self.links.streams.get_mut(&key) {
            stream.open = Some(Open { to, last_arrival, silent_since });
        }
        if twice {
            let again = arrival + self.network.within(0, 300 * MS);
            let input = Input::Message { from: own, bytes: message.bytes.clone() };
            self.at(again, Happening::Process(to, input));
        }
        self.taken.take(to, own, &message.bytes);
        if !is_lost {
            self.at(arrival, Happening::Process(to, Input::Message { from: own, bytes: message.bytes }));
        }
        true
    }

    /// One attempt to reach a peer.
    pub(super) fn dial(&mut self, process: &mut Process, peer: MemberId) -> Ending {
        let at = process.at;
        let Life::Member(running) = &process.life else { return Ending::GoesOn };
        let (own, cluster) = (running.own.clone(), running.cluster);
        let Some(route) = running.routes.get(&peer).cloned() else { return Ending::GoesOn };
        let key = (at, peer);
        match self.links.streams.get_mut(&key) {
            Some(stream) if stream.open.is_none() => stream.is_dialling = false,
            Some(_) | None => return Ending::GoesOn,
        }
        let target =
            self.resolve(&route.address).filter(|pod| self.passes(at.pod, *pod) && self.passes(*pod, at.pod));
        let other = target.and_then(|pod| self.process(pod)).filter(|other| self.answers(other));
        let Some((to, answer)) =
            other.map(|other| (other.at, shake_hands(other, Claim { cluster, from: own.id, to: peer })))
        else {
            // A live host without a process refuses at once: then a leader that was there is gone.
            let refused = target.is_some_and(|pod| self.process(pod).is_none());
            return self.dial_failed(process, peer, refused);
        };
        match answer {
            Ok((met, nonce)) => {
                let stream = self.links.streams.entry(key).or_default();
                let led = stream.led.take().filter(|_| stream.last_nonce != nonce);
                let open = Open { to, last_arrival: self.now, silent_since: None };
                *stream = Stream { open: Some(open), last_nonce: nonce, ..Stream::default() };
                let delay = self.latency();
                self.after(delay, Happening::Process(to, Input::Met(Box::new(own.clone()))));
                // Whoever dials is up: whoever waits to dial it need not wait longer.
                self.poke(to, own.id);
                let mut events = vec![Event::Handshake(met)];
                events.extend(led.map(|term| Event::LeaderGone { term }));
                self.node_events(process, events)
            }
            Err(Refused::Removed) => Ending::Removed,
            Err(Refused::WrongTarget) => {
                self.coverage.note("wrong target refused");
                self.dial_failed(process, peer, false)
            }
            Err(Refused::WrongCluster | Refused::ImpossibleSender | Refused::BeingRemoved) => {
                self.dial_failed(process, peer, false)
            }
        }
    }

    /// A stopped process accepts no handshake in time.
    fn answers(&self, other: &Process) -> bool {
        self.pod(other.at.pod).is_some_and(|pod| pod.paused_until <= self.now)
            && matches!(other.life, Life::Member(_))
    }

    fn dial_failed(&mut self, process: &mut Process, peer: MemberId, refused: bool) -> Ending {
        let at = process.at;
        let stream = self.links.streams.entry((at, peer)).or_default();
        let wait = (BACKOFF_FIRST << stream.failures.min(10)).min(BACKOFF_LONGEST);
        stream.failures += 1;
        stream.is_dialling = true;
        let led = if refused { stream.led.take() } else { None };
        let jitter = self.network.within(0, wait / 4 + 1);
        self.after(wait - jitter, Happening::Process(at, Input::Dial { peer }));
        let mut events: Vec<Event> = led.map(|term| Event::LeaderGone { term }).into_iter().collect();
        events.push(Event::Unreachable { peer });
        self.node_events(process, events)
    }

    fn poke(&mut self, at: At, peer: MemberId) {
        let waits = self
            .links
            .streams
            .get_mut(&(at, peer))
            .filter(|stream| stream.open.is_none() && stream.is_dialling);
        if let Some(stream) = waits {
            stream.failures = 0;
            self.after(MS, Happening::Process(at, Input::Dial { peer }));
        }
    }

    /// This process notices that its stream to a peer is gone.
    pub(super) fn stream_broke(&mut self, process: &mut Process, peer: MemberId, other: At) -> Ending {
        let at = process.at;
        let Life::Member(running) = &process.life else { return Ending::GoesOn };
        let glance = running.node.glance();
        let Some(stream) = self.links.streams.get_mut(&(at, peer)) else { return Ending::GoesOn };
        let Some(open) = stream.open.filter(|open| open.to == other) else { return Ending::GoesOn };
        let is_alive = self.is_live(other);
        if is_alive && open.silent_since.is_none_or(|since| since + KEEPALIVE > self.now) {
            return Ending::GoesOn;
        }
        let Some(stream) = self.links.streams.get_mut(&(at, peer)) else { return Ending::GoesOn };
        stream.open = None;
        stream.led = (glance.leader == Some(peer)).then_some(glance.term);
        stream.is_dialling = true;
        self.after(MS, Happening::Process(at, Input::Dial { peer }));
        self.node_event(process, Event::Unreachable { peer })
    }

    /// A process is gone: whoever had a stream to it hears of it, if anything passes.
    pub(super) fn streams_break(&mut self, gone: At) {
        self.links.streams.retain(|(sender, _), _| *sender != gone);
        let broken: Vec<(At, MemberId)> = self
            .links
            .streams
            .iter()
            .filter(|(_, stream)| stream.open.is_some_and(|open| open.to == gone))
            .map(|(key, _)| *key)
            .collect();
        for (sender, peer) in broken {
            let delay = if self.passes(gone.pod, sender.pod) { self.latency() } else { KEEPALIVE };
            self.after(delay, Happening::Process(sender, Input::StreamBroke { peer, other: gone }));
        }
    }
}

/// What the called member answers.
fn shake_hands(other: &Process, claim: Claim) -> Result<(outrigger_core::membership::Route, u64), Refused> {
    let Some(running) = other.running() else { return Err(Refused::WrongTarget) };
    let status = running.node.status();
    let called = Called {
        cluster: running.cluster,
        member: running.own.id,
        tombstones: &status.tombstones,
        removal_settled: status.removal_settled,
    };
    admission::judge(&called, &claim)?;
    Ok((running.own.clone(), other.nonce))
}
