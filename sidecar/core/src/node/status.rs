//! What the node tells of itself.
//!
//! May import: `status`, `node`. Deliberately absent: rendering.

use raft::StateRole;

use super::Node;
use crate::status::{Glance, MemberStatus, NodeStatus, ProgressStatus, Role};
use crate::types::{Index, MemberId};

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
        let now = self.leadership.ticks;
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
            leaderless_ticks: self.leadership.leaderless_since.map_or(0, |since| now - since),
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
