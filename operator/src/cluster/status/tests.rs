use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::cluster::facts::Answer;
use crate::cluster::ids::{ConfigurationIndex, Index, Ordinal};
use crate::cluster::plan::fixture::*;
use crate::cluster::plan::plan;
use crate::crd::{Health, Lag, OperationType, Phase};

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
    assert_eq!((status.voters, status.ready_replicas, status.quorum, status.fault_tolerance), (3, 3, 2, 1));
    assert_eq!(status.leader.as_ref().map(|leader| leader.name.as_str()), Some("orders-1"));
    assert!(holds(&status, "Ready") && holds(&status, "Available"));
    assert!(!holds(&status, "Degraded") && !holds(&status, "Reconciling") && !holds(&status, "Stalled"));
    assert_eq!(status.operation, None);
}

#[test]
fn the_version_is_the_members_and_shows_a_roll() {
    let mut facts = healthy(3);
    let version = |facts: &Facts| of(facts, &RaftClusterStatus::default(), 1).version;
    assert_eq!(version(&facts).as_deref(), Some("0.1.0"));
    if let Answer::Report(report) = &mut facts.pods.get_mut(&Ordinal(2)).unwrap().answer {
        report.version = "0.2.0".to_owned();
    }
    assert_eq!(version(&facts).as_deref(), Some("0.1.0, 0.2.0"));
    (0..3).for_each(|pod| silence(&mut facts, pod));
    assert_eq!(version(&facts), None);
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
    assert_eq!(status.operation, None, "nothing is under way");
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

fn condition<'a>(status: &'a RaftClusterStatus, kind: &str) -> &'a str {
    &status.conditions.iter().find(|condition| condition.type_ == kind).unwrap().message
}

/// It answers and has applied all that it knows of: only the leader can tell that its log is another one.
#[test]
fn a_follower_that_the_leader_cannot_match_is_lost_and_named() {
    let mut facts = healthy(3);
    seen_by_the_leader(&mut facts, 2, |seen| {
        seen.matched = Index(0);
        seen.lag = 30;
    });
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!(status.phase, Some(Phase::Degraded));
    assert_eq!((status.ready_replicas, status.fault_tolerance), (2, 0));
    assert!(holds(&status, "Degraded") && holds(&status, "Available") && !holds(&status, "Ready"));
    let said = condition(&status, "Degraded");
    assert!(said.contains("2 of 3 voters are in step; orders-2: the leader has not matched"), "{said}");
    assert_eq!((status.members[2].health, status.members[2].lag), (Health::OutOfStep, Lag::Unknown));
    assert!(status.members[2].message.as_ref().unwrap().contains("not matched"));
}

#[test]
fn a_member_that_starts_or_is_let_in_is_catching_up_and_not_out_of_step() {
    let mut facts = healthy(3);
    seen_by_the_leader(&mut facts, 2, |seen| seen.active = false);
    edit(&mut facts, 2, |report| report.waiting_for = "replaying the log".to_owned());
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!((status.phase, status.fault_tolerance), (Some(Phase::Degraded), 0));
    assert_eq!(status.members[2].health, Health::CatchingUp);
    assert_eq!(status.members[2].message.as_deref(), Some("replaying the log"));
}

#[test]
fn a_log_that_stands_still_is_out_of_step_however_little_it_lacks() {
    let mut facts = healthy(3);
    seen_by_the_leader(&mut facts, 0, |seen| seen.lag = 1);
    assert_eq!(of(&facts, &RaftClusterStatus::default(), 1).phase, Some(Phase::Healthy));
    facts.pods.get_mut(&Ordinal(0)).unwrap().stuck_for = std::time::Duration::from_secs(2);
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!((status.phase, status.fault_tolerance), (Some(Phase::Degraded), 0));
    assert_eq!((status.members[0].health, status.members[0].lag), (Health::OutOfStep, Lag::Small));
}

#[test]
fn a_halted_member_says_on_what() {
    let mut facts = healthy(3);
    edit(&mut facts, 2, |report| {
        report.phase = crate::cluster::facts::MemberPhase::Faulted;
        report.fault = "000001.wal: damaged at 4096".to_owned();
    });
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!((status.phase, status.fault_tolerance), (Some(Phase::Degraded), 0));
    assert_eq!(status.members[2].health, Health::Faulted);
    assert_eq!(status.members[2].message.as_deref(), Some("000001.wal: damaged at 4096"));
    assert!(condition(&status, "Degraded").contains("orders-2: halted on a fault"));
    assert!(status.members[2].id.is_some());
    edit(&mut facts, 2, |report| report.cluster = None);
    let status = of(&facts, &RaftClusterStatus::default(), 2);
    assert_eq!(status.members[2].id, None, "a damaged identity is no id to show");
}

/// It votes, so that writes go on without any other one; but where all others are drained, nobody could follow the leader.
#[test]
fn a_drained_member_is_shown_and_is_nobody_to_fail_over_to() {
    let mut facts = healthy(3);
    edit(&mut facts, 2, |report| report.draining = true);
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!((status.phase, status.ready_replicas, status.fault_tolerance), (Some(Phase::Healthy), 3, 1));
    assert_eq!(status.members[2].health, Health::Draining);
    assert!(status.members[2].message.as_ref().unwrap().starts_with("drained"));
    edit(&mut facts, 0, |report| report.draining = true);
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!(status.fault_tolerance, 0);
    let said = condition(&status, "Available");
    assert!(said.ends_with("; orders-0: drained, may not lead; orders-2: drained, may not lead"), "{said}");
}

/// Voters of the leader's configuration, of its outgoing half, and pods.
fn between(replicas: u8, pods: u8, voters: std::ops::Range<u8>, outgoing: std::ops::Range<u8>) -> Facts {
    let mut facts = facts(pods, Founding::Latched(cluster(A)), |ordinal| serving(ordinal, pods));
    facts.replicas = replicas;
    edit_all(&mut facts, |report| {
        report.roster = roster(replicas);
        report.configuration.voters = voters.clone().map(member).collect();
        report.configuration.voters_outgoing = outgoing.clone().map(member).collect();
    });
    facts
}

#[test]
fn a_change_is_named_by_what_the_configuration_goes_from_and_to() {
    use OperationType::{Repair, ScaleDown, ScaleUp, Update};
    let mut not_admitted = healthy(3);
    not_admitted.replicas = 5;
    let mut admitted = between(5, 3, 0..3, 0..0);
    admitted.pods_wanted = 3;
    let mut swap = between(3, 3, 0..3, 1..4);
    edit(&mut swap, 1, |leader| leader.peers.retain(|peer| peer.id != member(3)));
    let mut outdated = healthy(3);
    outdated.pods.get_mut(&Ordinal(0)).unwrap().outdated = true;
    edit_all(&mut outdated, |report| report.durable_configuration_index = ConfigurationIndex(0));
    let mut dropped = between(3, 5, 0..5, 0..0);
    dropped.pods_wanted = 5;
    let rows = [
        ("3 → 5, not admitted yet", not_admitted, Some(ScaleUp)),
        ("3 → 5, no pods yet", admitted, Some(ScaleUp)),
        ("3 → 5, joining", between(5, 5, 0..3, 0..0), Some(ScaleUp)),
        ("3 → 5, joint", between(5, 5, 0..5, 0..3), Some(ScaleUp)),
        ("3 → 5, through", between(5, 5, 0..5, 0..0), None),
        ("5 → 3, dropped from the roster", dropped, Some(ScaleDown)),
        ("5 → 3, joint", between(3, 5, 0..3, 0..5), Some(ScaleDown)),
        ("5 → 3, pods still there", between(3, 5, 0..3, 0..0), Some(ScaleDown)),
        ("1 → 3, joint", between(3, 3, 0..3, 0..1), Some(ScaleUp)),
        ("3 → 5 joint, and taken back to 3", between(3, 5, 0..5, 0..3), Some(ScaleUp)),
        ("one for one", swap, Some(Repair)),
        ("outdated, before its restart", outdated, Some(Update)),
    ];
    for (what, facts, wanted) in rows {
        let found = of(&facts, &RaftClusterStatus::default(), 1).operation.map(|operation| operation.kind);
        assert_eq!(found, wanted, "{what}: {:?}", plan(&facts));
    }
}

#[test]
fn a_paused_cluster_is_ready_only_if_nothing_is_left_to_do_and_calls_nobody_silent_who_was_never_asked_for() {
    let mut facts = healthy(3);
    facts.paused = true;
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!(status.phase, Some(Phase::Paused));
    assert!(holds(&status, "Ready"), "as the spec says");
    facts.replicas = 5;
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert!(!holds(&status, "Ready") && holds(&status, "Available"), "the scale is not done");
    let available = status.conditions.iter().find(|condition| condition.type_ == "Available").unwrap();
    assert_eq!(available.message, "3 of 3 voters are in step");
}

#[test]
fn without_any_pod_the_quorum_is_lost_though_pods_are_asked_for_again() {
    let mut facts = healthy(3);
    facts.pods.clear();
    facts.pods_wanted = 0;
    let status = of(&facts, &RaftClusterStatus::default(), 1);
    assert_eq!(status.phase, Some(Phase::QuorumLost));
    assert!(holds(&status, "QuorumLost") && !holds(&status, "Available"));
}

#[test]
fn a_roll_is_one_operation_from_its_first_pod_to_its_last() {
    let outdated = |pods: &[u8]| {
        let mut facts = healthy(3);
        for pod in pods {
            facts.pods.get_mut(&Ordinal(*pod)).unwrap().outdated = true;
        }
        facts
    };
    let begun = of(&outdated(&[0, 1, 2]), &RaftClusterStatus::default(), 1);
    let mut away = outdated(&[0, 1]);
    silence(&mut away, 2);
    let coming = of(&away, &begun, 5);
    let operation = coming.operation.clone().unwrap();
    assert_eq!(operation.kind, crate::crd::OperationType::Update);
    assert_eq!(operation.started_at, begun.operation.unwrap().started_at, "it is the same one");
    assert!(
        operation.step.starts_with("1 of 3 pods run the new template; orders-2 is not in step"),
        "{operation:?}"
    );
    let mut dead = healthy(3);
    silence(&mut dead, 2);
    assert_eq!(of(&dead, &RaftClusterStatus::default(), 1).operation, None, "that a member dies is no roll");
    assert!(of(&dead, &coming, 9).operation.is_some(), "its last pod is still coming up");
    assert_eq!(of(&healthy(3), &coming, 10).operation, None);
}
