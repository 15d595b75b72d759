//! The membership's rules by tables and by random plans.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::decide::{Decision, Liveness, Standing, decide};
use super::reconcile::{Facts, Step, next_step};
use super::*;
use crate::configuration::{self, Configuration};
use crate::event::{AdminRequest, MemberSelector};
use crate::log::ConfState;

const ELECTION_TICKS: u64 = 10;

/// A membership of voters 1.. (named n1..), with a roster, learners, and who is silent.
#[derive(Clone, Debug)]
struct World {
    membership: Membership,
    conf_state: ConfState,
    liveness: Liveness,
}

fn id(n: u64) -> MemberId {
    MemberId(n)
}

impl World {
    fn new(voters: &[(u64, &str)], learners: &[(u64, &str)], roster: &[&str]) -> Self {
        let mut membership = Membership { cluster: ClusterId(7), formed: true, ..Membership::default() };
        membership.configuration_index = Index(5);
        membership.roster = roster.iter().map(|name| ((*name).to_string(), false)).collect();
        for (n, name) in voters.iter().chain(learners) {
            membership.routes.insert(id(*n), Route { id: id(*n), name: (*name).into(), ..Route::default() });
        }
        let conf_state = ConfState {
            voters: voters.iter().map(|(n, _)| id(*n)).collect(),
            learners: learners.iter().map(|(n, _)| id(*n)).collect(),
            ..ConfState::default()
        };
        let heard = membership.routes.keys().map(|id| (*id, 0)).collect();
        let liveness = Liveness { silent_ticks: heard, leading_ticks: 100, election_ticks: ELECTION_TICKS };
        Self { membership, conf_state, liveness }
    }

    fn silent(mut self, n: u64) -> Self {
        self.liveness.silent_ticks.insert(id(n), 50);
        self
    }

    fn step(&self, own: u64, caught_up: &[u64]) -> Option<Step> {
        let caught_up: Vec<MemberId> = caught_up.iter().copied().map(id).collect();
        next_step(&Facts {
            membership: &self.membership,
            conf_state: &self.conf_state,
            liveness: &self.liveness,
            own: id(own),
            change_pending: false,
            settled: true,
            caught_up: &caught_up,
        })
    }

    fn decide(&self, request: &AdminRequest) -> Result<Decision, MembershipRefusal> {
        decide(
            &Standing {
                membership: &self.membership,
                conf_state: &self.conf_state,
                liveness: &self.liveness,
                own: id(1),
                change_pending: false,
                settled: true,
            },
            request,
        )
    }

    fn admit(&self, roster: &[&str]) -> Result<Decision, MembershipRefusal> {
        let roster = roster.iter().map(|name| RosterEntry { name: (*name).into(), learner: false }).collect();
        self.decide(&AdminRequest::Admit { cluster: ClusterId(7), expected: None, roster })
    }
}

const ABC: [(u64, &str); 3] = [(1, "a"), (2, "b"), (3, "c")];

fn joint(add: &[u64], remove: &[u64]) -> Option<Step> {
    let list = |ids: &[u64]| ids.iter().copied().map(id).collect();
    Some(Step::Joint { add: list(add), remove: list(remove) })
}

#[test]
fn nothing_is_done_when_the_roster_is_the_configuration() {
    assert_eq!(World::new(&ABC, &[], &["a", "b", "c"]).step(1, &[]), None);
}

#[test]
fn learners_of_new_names_are_promoted_together_not_one_by_one() {
    let names = ["a", "b", "c", "d", "e"];
    let world = World::new(&ABC, &[(4, "d"), (5, "e")], &names);
    assert_eq!(world.step(1, &[4]), None);
    assert_eq!(world.step(1, &[4, 5]), joint(&[4, 5], &[]));
}

#[test]
fn a_learner_is_not_promoted_while_it_lags_or_is_silent() {
    let names = ["a", "b", "c", "d", "e"];
    let world = World::new(&ABC, &[(4, "d"), (5, "e")], &names).silent(5);
    assert_eq!(world.step(1, &[4, 5]), None);
}

#[test]
fn a_replacement_does_not_wait_for_new_names_and_swaps_in_one_change() {
    let world = World::new(&ABC, &[(9, "c")], &["a", "b", "c", "d", "e"]).silent(3);
    assert_eq!(world.step(1, &[9]), joint(&[9], &[3]));
}

#[test]
fn a_live_member_is_never_swapped_out() {
    let world = World::new(&ABC, &[(9, "c")], &["a", "b", "c"]);
    assert_eq!(world.step(1, &[9]), None);
}

#[test]
fn a_fresh_leader_concludes_nothing_from_silence() {
    let mut world = World::new(&ABC, &[(9, "c")], &["a", "b", "c"]).silent(3);
    world.liveness.leading_ticks = ELECTION_TICKS - 1;
    assert_eq!(world.step(1, &[9]), None);
}

#[test]
fn all_dropped_names_leave_in_one_joint_change_and_the_leader_hands_over_first() {
    let five = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")];
    let world = World::new(&five, &[], &["a", "b", "c"]);
    assert_eq!(world.step(1, &[]), joint(&[], &[4, 5]));
    assert_eq!(world.step(5, &[]), Some(Step::HandOver));
}

#[test]
fn a_joint_configuration_is_left_before_anything_else() {
    let mut world = World::new(&ABC, &[], &["a"]);
    world.conf_state.voters_outgoing = vec![id(1), id(4)];
    assert_eq!(world.step(1, &[]), Some(Step::Leave));
    assert_eq!(world.step(4, &[]), Some(Step::HandOver));
}

#[test]
fn a_learner_whose_name_was_dropped_is_removed() {
    let world = World::new(&ABC, &[(4, "d")], &["a", "b", "c"]);
    assert_eq!(world.step(1, &[4]), Some(Step::RemoveLearner(id(4))));
}

#[test]
fn of_two_learners_of_a_name_the_silent_one_goes_once_the_other_is_alive() {
    let two =
        || World::new(&[(1, "a"), (2, "b"), (3, "c")], &[(4, "c"), (9, "c")], &["a", "b", "c"]).silent(3);
    for (silent, step) in [
        (&[4][..], Some(Step::RemoveLearner(id(4)))),
        (&[9][..], Some(Step::RemoveLearner(id(9)))),
        // Nothing says which of them is the newer, and which disk is gone.
        (&[4, 9][..], None),
        (&[][..], None),
    ] {
        let world = silent.iter().fold(two(), |world, n| world.silent(*n));
        assert_eq!(world.step(1, &[]), step, "{silent:?}");
    }
}

#[test]
fn a_scale_down_that_would_leave_too_few_alive_is_refused_with_the_numbers() {
    let world = World::new(&ABC, &[], &["a", "b", "c"]).silent(2);
    let refused = MembershipRefusal::QuorumAtRisk { live: 0, voters: 1, quorum: 1, silent: "b".into() };
    assert_eq!(world.admit(&["b"]), Err(refused));
    assert!(world.admit(&["a"]).is_ok());
}

#[test]
fn admit_compares_and_sets() {
    let world = World::new(&ABC, &[], &["a", "b", "c"]);
    let roster = vec![RosterEntry { name: "a".into(), learner: false }];
    let request =
        AdminRequest::Admit { cluster: ClusterId(7), expected: Some(Index(4)), roster: roster.clone() };
    let stale = MembershipRefusal::StaleConfiguration { expected: Index(4), actual: Index(5) };
    assert_eq!(world.decide(&request), Err(stale));
    let other = AdminRequest::Admit { cluster: ClusterId(8), expected: None, roster };
    assert!(matches!(world.decide(&other), Err(MembershipRefusal::WrongCluster { .. })));
}

#[test]
fn invalid_rosters_are_refused() {
    let world = World::new(&ABC, &[], &["a", "b", "c"]);
    let many: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for roster in [&[][..], &["a", "a"], &[""], &many] {
        assert!(matches!(world.admit(roster), Err(MembershipRefusal::InvalidRoster { .. })), "{roster:?}");
    }
}

#[test]
fn who_may_join() {
    let route = |n: u64, name: &str| Route { id: id(n), name: name.into(), ..Route::default() };
    let join = |world: &World, n: u64, name: &str| {
        let request =
            AdminRequest::Join { cluster: ClusterId(0), route: route(n, name), abandoned: Vec::new() };
        world.decide(&request)
    };
    let mut world = World::new(&ABC, &[], &["a", "b", "c", "d"]).silent(3);
    world.membership.tombstones.insert(id(66));
    assert_eq!(join(&world, 4, "d"), Ok(Decision::AddLearner(route(4, "d"))));
    assert_eq!(join(&world, 9, "c"), Ok(Decision::AddLearner(route(9, "c"))));
    assert_eq!(join(&world, 2, "b"), Ok(Decision::AlreadyJoined));
    assert!(matches!(join(&world, 9, "b"), Err(MembershipRefusal::AlreadyExists { .. })));
    assert!(matches!(join(&world, 9, "z"), Err(MembershipRefusal::NotAdmitted { .. })));
    assert_eq!(join(&world, 66, "d"), Err(MembershipRefusal::Tombstoned(id(66))));
    world.liveness.leading_ticks = 1;
    assert!(matches!(join(&world, 9, "c"), Err(MembershipRefusal::HolderUndecided { .. })));
    let abandoned = vec![ClusterId(7)];
    let request = AdminRequest::Join { cluster: ClusterId(0), route: route(4, "d"), abandoned };
    assert!(matches!(world.decide(&request), Err(MembershipRefusal::WrongCluster { .. })));
}

#[test]
fn a_cluster_forms_only_when_all_its_voters_are_in() {
    let mut world = World::new(&ABC, &[], &["a", "b", "c", "d", "e"]);
    world.membership.formed = false;
    let form = AdminRequest::Form { cluster: ClusterId(7) };
    let early = MembershipRefusal::NotReadyToForm { joined: 3, expected: 5 };
    assert_eq!(world.decide(&form), Err(early));
    let mut world = World::new(&ABC, &[], &["a", "b", "c"]);
    world.membership.formed = false;
    assert!(matches!(world.decide(&form), Ok(Decision::Propose(_))));
    world.conf_state.voters_outgoing = vec![id(1)];
    assert!(world.decide(&form).is_err());
}

#[test]
fn a_member_is_removed_by_id_or_name_and_the_unknown_is_not() {
    let world = World::new(&ABC, &[], &["a", "b", "c"]);
    let remove = |target| AdminRequest::Remove { cluster: ClusterId(7), target, expected: None };
    let by_id = world.decide(&remove(MemberSelector::Id(id(3)))).unwrap();
    assert_eq!(world.decide(&remove(MemberSelector::Name("c".into()))), Ok(by_id));
    let unknown = world.decide(&remove(MemberSelector::Name("z".into())));
    assert_eq!(unknown, Err(MembershipRefusal::MemberNotFound));
}

/// Without the name all go that hold it: whoever means one of two must not take a healthy voter with it, nor the replacement
/// of a dead one.
#[test]
fn one_of_two_holders_of_a_name_is_not_removed_by_its_id() {
    let world = World::new(&ABC, &[(4, "c")], &["a", "b", "c"]);
    let remove = |target| AdminRequest::Remove { cluster: ClusterId(7), target, expected: None };
    for (named, other) in [(3, 4), (4, 3)] {
        let refusal = MembershipRefusal::NameHeldTwice { name: "c".into(), id: id(named), other: id(other) };
        assert_eq!(world.decide(&remove(MemberSelector::Id(id(named)))), Err(refusal));
    }
    let by_name = world.decide(&remove(MemberSelector::Name("c".into())));
    assert!(matches!(by_name, Ok(Decision::Propose(MembershipOp::Admit(_)))));
    // A route that stayed of who is no member any more is nobody.
    let mut world = world;
    world.conf_state.learners.clear();
    assert!(world.decide(&remove(MemberSelector::Id(id(3)))).is_ok());
}

/// All of the metadata is in the header of every snapshot, which goes to a peer in one message.
#[test]
fn metadata_is_bounded_in_all_when_it_is_asked_for_and_when_it_is_applied() {
    let mut membership = Membership::default();
    let value = Bytes::from(vec![b'x'; 64 << 10]);
    let set =
        |key: String, value: Option<Bytes>| MembershipOp::Metadata(crate::wire::MetadataWire { key, value });
    for n in 0..15 {
        membership.apply(Index(n), &set(format!("k{n}"), Some(value.clone()))).unwrap();
    }
    let before = membership.clone();
    let invalid = |outcome| matches!(outcome, Err(MembershipRefusal::InvalidMetadata { .. }));
    assert!(invalid(membership.apply(Index(20), &set("more".into(), Some(value.clone())))));
    assert!(invalid(membership.apply(Index(20), &set(String::new(), Some(Bytes::new())))));
    assert_eq!(membership, before, "what is refused changes nothing");
    membership.apply(Index(21), &set("k3".into(), Some(Bytes::from_static(b"y")))).unwrap();
    membership.apply(Index(22), &set("more".into(), Some(value.clone()))).unwrap();
    membership.apply(Index(23), &set("k4".into(), None)).unwrap();

    let mut world = World::new(&ABC, &[], &["a", "b", "c"]);
    world.membership.metadata = (0..255).map(|n| (format!("k{n}"), Bytes::new())).collect();
    let ask = |world: &World, key: &str, value| {
        world.decide(&AdminRequest::SetMetadata { key: key.into(), value: Some(value) }).map(drop)
    };
    assert!(ask(&world, "one", Bytes::from(vec![b'x'; 60 << 10])).is_ok());
    assert!(invalid(ask(&world, "one", Bytes::from(vec![b'x'; (64 << 10) + 1]))));
    world.membership.metadata.insert("last".into(), Bytes::new());
    assert!(invalid(ask(&world, "one", Bytes::new())), "257 keys");
    assert!(ask(&world, "last", Bytes::from_static(b"1")).is_ok());
    assert!(world.membership.encode().len() < 4 << 20);
}

/// Carries a step out as the log would.
fn apply(world: &mut World, step: &Step) {
    let mut configuration = Configuration::restore(&world.conf_state).unwrap();
    let changes = match step {
        Step::Leave => Vec::new(),
        Step::Joint { add, remove } => {
            let add = add.iter().copied().map(configuration::add_voter);
            add.chain(remove.iter().copied().map(configuration::remove)).collect()
        }
        Step::RemoveLearner(id) => vec![configuration::remove(*id)],
        Step::HandOver => return,
    };
    let mut change = raft::eraftpb::ConfChangeV2 { changes, ..Default::default() };
    if matches!(step, Step::Joint { .. }) {
        change.set_transition(raft::eraftpb::ConfChangeTransition::Explicit);
    }
    configuration.apply(&change).unwrap();
    let (before, after) = (world.conf_state.clone(), configuration.conf_state());
    let index = world.membership.configuration_index.next();
    world.membership.reconfigured(index, &before, &after, None);
    world.conf_state = after;
}

/// Up to nine names; for each whether it votes, whether a learner holds it, whether it is admitted, who is silent.
fn worlds() -> impl Strategy<Value = World> {
    let one = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 1..9).prop_map(|names| {
        let named: Vec<String> = (0..names.len()).map(|n| format!("n{n}")).collect();
        let (mut voters, mut learners, mut roster) = (Vec::new(), Vec::new(), Vec::new());
        let mut silent = Vec::new();
        for (n, (votes, learns, admitted, voter_silent, learner_silent)) in names.into_iter().enumerate() {
            let (name, n) = (named[n].as_str(), n as u64);
            if votes || n == 0 {
                voters.push((n + 1, name));
                silent.extend((voter_silent && n > 0).then_some(n + 1));
            }
            if learns && n > 0 {
                learners.push((n + 101, name));
                silent.extend(learner_silent.then_some(n + 101));
            }
            if admitted || n == 0 {
                roster.push(name);
            }
        }
        let world = World::new(&voters, &learners, &roster);
        silent.into_iter().fold(world, World::silent)
    })
}

proptest! {
    #[test]
    fn a_plan_never_takes_the_quorum_nor_a_live_admitted_voter(world in worlds(), own in 0usize..9) {
        let mut world = world;
        let own = world.conf_state.voters[own % world.conf_state.voters.len()];
        world.liveness.silent_ticks.insert(own, 0);
        let caught_up: Vec<u64> = world.conf_state.learners.iter().map(|id| id.0).collect();
        match world.step(own.0, &caught_up) {
            Some(Step::Joint { add, remove }) => {
                prop_assert!(!remove.contains(&own));
                for dropped in &remove {
                    let name = world.membership.name_of(*dropped).unwrap();
                    let admitted = world.membership.roster.contains_key(name);
                    prop_assert!(!admitted || world.liveness.is_gone(*dropped));
                }
                let after: BTreeSet<MemberId> = world.conf_state.voters.iter().chain(&add).copied()
                    .filter(|id| !remove.contains(id)).collect();
                let live = after.iter().filter(|id| **id == own || world.liveness.is_alive(**id)).count();
                prop_assert!(live > after.len() / 2);
                let names: BTreeMap<&str, usize> = after.iter().fold(BTreeMap::new(), |mut names, id| {
                    *names.entry(world.membership.name_of(*id).unwrap()).or_default() += 1;
                    names
                });
                prop_assert!(names.values().all(|count| *count == 1), "one voter a name: {names:?}");
            }
            Some(Step::Leave) => prop_assert!(false, "not joint"),
            Some(Step::RemoveLearner(id)) => prop_assert!(world.conf_state.learners.contains(&id)),
            Some(Step::HandOver) => {
                prop_assert!(!world.membership.roster.contains_key(world.membership.name_of(own).unwrap()));
            }
            None => {}
        }
    }

    #[test]
    fn with_everyone_alive_the_plan_ends_at_the_roster(world in worlds()) {
        let mut world = world;
        for ticks in world.liveness.silent_ticks.values_mut() {
            *ticks = 0;
        }
        // A name without any holder would rightly be waited for.
        let held: BTreeSet<String> = world.membership.routes.values().map(|route| route.name.clone()).collect();
        world.membership.roster.retain(|name, _| held.contains(name));
        let mut own = world.conf_state.voters[0];
        for _ in 0..20 {
            let caught_up: Vec<u64> = world.conf_state.learners.iter().map(|id| id.0).collect();
            let Some(step) = world.step(own.0, &caught_up) else { break };
            if step == Step::HandOver {
                let stays = |id: &&MemberId| world.membership.name_of(**id)
                    .is_some_and(|name| world.membership.roster.contains_key(name));
                own = *world.conf_state.voters.iter().find(stays).unwrap_or(&own);
            }
            apply(&mut world, &step);
        }
        let names: BTreeSet<&str> =
            world.conf_state.voters.iter().map(|id| world.membership.name_of(*id).unwrap()).collect();
        let roster: BTreeSet<&str> = world.membership.roster.keys().map(String::as_str).collect();
        prop_assert_eq!(names, roster);
        prop_assert!(!world.conf_state.is_joint());
    }

    #[test]
    fn membership_survives_its_codec(world in worlds()) {
        let mut membership = world.membership;
        membership.metadata.insert("k".into(), Bytes::from_static(b"{}"));
        membership.tombstones.insert(id(9));
        prop_assert_eq!(Membership::decode(&membership.encode()).unwrap(), membership);
    }
}
