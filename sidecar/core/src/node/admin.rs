//! Requests of people and the operator: decided by the leader, correlated by what is *applied*, never by order.
//!
//! May import: `membership::{decide, reconcile}`, `wire`, raft's conf changes. Deliberately absent: the rules themselves.

use std::collections::BTreeMap;

use raft::eraftpb::ConfChangeV2;

use super::Node;
use super::peer::encode_change;
use crate::configuration::add_learner;
use crate::effects::Reply;
use crate::error::{MembershipRefusal, Refusal};
use crate::event::{AdminReply, AdminRequest};
use crate::membership::decide::{self, Decision, Standing};
use crate::types::{AdminId, Index, MemberId};
use crate::wire::{self, AdminResultWire, AdminWire, MembershipCommand, MembershipOp, PeerOp, RouteWire};

/// Requests pending at the most; they are few and slow.
const MAX_PENDING: usize = 256;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Local(AdminId),
    Remote { from: MemberId, request: u64 },
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    Forwarded,
    /// In the log at this index; another entry there means that it was lost.
    Proposed(Index),
    /// The leadership is being moved away from here.
    Transferring,
}

#[derive(Debug)]
struct Pending {
    origin: Origin,
    request: AdminRequest,
    deadline: u64,
    stage: Stage,
}

/// Requests that await their end, by a tag that no earlier boot has used.
#[derive(Debug)]
pub(crate) struct Admin {
    pending: BTreeMap<u64, Pending>,
    next_tag: u64,
}

impl Admin {
    pub(crate) fn new(nonce: u64) -> Self {
        Self { pending: BTreeMap::new(), next_tag: nonce }
    }
}

impl Node {
    pub(super) fn admin_local(&mut self, id: AdminId, request: AdminRequest, deadline_ticks: u32) {
        let deadline = self.leadership.ticks + u64::from(deadline_ticks);
        self.admin_insert(Origin::Local(id), request, deadline);
    }

    pub(super) fn admin_forwarded(&mut self, from: MemberId, wire: AdminWire) {
        let (request, deadline_ticks) = (wire.request, u64::from(wire.deadline_ticks));
        let origin = Origin::Remote { from, request };
        let known = self.admin.pending.values().any(|pending| pending.origin == origin);
        if known {
            return;
        }
        let deadline = self.leadership.ticks + deadline_ticks;
        match wire::admin_from_wire(wire) {
            Some(what) if self.is_leader() => self.admin_insert(origin, what, deadline),
            Some(_) | None => self.admin_answer(origin, Err(Refusal::LeaderChanged)),
        }
    }

    fn admin_insert(&mut self, origin: Origin, request: AdminRequest, deadline: u64) {
        let refusal = if self.removed {
            Refusal::Stopped
        } else if self.admin.pending.len() >= MAX_PENDING {
            Refusal::TooManyRequests
        } else if self.leader().is_none() {
            Refusal::NoLeader
        } else if self.refuses_request(&request) {
            Refusal::NoSpace
        } else {
            self.admin.next_tag = self.admin.next_tag.wrapping_add(1);
            let pending = Pending { origin, request, deadline, stage: Stage::Queued };
            self.admin.pending.insert(self.admin.next_tag, pending);
            return;
        };
        self.admin_answer(origin, Err(refusal));
    }

    fn admin_answer(&mut self, origin: Origin, outcome: Result<AdminReply, Refusal>) {
        match origin {
            Origin::Local(id) => self.out.replies.push(Reply::Admin { id, outcome }),
            Origin::Remote { from, request } => {
                self.send(from, PeerOp::AdminResult(wire::admin_result_to_wire(request, &outcome)));
            }
        }
    }

    fn admin_finish(&mut self, tag: u64, outcome: Result<AdminReply, Refusal>) {
        if let Some(pending) = self.admin.pending.remove(&tag) {
            self.admin_answer(pending.origin, outcome);
        }
    }

    /// A leader's answer to what was forwarded. Accepted only when asked for.
    pub(super) fn admin_result(&mut self, _from: MemberId, wire: AdminResultWire) {
        let tag = wire.request;
        if self.admin.pending.get(&tag).is_some_and(|pending| pending.stage == Stage::Forwarded) {
            self.admin_finish(tag, wire::admin_result_from_wire(wire));
        }
    }

    pub(super) fn admin_tick(&mut self, now: u64) {
        let late: Vec<u64> = self
            .admin
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(tag, _)| *tag)
            .collect();
        for tag in late {
            self.admin_finish(tag, Err(Refusal::Timeout));
        }
        let aborted: Vec<u64> = self
            .admin
            .pending
            .iter()
            .filter(|(_, p)| p.stage == Stage::Transferring && self.raw.raft.lead_transferee.is_none())
            .filter(|_| self.is_leader())
            .map(|(tag, _)| *tag)
            .collect();
        for tag in aborted {
            self.admin_finish(tag, Err(MembershipRefusal::NoTransferee.into()));
        }
    }

    pub(super) fn admin_leader_changed(&mut self) {
        let leader = self.leader();
        let tags: Vec<(u64, Stage, bool)> = self
            .admin
            .pending
            .iter()
            .map(|(tag, p)| (*tag, p.stage, matches!(p.request, AdminRequest::Transfer { .. })))
            .collect();
        for (tag, stage, transfer) in tags {
            match (stage, leader) {
                // Sent to the old leader or begun here: whoever leads next is the answer.
                (Stage::Transferring, Some(id)) if id != self.config.own.id => {
                    self.admin_finish(tag, Ok(AdminReply::Leader { id }));
                }
                (Stage::Forwarded, Some(id)) if transfer => {
                    self.admin_finish(tag, Ok(AdminReply::Leader { id }));
                }
                (Stage::Forwarded, None) if transfer => {}
                (Stage::Queued, None) => self.admin_finish(tag, Err(Refusal::NoLeader)),
                // It may be in the log, and the next leader may commit it: never "failed".
                (Stage::Proposed(_), _) if !self.is_leader() => {
                    self.admin_finish(tag, Err(Refusal::OutcomeUnknown));
                }
                (Stage::Forwarded, _) => self.admin_finish(tag, Err(Refusal::OutcomeUnknown)),
                (Stage::Transferring | Stage::Queued | Stage::Proposed(_), _) => {}
            }
        }
    }

    pub(super) fn admin_stopped(&mut self) {
        for tag in self.admin.pending.keys().copied().collect::<Vec<_>>() {
            self.admin_finish(tag, Err(Refusal::Stopped));
        }
    }

    /// Works off what is queued: decides here, or sends it to the leader.
    pub(super) fn pump_admin(&mut self) {
        let queued: Vec<u64> = self
            .admin
            .pending
            .iter()
            .filter(|(_, pending)| pending.stage == Stage::Queued)
            .map(|(tag, _)| *tag)
            .collect();
        for tag in queued {
            let Some(pending) = self.admin.pending.get_mut(&tag) else { continue };
            if self.raw.raft.state == raft::StateRole::Leader {
                let request = pending.request.clone();
                self.decide(tag, &request);
            } else if self.raw.raft.leader_id != 0 {
                pending.stage = Stage::Forwarded;
                let left = pending.deadline.saturating_sub(self.leadership.ticks);
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                let wire = wire::admin_to_wire(tag, &pending.request, left);
                let leader = MemberId(self.raw.raft.leader_id);
                self.send(leader, PeerOp::Admin(wire));
            }
        }
    }

    fn decide(&mut self, tag: u64, request: &AdminRequest) {
        let liveness = self.liveness();
        let standing = Standing {
            membership: &self.membership,
            conf_state: &self.conf_state,
            liveness: &liveness,
            own: self.config.own.id,
            change_pending: self.change_pending(),
            settled: self.is_settled(),
        };
        let decision = decide::decide(&standing, request);
        match decision {
            Err(refusal) => self.admin_finish(tag, Err(refusal.into())),
            Ok(Decision::AlreadyDone) => {
                let index = self.membership.configuration_index;
                let reply = match request {
                    AdminRequest::Admit { .. } | AdminRequest::Remove { .. } => {
                        AdminReply::Configuration { index }
                    }
                    AdminRequest::Transfer { .. } => AdminReply::Leader { id: self.config.own.id },
                    AdminRequest::Join { .. }
                    | AdminRequest::Form { .. }
                    | AdminRequest::SetMetadata { .. } => AdminReply::Done,
                };
                self.admin_finish(tag, Ok(reply));
            }
            Ok(Decision::AlreadyJoined) => self.admin_finish(tag, Ok(self.joined())),
            Ok(Decision::Propose(op)) => {
                let changes = matches!(op, MembershipOp::Admit(_) | MembershipOp::Form(_));
                let data = wire::encode_membership(&self.tagged(tag, op));
                let proposed = self.raw.propose(Vec::new(), data);
                self.proposed(tag, proposed, changes);
            }
            Ok(Decision::AddLearner(route)) => {
                let change = ConfChangeV2 { changes: vec![add_learner(route.id)], ..ConfChangeV2::default() };
                let context = self.tagged(tag, MembershipOp::Learner(RouteWire::from(&route)));
                let proposed = self.propose_change(context, &change);
                self.proposed(tag, proposed, true);
            }
            Ok(Decision::Transfer(to)) => match to.or_else(|| self.best_voter()) {
                Some(to) if self.leadership.draining_peers.contains(&to) => {
                    let name = self.membership.name_of(to).unwrap_or_default().to_owned();
                    self.admin_finish(tag, Err(MembershipRefusal::TransfereeDrains { name }.into()));
                }
                Some(to) if liveness.is_alive(to) => {
                    self.raw.transfer_leader(to.0);
                    if let Some(pending) = self.admin.pending.get_mut(&tag) {
                        pending.stage = Stage::Transferring;
                    }
                }
                Some(_) | None => self.admin_finish(tag, Err(MembershipRefusal::NoTransferee.into())),
            },
        }
    }

    fn tagged(&self, tag: u64, op: MembershipOp) -> MembershipCommand {
        MembershipCommand { origin: self.config.own.id.0, request: tag, op: Some(op) }
    }

    pub(super) fn propose_change(
        &mut self,
        context: MembershipCommand,
        change: &ConfChangeV2,
    ) -> raft::Result<()> {
        let context = prost::Message::encode_to_vec(&context);
        // Always version 2: `as_v1` would drop the transition.
        let mut message = raft::eraftpb::Message { from: self.config.own.id.0, ..Default::default() };
        message.set_msg_type(raft::eraftpb::MessageType::MsgPropose);
        let mut entry =
            raft::eraftpb::Entry { data: encode_change(change), context, ..raft::eraftpb::Entry::default() };
        entry.set_entry_type(raft::eraftpb::EntryType::EntryConfChangeV2);
        message.entries = vec![entry];
        // raft-rs is a second guard behind `change_pending`: it makes a change an empty entry while one is in flight.
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::ChangeNotAwaited) {
            self.raw.raft.pending_conf_index = 0;
        }
        self.raw.raft.step(message)
    }

    fn proposed(&mut self, tag: u64, proposed: raft::Result<()>, changes: bool) {
        let index = Index(self.raw.raft.raft_log.last_index());
        match proposed {
            Ok(()) => {
                if changes {
                    self.change_index = index;
                }
                if let Some(pending) = self.admin.pending.get_mut(&tag) {
                    pending.stage = Stage::Proposed(index);
                }
            }
            Err(_) => self.admin_finish(tag, Err(Refusal::LeaderChanged)),
        }
    }

    fn joined(&self) -> AdminReply {
        let members = self.membership.routes.values().cloned().collect();
        AdminReply::Joined { cluster: self.membership.cluster, members }
    }

    /// A membership entry is applied, with this verdict: tells who waits for it.
    pub(super) fn membership_applied(
        &mut self,
        index: Index,
        command: MembershipCommand,
        verdict: Result<(), MembershipRefusal>,
    ) {
        if self.membership.configuration_index == index {
            self.durability.configurations.push_back(index);
        }
        self.overlay_version += 1;
        if command.origin != self.config.own.id.0 {
            return;
        }
        let reply = match &command.op {
            Some(MembershipOp::Admit(_)) => AdminReply::Configuration { index },
            Some(MembershipOp::Learner(_)) => self.joined(),
            Some(MembershipOp::Form(_) | MembershipOp::Announce(_) | MembershipOp::Metadata(_)) | None => {
                AdminReply::Done
            }
        };
        self.admin_finish(command.request, verdict.map(|()| reply).map_err(Refusal::from));
    }

    /// The entry at `index` is handed over: what was proposed at or before it and is still unanswered is not in the log.
    pub(super) fn admin_passed(&mut self, index: Index, empty: bool) {
        if self.admin.pending.is_empty() {
            return;
        }
        let lost: Vec<u64> = self
            .admin
            .pending
            .iter()
            .filter(|(_, pending)| matches!(pending.stage, Stage::Proposed(at) if at <= index))
            .map(|(tag, _)| *tag)
            .collect();
        for tag in lost {
            // raft-rs turns a second conf change in flight into an empty entry, and says Ok.
            let refusal = if empty {
                Refusal::from(MembershipRefusal::ConfChangeInProgress)
            } else {
                Refusal::OutcomeUnknown
            };
            self.admin_finish(tag, Err(refusal));
        }
    }
}
