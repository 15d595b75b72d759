//! One row a pod: what its member is to the cluster, whether it is well, and what it suffers from.

use super::Context;
use crate::cluster::facts::{Answer, Facts, MemberPhase, RaftRole, Report};
use crate::cluster::ids::Ordinal;
use crate::cluster::standing::{CAUGHT_UP_ENTRIES, Standing};
use crate::crd::{Health, Lag, LeaderStatus, MemberRole, MemberStatus};

/// Entries behind from which lag is called large.
const LARGE_LAG_ENTRIES: u64 = 4_096;

pub(super) fn leader(facts: &Facts, leader: &Report, context: Context<'_>) -> LeaderStatus {
    let id = leader.member.to_string();
    let term = i64::try_from(leader.term.0).unwrap_or(i64::MAX);
    let name = facts.reports().find(|(_, report)| report.member == leader.member);
    let before = context.previous.leader.as_ref().filter(|before| before.id == id && before.term == term);
    LeaderStatus {
        name: name.map(|(pod, _)| facts.name.pod(pod)).unwrap_or_default(),
        since: before.and_then(|before| before.since.clone()).or_else(|| Some(context.now.clone())),
        id,
        term,
    }
}

pub(super) fn member(facts: &Facts, pod: Ordinal, leader: Option<&Report>) -> MemberStatus {
    let name = facts.name.pod(pod);
    let Some(report) = facts.report(pod) else {
        let message = facts.pods.get(&pod).and_then(|fact| match &fact.answer {
            Answer::Silent(why) => Some(why.clone()),
            Answer::Report(_) => None,
        });
        let (role, health, lag) = (MemberRole::Unknown, Health::Silent, Lag::Unknown);
        return MemberStatus { name, id: None, role, health, lag, version: None, message };
    };
    let standing = Standing::of(facts, pod, leader);
    MemberStatus {
        name,
        // Where not even the identity can be read, the id is one that was drawn for this start alone.
        id: (report.phase != MemberPhase::Faulted || report.cluster.is_some())
            .then(|| report.member.to_string()),
        role: role(report, leader),
        health: health(report, standing, leader),
        lag: lag(report, standing, leader),
        version: Some(report.version.clone()).filter(|version| !version.is_empty()),
        message: message(report, standing),
    }
}

fn role(report: &Report, leader: Option<&Report>) -> MemberRole {
    match report.phase {
        MemberPhase::Empty | MemberPhase::Joining | MemberPhase::Removed | MemberPhase::Faulted => {
            MemberRole::None
        }
        MemberPhase::Member => match report.role {
            // It leads an older term, and has not heard of the newer one yet.
            RaftRole::Leader if leader.is_some_and(|leader| leader.member != report.member) => {
                MemberRole::Follower
            }
            RaftRole::Leader => MemberRole::Leader,
            RaftRole::Follower => MemberRole::Follower,
            RaftRole::Candidate => MemberRole::Candidate,
            RaftRole::Learner => MemberRole::Learner,
            RaftRole::None => MemberRole::None,
        },
    }
}

fn health(report: &Report, standing: Standing, leader: Option<&Report>) -> Health {
    // One that starts, or that is only being let in, is no wonder: it is on its way.
    let votes = leader.is_some_and(|leader| leader.configuration.voters.contains(&report.member));
    let expected = votes && report.waiting_for.is_empty();
    match report.phase {
        MemberPhase::Empty | MemberPhase::Joining => Health::Waiting,
        MemberPhase::Removed => Health::Removed,
        MemberPhase::Faulted => Health::Faulted,
        MemberPhase::Member => match standing {
            Standing::InStep if report.draining => Health::Draining,
            Standing::InStep => Health::Ready,
            Standing::Unmatched | Standing::Unheard | Standing::Stuck if expected => Health::OutOfStep,
            Standing::Silent
            | Standing::Faulted
            | Standing::Outside
            | Standing::Leaderless
            | Standing::Unmatched
            | Standing::Unheard
            | Standing::Stuck
            | Standing::Behind => Health::CatchingUp,
        },
    }
}

fn lag(report: &Report, standing: Standing, leader: Option<&Report>) -> Lag {
    let Some(leader) = leader.filter(|_| report.phase == MemberPhase::Member) else { return Lag::Unknown };
    let seen = leader.peers.iter().find(|peer| peer.id == report.member).and_then(|peer| peer.progress);
    let applied_behind = leader.commit.0.saturating_sub(report.applied.0);
    let entries = applied_behind.max(seen.map_or(0, |seen| seen.lag));
    match standing {
        // How much of its log counts is what nobody knows.
        Standing::Unmatched => Lag::Unknown,
        Standing::Stuck => lag_bucket(entries.max(CAUGHT_UP_ENTRIES + 1)),
        Standing::InStep
        | Standing::Silent
        | Standing::Faulted
        | Standing::Outside
        | Standing::Leaderless
        | Standing::Unheard
        | Standing::Behind => lag_bucket(entries),
    }
}

/// What it says itself comes first; then what its leader has against it, and that it was drained.
fn message(report: &Report, standing: Standing) -> Option<String> {
    let own = if report.fault.is_empty() { &report.waiting_for } else { &report.fault };
    let seen = match standing {
        Standing::Unmatched | Standing::Unheard | Standing::Stuck if own.is_empty() => standing.to_string(),
        Standing::InStep
        | Standing::Silent
        | Standing::Faulted
        | Standing::Outside
        | Standing::Leaderless
        | Standing::Unmatched
        | Standing::Unheard
        | Standing::Stuck
        | Standing::Behind => String::new(),
    };
    let drained = if report.draining { "drained: never campaigns again in this run" } else { "" };
    let texts = [own.as_str(), seen.as_str(), drained];
    let said: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// How far a member is behind, in steps.
fn lag_bucket(entries: u64) -> Lag {
    if entries <= CAUGHT_UP_ENTRIES {
        Lag::None
    } else if entries <= LARGE_LAG_ENTRIES {
        Lag::Small
    } else {
        Lag::Large
    }
}
/// What the members that answer run, in the order of its text; `None` while nobody answers.
pub(super) fn versions(members: &[MemberStatus]) -> Option<String> {
    let mut versions: Vec<&str> = members.iter().filter_map(|member| member.version.as_deref()).collect();
    versions.sort_unstable();
    versions.dedup();
    (!versions.is_empty()).then(|| versions.join(", "))
}
