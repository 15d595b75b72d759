//! What peers send: validated before it is stepped, for a forged or stale message panics raft-rs; and the forwarding of
//! proposals, reads and requests, which does not use raft-rs's own.
//!
//! May import: `wire`, raft's message types, `node`. Deliberately absent: identity checks of the stream (transport did
//! those: cluster id, target id, the sender's id).

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{Message, MessageType};

use crate::convert;
use crate::effects::MessageClass;
use crate::error::Refusal;
use crate::node::Node;
use crate::node::proposals::{Attempt, Bounds, Refused};
use crate::node::reads::Origin;
use crate::snapshot::SnapshotHeader;
use crate::types::{Index, MemberId, ProposalId, Term};
use crate::wire::{self, ForwardRefusedWire, FromPeer, Payload, PeerOp, ReadResultWire, RemovedWire};

/// Proposals that a follower forwarded, to be proposed at the next flush.
#[derive(Debug)]
pub(crate) struct ForeignProposals {
    pub(crate) from: MemberId,
    pub(crate) attempt: Attempt,
    pub(crate) entries: Vec<Bytes>,
}

/// What is handed over at once at most, in bytes, if it is not a single proposal: a forward that is larger than a peer takes
/// in would break the stream, with all else that is on it; and a piece that the log has no room for is refused alone.
const MAX_PIECE_BYTES: usize = 1 << 20;
/// What a leader was sent and has not answered at most: less than what may wait for the way to it.
const MAX_FORWARDED_BYTES: usize = 24 << 20;
/// Forwarded proposals in one flush at most; beyond it they are refused with `TooManyRequests`.
const MAX_FOREIGN: usize = 16_384;

/// The class for transport's queues: only a heartbeat without a read's context may be superseded by a newer one.
pub(crate) fn class_of(message: &Message) -> MessageClass {
    let heartbeat =
        matches!(message.get_msg_type(), MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse);
    if heartbeat && message.context.is_empty() { MessageClass::Heartbeat } else { MessageClass::Raft }
}

impl Node {
    pub(super) fn peer_message(&mut self, from: MemberId, bytes: &Bytes) {
        if self.membership.tombstones.contains(&from) {
            self.tell_removed(from);
            return;
        }
        // Garbage of an admitted peer: a newer version's, or a fault on its side. Nothing of it can be used.
        let Some((envelope, message)) = wire::decode_peer(bytes) else {
            self.refused_messages += 1;
            return;
        };
        if !self.note_boot(from, envelope.from) {
            return;
        }
        match message {
            FromPeer::Raft(message) => self.step(from, *message, envelope.to_nonce == self.config.nonce),
            FromPeer::Core(op) => self.core_message(from, *op),
        }
    }

    /// A removed member is told so by a leader, and only when a majority of the voters has the removal durable: what it
    /// does then (moving its data aside) cannot be undone.
    fn tell_removed(&mut self, id: MemberId) {
        if self.is_leader() && self.is_settled() {
            self.send(id, PeerOp::Removed(RemovedWire { id: id.0 }));
        }
    }

    /// `is_for_this_boot`: the sender knew that it speaks to this boot, and not to one before it.
    fn step(&mut self, from: MemberId, mut message: Message, is_for_this_boot: bool) {
        let last = self.raw.raft.raft_log.last_index();
        if message.get_msg_type() == MessageType::MsgHeartbeat && (!is_for_this_boot || message.commit > last)
        {
            // Its commit index says what an earlier boot had: this one's log may be shorter (raft-rs panics), or may
            // hold other entries there. That the leader lives is true all the same, and the answer tells it who is here.
            message.commit = 0;
        }
        let kind = message.get_msg_type();
        let of_follower = matches!(kind, MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse);
        if of_follower && message.commit > last {
            // More committed than the leader has is a lie, or this leader's disk lost it. The member must be written to
            // all the same, for only so does it find out (`divergence`).
            self.refused_messages += 1;
            message.commit = 0;
        }
        if !self.is_acceptable(from, &message) {
            self.refused_messages += 1;
            return;
        }
        let of_leader =
            matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
        if of_leader && message.term >= self.raw.raft.term {
            // A leader lives: whoever was about to campaign need not.
            self.leadership.gone = None;
        }
        self.leadership.last_heard.insert(from, self.leadership.ticks);
        if kind == MessageType::MsgAppend && self.contradicts(from, &message) {
            self.refused_messages += 1;
            return;
        }
        if kind == MessageType::MsgAppend && !self.limits.takes_in(&message.entries) {
            // As if it were lost: it comes again when there is room.
            return;
        }
        #[cfg(feature = "mutants")]
        if matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
            && outrigger_mutants::is_alive(outrigger_mutants::Mutant::VoteUnchecked)
        {
            // raft-rs compares the candidate's log with the own one, and finds it to be no worse.
            message.index = message.index.max(last);
            message.log_term = message.log_term.max(self.raw.raft.raft_log.last_term());
        }
        #[cfg(feature = "mutants")]
        if kind == MessageType::MsgAppend
            && message.index <= last
            && outrigger_mutants::is_alive(outrigger_mutants::Mutant::AppendUnchecked)
            && let Ok(held) = self.raw.raft.raft_log.term(message.index)
        {
            // raft-rs compares the entry before those that are sent with the one that is held, and finds them to be one.
            message.log_term = held;
        }
        // The error is that the sender has no progress here any more, or that a proposal was dropped (there are none
        // among peers' messages): nothing to be done about either.
        let _stepped = self.raw.step(message);
        self.leader_may_have_changed();
    }

    /// See consensus.md, "Who may speak" and "Validate every message before step".
    fn is_acceptable(&mut self, from: MemberId, message: &Message) -> bool {
        if message.to != self.config.own.id.0 || message.from != from.0 || message.term == 0 {
            return false;
        }
        let last = self.raw.raft.raft_log.last_index();
        if message.term == self.raw.raft.term && self.speaks_as_second_leader(from, message) {
            return false;
        }
        match message.get_msg_type() {
            MessageType::MsgAppend => is_acceptable_append(message),
            // Its commit index was dealt with before.
            MessageType::MsgHeartbeat => true,
            MessageType::MsgSnapshot => self.is_acceptable_snapshot(message),
            MessageType::MsgAppendResponse => {
                // Nobody here asks for a snapshot: raft-rs would make one at whatever index this says.
                let asks = message.request_snapshot != 0;
                !asks && message.index <= last && message.reject_hint <= last
            }
            // Its commit index was dealt with before.
            MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse => true,
            MessageType::MsgTimeoutNow => !self.leadership.draining && self.may_campaign(),
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgPropose
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum
            | MessageType::MsgTransferLeader
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp => false,
        }
    }

    /// A term has one leader. Whoever else says what only a leader says would be followed by raft-rs, or end the term.
    fn speaks_as_second_leader(&self, from: MemberId, message: &Message) -> bool {
        let leader = self.leader();
        match message.get_msg_type() {
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot => {
                leader.is_some_and(|leader| leader != from)
            }
            MessageType::MsgTimeoutNow => leader != Some(from),
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgPropose
            | MessageType::MsgAppendResponse
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum
            | MessageType::MsgTransferLeader
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse => false,
        }
    }

    fn is_acceptable_snapshot(&self, message: &Message) -> bool {
        let Some(metadata) = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref()) else {
            return false;
        };
        let Some(conf_state) = &metadata.conf_state else { return false };
        let data = message.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.data);
        let Ok(header) = SnapshotHeader::decode(data) else { return false };
        header.cluster == self.config.cluster
            && header.index == Index(metadata.index)
            && header.term == Term(metadata.term)
            && header.conf_state == convert::conf_state_from_raft(conf_state)
            // The file is on this disk, and says the same: what it says is read at the next start, and a member must not have
            // another membership then, nor other windows.
            && self.applying.received.as_ref() == Some(&header)
    }

    fn core_message(&mut self, from: MemberId, op: PeerOp) {
        match op {
            PeerOp::Forward(wire::ForwardWire { term, entries, attempt: number }) => {
                // raft-rs panics on a proposal without entries.
                if !entries.is_empty() && self.boots.is_new_forward(from, number) {
                    self.forwarded(from, Attempt { term: Term(term), number }, entries);
                }
            }
            PeerOp::ForwardRefused(wire) => self.forward_refused(&wire),
            PeerOp::Read(wire::ReadWire { batch }) => self.forwarded_read(from, batch),
            PeerOp::ReadResult(ReadResultWire { batch, index, refusal }) => {
                // Accepted only when asked for: the batch's number is this boot's and under way, its leader the sender.
                if self.leader() == Some(from) && !self.is_leader() {
                    let outcome = refusal.map_or(Ok(Index(index)), |r| Err(wire::refusal_from_wire(&r)));
                    let verdicts = self.reads.answered(batch, &outcome);
                    self.tell_readers(verdicts);
                    let verdicts = self.reads.applied(self.applying.applied);
                    self.tell_readers(verdicts);
                }
            }
            PeerOp::Admin(wire) => self.admin_forwarded(from, wire),
            PeerOp::AdminResult(wire) => self.admin_result(from, wire),
            PeerOp::Report(report) => {
                self.leadership.reports.insert(from, Index(report.durable_configuration_index));
                self.peer_disk(from, report.disk_full);
                self.peer_drains(from, report.draining);
            }
            PeerOp::Removed(RemovedWire { id }) => {
                if MemberId(id) == self.config.own.id {
                    self.become_removed();
                }
            }
            PeerOp::Announce(route) => {
                if route.id == from.0 && self.is_leader() {
                    self.propose_announce(route);
                }
            }
        }
    }

    fn forward_refused(&mut self, wire: &ForwardRefusedWire) {
        let attempt = Attempt { term: Term(wire.term), number: wire.attempt };
        let refused = Refused { nonce: wire.nonce, attempt, sequences: &wire.sequences };
        for (id, refusal) in self.proposals.refused(refused, &wire::refusal_from_wire(&wire.refusal)) {
            self.reply_proposal(id, refusal);
        }
    }

    fn forwarded(&mut self, from: MemberId, attempt: Attempt, entries: Vec<Bytes>) {
        let foreign = ForeignProposals { from, attempt, entries };
        let limit_bytes = self.config.max_command_bytes + wire::COMMAND_HEADER;
        if let Some(data) = foreign.entries.iter().find(|data| data.len() > limit_bytes) {
            let refusal = Refusal::TooLarge { size_bytes: data.len(), limit_bytes };
            self.refuse_foreign(&foreign, &refusal);
            return;
        }
        let waiting: usize = self.foreign.iter().map(|foreign| foreign.entries.len()).sum();
        if waiting + foreign.entries.len() > MAX_FOREIGN {
            self.refuse_foreign(&foreign, &Refusal::TooManyRequests);
            return;
        }
        let foreign = self.admit_foreign(foreign);
        if !foreign.entries.is_empty() {
            self.foreign.push(foreign);
        }
    }

    pub(super) fn refuse_foreign(&mut self, foreign: &ForeignProposals, refusal: &Refusal) {
        let ids: Vec<ProposalId> =
            foreign.entries.iter().filter_map(|data| id_of(foreign.from, data)).collect();
        // A forward is of one boot, and its proposals say of which.
        let Some(nonce) = ids.first().map(|id| id.nonce) else { return };
        let refused = ForwardRefusedWire {
            sequences: ids.iter().map(|id| id.sequence).collect(),
            refusal: wire::refusal_to_wire(refusal),
            term: foreign.attempt.term.0,
            nonce,
            attempt: foreign.attempt.number,
        };
        self.send(foreign.from, PeerOp::ForwardRefused(refused));
    }

    fn forwarded_read(&mut self, from: MemberId, batch: u64) {
        let refusal = if self.is_leader() {
            self.reads.insert(Origin::Remote { from, batch }).err()
        } else {
            Some(Refusal::LeaderChanged)
        };
        if let Some(refusal) = refusal {
            let refusal = Some(wire::refusal_to_wire(&refusal));
            self.send(from, PeerOp::ReadResult(ReadResultWire { batch, index: 0, refusal }));
        }
    }

    /// Hands what waits to the leader: into the log as one message with many entries, or to the peer that leads.
    pub(super) fn pump_proposals(&mut self) {
        if !self.proposals.has_queued() && self.foreign.is_empty() {
            return;
        }
        let term = self.term();
        let foreign = std::mem::take(&mut self.foreign);
        if !self.is_leader() {
            for foreign in &foreign {
                self.refuse_foreign(foreign, &Refusal::LeaderChanged);
            }
            let Some(leader) = self.leader() else { return };
            let bounds = Bounds { piece_bytes: MAX_PIECE_BYTES, window_bytes: MAX_FORWARDED_BYTES };
            while let Some((attempt, entries)) = self.proposals.take_queued(term, bounds) {
                let attempt = attempt.number;
                self.send(leader, PeerOp::Forward(wire::ForwardWire { term: term.0, entries, attempt }));
            }
            return;
        }
        for foreign in foreign {
            let own = foreign.entries.iter().all(|data| id_of(foreign.from, data).is_some());
            if foreign.attempt.term != term || !own {
                self.refuse_foreign(&foreign, &Refusal::LeaderChanged);
            } else if let Err(refusal) = self.append(&foreign.entries) {
                self.refuse_foreign(&foreign, &refusal);
            }
        }
        let bounds = Bounds { piece_bytes: MAX_PIECE_BYTES, window_bytes: usize::MAX };
        while let Some((attempt, own)) = self.proposals.take_queued(term, bounds) {
            let Err(refusal) = self.append(&own) else { continue };
            let id = self.config.own.id;
            let ids: Vec<ProposalId> = own.iter().filter_map(|data| id_of(id, data)).collect();
            let sequences: Vec<u64> = ids.iter().map(|id| id.sequence).collect();
            let nonce = ids.first().map_or(0, |id| id.nonce);
            let refused = Refused { nonce, attempt, sequences: &sequences };
            for (id, refusal) in self.proposals.refused(refused, &refusal) {
                self.reply_proposal(id, refusal);
            }
        }
    }

    fn append(&mut self, entries: &[Bytes]) -> Result<(), Refusal> {
        let mut message = Message { from: self.config.own.id.0, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.entries = entries
            .iter()
            .map(|data| raft::eraftpb::Entry { data: data.to_vec(), ..raft::eraftpb::Entry::default() })
            .collect();
        match self.raw.raft.step(message) {
            Ok(()) => {
                self.broadcast_commit = self.raw.raft.raft_log.committed;
                Ok(())
            }
            Err(_) if self.raw.raft.lead_transferee.is_some() => Err(Refusal::LeaderChanged),
            Err(_) => Err(Refusal::TooManyRequests),
        }
    }
}

/// Whether the entries follow each other, and the one before them.
fn is_acceptable_append(message: &Message) -> bool {
    let mut at = message.index;
    let mut term = message.log_term;
    // Only the log's very beginning has term 0. raft-rs takes every index beyond its own log to have it, so that an append
    // there with term 0 would seem to fit on.
    if (at == 0) != (term == 0) || term > message.term {
        return false;
    }
    for entry in &message.entries {
        let ordered = entry.term >= term.max(1) && entry.term <= message.term;
        if !ordered || at.checked_add(1) != Some(entry.index) {
            return false;
        }
        (at, term) = (entry.index, entry.term);
    }
    true
}

/// The id of a forwarded proposal, if it is one of that member.
fn id_of(member: MemberId, data: &Bytes) -> Option<ProposalId> {
    match wire::decode_payload(data) {
        Some(Payload::Command { id, .. }) if id.member == member => Some(id),
        Some(Payload::Command { .. } | Payload::Membership(_) | Payload::Empty) | None => None,
    }
}

/// The context of a ReadIndex: the batch's number.
pub(super) fn read_context(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

pub(super) fn read_number(context: &[u8]) -> Option<u64> {
    context.try_into().ok().map(u64::from_le_bytes)
}

/// An encoded conf change.
pub(super) fn encode_change(change: &raft::eraftpb::ConfChangeV2) -> Vec<u8> {
    change.encode_to_vec()
}
