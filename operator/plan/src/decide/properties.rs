//! What holds of every plan, whatever the facts: drawn at random, sound or not.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::fixture::*;
use super::*;
use crate::facts::{Answer, Configuration, MemberPhase, Peer, Pod, RaftRole, Repair, Report};
use crate::ids::{ClusterId, ConfigurationIndex, Index, MemberId, Ordinal, Term};

const PODS: u8 = 5;

fn ids() -> impl Strategy<Value = std::collections::BTreeSet<MemberId>> {
    prop_oneof![
        4 => (1..=PODS).prop_map(|size| (0..size).map(member).collect()),
        1 => proptest::collection::btree_set((0..PODS + 1).prop_map(member), 0..6),
    ]
}

fn configuration() -> impl Strategy<Value = Configuration> {
    (ids(), prop_oneof![3 => Just(None), 1 => ids().prop_map(Some)], 0..8_u8).prop_map(
        |(voters, outgoing, learner)| {
            let learners = if learner < PODS && !voters.contains(&member(learner)) {
                [member(learner)].into()
            } else {
                [].into()
            };
            Configuration {
                voters,
                learners,
                voters_outgoing: outgoing.unwrap_or_default(),
                learners_next: [].into(),
            }
        },
    )
}

fn phase() -> impl Strategy<Value = MemberPhase> {
    prop_oneof![
        3 => Just(MemberPhase::Empty),
        1 => Just(MemberPhase::Joining),
        6 => Just(MemberPhase::Member),
        1 => Just(MemberPhase::Removed),
        1 => Just(MemberPhase::Faulted),
    ]
}

fn report(ordinal: u8) -> impl Strategy<Value = Report> {
    let identity =
        (phase(), prop_oneof![6 => Just(A), 1 => Just(B)], prop_oneof![5 => Just(0_u64), 1 => 1..3_u64]);
    let raft = (
        prop_oneof![
            Just(RaftRole::Leader),
            Just(RaftRole::Follower),
            Just(RaftRole::Candidate),
            Just(RaftRole::Learner)
        ],
        3..6_u64,
        any::<bool>(),
    );
    let indexes = (19..22_u64, 19..22_u64, 900..1_001_u64);
    (identity, raft, indexes, configuration(), 1..=PODS, any::<bool>()).prop_map(
        move |(
            (phase, id, wiped),
            (role, term, formed),
            (index, durable, applied),
            configuration,
            rostered,
            gave_up,
        )| {
            let blank = matches!(phase, MemberPhase::Empty | MemberPhase::Joining);
            let peers = (0..PODS).map(|peer| Peer {
                id: member(peer),
                name: format!("orders-{peer}"),
                address: String::new(),
                progress: Some(in_step()),
            });
            Report {
                phase,
                cluster: (!blank).then(|| cluster(id)),
                member: if wiped == 0 {
                    member(ordinal)
                } else {
                    MemberId::from_wire(1_000 * wiped + u64::from(ordinal)).unwrap()
                },
                role: if phase == MemberPhase::Member { role } else { RaftRole::None },
                term: Term(term),
                formed: formed && !blank,
                commit: Index(1_000),
                applied: Index(applied),
                configuration_index: ConfigurationIndex(index),
                durable_configuration_index: ConfigurationIndex(durable),
                configuration,
                peers: peers.collect(),
                roster: roster(rostered),
                abandoned: if gave_up { [cluster(A)].into() } else { [].into() },
                ..empty(ordinal)
            }
        },
    )
}

fn a_pod(ordinal: u8) -> impl Strategy<Value = Option<Pod>> {
    let answer = prop_oneof![
        8 => report(ordinal).prop_map(|report| Answer::Report(Box::new(report))),
        1 => Just(Answer::Silent("timed out".to_owned())),
    ];
    let pod = (answer, prop_oneof![4 => Just(false), 1 => Just(true)], 0..600_u64);
    prop_oneof![
        9 => pod.prop_map(|(answer, outdated, seconds)| {
            let unhealthy_for = Duration::from_secs(seconds);
            Some(Pod { answer, outdated, unhealthy_for, stuck_for: Duration::ZERO, serves: false, lost_node: None })
        }),
        1 => Just(None),
    ]
}

fn register() -> impl Strategy<Value = Founding> {
    prop_oneof![
        2 => Just(Founding::None),
        2 => prop_oneof![Just(1), Just(3), Just(5)].prop_map(|size| Founding::Permitted(permit(size))),
        1 => prop_oneof![Just(1), Just(3), Just(5)].prop_map(|size| Founding::Abandoning(permit(size))),
        5 => Just(Founding::Latched(cluster(A))),
    ]
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let pods = (a_pod(0), a_pod(1), a_pod(2), a_pod(3), a_pod(4));
    let marks = prop_oneof![9 => Just(false), 1 => Just(true)];
    (register(), pods, prop_oneof![Just(1_u8), Just(3), Just(5)], 0..=PODS, marks, any::<bool>()).prop_map(
        |(founding, (a, b, c, d, e), replicas, pods_wanted, marked, by_hand)| {
            let all = [a, b, c, d, e].into_iter().enumerate();
            let pods = all.filter_map(|(at, pod)| Some((Ordinal(u8::try_from(at).ok()?), pod?))).collect();
            let volume_clusters: BTreeMap<Ordinal, ClusterId> =
                if marked { [(Ordinal(1), cluster(A))].into() } else { [].into() };
            let repair = if by_hand { Repair::ByHand } else { Repair::After(Duration::from_secs(300)) };
            Facts { pods, replicas, pods_wanted, volume_clusters, repair, ..facts(3, founding, empty) }
        },
    )
}

/// A latched cluster in which answers are of one cluster: what a scale-down meets.
fn latched_facts() -> impl Strategy<Value = Facts> {
    any_facts().prop_map(|mut facts| {
        facts.founding = Founding::Latched(cluster(A));
        facts.replicas = facts.replicas.min(3);
        facts.pods_wanted = PODS;
        let target = roster(facts.replicas);
        edit_all(&mut facts, |report| {
            report.phase = MemberPhase::Member;
            report.cluster = Some(cluster(A));
            report.formed = true;
            report.roster.clone_from(&target);
        });
        facts
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_register_only_ever_goes_a_lawful_way_and_nowhere_after_the_latch(facts in any_facts()) {
        if let Decision::Act(Step::WriteFounding { expected, next }) = plan(&facts) {
            prop_assert_eq!(&expected, &facts.founding);
            prop_assert!(expected.may_become(&next), "{} → {}", expected, next);
        }
    }

    #[test]
    fn nothing_is_permitted_unless_every_pod_answers_and_is_empty(facts in any_facts()) {
        if let Decision::Act(Step::WriteFounding { next: Founding::Permitted(permit), .. }) = plan(&facts) {
            prop_assert!(facts.silent().is_empty());
            let adopted = facts.reports().any(|(_, report)| report.cluster == Some(permit.cluster));
            if !adopted {
                prop_assert_eq!(permit.cluster, facts.fresh_cluster);
                prop_assert!(facts.reports().all(|(_, report)| report.phase == MemberPhase::Empty));
                prop_assert!(facts.volume_clusters.is_empty());
            }
        }
    }

    #[test]
    fn no_disk_is_told_to_forget_the_latched_cluster_or_one_that_any_member_says_served(facts in any_facts()) {
        if let Decision::Act(Step::Abandon { pod, cluster }) = plan(&facts) {
            prop_assert_ne!(&facts.founding, &Founding::Latched(cluster));
            prop_assert!(facts.report(pod).is_some());
            let served = facts.reports().any(|(_, report)| report.formed && report.cluster == Some(cluster));
            prop_assert!(!served, "a member says that {} served", cluster);
        }
    }

    #[test]
    fn no_pod_goes_while_a_member_that_stays_has_it_in_its_configuration(facts in latched_facts()) {
        if let Decision::Act(Step::SetPods { from, to }) = plan(&facts) {
            prop_assert!(to < from);
            for (_, report) in facts.reports().filter(|(pod, _)| pod.0 < to) {
                for gone in to..from {
                    prop_assert!(!report.configuration.names(member(gone)), "orders-{gone} is in {report:?}");
                }
            }
        }
    }

    #[test]
    fn pods_go_only_with_a_majority_of_those_that_stay_on_disk(facts in latched_facts()) {
        if let Decision::Act(Step::SetPods { .. } | Step::ReplaceVolume { .. }) = plan(&facts) {
            let (_, leader) = facts.leader_of(cluster(A)).unwrap();
            let voters = &leader.configuration.voters;
            let durable = facts.reports().filter(|(_, report)| {
                voters.contains(&report.member)
                    && report.configuration_index >= leader.configuration_index
                    && report.durable_configuration_index >= leader.configuration_index
            });
            prop_assert!(durable.count() > voters.len() / 2);
        }
    }

    #[test]
    fn before_the_latch_pods_are_only_ever_added(mut facts in any_facts()) {
        if matches!(facts.founding, Founding::Latched(_)) {
            facts.founding = Founding::None;
        }
        if let Decision::Act(Step::SetPods { from, to }) = plan(&facts) {
            prop_assert!(to > from);
        }
    }

    #[test]
    fn the_same_facts_give_the_same_decision(facts in any_facts()) {
        prop_assert_eq!(plan(&facts), plan(&facts.clone()));
    }

    #[test]
    fn paused_never_acts(mut facts in any_facts()) {
        facts.paused = true;
        prop_assert_eq!(plan(&facts), Decision::Wait(Wait::Paused));
    }
}
