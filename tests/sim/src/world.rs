//! The simulated world: pods with disks, a network, clients, an operator and a nemesis, over one heap of events.
//!
//! Everything that decides is the code that ships: core's node, applier and state machine, storage's log and snapshot files,
//! the member's founding and recovery, the operator's plan. What is here stands for what the sidecar does on a runtime:
//! carry events in and effects out (`process`, `turn`), keep streams (`streams`), start and stop processes (`pods`).
//!
//! Time is microseconds; one event at a time; chance only from [`Random`] streams of the seed. So a schedule has one run.
//!
//! May import: everything of ours that is synchronous. Deliberately absent: threads, clocks, tokio.

mod calls;
mod clients;
pub(crate) mod diary;
mod empty;
mod end;
mod event;
mod forge;
mod liveness;
mod losses;
mod nemesis;
mod operator;
mod pods;
mod process;
mod report;
mod sight;
mod snapshots;
mod streams;
mod turn;
mod writes;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use outrigger_core::log::ConfState;
use outrigger_core::types::{ClusterId, Index, MemberId, Term};

use crate::coverage::Coverage;
use crate::history::{self, Operation};
use crate::invariants::{self, Invariant};
use crate::observation::Observation;
use crate::random::Random;
use crate::schedule::Schedule;

use event::{At, Happening, Scheduled};
pub use forge::Forged;

/// Simulated microseconds since the start.
pub type Time = u64;

/// A millisecond.
pub const MS: Time = 1_000;
/// A second.
pub const SECOND: Time = 1_000 * MS;

/// The heartbeat interval, which is a tick: the sidecar's default.
pub(crate) const TICK: Time = 100 * MS;
/// Ticks of an election timeout: the default.
pub(crate) const ELECTION_TICKS: u32 = 10;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The schedule that was run.
    pub schedule: Schedule,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// Simulated time.
    pub simulated: Time,
    /// Events handled.
    pub events: u64,
    /// Client operations that may have happened, and were judged; not those that were refused.
    pub operations: usize,
    /// What was met.
    pub coverage: Coverage,
    /// A digest of all that happened, every event and message of it, in order.
    pub digest: u64,
    /// All that happened, line by line, if it was asked for.
    pub log: Option<String>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: String,
    /// How.
    pub what: String,
    /// When.
    pub at: Time,
}

/// One run. See the module.
pub struct World {
    schedule: Schedule,
    now: Time,
    queue: BinaryHeap<Scheduled>,
    sequence: u64,
    network: Random,
    chance: Random,
    pods: Vec<pods::Pod>,
    addresses: pods::Addresses,
    links: streams::Links,
    clients: clients::Clients,
    operator: operator::Cluster,
    nemesis: nemesis::Nemesis,
    /// By cluster: one that was given up has terms and indexes of its own. Under 0: what holds across clusters.
    invariants: BTreeMap<ClusterId, Vec<Box<dyn Invariant>>>,
    violation: Option<Violation>,
    coverage: Coverage,
    digest: u64,
    events: u64,
    /// The second that it is, and how much has happened in it.
    second: Time,
    in_second: u64,
    diary: diary::Diary,
    known: Known,
    taken: forge::Taken,
}

/// What the whole world knows, and no member does.
#[derive(Debug, Default)]
struct Known {
    committed: BTreeMap<ClusterId, (Index, Term)>,
    formed: Option<ClusterId>,
    disks: u64,
    incarnations: u32,
    /// By member, the newest configuration that it was seen to have on its disk.
    durable: BTreeMap<MemberId, Index>,
    /// Where somebody's state was seen.
    compared: BTreeSet<(ClusterId, Index)>,
    /// By cluster, the newest configuration that any member has applied, with its index.
    configurations: BTreeMap<ClusterId, (Index, ConfState)>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Hundreds of events are usual: so many are a loop that never ends.
const MOST_IN_A_SECOND: u64 = 1_000_000;

/// Purposes of the streams of chance.
const NETWORK: u64 = 1;
const CHANCE: u64 = 2;

impl World {
    /// A world in which nothing has happened. `log`: keep all that happens as text.
    #[must_use]
    pub fn new(schedule: Schedule, log: bool) -> Self {
        let seed = schedule.seed;
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            network: Random::new(seed, NETWORK),
            chance: Random::new(seed, CHANCE),
            pods: Vec::new(),
            addresses: pods::Addresses::default(),
            links: streams::Links::default(),
            clients: clients::Clients::new(seed, schedule.clients),
            operator: operator::Cluster::new(seed, schedule.replicas),
            nemesis: nemesis::Nemesis::default(),
            invariants: BTreeMap::from([(ClusterId(0), invariants::all())]),
            violation: None,
            coverage: Coverage::default(),
            digest: seed,
            events: 0,
            second: 0,
            in_second: 0,
            diary: diary::Diary::new(log),
            known: Known::default(),
            taken: forge::Taken::default(),
            schedule,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for fault in 0..self.schedule.faults.len() {
            let at = self.schedule.faults.get(fault).map_or(0, |fault| fault.at_ms * MS);
            self.at(at, Happening::Fault(fault));
        }
        self.start_operators();
        self.start_clients();
    }

    /// Runs the schedule to its end: the safety phase, the healing, the liveness phase, the judgement of the history.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        self.run_until(u64::from(self.schedule.seconds) * SECOND);
        self.heal();
        self.check_liveness();
        self.judge();
        Outcome {
            violation: self.violation,
            simulated: self.now,
            events: self.events,
            operations: self
                .clients
                .history
                .iter()
                .filter(|it| it.outcome != history::Outcome::Failed)
                .count(),
            coverage: self.coverage,
            digest: self.digest,
            log: self.diary.into_text(),
            schedule: self.schedule,
        }
    }

    /// Handles everything that happens before `end`, unless a rule is broken first.
    fn run_until(&mut self, end: Time) {
        while self.violation.is_none() {
            match self.queue.peek() {
                Some(next) if next.at < end => {}
                Some(_) | None => break,
            }
            let Some(Scheduled { at, sequence, happening }) = self.queue.pop() else { break };
            (self.now, self.diary.now) = (at, at);
            self.events += 1;
            self.in_second = if at / SECOND == self.second { self.in_second + 1 } else { 0 };
            self.second = at / SECOND;
            if self.in_second > MOST_IN_A_SECOND {
                self.broken("time goes on", format!("{} events in one second", self.in_second));
            }
            self.fold([at, sequence, happening.digest()]);
            self.happen(happening);
        }
        self.now = self.now.max(end);
        self.diary.now = self.now;
    }

    fn at(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        let at = at.max(self.now);
        self.queue.push(Scheduled { at, sequence: self.sequence, happening });
    }

    fn after(&mut self, delay: Time, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Fault(fault) => self.fault(fault),
            Happening::FaultEnds(fault) => self.fault_ends(fault),
            Happening::Client(client) => self.client_acts(client),
            Happening::ClientGivesUp(client, call) => self.call_lost(client, call),
            Happening::ClientCall(client, call) => self.call_arrives(client, call),
            Happening::Operator(operator) => self.operator_acts(operator),
            Happening::Tear(at) => self.tear(at),
            Happening::PodStarts(pod, life) => self.pod_starts(pod, life),
            Happening::Process(at, what) => self.process_event(at, what),
        }
    }

    fn fold(&mut self, parts: [u64; 3]) {
        for part in parts {
            self.digest = (self.digest.rotate_left(7) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    /// Takes a line into the digest, and into the log if there is one.
    fn tell(&mut self, at: Option<At>, what: impl FnOnce() -> String, number: u64) {
        let pod = at.map_or(u64::MAX, |at| u64::from(at.pod) << 32 | u64::from(at.incarnation));
        self.fold([self.now, pod, number]);
        let who = || at.map_or_else(|| "-".to_owned(), |at| format!("orders-{}#{}", at.pod, at.incarnation));
        self.diary.note(who, what);
    }

    /// Tells the invariants of a cluster, and those across clusters what concerns them; the first complaint ends the run.
    fn observe(&mut self, cluster: ClusterId, seen: &Observation) {
        if self.violation.is_some() {
            return;
        }
        let across = match seen {
            Observation::Opened { .. }
            | Observation::Abandoned { .. }
            | Observation::GivesUp { .. }
            | Observation::Closed { .. }
            | Observation::Configured { .. }
            | Observation::Served { .. } => Some(ClusterId(0)),
            Observation::Issued { .. }
            | Observation::Persisted { .. }
            | Observation::Interrupted { .. }
            | Observation::Recovered { .. }
            | Observation::Leads { .. }
            | Observation::Commits { .. }
            | Observation::Handed { .. }
            | Observation::Progress { .. }
            | Observation::State { .. } => None,
        };
        if cluster != ClusterId(0) {
            self.invariants.entry(cluster).or_insert_with(invariants::all);
        }
        let is_told = |of: &ClusterId| *of == cluster || across == Some(*of) || cluster == ClusterId(0);
        let told =
            self.invariants.iter_mut().filter(|(of, _)| is_told(of)).flat_map(|(_, invariants)| invariants);
        for invariant in told {
            if let Err(what) = invariant.observe(seen) {
                let rule = invariant.name().to_owned();
                self.violation = Some(Violation { rule, what, at: self.now });
                return;
            }
        }
    }

    fn broken(&mut self, rule: &str, what: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule: rule.to_owned(), what, at: self.now });
        }
    }

    /// The recorded history, for whoever wants to look at it.
    #[must_use]
    pub fn history(&self) -> &[Operation] {
        &self.clients.history
    }
}
