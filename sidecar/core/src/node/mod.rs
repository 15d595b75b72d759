//! The node: owns raft-rs's `RawNode` and everything that decides.
//!
//! [`Node::handle`] only mutates, [`Node::flush`] turns all that was handled since into at most one Ready's worth of
//! effects. `peer` takes in what others send, `admin` what people and the operator want, `elections` time and leadership,
//! `ready` turns a Ready into effects, `status` tells of it.
//!
//! May import: everything in core. Deliberately absent: clocks, IO, randomness; applying to the state machine (the
//! applier runs beside).

mod admin;
mod boots;
pub(crate) mod committed;
mod divergence;
mod elections;
mod limits;
mod parts;
mod peer;
mod pieces;
pub(crate) mod proposals;
pub(crate) mod reads;
mod ready;
mod status;
mod steer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use raft::{RawNode, ReadOnlyOption, StateRole};

use parts::{Applying, Durability, Leadership};

use crate::applier::Applied;
use crate::effects::{Effects, MessageClass, Outgoing, Reply};
use crate::error::{Fatal, Refusal};
use crate::event::Event;
use crate::log::{ConfState, HardState};
use crate::log_view::LogView;
use crate::membership::{Membership, Route};
use crate::types::{ClusterId, Index, MemberId, ProposalId, ReadId, Term};
use crate::wire::{self, PeerOp};

/// Entries of one append at most, in bytes.
const MAX_APPEND_BYTES: u64 = 1 << 20;
/// Appends to one peer that await their answer at most.
const MAX_INFLIGHT_APPENDS: usize = 256;
/// Uncommitted entries at most, in bytes; beyond it proposals are refused.
const MAX_UNCOMMITTED_BYTES: u64 = 64 << 20;
/// Committed entries of one Ready at most, in bytes: what one flush hands to the applier.
const MAX_COMMITTED_BYTES: u64 = 8 << 20;

/// What a node needs to be told once.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// This member: id, name, address, address version, software version.
    pub own: Route,
    /// Drawn anew at each start, never 0: requests of an earlier boot must not be taken for this one's.
    pub nonce: u64,
    /// Counted durably, one more at each start: orders the boots for the peers.
    pub boot: u64,
    /// Ticks of silence until an election; one tick is one heartbeat interval.
    pub election_ticks: u32,
    /// Proposals, and reads, that may be pending before `TooManyRequests`.
    pub max_pending: usize,
    /// Largest command in bytes.
    pub max_command_bytes: usize,
    /// A snapshot is taken when the entries since the last one weigh more than max(this, the last one's size).
    pub snapshot_every_bytes: u64,
    /// Entries kept below a snapshot for followers that are slightly late, in bytes.
    pub trailing_bytes: usize,
}

/// What recovery hands over.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) log: LogView,
    pub(crate) hard_state: HardState,
    pub(crate) applied: Index,
    pub(crate) membership: Membership,
    pub(crate) conf_state: ConfState,
}

/// The consensus node. See the module.
pub struct Node {
    raw: RawNode<LogView>,
    config: NodeConfig,
    membership: Arc<Membership>,
    conf_state: Arc<ConfState>,
    overlay: BTreeMap<MemberId, Route>,
    overlay_version: u64,
    durability: Durability,
    leadership: Leadership,
    applying: Applying,
    proposals: proposals::Proposals,
    foreign: Vec<peer::ForeignProposals>,
    boots: boots::Boots,
    reads: reads::Reads,
    admin: admin::Admin,
    limits: limits::Limits,
    suspicion: Option<divergence::Suspicion>,
    /// The last membership change that was put into the log.
    change_index: Index,
    broadcast_commit: u64,
    removed: bool,
    refused_messages: u64,
    out: Effects,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("own", &self.config.own).finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn start(config: NodeConfig, start: Start) -> Result<Self, Fatal> {
        let Start { log, hard_state, applied, membership, conf_state } = start;
        let raft_config = raft::Config {
            id: config.own.id.0,
            election_tick: config.election_ticks as usize,
            heartbeat_tick: 1,
            applied: applied.0,
            max_size_per_msg: MAX_APPEND_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_APPENDS,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            // The node broadcasts a new commit index itself, once a flush, unless entries carry it anyway.
            skip_bcast_commit: true,
            batch_append: true,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_COMMITTED_BYTES,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut raw = RawNode::new(&raft_config, log, &logger)?;
        let durability = Durability {
            newest: hard_state,
            newest_written: hard_state,
            durable_state: hard_state,
            durable_configuration: membership.configuration_index,
            ..Durability::default()
        };
        let leadership =
            Leadership { term: hard_state.term, leaderless_since: Some(0), ..Leadership::default() };
        let applying = Applying { handed: applied, applied, ..Applying::default() };
        if raw.raft.promotable() && raw.raft.prs().is_singleton() {
            // Nobody else could lead: there is no silence to wait for.
            raw.campaign()?;
        }
        let mut this = Self {
            raw,
            proposals: proposals::Proposals::new(config.max_pending),
            reads: reads::Reads::new(config.max_pending, config.nonce),
            admin: admin::Admin::new(config.nonce),
            config,
            membership: Arc::new(membership),
            conf_state: Arc::new(conf_state),
            overlay: BTreeMap::new(),
            overlay_version: 1,
            durability,
            leadership,
            applying,
            foreign: Vec::new(),
            boots: boots::Boots::default(),
            limits: limits::Limits::default(),
            suspicion: None,
            change_index: Index(0),
            broadcast_commit: 0,
            removed: false,
            refused_messages: 0,
            out: Effects::default(),
        };
        this.campaign_soon();
        Ok(this)
    }

    /// Takes note of what happened. Only mutates: nothing leaves before [`Node::flush`].
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Tick => self.tick(),
            Event::Peer { from, bytes } => self.peer_message(from, &bytes),
            Event::Propose { id, command, deadline_ticks } => self.propose(id, &command, deadline_ticks),
            Event::Read { id, deadline_ticks } => self.read(id, deadline_ticks),
            Event::Admin { id, request, deadline_ticks } => self.admin_local(id, request, deadline_ticks),
            Event::Persisted { batch } => self.persisted(batch),
            Event::Applied(applied) => self.applied(applied),
            Event::Fetched { fetch, entries } => self.fetched(fetch, entries),
            Event::SnapshotTaken { header, size_bytes } => self.snapshot_taken(header, size_bytes),
            Event::SnapshotReceived { header } => self.applying.received = Some(header),
            Event::SnapshotSent { to, delivery } => self.snapshot_sent(to, delivery),
            Event::Unreachable { peer } => self.raw.report_unreachable(peer.0),
            Event::LeaderGone { term } => self.leader_gone(term),
            Event::CampaignDue { term } => self.campaign_due(term),
            Event::Handshake(route) => self.handshake(route),
            Event::OwnAddress(route) => self.config.own = route,
            Event::Drain => self.drain(),
            Event::Shortage(shortage) => self.shortage(shortage),
            Event::SnapshotDue => self.limits.snapshot_due = true,
        }
    }

    /// Turns all that was handled since the last call into at most one Ready's worth of work.
    ///
    /// # Errors
    /// [`Fatal`]: the process must end and rebuild from its disk.
    pub fn flush(&mut self) -> Result<Effects, Fatal> {
        if !self.removed {
            self.judge_suspicion()?;
            self.pump_proposals();
            self.pump_reads();
            self.pump_admin();
            self.broadcast_commit();
            self.take_ready()?;
            self.want_snapshot();
            self.force_commit();
        }
        self.out.fetch.extend(self.raw.store().take_fetches());
        self.limits.flushed();
        self.out.removed = self.removed;
        self.out.more = !self.removed && self.raw.has_ready();
        Ok(std::mem::take(&mut self.out))
    }

    /// The replicated membership as it is applied.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// How peers are dialled now: the log's map overlaid by newer handshakes. The counter grows with each change.
    #[must_use]
    pub fn routes(&self) -> (u64, Vec<Route>) {
        let mut routes = self.membership.routes.clone();
        for (id, route) in &self.overlay {
            let newer = routes.get(id).is_none_or(|known| route.address_version > known.address_version);
            if newer {
                routes.insert(*id, route.clone());
            }
        }
        routes.remove(&self.config.own.id);
        (self.overlay_version + self.membership.configuration_index.0, routes.into_values().collect())
    }

    fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn leader(&self) -> Option<MemberId> {
        (self.raw.raft.leader_id != 0).then_some(MemberId(self.raw.raft.leader_id))
    }

    fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    fn send(&mut self, to: MemberId, op: PeerOp) {
        let bytes = wire::encode_core(&self.envelope(to), op);
        self.out.messages.push(Outgoing { to, class: MessageClass::Forward, bytes });
    }

    fn reply_proposal(&mut self, id: ProposalId, refusal: Refusal) {
        self.out.replies.push(Reply::Proposal { id, outcome: Err(refusal) });
    }

    fn propose(&mut self, id: ProposalId, command: &[u8], deadline_ticks: u32) {
        let (size_bytes, limit_bytes) = (command.len(), self.config.max_command_bytes);
        let refusal = if size_bytes > limit_bytes {
            Refusal::TooLarge { size_bytes, limit_bytes }
        } else if let Some(refusal) = self.unserved().or_else(|| self.refuses(command)) {
            refusal
        } else {
            let deadline = self.leadership.ticks + u64::from(deadline_ticks);
            match self.proposals.insert(id, wire::encode_command(id, command), deadline) {
                Ok(()) => return,
                Err(refusal) => refusal,
            }
        };
        self.reply_proposal(id, refusal);
    }

    fn read(&mut self, id: ReadId, deadline_ticks: u32) {
        let deadline = self.leadership.ticks + u64::from(deadline_ticks);
        let outcome = match self.unserved() {
            Some(refusal) => Err(refusal),
            None => self.reads.insert(reads::Origin::Local { id, deadline }),
        };
        if let Err(refusal) = outcome {
            self.out.replies.push(Reply::Read { id, outcome: Err(refusal) });
        }
    }

    /// Why no client is served now, if so: answered at once, not by a timeout.
    fn unserved(&self) -> Option<Refusal> {
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::ServedBeforeFormed) {
            return None;
        }
        if self.removed {
            Some(Refusal::Stopped)
        } else if !self.membership.formed {
            Some(Refusal::NotFormed)
        } else if self.leader().is_none() {
            Some(Refusal::NoLeader)
        } else {
            None
        }
    }

    fn applied(&mut self, applied: Applied) {
        let Applied { epoch, index, results } = applied;
        if epoch != self.applying.epoch {
            return;
        }
        self.applying.applied = self.applying.applied.max(index);
        self.limits.applied(index);
        for (id, output) in results {
            #[cfg(feature = "mutants")]
            let id = self.proposals.confused(id);
            if id.member == self.config.own.id && self.proposals.answered(id) {
                self.out.replies.push(Reply::Proposal { id, outcome: Ok(output) });
            }
        }
        if let Some((term, start)) = self.applying.term_start
            && start <= index
        {
            self.applying.term_start = None;
            self.proposals.term_applied(term);
        }
        let verdicts = self.reads.applied(self.applying.applied);
        self.tell_readers(verdicts);
    }

    fn tell_readers(&mut self, verdicts: Vec<reads::Verdict>) {
        for verdict in verdicts {
            match verdict {
                reads::Verdict::Local(id, outcome) => self.out.replies.push(Reply::Read { id, outcome }),
                reads::Verdict::Remote { to, batch, outcome } => {
                    let (index, refusal) = match outcome {
                        Ok(index) => (index.0, None),
                        Err(refusal) => (0, Some(wire::refusal_to_wire(&refusal))),
                    };
                    self.send(to, PeerOp::ReadResult(wire::ReadResultWire { batch, index, refusal }));
                }
            }
        }
    }

    fn handshake(&mut self, route: Route) {
        if route.id == self.config.own.id {
            return;
        }
        // Whoever met this boot must hear of it from this node too: a leader starts over with a follower that restarted.
        self.report_to(route.id);
        let newer = self.overlay.get(&route.id).is_none_or(|known| *known != route);
        if newer {
            self.overlay.insert(route.id, route);
            self.overlay_version += 1;
        }
        // Ids of strangers and of the removed come and go; only the newest few matter.
        while self.overlay.len() > 64 {
            let stale = self.overlay.keys().find(|id| !self.conf_state.contains(**id)).copied();
            match stale {
                Some(id) => self.overlay.remove(&id),
                None => break,
            };
        }
    }
}
