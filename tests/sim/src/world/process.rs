//! One process: what the sidecar's lifecycle and driver keep, without a runtime.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use outrigger_core::applier::{Applier, ApplyTask};
use outrigger_core::event::Event;
use outrigger_core::log::Batch;
use outrigger_core::membership::Route;
use outrigger_core::mvcc::{KeySpace, View};
use outrigger_core::node::{Node, NodeConfig};
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_core::status::Shortage;
use outrigger_core::types::{AdminId, ClusterId, Index, InstallEpoch, MemberId, ProposalId, ReadId, Term};
use outrigger_member::recovery::{self, Recovered, RecoveryError};
use outrigger_member::snapshots::Snapshots;
use outrigger_storage::identity::DataDir;
use outrigger_storage::{LogReader, WalOptions, Writer};

use super::end::{Ending, boundary};
use super::event::{At, Happening, Input, Stream};
use super::{ELECTION_TICKS, MS, SECOND, Time, World};
use crate::disk::{Counts, SimDisk};
use crate::observation::{LogState, Observation};
use crate::random::Random;

/// Small, so that segments come and go.
pub(super) const SEGMENT_BYTES: u64 = 64 << 10;
/// Small, so that snapshots are taken all the time; in some runs all the more.
const SNAPSHOT_EVERY_BYTES: [u64; 4] = [24 << 10, 96 << 10, 256 << 10, 512 << 10];
const TRAILING_BYTES: usize = 6 << 10;
/// What may be pending: as in the sidecar, and in some runs so little that bursts are refused.
const MAX_PENDING: [usize; 4] = [8_192, 8_192, 64, 8];
/// How large a command may be: as in the sidecar.
const MAX_COMMAND_BYTES: usize = (3 << 19) + (64 << 10);

#[derive(Debug)]
pub(super) struct Process {
    pub(super) at: At,
    pub(super) disk: SimDisk,
    pub(super) dir: DataDir,
    pub(super) nonce: u64,
    /// Of this process: ids that it draws, and how long its work takes.
    pub(super) random: Random,
    pub(super) life: Life,
    /// What came while it was stopped.
    pub(super) held: Vec<Input>,
    pub(super) is_stopping: bool,
    /// It ends between a write of the log and its sync.
    pub(super) is_torn: bool,
    /// What its disk had seen when it started.
    pub(super) counted: Counts,
}

#[derive(Debug)]
pub(super) enum Life {
    /// Looks at its disk.
    Opening,
    /// An empty disk; whether it is waiting to be let in.
    Empty { joining: Option<ClusterId> },
    /// Runs a node.
    Member(Box<Running>),
    /// Halted; says so.
    Faulted { fault: String },
}

/// Who waits for an answer of the node.
#[derive(Debug)]
pub(super) enum AdminCaller {
    /// An empty disk that wants to join.
    Joiner { at: At, cluster: ClusterId },
    /// The operator: it looks again, and waits for no answer's text.
    Operator,
    /// Somebody at a terminal.
    Person,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) node: Node,
    /// What waits for the node's next turn.
    pub(super) inbox: Vec<Event>,
    pub(super) is_turn_due: bool,
    pub(super) own: Route,
    pub(super) cluster: ClusterId,
    pub(super) applier: Applier<KeySpace>,
    pub(super) view: View,
    pub(super) view_index: Index,
    pub(super) reader: LogReader,
    pub(super) snapshots: Snapshots,
    pub(super) writer: Writer,
    pub(super) log: LogQueue,
    pub(super) apply: VecDeque<ApplyTask>,
    pub(super) is_applying: bool,
    /// What the applier has done, on its way to the node.
    pub(super) applied: Vec<Event>,
    pub(super) newest_install: InstallEpoch,
    pub(super) snapshot: Option<(SnapshotHeader, View)>,
    pub(super) incoming: Option<Box<Stream>>,
    pub(super) ids: ProposalId,
    pub(super) last_read: u64,
    pub(super) last_admin: u64,
    /// Client and call, by the proposal's sequence.
    pub(super) proposals: BTreeMap<u64, (usize, u64)>,
    pub(super) reads: BTreeMap<ReadId, (usize, u64)>,
    pub(super) admins: BTreeMap<AdminId, AdminCaller>,
    pub(super) routes: BTreeMap<MemberId, Route>,
    pub(super) routes_version: u64,
    pub(super) told: Told,
    pub(super) space: Space,
}

/// The log's thread: what queued, and what is on its way to the disk.
#[derive(Debug, Default)]
pub(super) struct LogQueue {
    pub(super) queue: Vec<Batch>,
    pub(super) under_way: Vec<Batch>,
    pub(super) is_writing: bool,
    pub(super) release: Option<Index>,
}

/// What observers were told last.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Voters, and those of the outgoing half, when something was last committed.
    pub(super) halves: (Vec<MemberId>, Vec<MemberId>),
    pub(super) leads: Option<Term>,
    pub(super) commit: Index,
    pub(super) configuration: Index,
    pub(super) formed: bool,
    pub(super) joint: bool,
}

/// What the disk has no room for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Space {
    pub(super) told: Shortage,
    pub(super) is_waiting: bool,
    pub(super) room_at_request: u64,
}

impl Running {
    pub(super) fn hand(&mut self, task: ApplyTask) {
        self.newest_install = self.newest_install.max(task.begins().unwrap_or_default());
        self.apply.push_back(task);
    }
}

impl Process {
    pub(super) fn new(at: At, disk: SimDisk, dir: DataDir, nonce: u64, random: Random) -> Self {
        let (life, held, counted) = (Life::Opening, Vec::new(), disk.counts());
        Self { at, disk, dir, nonce, random, life, held, is_stopping: false, is_torn: false, counted }
    }

    pub(super) fn running(&self) -> Option<&Running> {
        match &self.life {
            Life::Member(running) => Some(running),
            Life::Opening | Life::Empty { .. } | Life::Faulted { .. } => None,
        }
    }

    pub(super) fn member(&self) -> MemberId {
        self.dir.identity().member
    }

    pub(super) fn options(&self, cluster: ClusterId) -> WalOptions {
        WalOptions {
            segment_size_bytes: SEGMENT_BYTES,
            must_exist: true,
            ..WalOptions::new(cluster, self.member())
        }
    }
}

impl World {
    /// From what the disk says to what the process does next.
    pub(super) fn live(&mut self, process: &mut Process) -> Ending {
        match process.dir.identity().cluster {
            None => {
                process.life = Life::Empty { joining: None };
                if self.own_route(&mut process.dir, process.at.pod).is_err() {
                    return Ending::Crash(boundary::OPENING);
                }
                let delay = process.random.within(0, 500 * MS);
                self.after(delay, Happening::Process(process.at, Input::Round));
                Ending::GoesOn
            }
            Some(cluster) => self.recover(process, cluster),
        }
    }

    fn recover(&mut self, process: &mut Process, cluster: ClusterId) -> Ending {
        let Ok(own) = self.own_route(&mut process.dir, process.at.pod) else {
            return Ending::Crash(boundary::OPENING);
        };
        let which = (self.schedule.seed % SNAPSHOT_EVERY_BYTES.len() as u64) as usize;
        let snapshot_every_bytes = SNAPSHOT_EVERY_BYTES.get(which).copied().unwrap_or(24 << 10);
        let which = (self.schedule.seed / 4 % MAX_PENDING.len() as u64) as usize;
        let max_pending = MAX_PENDING.get(which).copied().unwrap_or(8_192);
        let config = NodeConfig {
            cluster,
            own: own.clone(),
            nonce: process.nonce,
            boot: process.dir.identity().boot,
            election_ticks: ELECTION_TICKS,
            max_pending,
            max_command_bytes: MAX_COMMAND_BYTES,
            snapshot_every_bytes,
            trailing_bytes: TRAILING_BYTES,
        };
        let options = process.options(cluster);
        match recovery::recover(process.disk.shared(), &super::pods::data_dir(), options, config) {
            Ok(recovered) => self.run_node(process, own, recovered),
            Err(error) if error.is_of_the_disk() => Ending::Crash(boundary::RECOVERY),
            Err(error) => self.faulted(process, &error),
        }
    }

    fn faulted(&mut self, process: &mut Process, error: &RecoveryError) -> Ending {
        let fault = chain(error);
        self.coverage.note("faulted disk");
        self.tell(Some(process.at), || format!("faulted: {fault}"), 1);
        if !self.has_rotten(process.at.pod) {
            self.broken("a crash leaves a log that opens", format!("orders-{}: {fault}", process.at.pod));
        }
        process.life = Life::Faulted { fault };
        Ending::GoesOn
    }

    fn run_node(&mut self, process: &mut Process, own: Route, recovered: Recovered) -> Ending {
        let Recovered { mut node, applier, writer, reader, store, seeds, report, log } = recovered;
        self.coverage.note("recovered from disk");
        self.coverage.add("torn tail", report.torn.len() as u64);
        let entries = entries_of(&log);
        let (first, last) = (log.first_index, log.last_index);
        self.tell(
            Some(process.at),
            || format!("recovered {first}..={last}, term {}", log.hard_state.term),
            last.0,
        );
        let state = LogState { hard_state: log.hard_state, entries, last };
        self.observe(node.status().cluster, &Observation::Recovered { member: own.id, log: state });
        for seed in seeds.into_iter().filter(|seed| seed.id != MemberId(0) && seed.id != own.id) {
            let (id, name, address) = (seed.id, seed.name, seed.address);
            node.handle(Event::Handshake(Route { id, name, address, ..Route::default() }));
        }
        let ids = ProposalId {
            member: own.id,
            boot: process.dir.identity().boot,
            nonce: process.nonce,
            sequence: 0,
        };
        let cluster = node.status().cluster;
        let running = Running {
            own,
            cluster,
            view: applier.view(),
            view_index: applier.applied(),
            applier,
            reader,
            snapshots: Snapshots::new(store),
            writer,
            log: LogQueue::default(),
            apply: VecDeque::new(),
            is_applying: false,
            applied: Vec::new(),
            newest_install: InstallEpoch::default(),
            snapshot: None,
            incoming: None,
            ids,
            last_read: 0,
            last_admin: 0,
            proposals: BTreeMap::new(),
            reads: BTreeMap::new(),
            admins: BTreeMap::new(),
            routes: BTreeMap::new(),
            routes_version: 0,
            inbox: Vec::new(),
            is_turn_due: false,
            told: Told::default(),
            space: Space { room_at_request: u64::MAX, ..Space::default() },
            node,
        };
        self.see_state(&running);
        process.life = Life::Member(Box::new(running));
        self.after(SECOND, Happening::Process(process.at, Input::Search));
        self.turn(process)
    }

    /// Something happens to a process, if it is still there.
    pub(super) fn process_event(&mut self, at: At, input: Input) {
        if !self.is_live(at) {
            self.never_seen(input);
            return;
        }
        let Some(mut process) = self.pod_mut(at.pod).and_then(|pod| pod.process.take()) else { return };
        let paused_until = self.pod(at.pod).map_or(0, |pod| pod.paused_until);
        // What ends a pod's grace is the kubelet's SIGKILL, which no stopped process holds up.
        if paused_until > self.now && !matches!(input, Input::GraceEnds) {
            // Stopped once more before it could go on: it goes on later.
            let is_late = matches!(input, Input::Resumes);
            if process.held.is_empty() || is_late {
                self.at(paused_until, Happening::Process(at, Input::Resumes));
            }
            if !is_late {
                process.held.push(input);
            }
            self.put_back(process, Ending::GoesOn);
            return;
        }
        let ending = self.take_input(&mut process, input);
        self.put_back(process, ending);
    }

    /// What came while the process was stopped is there at once; of the ticks, one. Of two connections either may be read
    /// first: now and then those of all clients are, before a peer's that says who leads by now.
    pub(super) fn resume(&mut self, process: &mut Process) -> Ending {
        let mut held = std::mem::take(&mut process.held);
        if process.random.chance(500) {
            held.sort_by_key(|input| !matches!(input, Input::Call(_)));
            let calls = held.partition_point(|input| matches!(input, Input::Call(_)));
            held.insert(calls, Input::Turn);
        }
        let mut held = held.into_iter();
        while let Some(input) = held.next() {
            let ending = self.take_input(process, input);
            if !matches!(ending, Ending::GoesOn) {
                // Of the process's next life, if it has one (a removed member lives on, and its clock ticks), or of nobody.
                held.for_each(|input| self.after(0, Happening::Process(process.at, input)));
                return ending;
            }
        }
        Ending::GoesOn
    }

    /// How long a sync takes on this pod's disk now.
    pub(super) fn sync_time(&mut self, pod: u8) -> Time {
        let slow = self.pod(pod).map_or((0, 0), |pod| pod.slow_disk);
        let usual = self.chance.within(300, 3 * MS);
        if slow.0 > self.now {
            self.feel("slow disk", pod);
            return usual + self.chance.within(0, slow.1 + 1);
        }
        usual
    }
}

/// Index and term of every entry that the log holds.
fn entries_of(log: &outrigger_core::log::Recovered) -> Vec<(Index, Term)> {
    let mut entries = Vec::new();
    for (place, (start, term)) in log.term_runs.iter().enumerate() {
        let end = log.term_runs.get(place + 1).map_or(log.last_index.next(), |(next, _)| *next);
        entries.extend((start.0..end.0).map(|index| (Index(index), *term)));
    }
    entries
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A digest of some bytes.
pub(super) fn digest(bytes: &Bytes) -> u64 {
    u64::from(crc32c::crc32c(bytes))
}
