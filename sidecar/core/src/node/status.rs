//! What the node tells of itself.
//!
//! May import: `status`, `node`. Deliberately absent: rendering.

use raft::StateRole;

use super::Node;
use crate::log::ConfState;
use crate::status::{Glance, MemberStatus, NodeStatus, ProgressStatus, Role};
use crate::types::{Index, MemberId, Term};

impl Node {
    /// The facts whose change is worth a new status between two ticks; O(1).
    #[must_use]
    pub fn glance(&self) -> Glance {
        Glance {
            role: self.role(),
            term: self.term(),
            leader: self.leader(),
            formed: self.membership.formed,
            configuration_index: self.membership.configuration_index,
            durable_configuration_index: self.durability.durable_configuration,
            routes: self.overlay_version + self.membership.configuration_index.0,
            draining: self.leadership.draining,
        }
    }

    /// One consistent set of facts; O(members).
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        NodeStatus {
            cluster: self.config.cluster,
            member: self.config.own.id,
            role: self.role(),
            term: self.term(),
            leader: self.leader(),
            commit: Index(log.committed),
            applied: self.applying.applied,
            last: Index(log.last_index()),
            first: self.raw.store().first(),
            snapshot: self.raw.store().snapshot_header().map_or(Index(0), |header| header.index),
            formed: self.membership.formed,
            configuration_index: self.membership.configuration_index,
            durable_configuration_index: self.durability.durable_configuration,
            conf_state: (*self.conf_state).clone(),
            members: self.members(),
            roster: self.membership.roster_entries(),
            tombstones: self.membership.tombstones.iter().copied().collect(),
            metadata: self.membership.metadata.clone(),
            leaderless_ticks: self.leaderless_ticks(),
            campaigns: self.leadership.campaigns,
            leader_changes: self.leadership.changes,
            refused_messages: self.refused_messages,
            pending_proposals: self.proposals.len(),
            pending_reads: self.reads.len(),
            removal_settled: self.is_leader() && self.is_settled(),
            draining: self.leadership.draining,
            shortage: self.limits.shortage,
            removed: self.removed,
        }
    }

    /// First index of the log, the snapshot's, published, known to be committed, last: in this order, and O(1).
    #[must_use]
    pub fn indexes(&self) -> (Index, Index, Index, Index, Index) {
        let (log, store) = (&self.raw.raft.raft_log, self.raw.store());
        let snapshot = store.snapshot_header().map_or(Index(0), |header| header.index);
        (store.first(), snapshot, self.applying.applied, Index(log.committed), Index(log.last_index()))
    }

    /// The configuration, as it is applied.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// Ticks since a leader was last known; 0 while there is one.
    #[must_use]
    pub fn leaderless_ticks(&self) -> u64 {
        self.leadership.leaderless_since.map_or(0, |since| self.leadership.ticks - since)
    }

    /// The term of an entry of this member's log, or of the entry that its snapshot ends with; `None` for any other index.
    #[must_use]
    pub fn log_term(&self, index: Index) -> Option<Term> {
        self.raw.raft.raft_log.term(index.0).ok().filter(|term| *term > 0).map(Term)
    }

    fn role(&self) -> Role {
        let own = self.config.own.id;
        match self.raw.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if self.conf_state.learners.contains(&own) => Role::Learner,
            StateRole::Follower => Role::Follower,
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        let conf = &self.conf_state;
        let members = self.membership.routes.values().map(|route| MemberStatus {
            voter: conf.is_voter(route.id),
            learner: conf.learners.contains(&route.id) || conf.learners_next.contains(&route.id),
            progress: self.progress(route.id),
            route: route.clone(),
        });
        members.collect()
    }

    fn progress(&self, id: MemberId) -> Option<ProgressStatus> {
        if !self.is_leader() {
            return None;
        }
        let progress = self.raw.raft.prs().get(id.0)?;
        let own = id == self.config.own.id;
        let now = self.leadership.ticks;
        let heard = self.leadership.last_heard.get(&id).map(|at| now - at);
        let reported = self.leadership.reports.get(&id).copied().unwrap_or_default();
        Some(ProgressStatus {
            matched: Index(progress.matched),
            committed: Index(progress.committed_index),
            last_contact_ticks: if own { Some(0) } else { heard },
            configuration_index: if own { self.durability.durable_configuration } else { reported },
            disk_full: if own { self.limits.shortage.disk } else { self.limits.full_peers.contains(&id) },
            draining: if own {
                self.leadership.draining
            } else {
                self.leadership.draining_peers.contains(&id)
            },
        })
    }
}
