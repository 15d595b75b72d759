use std::time::Duration;

use super::fixture::*;
use super::*;
use crate::facts::{MemberPhase, RaftRole, Repair, Report};
use crate::founding::Permit;
use crate::ids::{ConfigurationIndex, Index, MemberId, Ordinal, Term};

fn founding() -> Facts {
    facts(3, Founding::None, empty)
}

fn forming(voters: u8) -> Facts {
    let mut facts = facts(3, Founding::Permitted(permit(3)), |ordinal| serving(ordinal, 3));
    edit_all(&mut facts, |report| {
        report.formed = false;
        report.configuration.voters = (0..voters).map(member).collect();
    });
    facts
}

fn act(facts: &Facts) -> Step {
    match plan(facts) {
        Decision::Act(step) => step,
        Decision::Wait(wait) => panic!("waits: {wait}"),
        Decision::Settled => panic!("settled"),
    }
}

fn wait(facts: &Facts) -> Wait {
    match plan(facts) {
        Decision::Act(step) => panic!("acts: {step:?}"),
        Decision::Wait(wait) => wait,
        Decision::Settled => panic!("settled"),
    }
}

fn next(facts: &Facts) -> Founding {
    let step = act(facts);
    let Step::WriteFounding { expected, next } = step else { panic!("{step:?}") };
    assert_eq!(expected, facts.founding);
    next
}

#[test]
fn a_healthy_cluster_needs_nothing() {
    for size in [1, 3, 5] {
        assert_eq!(plan(&healthy(size)), Decision::Settled, "{size}");
    }
}

#[test]
fn paused_changes_nothing_in_any_state() {
    for mut facts in [founding(), forming(3), healthy(3)] {
        facts.paused = true;
        facts.replicas = 5;
        assert_eq!(wait(&facts), Wait::Paused);
    }
}

#[test]
fn pods_are_asked_for_before_anything_is_permitted() {
    let mut facts = founding();
    facts.pods_wanted = 0;
    facts.pods.clear();
    assert_eq!(act(&facts), Step::SetPods { from: 0, to: 3 });
}

#[test]
fn founding_is_permitted_to_the_first_disk_when_every_pod_is_empty() {
    let permit = Permit { cluster: cluster(0xf), ..permit(3) };
    assert_eq!(next(&founding()), Founding::Permitted(permit));
}

#[test]
fn one_silent_pod_keeps_founding_waiting() {
    for ordinal in 0..3 {
        let mut facts = founding();
        silence(&mut facts, ordinal);
        assert_eq!(wait(&facts), Wait::PodsSilent { pods: vec![format!("orders-{ordinal}")] });
        facts.pods.remove(&Ordinal(ordinal));
        assert_eq!(wait(&facts), Wait::PodsSilent { pods: vec![format!("orders-{ordinal}")] });
    }
}

#[test]
fn a_silent_pod_beyond_the_replicas_keeps_founding_waiting_too() {
    let mut facts = facts(5, Founding::None, empty);
    facts.replicas = 3;
    silence(&mut facts, 4);
    assert_eq!(wait(&facts), Wait::PodsSilent { pods: vec!["orders-4".to_owned()] });
}

#[test]
fn one_pod_that_is_not_empty_keeps_founding_waiting() {
    for phase in [MemberPhase::Joining, MemberPhase::Faulted, MemberPhase::Removed] {
        let mut facts = founding();
        edit(&mut facts, 2, |report| report.phase = phase);
        assert_eq!(wait(&facts), Wait::NotEmpty { pod: "orders-2".to_owned(), phase });
    }
}

#[test]
fn a_volume_that_carries_a_cluster_keeps_founding_waiting() {
    let mut facts = founding();
    facts.volume_clusters.insert(Ordinal(1), cluster(A));
    let pods = vec!["orders-1".to_owned()];
    assert_eq!(wait(&facts), Wait::VolumesCarryCluster { cluster: cluster(A), pods });
}

#[test]
fn without_a_record_a_formed_cluster_is_adopted_from_a_majority_of_its_voters() {
    let mut facts = healthy(3);
    facts.founding = Founding::None;
    silence(&mut facts, 0);
    assert_eq!(next(&facts), Founding::Latched(cluster(A)));
    silence(&mut facts, 2);
    assert!(matches!(wait(&facts), Wait::PodsSilent { .. }));
}

#[test]
fn without_a_record_a_cluster_that_was_never_formed_is_adopted_from_all_pods_only() {
    let mut facts = forming(1);
    facts.founding = Founding::None;
    assert_eq!(next(&facts), Founding::Permitted(permit(3)));
    silence(&mut facts, 2);
    assert!(matches!(wait(&facts), Wait::PodsSilent { .. }));
}

#[test]
fn without_a_record_two_clusters_are_a_persons_to_choose_from() {
    let mut facts = forming(3);
    facts.founding = Founding::None;
    edit(&mut facts, 2, |report| report.cluster = Some(cluster(B)));
    assert_eq!(wait(&facts), Wait::ConflictingClusters { clusters: vec![cluster(A), cluster(B)] });
    let mut formed = healthy(5);
    formed.founding = Founding::None;
    edit(&mut formed, 4, |report| report.cluster = Some(cluster(B)));
    assert!(matches!(wait(&formed), Wait::ConflictingClusters { .. }));
}

#[test]
fn the_permitted_disk_is_told_to_found_with_everyones_address() {
    let facts = facts(3, Founding::Permitted(permit(3)), empty);
    let Step::Found { pod, permit: told, roster: names, seeds } = act(&facts) else { panic!() };
    assert_eq!((pod, told, names), (Ordinal(0), permit(3), roster(3)));
    let addresses: Vec<&str> = seeds.iter().map(|seed| seed.address.as_str()).collect();
    assert_eq!(addresses, ["orders-0.peers:2380", "orders-1.peers:2380", "orders-2.peers:2380"]);
}

#[test]
fn a_replica_count_edited_while_founding_waits_for_the_latch() {
    for replicas in [1, 5] {
        let mut facts = facts(3, Founding::Permitted(permit(3)), empty);
        facts.replicas = replicas;
        let Step::Found { roster: names, .. } = act(&facts) else { panic!() };
        assert_eq!(names, roster(3));
    }
}

#[test]
fn a_silent_founder_is_waited_for_and_never_replaced() {
    let mut facts = forming(1);
    silence(&mut facts, 0);
    edit(&mut facts, 1, |report| report.configuration.voters = [member(0)].into());
    assert_eq!(wait(&facts), Wait::PodsSilent { pods: vec!["orders-0".to_owned()] });
}

#[test]
fn a_founder_under_another_id_has_the_cluster_abandoned() {
    let mut facts = forming(1);
    edit(&mut facts, 0, |report| *report = empty(50));
    assert_eq!(next(&facts), Founding::Abandoning(permit(3)));
}

#[test]
fn a_founder_under_another_id_after_the_cluster_settled_is_latched_all_the_same() {
    let mut facts = forming(3);
    edit(&mut facts, 0, |report| *report = empty(50));
    assert_eq!(next(&facts), Founding::Latched(cluster(A)));
}

#[test]
fn the_latch_needs_a_majority_that_left_the_joint_configuration() {
    let mut facts = forming(3);
    edit_all(&mut facts, |report| report.configuration.voters_outgoing = [member(0)].into());
    assert_eq!(wait(&facts), Wait::Forming { cluster: cluster(A), reported: 0, needed: 2 });
    edit(&mut facts, 0, |report| report.configuration.voters_outgoing.clear());
    assert_eq!(wait(&facts), Wait::Forming { cluster: cluster(A), reported: 1, needed: 2 });
    edit(&mut facts, 2, |report| report.configuration.voters_outgoing.clear());
    assert_eq!(next(&facts), Founding::Latched(cluster(A)));
}

#[test]
fn a_single_voter_is_latched_as_soon_as_it_runs() {
    let mut facts = facts(1, Founding::Permitted(permit(1)), |ordinal| serving(ordinal, 1));
    edit(&mut facts, 0, |report| report.formed = false);
    assert_eq!(next(&facts), Founding::Latched(cluster(A)));
}

#[test]
fn two_different_final_configurations_are_no_majority() {
    let mut facts = forming(3);
    silence(&mut facts, 0);
    edit(&mut facts, 1, |report| {
        report.configuration.voters = [member(0), member(1), member(50)].into();
        report.configuration_index = ConfigurationIndex(30);
    });
    assert!(matches!(wait(&facts), Wait::PodsSilent { .. }));
}

#[test]
fn an_abandoned_cluster_is_forgotten_by_every_disk_before_the_next_is_permitted() {
    let mut facts = facts(3, Founding::Abandoning(permit(3)), empty);
    for ordinal in 0..3 {
        assert_eq!(act(&facts), Step::Abandon { pod: Ordinal(ordinal), cluster: cluster(A) });
        edit(&mut facts, ordinal, |report| {
            report.abandoned.insert(cluster(A));
        });
    }
    let mut one_silent = facts.clone();
    silence(&mut one_silent, 1);
    assert!(matches!(wait(&one_silent), Wait::PodsSilent { .. }));
    let Founding::Permitted(next) = next(&facts) else { panic!() };
    assert_eq!(next.cluster, cluster(0xf));
}

#[test]
fn a_founder_that_abandoned_its_cluster_by_hand_is_said() {
    let mut facts = facts(3, Founding::Permitted(permit(3)), empty);
    edit(&mut facts, 0, |report| {
        report.abandoned.insert(cluster(A));
    });
    assert_eq!(wait(&facts), Wait::FounderAbandoned { pod: "orders-0".to_owned(), cluster: cluster(A) });
}

#[test]
fn a_stray_disk_is_told_to_forget_unless_its_cluster_served() {
    for mut facts in [healthy(3), forming(1)] {
        edit(&mut facts, 2, |report| {
            *report = empty(2);
            report.cluster = Some(cluster(B));
            report.phase = MemberPhase::Member;
        });
        // A latched cluster is scaled and repaired first; the stray is not in its way.
        assert_eq!(act(&facts), Step::Abandon { pod: Ordinal(2), cluster: cluster(B) });
        edit(&mut facts, 2, |report| report.formed = true);
        let foreign =
            Wait::ForeignCluster { pod: "orders-2".to_owned(), found: cluster(B), ours: cluster(A) };
        assert_eq!(wait(&facts), foreign);
    }
}

#[test]
fn after_the_latch_the_leader_is_told_to_form() {
    let mut facts = healthy(3);
    edit_all(&mut facts, |report| report.formed = false);
    assert_eq!(act(&facts), Step::Form { pod: Ordinal(1), cluster: cluster(A) });
}

#[test]
fn of_two_leaders_the_one_of_the_higher_term_counts() {
    let mut facts = healthy(3);
    edit(&mut facts, 2, |report| {
        report.role = RaftRole::Leader;
        report.term = Term(9);
        report.formed = false;
    });
    assert_eq!(act(&facts), Step::Form { pod: Ordinal(2), cluster: cluster(A) });
}

#[test]
fn without_a_leader_the_wait_says_whether_voters_are_missing() {
    let mut facts = healthy(3);
    edit(&mut facts, 1, |report| report.role = RaftRole::Follower);
    assert_eq!(wait(&facts), Wait::NoLeader { answering: 3 });
    silence(&mut facts, 0);
    silence(&mut facts, 1);
    let silent = vec!["orders-0".to_owned(), "orders-1".to_owned()];
    assert_eq!(wait(&facts), Wait::QuorumSilent { answering: 1, needed: 2, silent, empty: Vec::new() });
    assert!(!wait(&facts).needs_a_person(), "they may come back");
}

/// Two silent pods may come back; two that answer from empty volumes will not give the quorum back, however long one waits.
#[test]
fn a_quorum_whose_data_is_gone_needs_a_person_and_is_no_repair() {
    let mut facts = healthy(3);
    edit(&mut facts, 1, |report| *report = empty(1));
    edit(&mut facts, 2, |report| *report = empty(2));
    edit(&mut facts, 0, |report| report.role = RaftRole::Follower);
    let wait = wait(&facts);
    assert!(wait.needs_a_person());
    let said = wait.to_string();
    assert!(said.starts_with("1 of the 2 voters"), "{said}");
    assert!(said.ends_with("; without the cluster's data: orders-1, orders-2"), "{said}");
}

#[test]
fn without_a_leader_and_with_all_drained_it_says_whom_to_restart() {
    let mut facts = healthy(3);
    silence(&mut facts, 1);
    edit(&mut facts, 0, |report| report.draining = true);
    assert_eq!(wait(&facts), Wait::NoLeader { answering: 2 }, "the other one may campaign");
    edit(&mut facts, 2, |report| report.draining = true);
    let wait = wait(&facts);
    assert!(wait.needs_a_person());
    let said = wait.to_string();
    assert!(said.contains("orders-0, orders-2 are drained") && said.ends_with("restart orders-0"), "{said}");
}

#[test]
fn a_long_fault_is_cut_where_it_would_stand_many_times() {
    let mut facts = healthy(3);
    edit(&mut facts, 2, |report| {
        report.phase = MemberPhase::Faulted;
        report.fault = format!("000001.wal: {}", "é".repeat(400));
    });
    let said = wait(&facts).to_string();
    assert!(said.starts_with("orders-2 halted: 000001.wal: é") && said.contains("é…; "), "{said}");
    assert!(said.chars().count() < 220, "{said}");
}

#[test]
fn scaling_up_admits_the_whole_roster_then_asks_for_pods_then_waits_for_voters() {
    let mut facts = healthy(3);
    facts.replicas = 5;
    let admit = Step::Admit {
        pod: Ordinal(1),
        cluster: cluster(A),
        expected: ConfigurationIndex(20),
        roster: roster(5),
    };
    assert_eq!(act(&facts), admit);
    edit_all(&mut facts, |report| report.roster = roster(5));
    assert_eq!(act(&facts), Step::SetPods { from: 3, to: 5 });
    facts.pods_wanted = 5;
    let pods = vec!["orders-3".to_owned(), "orders-4".to_owned()];
    assert_eq!(wait(&facts), Wait::Joining { pods });
}

#[test]
fn scaling_up_can_be_taken_back_while_nobody_joined() {
    let mut facts = healthy(3);
    facts.pods_wanted = 5;
    edit_all(&mut facts, |report| report.roster = roster(5));
    assert!(matches!(act(&facts), Step::Admit { roster: names, .. } if names == roster(3)));
    edit_all(&mut facts, |report| report.roster = roster(3));
    assert_eq!(act(&facts), Step::SetPods { from: 5, to: 3 });
}

#[test]
fn scaling_down_drops_the_highest_ordinals_and_stops_nobody_yet() {
    let mut facts = healthy(5);
    facts.replicas = 3;
    assert!(matches!(act(&facts), Step::Admit { roster: names, .. } if names == roster(3)));
    edit_all(&mut facts, |report| report.roster = roster(3));
    let pods = vec!["orders-3".to_owned(), "orders-4".to_owned()];
    assert_eq!(wait(&facts), Wait::Leaving { pods });
}

/// Five pods, of which the first three have applied a configuration without the other two.
fn shrunk() -> Facts {
    let mut facts = healthy(5);
    facts.replicas = 3;
    edit_all(&mut facts, |report| {
        report.roster = roster(3);
        report.configuration.voters = (0..3).map(member).collect();
        report.configuration_index = ConfigurationIndex(30);
        report.durable_configuration_index = ConfigurationIndex(30);
    });
    facts
}

#[test]
fn pods_go_only_when_a_majority_of_those_that_stay_has_the_change_applied_and_durable() {
    let mut facts = shrunk();
    assert_eq!(act(&facts), Step::SetPods { from: 5, to: 3 });
    // The pods that go are not asked: their disks do not count any more.
    edit(&mut facts, 0, |report| report.durable_configuration_index = ConfigurationIndex(29));
    assert_eq!(act(&facts), Step::SetPods { from: 5, to: 3 });
    edit(&mut facts, 2, |report| report.configuration_index = ConfigurationIndex(29));
    assert_eq!(wait(&facts), Wait::ConfigurationNotDurable { reported: 1, needed: 2 });
}

#[test]
fn a_joint_configuration_is_waited_out() {
    let mut facts = shrunk();
    edit(&mut facts, 1, |report| report.configuration.voters_outgoing = (0..5).map(member).collect());
    assert_eq!(wait(&facts), Wait::ConfigurationChanging);
}

#[test]
fn a_pod_whose_member_is_still_configured_under_another_name_is_not_stopped() {
    let mut facts = shrunk();
    edit(&mut facts, 4, |report| report.member = member(2));
    assert_eq!(wait(&facts), Wait::Leaving { pods: vec!["orders-4".to_owned()] });
    let mut unknown = shrunk();
    edit(&mut unknown, 1, |report| {
        report.configuration.voters.insert(MemberId::from_wire(999).unwrap());
    });
    assert_eq!(wait(&unknown), Wait::UnknownMember { member: MemberId::from_wire(999).unwrap() });
}

#[test]
fn scaling_is_refused_while_a_voter_that_stays_is_silent_or_behind() {
    for replicas in [1, 5] {
        let mut facts = healthy(3);
        facts.replicas = replicas;
        silence(&mut facts, 0);
        assert_eq!(wait(&facts), Wait::ScaleRefused { pods: vec!["orders-0".to_owned()] });
    }
    let mut behind = healthy(3);
    behind.replicas = 5;
    edit(&mut behind, 2, |report| report.applied = Index(10));
    assert_eq!(wait(&behind), Wait::ScaleRefused { pods: vec!["orders-2".to_owned()] });
}

#[test]
fn a_dead_member_can_be_scaled_away() {
    let mut facts = healthy(5);
    facts.replicas = 3;
    silence(&mut facts, 4);
    assert!(matches!(act(&facts), Step::Admit { .. }));
}

#[test]
fn no_next_change_before_the_last_one_is_durable() {
    let mut facts = healthy(3);
    facts.replicas = 5;
    edit_all(&mut facts, |report| report.durable_configuration_index = ConfigurationIndex(19));
    assert_eq!(wait(&facts), Wait::ConfigurationNotDurable { reported: 0, needed: 2 });
}

fn faulted(unhealthy_for: u64) -> Facts {
    let mut facts = healthy(3);
    edit(&mut facts, 2, |report| {
        report.phase = MemberPhase::Faulted;
        report.fault = "000001.wal: damaged at 4096".to_owned();
    });
    facts.pods.get_mut(&Ordinal(2)).unwrap().unhealthy_for = Duration::from_secs(unhealthy_for);
    facts
}

#[test]
fn a_faulted_member_gets_an_empty_volume_only_after_its_time() {
    assert!(matches!(wait(&faulted(299)), Wait::RepairLater { .. }));
    assert_eq!(act(&faulted(300)), Step::ReplaceVolume { pod: Ordinal(2), lost_node: false });
}

#[test]
fn a_faulted_members_volume_is_kept_while_the_rest_has_no_quorum() {
    let mut facts = faulted(300);
    silence(&mut facts, 0);
    assert!(matches!(wait(&facts), Wait::RepairRefused { answering: 1, needed: 2, .. }));
    edit(&mut facts, 1, |report| report.role = RaftRole::Follower);
    assert!(matches!(wait(&facts), Wait::RepairRefused { answering: 1, needed: 2, .. }));
}

#[test]
fn a_faulted_member_is_a_persons_under_the_manual_policy() {
    let mut facts = faulted(300);
    facts.repair = Repair::ByHand;
    assert!(matches!(wait(&facts), Wait::RepairByHand { .. }));
    assert!(wait(&facts).needs_a_person());
}

fn unhealthy(facts: &mut Facts, ordinal: u8) {
    facts.pods.get_mut(&Ordinal(ordinal)).unwrap().unhealthy_for = Duration::from_secs(5);
}

fn outdated(ordinals: &[u8]) -> Facts {
    let mut facts = healthy(3);
    for ordinal in ordinals {
        facts.pods.get_mut(&Ordinal(*ordinal)).unwrap().outdated = true;
    }
    facts
}

#[test]
fn outdated_pods_restart_one_at_a_time_and_the_leader_last() {
    assert_eq!(act(&outdated(&[0, 1, 2])), Step::RestartPod { pod: Ordinal(2) });
    assert_eq!(act(&outdated(&[0, 1])), Step::RestartPod { pod: Ordinal(0) });
    assert_eq!(act(&outdated(&[1])), Step::Transfer { pod: Ordinal(1), cluster: cluster(A), to: Ordinal(2) });
}

#[test]
fn a_restart_waits_until_every_other_member_is_caught_up() {
    let mut facts = outdated(&[0, 1]);
    edit(&mut facts, 2, |report| report.applied = Index(1));
    assert_eq!(wait(&facts), Wait::MembersUnwell { pods: vec!["orders-2".to_owned()] });
}

#[test]
fn a_dead_outdated_pod_restarts_first_even_without_a_leader() {
    let mut facts = outdated(&[0, 1, 2]);
    silence(&mut facts, 0);
    edit(&mut facts, 1, |report| report.role = RaftRole::Follower);
    assert!(matches!(plan(&facts), Decision::Wait(_)), "one answer that did not come in time is no death");
    unhealthy(&mut facts, 0);
    assert_eq!(act(&facts), Step::RestartPod { pod: Ordinal(0) });
}

#[test]
fn a_sole_member_is_restarted_without_a_successor() {
    let mut facts = healthy(1);
    facts.pods.get_mut(&Ordinal(0)).unwrap().outdated = true;
    assert_eq!(act(&facts), Step::RestartPod { pod: Ordinal(0) });
}

#[test]
fn a_silent_pod_that_serves_is_out_of_reach_and_not_restarted() {
    let mut facts = outdated(&[0, 1, 2]);
    for ordinal in 0..3 {
        silence(&mut facts, ordinal);
        unhealthy(&mut facts, ordinal);
        facts.pods.get_mut(&Ordinal(ordinal)).unwrap().serves = true;
    }
    assert!(matches!(plan(&facts), Decision::Wait(Wait::QuorumSilent { .. })), "{:?}", plan(&facts));
    facts.pods.get_mut(&Ordinal(1)).unwrap().serves = false;
    assert_eq!(act(&facts), Step::RestartPod { pod: Ordinal(1) });
}

#[test]
fn a_roll_waits_for_its_turn_and_a_dead_pod_does_not() {
    let mut facts = outdated(&[0, 1]);
    facts.may_roll = false;
    assert_eq!(wait(&facts), Wait::RollQueued);
    silence(&mut facts, 0);
    unhealthy(&mut facts, 0);
    assert_eq!(act(&facts), Step::RestartPod { pod: Ordinal(0) });
}

#[test]
fn outdated_pods_are_a_persons_under_on_delete() {
    let mut facts = outdated(&[0]);
    facts.restart_outdated = false;
    assert_eq!(wait(&facts), Wait::RestartByHand { pods: vec!["orders-0".to_owned()] });
}

#[test]
fn a_silent_voter_with_nothing_else_to_do_is_said() {
    let mut facts = healthy(3);
    silence(&mut facts, 0);
    assert_eq!(wait(&facts), Wait::MembersUnwell { pods: vec!["orders-0".to_owned()] });
}

#[test]
fn repair_comes_before_scaling() {
    let mut facts = faulted(300);
    facts.replicas = 5;
    assert_eq!(act(&facts), Step::ReplaceVolume { pod: Ordinal(2), lost_node: false });
}

#[test]
fn the_latch_needs_a_majority_that_has_the_final_configuration_durable() {
    let mut facts = forming(3);
    edit_all(&mut facts, |report| report.durable_configuration_index = ConfigurationIndex(19));
    assert_eq!(wait(&facts), Wait::Forming { cluster: cluster(A), reported: 0, needed: 2 });
    edit(&mut facts, 1, |report| report.durable_configuration_index = ConfigurationIndex(20));
    assert_eq!(wait(&facts), Wait::Forming { cluster: cluster(A), reported: 1, needed: 2 });
    edit(&mut facts, 2, |report| report.durable_configuration_index = ConfigurationIndex(20));
    assert_eq!(next(&facts), Founding::Latched(cluster(A)));
}

/// 3 → 5 happened behind a cut-off leader's back, and the spec went back to 3: by its old configuration the pods look
/// dropped already, though the others vote with them.
#[test]
fn no_pod_is_stopped_on_the_word_of_a_leader_of_an_older_term() {
    let mut facts = healthy(5);
    facts.replicas = 3;
    edit_all(&mut facts, |report| {
        report.role = RaftRole::Follower;
        report.term = Term(5);
        report.configuration_index = ConfigurationIndex(30);
        report.durable_configuration_index = ConfigurationIndex(30);
    });
    let old = serving(1, 3);
    edit(&mut facts, 0, |report| {
        *report = Report { member: member(0), role: RaftRole::Leader, ..old };
    });
    silence(&mut facts, 3);
    silence(&mut facts, 4);
    assert_eq!(wait(&facts), Wait::NoLeader { answering: 3 });
}

/// The same, with a member that does not know the newer term yet but has applied the newer configuration.
#[test]
fn no_pod_is_stopped_while_any_member_that_answers_still_has_it_in_its_configuration() {
    let mut facts = shrunk();
    let before: std::collections::BTreeSet<MemberId> = (0..5).map(member).collect();
    edit(&mut facts, 2, |report| report.configuration.voters = before);
    assert_eq!(wait(&facts), Wait::Leaving { pods: vec!["orders-3".to_owned(), "orders-4".to_owned()] });
}

/// The one that says so may be the last one asked, and one that lags does not know it of itself.
#[test]
fn no_disk_is_told_to_forget_a_cluster_that_another_member_says_served() {
    let mut facts = facts(3, Founding::Abandoning(permit(3)), |ordinal| serving(ordinal, 3));
    for lagging in [0, 1] {
        edit(&mut facts, lagging, |report| report.formed = false);
    }
    assert_eq!(wait(&facts), Wait::ConflictingClusters { clusters: vec![cluster(A)] });
}

fn on_a_lost_node(seconds: u64) -> Facts {
    let mut facts = healthy(3);
    silence(&mut facts, 2);
    let pod = facts.pods.get_mut(&Ordinal(2)).unwrap();
    pod.lost_node = Some("node-7".to_owned());
    pod.unhealthy_for = Duration::from_secs(seconds);
    facts
}

#[test]
fn a_member_on_a_lost_node_is_replaced_when_its_time_is_over_and_the_others_can_do_without_it() {
    let said = wait(&on_a_lost_node(299)).to_string();
    assert!(
        said.starts_with("orders-2 is on node-7, which is not ready; its volume is replaced once"),
        "{said}"
    );
    let replaced = Step::ReplaceVolume { pod: Ordinal(2), lost_node: true };
    assert_eq!(act(&on_a_lost_node(300)), replaced);
    let mut facts = on_a_lost_node(300);
    facts.pods.get_mut(&Ordinal(2)).unwrap().lost_node = None;
    assert!(matches!(wait(&facts), Wait::MembersUnwell { .. }), "its node is well: it comes back");
    let mut facts = on_a_lost_node(300);
    facts.repair = Repair::ByHand;
    assert!(matches!(wait(&facts), Wait::RepairByHand { .. }));
    let mut facts = on_a_lost_node(300);
    edit(&mut facts, 0, |report| report.phase = MemberPhase::Faulted);
    assert!(matches!(wait(&facts), Wait::RepairRefused { .. }), "only the leader would be left");
}
