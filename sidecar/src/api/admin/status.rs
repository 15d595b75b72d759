//! `Admin.Status`: everything that a member knows of itself and of the others, in every phase.
//!
//! May import: core's status, the wire. Deliberately absent: asking anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_core::status::{MemberStatus, NodeStatus, Role};
use outrigger_proto::v1;

use super::AdminDoor;
use crate::api::Identity;
use crate::member::{Phase, Standing};
use crate::metrics::PeerFailures;

pub(super) fn response(door: &AdminDoor) -> v1::StatusResponse {
    let standing = door.member.standing();
    let node = door.member.node();
    let mut response = of_process(&door.identity, &standing);
    response.wal_bytes = door.metrics.wal_bytes();
    if let Some(node) = node {
        let status = node.status();
        if let Some(published) = node.summary() {
            response.revision = published.revision.0;
            response.db_size_bytes = i64::try_from(published.size_bytes).unwrap_or(i64::MAX);
        }
        let failures = status.members.iter().map(|member| member.route.id);
        let failures = failures.map(|id| (id.0, door.metrics.peer_failures(id))).collect();
        of_node(&mut response, &door.identity, &status, &failures);
    }
    response
}

fn of_process(identity: &Identity, standing: &Standing) -> v1::StatusResponse {
    v1::StatusResponse {
        phase: phase(standing.phase).into(),
        cluster_id: standing.cluster.0,
        member_id: standing.member.0,
        name: identity.name.clone(),
        version: identity.version.clone(),
        abandoned: standing.abandoned.iter().map(|id| id.0).collect(),
        waiting_for: standing.waiting_for.clone(),
        fault: standing.fault.clone(),
        boot_nonce: standing.boot_nonce,
        address: identity.peer_address.clone(),
        ..v1::StatusResponse::default()
    }
}

/// Fills in what a running node adds.
fn of_node(
    response: &mut v1::StatusResponse,
    identity: &Identity,
    status: &NodeStatus,
    failures: &BTreeMap<u64, PeerFailures>,
) {
    response.role = role(status.role).into();
    response.term = status.term.0;
    response.leader_id = status.leader.map_or(0, |id| id.0);
    response.commit_index = status.commit.0;
    response.applied_index = status.applied.0;
    response.last_index = status.last.0;
    response.formed = status.formed;
    response.configuration_index = status.configuration_index.0;
    response.conf_state = Some(v1::ConfState {
        voters: ids(&status.conf_state.voters),
        learners: ids(&status.conf_state.learners),
        voters_outgoing: ids(&status.conf_state.voters_outgoing),
        learners_next: ids(&status.conf_state.learners_next),
    });
    let none = PeerFailures::default();
    response.members = status
        .members
        .iter()
        .map(|known| member(identity, status, known, failures.get(&known.route.id.0).unwrap_or(&none)))
        .collect();
    let roster = status.roster.iter();
    response.roster =
        roster.map(|entry| v1::RosterEntry { name: entry.name.clone(), learner: entry.learner }).collect();
    response.tombstones = ids(&status.tombstones);
    response.snapshot_index = status.snapshot.0;
    response.leaderless_ms = signed(identity.ticks_to_ms(status.leaderless_ticks));
    response.durable_configuration_index = status.durable_configuration_index.0;
    response.draining = status.draining;
    response.configurations = configurations(status);
}

fn member(
    identity: &Identity,
    status: &NodeStatus,
    known: &MemberStatus,
    failures: &PeerFailures,
) -> v1::Member {
    let route = &known.route;
    let own = route.id == status.member;
    // The leader is in its own log as far as the log goes, and has always just heard from itself.
    let leads = status.role == Role::Leader;
    let progress = known.progress;
    let matched =
        if own && leads { status.last.0 } else { progress.map_or(0, |progress| progress.matched.0) };
    let contact_ticks = if own && leads { Some(0) } else { progress.and_then(|it| it.last_contact_ticks) };
    let (last_send_error, age) = failures.last.clone().unwrap_or((String::new(), Duration::ZERO));
    v1::Member {
        id: route.id.0,
        name: route.name.clone(),
        address: route.address.clone(),
        voter: known.voter,
        learner: known.learner,
        version: route.version.clone(),
        client_url: route.client_url.clone(),
        match_index: matched,
        lag: if leads { status.commit.0.saturating_sub(matched) } else { 0 },
        last_contact_ms: contact_ticks.map_or(-1, |ticks| signed(identity.ticks_to_ms(ticks))),
        active: contact_ticks.is_some_and(|ticks| ticks <= u64::from(identity.election_ticks)),
        send_failures: failures.count,
        last_send_error,
        last_send_error_ms_ago: i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
    }
}

/// Which configuration every member has applied, as the leader heard it; its own it knows.
fn configurations(status: &NodeStatus) -> Vec<v1::MemberConfiguration> {
    if status.role != Role::Leader {
        return Vec::new();
    }
    let reported = status.members.iter().filter_map(|member| {
        let index = if member.route.id == status.member {
            status.configuration_index
        } else {
            member.progress?.configuration_index
        };
        Some(v1::MemberConfiguration { member_id: member.route.id.0, configuration_index: index.0 })
    });
    reported.collect()
}

pub(crate) fn phase(phase: Phase) -> v1::Phase {
    match phase {
        Phase::Empty => v1::Phase::Empty,
        Phase::Joining => v1::Phase::Joining,
        Phase::Member => v1::Phase::Member,
        Phase::Removed => v1::Phase::Removed,
        Phase::Faulted => v1::Phase::Faulted,
    }
}

pub(crate) fn role(role: Role) -> v1::Role {
    match role {
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
        Role::Leader => v1::Role::Leader,
        Role::Learner => v1::Role::Learner,
    }
}

fn ids(members: &[outrigger_core::types::MemberId]) -> Vec<u64> {
    members.iter().map(|id| id.0).collect()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
