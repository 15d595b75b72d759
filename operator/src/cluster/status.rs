//! From one snapshot of facts and what was decided on it to the whole `status`.
//!
//! Pure: the caller says what time it is and what the status was before. Nothing is carried over from before but times and
//! what only time can tell, so a status never speaks of a mixture of two moments.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts::{Answer, Facts, MemberPhase, RaftRole, Report};
use super::founding::Founding;
use super::ids::{Ordinal, quorum};
use super::plan::{CAUGHT_UP_ENTRIES, Decision, Step, Wait};
use crate::crd::conditions::{self, Verdict};
use crate::crd::{
    Health, Lag, LeaderStatus, MemberRole, MemberStatus, OperationStatus, OperationType, Phase,
    RaftClusterStatus,
};

/// Entries behind from which lag is called large.
const LARGE_LAG_ENTRIES: u64 = 4_096;

/// What the status is made of, beside the facts.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The status before.
    pub previous: &'a RaftClusterStatus,
    /// The generation of the spec that the facts were judged by.
    pub generation: Option<i64>,
    /// What time it is.
    pub now: &'a Time,
}

/// Makes the status.
#[must_use]
pub fn status(facts: &Facts, decision: &Decision, context: Context<'_>) -> RaftClusterStatus {
    let previous = context.previous;
    let leader =
        facts.founding.cluster().and_then(|cluster| facts.leader_of(cluster)).map(|(_, report)| report);
    let counts = Counts::of(facts, leader);
    let phase = phase(facts, decision, &counts);
    let mut status = RaftClusterStatus {
        observed_generation: context.generation,
        cluster_id: match &facts.founding {
            Founding::Latched(cluster) => Some(cluster.to_string()),
            Founding::None | Founding::Permitted(_) | Founding::Abandoning(_) => None,
        },
        founding: facts.founding.to_status(),
        phase: Some(phase),
        replicas: count(facts.pods.len()),
        ready_replicas: count(counts.well),
        voters: count(counts.voters),
        learners: count(counts.learners),
        quorum: count(counts.quorum),
        fault_tolerance: count(counts.well.saturating_sub(counts.quorum)),
        selector: previous.selector.clone(),
        provisioned_storage: previous.provisioned_storage.clone(),
        leader: leader.map(|leader| leader_status(facts, leader, context)),
        members: facts.pods.keys().map(|pod| member(facts, *pod, leader)).collect(),
        operation: operation(facts, decision, &counts, context),
        conditions: previous.conditions.clone(),
    };
    write_conditions(&mut status, decision, &counts, context);
    status
}

/// How far a member is behind, in steps.
#[must_use]
pub fn lag_bucket(entries: u64) -> Lag {
    if entries <= CAUGHT_UP_ENTRIES {
        Lag::None
    } else if entries <= LARGE_LAG_ENTRIES {
        Lag::Small
    } else {
        Lag::Large
    }
}

/// Whether a pod's member is caught up with `leader` and serves.
#[must_use]
pub fn is_well(report: &Report, leader: Option<&Report>) -> bool {
    leader.is_some_and(|leader| {
        report.phase == MemberPhase::Member
            && report.cluster == leader.cluster
            && report.formed
            && leader.configuration.names(report.member)
            && lag_bucket(leader.commit.0.saturating_sub(report.applied.0)) == Lag::None
    })
}

struct Counts {
    voters: usize,
    learners: usize,
    quorum: usize,
    well: usize,
    has_leader: bool,
    /// A pod of the target set answers and is no voter: it is being let in, or back in.
    outside: Option<String>,
}

impl Counts {
    fn of(facts: &Facts, leader: Option<&Report>) -> Self {
        let members = facts.founding.cluster().into_iter().flat_map(|cluster| facts.members_of(cluster));
        let newest = members.map(|(_, report)| report).max_by_key(|report| report.configuration_index);
        let configuration = leader.or(newest).map(|report| &report.configuration);
        let voters = configuration.map_or(0, |found| found.voters.len());
        let well = facts.reports().filter(|(_, report)| {
            is_well(report, leader)
                && configuration.is_some_and(|found| found.voters.contains(&report.member))
        });
        let outside = facts.reports().find(|(pod, report)| {
            pod.0 < facts.replicas
                && !configuration.is_some_and(|found| found.voters.contains(&report.member))
        });
        Self {
            voters,
            learners: configuration.map_or(0, |found| found.learners.len()),
            quorum: if voters == 0 { 0 } else { quorum(voters) },
            well: well.count(),
            has_leader: leader.is_some(),
            outside: outside.map(|(pod, _)| facts.name.pod(pod)),
        }
    }
}

fn phase(facts: &Facts, decision: &Decision, counts: &Counts) -> Phase {
    if facts.paused {
        return Phase::Paused;
    }
    match (&facts.founding, decision) {
        (Founding::None | Founding::Permitted(_) | Founding::Abandoning(_), _) => Phase::Founding,
        (Founding::Latched(_), Decision::Wait(Wait::NoLeader { .. })) => Phase::Electing,
        (Founding::Latched(_), Decision::Wait(Wait::QuorumSilent { .. })) => Phase::QuorumLost,
        (Founding::Latched(_), Decision::Act(Step::Form { .. })) => Phase::Founding,
        (Founding::Latched(_), Decision::Act(_)) => Phase::Reconciling,
        (Founding::Latched(_), Decision::Settled) => Phase::Healthy,
        (Founding::Latched(_), Decision::Wait(wait)) => match wait {
            Wait::ConfigurationChanging
            | Wait::ConfigurationNotDurable { .. }
            | Wait::Joining { .. }
            | Wait::Leaving { .. }
            | Wait::UnknownMember { .. } => Phase::Reconciling,
            Wait::RepairRefused { .. } if !counts.has_leader => Phase::QuorumLost,
            Wait::RestartByHand { .. } | Wait::ForeignCluster { .. } if counts.well == counts.voters => {
                Phase::Healthy
            }
            Wait::Paused
            | Wait::PodsSilent { .. }
            | Wait::NotEmpty { .. }
            | Wait::VolumesCarryCluster { .. }
            | Wait::ConflictingClusters { .. }
            | Wait::UnknownFounder { .. }
            | Wait::FounderAbandoned { .. }
            | Wait::PodFaulted { .. }
            | Wait::Forming { .. }
            | Wait::ForeignCluster { .. }
            | Wait::QuorumSilent { .. }
            | Wait::NoLeader { .. }
            | Wait::ScaleRefused { .. }
            | Wait::MembersUnwell { .. }
            | Wait::RepairLater { .. }
            | Wait::RepairByHand { .. }
            | Wait::RepairRefused { .. }
            | Wait::RestartByHand { .. } => Phase::Degraded,
        },
    }
}

fn leader_status(facts: &Facts, leader: &Report, context: Context<'_>) -> LeaderStatus {
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

fn member(facts: &Facts, pod: Ordinal, leader: Option<&Report>) -> MemberStatus {
    let name = facts.name.pod(pod);
    let Some(report) = facts.report(pod) else {
        let message = facts.pods.get(&pod).and_then(|fact| match &fact.answer {
            Answer::Silent(why) => Some(why.clone()),
            Answer::Report(_) => None,
        });
        let (role, health, lag) = (MemberRole::Unknown, Health::Silent, Lag::Unknown);
        return MemberStatus { name, id: None, role, health, lag, version: None, message };
    };
    let behind = leader.map(|leader| leader.commit.0.saturating_sub(report.applied.0));
    let health = match report.phase {
        MemberPhase::Empty | MemberPhase::Joining => Health::Waiting,
        MemberPhase::Removed => Health::Removed,
        MemberPhase::Faulted => Health::Faulted,
        MemberPhase::Member if is_well(report, leader) => Health::Ready,
        MemberPhase::Member => Health::CatchingUp,
    };
    let text = if report.fault.is_empty() { &report.waiting_for } else { &report.fault };
    MemberStatus {
        name,
        id: Some(report.member.to_string()),
        role: match (report.phase, report.role) {
            (MemberPhase::Member, RaftRole::Leader)
                if leader.is_some_and(|leader| leader.member != report.member) =>
            {
                // It leads an older term, and has not heard of the newer one yet.
                MemberRole::Follower
            }
            (MemberPhase::Member, RaftRole::Leader) => MemberRole::Leader,
            (MemberPhase::Member, RaftRole::Follower) => MemberRole::Follower,
            (MemberPhase::Member, RaftRole::Candidate) => MemberRole::Candidate,
            (MemberPhase::Member, RaftRole::Learner) => MemberRole::Learner,
            (MemberPhase::Member, RaftRole::None)
            | (
                MemberPhase::Empty | MemberPhase::Joining | MemberPhase::Removed | MemberPhase::Faulted,
                RaftRole::None
                | RaftRole::Leader
                | RaftRole::Follower
                | RaftRole::Candidate
                | RaftRole::Learner,
            ) => MemberRole::None,
        },
        health,
        lag: match report.phase {
            MemberPhase::Member => behind.map_or(Lag::Unknown, lag_bucket),
            MemberPhase::Empty | MemberPhase::Joining | MemberPhase::Removed | MemberPhase::Faulted => {
                Lag::Unknown
            }
        },
        version: Some(report.version.clone()).filter(|version| !version.is_empty()),
        message: Some(text.clone()).filter(|text| !text.is_empty()),
    }
}

fn operation(
    facts: &Facts,
    decision: &Decision,
    counts: &Counts,
    context: Context<'_>,
) -> Option<OperationStatus> {
    let scale = if counts.voters < usize::from(facts.replicas) {
        OperationType::ScaleUp
    } else {
        OperationType::ScaleDown
    };
    let (kind, member, step) = match (&facts.founding, decision) {
        (_, Decision::Settled | Decision::Wait(Wait::Paused)) => return None,
        (Founding::Abandoning(_), _) => (OperationType::Abandon, None, text(decision)),
        (Founding::None | Founding::Permitted(_), _) => (OperationType::Found, None, text(decision)),
        (Founding::Latched(_), Decision::Act(step)) => match step {
            Step::SetPods { .. } | Step::Admit { .. } => (scale, None, text(decision)),
            Step::ReplaceVolume { pod } => {
                (OperationType::Repair, Some(facts.name.pod(*pod)), text(decision))
            }
            Step::RestartPod { pod } | Step::Transfer { pod, .. } => {
                (OperationType::Update, Some(facts.name.pod(*pod)), text(decision))
            }
            Step::WriteFounding { .. } | Step::Found { .. } | Step::Form { .. } => {
                (OperationType::Found, None, text(decision))
            }
            Step::Abandon { pod, .. } => (OperationType::Abandon, Some(facts.name.pod(*pod)), text(decision)),
        },
        (Founding::Latched(_), Decision::Wait(wait)) => {
            let changes = matches!(
                wait,
                Wait::ConfigurationChanging
                    | Wait::ConfigurationNotDurable { .. }
                    | Wait::Joining { .. }
                    | Wait::Leaving { .. }
                    | Wait::UnknownMember { .. }
                    | Wait::ScaleRefused { .. }
            );
            let resized = usize::from(facts.replicas) != counts.voters || facts.pods_wanted != facts.replicas;
            match &counts.outside {
                _ if changes && resized => (scale, None, text(decision)),
                // The voters are as many as wanted, and one of them is gone: its pod is let back in under a new id.
                Some(pod) => (OperationType::Repair, Some(pod.clone()), text(decision)),
                None if changes => (scale, None, text(decision)),
                None => return None,
            }
        }
    };
    let before = context.previous.operation.as_ref().filter(|before| before.kind == kind);
    let started_at =
        before.and_then(|before| before.started_at.clone()).or_else(|| Some(context.now.clone()));
    Some(OperationStatus { kind, member, step, started_at })
}

/// What is done or waited for, in words.
#[must_use]
pub fn text(decision: &Decision) -> String {
    match decision {
        Decision::Settled => "everything is as the spec says".to_owned(),
        Decision::Wait(wait) => wait.to_string(),
        Decision::Act(step) => match step {
            Step::SetPods { from, to } => format!("pods: {from} → {to}"),
            Step::WriteFounding { next, .. } => format!("register: {next}"),
            Step::Found { permit, .. } => format!("{} founds cluster {}", permit.founder, permit.cluster),
            Step::Abandon { pod, cluster } => format!("pod {pod} forgets cluster {cluster}"),
            Step::Form { cluster, .. } => format!("cluster {cluster} begins to serve"),
            Step::Admit { roster, .. } => {
                format!("roster: {}", roster.keys().cloned().collect::<Vec<_>>().join(", "))
            }
            Step::Transfer { to, .. } => format!("leadership goes to pod {to}"),
            Step::ReplaceVolume { pod } => format!("pod {pod} gets an empty volume"),
            Step::RestartPod { pod } => format!("pod {pod} restarts with the new configuration"),
        },
    }
}

fn write_conditions(
    status: &mut RaftClusterStatus,
    decision: &Decision,
    counts: &Counts,
    context: Context<'_>,
) {
    let said = text(decision);
    let reason = match decision {
        Decision::Settled => "Settled",
        Decision::Act(_) => "Changing",
        Decision::Wait(wait) => wait.reason(),
    };
    let paused = status.phase == Some(Phase::Paused);
    let latched = status.cluster_id.is_some();
    let all_well = latched && counts.well > 0 && counts.well == counts.voters;
    let available = latched && counts.has_leader && counts.well >= counts.quorum && counts.quorum > 0;
    let lost = matches!(decision, Decision::Wait(Wait::QuorumSilent { .. }))
        || (status.phase == Some(Phase::QuorumLost));
    let stalled = matches!(decision, Decision::Wait(wait) if wait.needs_a_person());
    let settled = matches!(decision, Decision::Settled);
    let verdict = |holds: bool, message: &str| Verdict { holds, reason, message: message.to_owned() };
    let degraded = latched && !all_well && counts.voters > 0;
    let tolerance = format!("{} of {} voters are caught up; {}", counts.well, counts.voters, said);
    let rows = [
        (conditions::READY, verdict(settled || (paused && all_well), &said)),
        (conditions::AVAILABLE, verdict(available, &tolerance)),
        (conditions::RECONCILING, verdict(!settled && !stalled && !paused, &said)),
        (conditions::STALLED, verdict(stalled, &said)),
        (conditions::DEGRADED, verdict(degraded, &tolerance)),
        (conditions::QUORUM_LOST, verdict(lost, &said)),
    ];
    for (kind, verdict) in rows {
        conditions::upsert(&mut status.conditions, kind, verdict, context.generation, context.now);
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::super::plan::fixture::*;
    use super::super::plan::plan;
    use super::*;

    fn of(facts: &Facts, previous: &RaftClusterStatus, second: i64) -> RaftClusterStatus {
        let now = Time(Timestamp::from_second(second).unwrap());
        status(facts, &plan(facts), Context { previous, generation: Some(1), now: &now })
    }

    fn holds(status: &RaftClusterStatus, kind: &str) -> bool {
        status.conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
    }

    #[test]
    fn a_healthy_cluster_is_ready_and_says_who_leads() {
        let status = of(&healthy(3), &RaftClusterStatus::default(), 1);
        assert_eq!(status.phase, Some(Phase::Healthy));
        assert_eq!(
            (status.voters, status.ready_replicas, status.quorum, status.fault_tolerance),
            (3, 3, 2, 1)
        );
        assert_eq!(status.leader.as_ref().map(|leader| leader.name.as_str()), Some("orders-1"));
        assert!(holds(&status, "Ready") && holds(&status, "Available"));
        assert!(!holds(&status, "Degraded") && !holds(&status, "Reconciling") && !holds(&status, "Stalled"));
        assert_eq!(status.operation, None);
    }

    #[test]
    fn a_second_look_at_the_same_facts_writes_the_same_status() {
        let first = of(&healthy(3), &RaftClusterStatus::default(), 1);
        assert_eq!(of(&healthy(3), &first, 99), first);
    }

    #[test]
    fn one_silent_voter_degrades_and_two_lose_the_quorum() {
        let mut facts = healthy(3);
        silence(&mut facts, 0);
        let status = of(&facts, &RaftClusterStatus::default(), 1);
        assert_eq!((status.phase, status.fault_tolerance), (Some(Phase::Degraded), 0));
        assert!(holds(&status, "Available") && holds(&status, "Degraded") && !holds(&status, "Ready"));
        silence(&mut facts, 1);
        let status = of(&facts, &status, 2);
        assert_eq!(status.phase, Some(Phase::QuorumLost));
        assert!(holds(&status, "QuorumLost") && !holds(&status, "Available"));
    }

    #[test]
    fn a_scale_up_is_an_operation_that_keeps_its_start() {
        let mut facts = healthy(3);
        facts.replicas = 5;
        let first = of(&facts, &RaftClusterStatus::default(), 1);
        edit_all(&mut facts, |report| report.roster = roster(5));
        let second = of(&facts, &first, 9);
        let operation = second.operation.unwrap();
        assert_eq!(operation.kind, OperationType::ScaleUp);
        assert_eq!(operation.started_at, first.operation.unwrap().started_at);
    }

    #[test]
    fn a_wiped_member_on_its_way_back_is_a_repair() {
        let mut facts = healthy(3);
        edit(&mut facts, 2, |report| *report = empty(50));
        let status = of(&facts, &RaftClusterStatus::default(), 1);
        let operation = status.operation.unwrap();
        assert_eq!((operation.kind, operation.member.as_deref()), (OperationType::Repair, Some("orders-2")));
        assert_eq!(status.members[2].health, Health::Waiting);
    }

    #[test]
    fn what_only_a_person_can_end_is_stalled() {
        let mut facts = facts(3, Founding::None, empty);
        facts.volume_clusters.insert(Ordinal(0), cluster(A));
        let status = of(&facts, &RaftClusterStatus::default(), 1);
        assert!(holds(&status, "Stalled") && !holds(&status, "Reconciling"));
        assert_eq!(status.phase, Some(Phase::Founding));
    }
}
