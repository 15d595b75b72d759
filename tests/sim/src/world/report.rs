//! What a process reports to the operator: the sidecar's admin status, as the plan reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_core::status::{MemberStatus, NodeStatus, Role};
use outrigger_core::types as core;
use outrigger_plan::facts::{
    Configuration, MemberPhase, Peer, Progress, RaftRole, Report, Roster, RosterRole,
};
use outrigger_plan::ids::{ClusterId, ConfigurationIndex, Index, MemberId, Term};

use super::process::{Life, Process};
use super::{ELECTION_TICKS, TICK, World};

impl World {
    /// The report of a process, or nothing of one that cannot answer.
    pub(super) fn report(&self, pod: u8) -> Option<Report> {
        let there = self.pod(pod)?;
        if let Some((member, fault)) = &there.unreadable {
            let phase = (MemberPhase::Faulted, fault.clone());
            return of_disk(phase, None, *member, &[], self.address_of(pod));
        }
        let process = there.process.as_deref().filter(|_| there.paused_until <= self.now)?;
        let mut report = of_process(process, self.address_of(pod))?;
        if let Life::Member(running) = &process.life {
            of_node(&mut report, &running.node.status());
        }
        Some(report)
    }
}

fn of_process(process: &Process, address: String) -> Option<Report> {
    let identity = process.dir.identity();
    let phase = match &process.life {
        Life::Opening | Life::Empty { joining: None } => (MemberPhase::Empty, String::new()),
        Life::Empty { joining: Some(_) } => (MemberPhase::Joining, String::new()),
        Life::Member(_) => (MemberPhase::Member, String::new()),
        Life::Faulted { fault } => (MemberPhase::Faulted, fault.clone()),
    };
    of_disk(phase, identity.cluster, identity.member, &identity.abandoned, address)
}

fn of_disk(
    (phase, fault): (MemberPhase, String),
    cluster: Option<core::ClusterId>,
    member: core::MemberId,
    abandoned: &[core::ClusterId],
    address: String,
) -> Option<Report> {
    Some(Report {
        phase,
        cluster: cluster.and_then(|cluster| ClusterId::from_wire(cluster.0)),
        member: MemberId::from_wire(member.0)?,
        address,
        version: String::new(),
        role: RaftRole::None,
        term: Term(0),
        leader: None,
        commit: Index(0),
        applied: Index(0),
        formed: false,
        configuration_index: ConfigurationIndex(0),
        durable_configuration_index: ConfigurationIndex(0),
        configuration: Configuration::default(),
        peers: Vec::new(),
        roster: Roster::new(),
        abandoned: abandoned.iter().filter_map(|cluster| ClusterId::from_wire(cluster.0)).collect(),
        draining: false,
        waiting_for: String::new(),
        fault,
    })
}

fn of_node(report: &mut Report, status: &NodeStatus) {
    report.role = match status.role {
        Role::Follower => RaftRole::Follower,
        Role::Candidate => RaftRole::Candidate,
        Role::Leader => RaftRole::Leader,
        Role::Learner => RaftRole::Learner,
    };
    report.term = Term(status.term.0);
    report.leader = status.leader.and_then(|leader| MemberId::from_wire(leader.0));
    report.commit = Index(status.commit.0);
    report.applied = Index(status.applied.0);
    report.formed = status.formed;
    report.configuration_index = ConfigurationIndex(status.configuration_index.0);
    report.durable_configuration_index = ConfigurationIndex(status.durable_configuration_index.0);
    report.configuration = Configuration {
        voters: ids(&status.conf_state.voters),
        learners: ids(&status.conf_state.learners),
        voters_outgoing: ids(&status.conf_state.voters_outgoing),
        learners_next: ids(&status.conf_state.learners_next),
    };
    report.peers = status.members.iter().filter_map(|member| peer(status, member)).collect();
    let roles = status.roster.iter().map(|entry| {
        let role = if entry.learner { RosterRole::Learner } else { RosterRole::Voter };
        (entry.name.clone(), role)
    });
    report.roster = roles.collect();
    report.draining = status.draining;
}

fn peer(status: &NodeStatus, member: &MemberStatus) -> Option<Peer> {
    let leads = status.role == Role::Leader;
    let own = leads && member.route.id == status.member;
    let matched = if own { status.last.0 } else { member.progress.map_or(0, |progress| progress.matched.0) };
    let contact =
        if own { Some(0) } else { member.progress.and_then(|progress| progress.last_contact_ticks) };
    let progress = leads.then(|| Progress {
        matched: Index(matched),
        lag: status.commit.0.saturating_sub(matched),
        last_contact: contact.map(|ticks| Duration::from_micros(ticks * TICK)),
        active: contact.is_some_and(|ticks| ticks <= u64::from(ELECTION_TICKS)),
    });
    Some(Peer {
        id: MemberId::from_wire(member.route.id.0)?,
        name: member.route.name.clone(),
        address: member.route.address.clone(),
        progress,
    })
}

fn ids(members: &[outrigger_core::types::MemberId]) -> BTreeSet<MemberId> {
    members.iter().filter_map(|id| MemberId::from_wire(id.0)).collect()
}
