//! From the node's status to the gauges, at a scrape.
//!
//! May import: core's status, `inbox`'s published view, `member`. Deliberately absent: anything on the hot path.

use outrigger_core::status::{MemberStatus, NodeStatus, Role, Shortage};
use prometheus_client::metrics::gauge::Gauge;

use super::{Metrics, Two, clamp, store};
use crate::member::Standing;
use crate::publication::Summary;

/// What a scrape looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// This member's name.
    pub name: &'a str,
    /// This member's software version.
    pub version: &'a str,
    /// Ticks of silence after which a peer no longer counts as active: the election timeout's.
    pub active_ticks: u64,
    /// The process.
    pub standing: &'a Standing,
    /// The node, if one runs.
    pub node: Option<&'a NodeStatus>,
    /// The key space's quota, in bytes.
    pub quota_bytes: u64,
    /// What is published, if anything is.
    pub published: Option<Summary>,
}

const ROLES: [Role; 4] = [Role::Follower, Role::Candidate, Role::Leader, Role::Learner];

/// The role as labels and JSON have it.
pub(crate) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
    }
}

impl Metrics {
    pub(super) fn refresh(&self, facts: &Facts<'_>) {
        self.process.refresh(self.started.elapsed());
        self.raft.info.clear();
        self.raft
            .info
            .get_or_create(&[
                ("cluster_id", format!("{:016x}", facts.standing.cluster.0)),
                ("member_id", format!("{:016x}", facts.standing.member.0)),
                ("name", facts.name.to_owned()),
                ("version", facts.version.to_owned()),
            ])
            .set(1);
        self.raft.kv_quota.set(clamp(facts.quota_bytes));
        if let Some(node) = facts.node {
            self.refresh_raft(node);
            self.refresh_peers(node, facts.active_ticks);
        }
        if let Some(published) = facts.published {
            let raft = &self.raft;
            raft.revision.set(published.revision.0);
            raft.compacted_revision.set(published.compacted_revision.0);
            raft.keys.set(i64::try_from(published.keys).unwrap_or(i64::MAX));
            raft.kv_bytes.set(clamp(published.size_bytes));
        }
    }

    fn refresh_raft(&self, node: &NodeStatus) {
        let raft = &self.raft;
        raft.has_leader.set(i64::from(node.leader.is_some()));
        raft.is_leader.set(i64::from(node.role == Role::Leader));
        for role in ROLES {
            let gauge = raft.role.get_or_create_owned(&[("role", role_word(role).to_owned())]);
            gauge.set(i64::from(role == node.role));
        }
        raft.leader.clear();
        if let Some(leader) = node.leader {
            let known = node.members.iter().find(|member| member.route.id == leader);
            let name = known.map_or("", |member| member.route.name.as_str()).to_owned();
            raft.leader.get_or_create(&[("id", format!("{:016x}", leader.0)), ("name", name)]).set(1);
        }
        raft.term.set(clamp(node.term.0));
        store(&raft.elections, node.campaigns);
        store(&raft.leader_changes, node.leader_changes);
        store(&raft.refused_messages, node.refused_messages);
        raft.commit.set(clamp(node.commit.0));
        raft.applied.set(clamp(node.applied.0));
        raft.last.set(clamp(node.last.0));
        raft.first.set(clamp(node.first.0));
        raft.configuration.set(clamp(node.configuration_index.0));
        raft.voters.set(i64::try_from(node.conf_state.voters.len()).unwrap_or(i64::MAX));
        raft.learners.set(i64::try_from(node.conf_state.learners.len()).unwrap_or(i64::MAX));
        raft.formed.set(i64::from(node.formed));
        raft.pending_proposals.set(i64::try_from(node.pending_proposals).unwrap_or(i64::MAX));
        raft.pending_reads.set(i64::try_from(node.pending_reads).unwrap_or(i64::MAX));
        let Shortage { disk, quota, log } = node.shortage;
        for (cause, stands) in [("disk", disk), ("log", log), ("quota", quota)] {
            raft.no_space.get_or_create_owned(&[("cause", cause.to_owned())]).set(i64::from(stands));
        }
    }

    /// Peers come and go: the families are cleared, so that a removed one does not stand there for ever.
    fn refresh_peers(&self, node: &NodeStatus, active_ticks: u64) {
        let raft = &self.raft;
        raft.peer_lag.clear();
        raft.peer_match.clear();
        raft.peer_active.clear();
        raft.peer_send_failures.clear();
        for member in node.members.iter().filter(|member| member.route.id != node.member) {
            let labels = peer_labels(member);
            let failures = self.peers.of(member.route.id);
            store(&raft.peer_send_failures.get_or_create_owned(&labels), failures.count);
            if let Some(progress) = member.progress {
                let set = |gauge: Gauge, value: i64| gauge.set(value);
                let lag = node.commit.0.saturating_sub(progress.matched.0);
                set(raft.peer_lag.get_or_create_owned(&labels), clamp(lag));
                set(raft.peer_match.get_or_create_owned(&labels), clamp(progress.matched.0));
                let active = progress.last_contact_ticks.is_some_and(|ticks| ticks <= active_ticks);
                set(raft.peer_active.get_or_create_owned(&labels), i64::from(active));
            }
        }
    }
}

fn peer_labels(member: &MemberStatus) -> Two {
    [("peer_id", format!("{:016x}", member.route.id.0)), ("peer", member.route.name.clone())]
}
