//! The operator: it looks at every pod, asks the plan that ships for one step, and takes it; late, on facts that are old by
//! then, twice over, or not at all because it died in between.
//!
//! What the API server keeps (the register with its version, the set's size, the marks on claims) is kept here.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_core::event::AdminRequest;
use outrigger_core::membership::{RosterEntry, Route};
use outrigger_core::types as core;
use outrigger_member::founding::Founding as FoundingRequest;
use outrigger_plan::decide::{Decision, Step, plan};
use outrigger_plan::facts::{Answer, Facts, MemberPhase, Pod, Repair, Roster, RosterRole};
use outrigger_plan::founding::Founding;
use outrigger_plan::ids::{ClusterId, ClusterName, Ordinal};
use outrigger_plan::trackers::{Stuck, Unwell};

use super::end::Ending;
use super::event::Happening;
use super::process::AdminCaller;
use super::streams::OPERATOR;
use super::{MS, SECOND, Time, World, pods};
use crate::random::Random;
use crate::schedule::WHOLE;

const PURPOSE: u64 = 4;
/// A member that is halted gets another volume after this.
const UNHEALTHY_AFTER: Duration = Duration::from_secs(15);
/// An answer gets lost in so many of 1000.
const LOST_ANSWERS: u32 = 20;

/// What is asked for, what is recorded, and who sees to it.
#[derive(Debug)]
pub(super) struct Cluster {
    random: Random,
    /// `spec.replicas`.
    pub(super) replicas: u8,
    /// The register and its version: written by compare-and-set only.
    pub(super) register: Founding,
    pub(super) version: u64,
    pods_wanted: u8,
    operators: [Operator; 2],
    /// Until when a second one is at work.
    pub(super) second_until: Time,
    /// Until when each of its steps takes up to so long.
    pub(super) slow: (Time, Time),
    pub(super) last: Option<Decision>,
}

#[derive(Debug, Default)]
struct Operator {
    /// Counts its deaths: what an earlier one began is void.
    life: u32,
    pass: Option<Pass>,
    unwell: Unwell,
    stuck: Stuck,
}

/// By pod: the number of its volume, and which of its processes.
type Seen = BTreeMap<u8, (u64, u32)>;

#[derive(Debug)]
struct Pass {
    facts: Facts,
    version: u64,
    /// Volume and process behind each pod, as they were seen: what is deleted is deleted by its uid.
    seen: Seen,
}

/// What an operator does next.
#[derive(Debug)]
pub(super) struct OperatorEvent {
    operator: usize,
    life: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Pass,
    Look(u8),
    Decide,
    Act(Box<(Step, u64, Seen)>),
}

impl Cluster {
    pub(super) fn new(seed: u64, replicas: u8) -> Self {
        Self {
            random: Random::new(seed, PURPOSE),
            replicas,
            register: Founding::None,
            version: 1,
            pods_wanted: 0,
            operators: [Operator::default(), Operator::default()],
            second_until: 0,
            slow: (0, 0),
            last: None,
        }
    }

    fn empty_facts(&mut self) -> Facts {
        let fresh = std::iter::repeat_with(|| ClusterId::from_wire(self.random.id())).flatten().next();
        Facts {
            name: ClusterName("orders".to_owned()),
            replicas: self.replicas,
            paused: false,
            repair: Repair::After(UNHEALTHY_AFTER),
            restart_outdated: true,
            may_roll: true,
            founding: self.register.clone(),
            pods_wanted: self.pods_wanted,
            pods: BTreeMap::new(),
            volume_clusters: BTreeMap::new(),
            fresh_cluster: fresh.unwrap_or_else(|| unreachable!("an id is never 0")),
        }
    }
}

impl World {
    pub(super) fn start_operators(&mut self) {
        self.operator_event(0, What::Pass, 0);
    }

    fn operator_event(&mut self, operator: usize, what: What, delay: Time) {
        let life = self.operator.operators.get(operator).map_or(0, |operator| operator.life);
        self.after(delay, Happening::Operator(OperatorEvent { operator, life, what }));
    }

    fn delay(&mut self, usual: Time) -> Time {
        let slow = self.operator.slow;
        if slow.0 > self.now {
            self.feel("slow operator", WHOLE);
        }
        let extra = if slow.0 > self.now { self.operator.random.within(0, slow.1 + 1) } else { 0 };
        self.operator.random.within(MS, usual) + extra
    }

    /// It dies wherever it is, and starts anew.
    pub(super) fn operator_crashes(&mut self, operator: usize) {
        let Some(this) = self.operator.operators.get_mut(operator) else { return };
        let life = this.life + 1;
        *this = Operator { life, ..Operator::default() };
        let wait = self.operator.random.within(500 * MS, 6 * SECOND);
        self.operator_event(operator, What::Pass, wait);
    }

    /// A second one begins to work beside the first.
    pub(super) fn second_operator(&mut self, until: Time) {
        self.operator.second_until = until;
        self.operator_event(1, What::Pass, 0);
    }

    pub(super) fn operator_acts(&mut self, event: OperatorEvent) {
        let OperatorEvent { operator, life, what } = event;
        let is_current = self.operator.operators.get(operator).is_some_and(|this| this.life == life);
        if !is_current || (operator == 1 && self.operator.second_until <= self.now) {
            return;
        }
        if operator == 1 && matches!(what, What::Decide) {
            self.feel("two operators", WHOLE);
        }
        match what {
            What::Pass => self.begin_pass(operator),
            What::Look(pod) => self.look_at(operator, pod),
            What::Decide => self.decide(operator),
            What::Act(act) => {
                let (step, version, seen) = *act;
                self.act(step, version, &seen);
                let rest = self.delay(300 * MS);
                self.operator_event(operator, What::Pass, rest);
            }
        }
    }

    fn begin_pass(&mut self, operator: usize) {
        let facts = self.operator.empty_facts();
        let version = self.operator.version;
        let count = facts.pods_wanted;
        let mut longest = 0;
        for pod in 0..count {
            let delay = self.delay(50 * MS);
            longest = longest.max(delay);
            self.operator_event(operator, What::Look(pod), delay);
        }
        if let Some(this) = self.operator.operators.get_mut(operator) {
            this.pass = Some(Pass { facts, version, seen: BTreeMap::new() });
        }
        self.operator_event(operator, What::Decide, longest + MS);
    }

    fn look_at(&mut self, operator: usize, pod: u8) {
        let reaches = self.call_passes(OPERATOR, pod) && self.call_passes(pod, OPERATOR);
        let is_lost = self.operator.random.chance(LOST_ANSWERS) || !reaches;
        // A pod that is being deleted still answers, but what it says will not be true for long: the operator takes it for
        // silent, and restarts it no second time.
        let is_going = self.process(pod).is_some_and(|process| process.is_stopping);
        let report = self.report(pod).filter(|_| !is_going);
        // Its probe asks it on its own node: that it cannot be reached from here changes nothing.
        let serves =
            report.as_ref().is_some_and(|report| report.formed && report.phase == MemberPhase::Member);
        let report = report.filter(|_| !is_lost);
        let Some(there) = self.pod(pod) else { return };
        let (outdated, volume) = (there.outdated && !is_going, &there.volume);
        let marked = volume.marked.and_then(|cluster| ClusterId::from_wire(cluster.0));
        let seen = (volume.number, there.process.as_ref().map_or(0, |process| process.at.incarnation));
        let answer = match report {
            Some(report) => Answer::Report(Box::new(report)),
            None => Answer::Silent("timed out".to_owned()),
        };
        let now = Duration::from_micros(self.now);
        let Some(this) = self.operator.operators.get_mut(operator) else { return };
        let ordinal = Ordinal(pod);
        let unhealthy_for = this.unwell.note(ordinal, &answer, now);
        let Some(pass) = &mut this.pass else { return };
        let stuck_for = Duration::ZERO;
        pass.facts
            .pods
            .insert(ordinal, Pod { answer, outdated, unhealthy_for, stuck_for, serves, lost_node: None });
        pass.facts.volume_clusters.extend(marked.map(|cluster| (ordinal, cluster)));
        pass.seen.insert(pod, seen);
    }

    fn decide(&mut self, operator: usize) {
        let now = Duration::from_micros(self.now);
        let Some(this) = self.operator.operators.get_mut(operator) else { return };
        let Some(mut pass) = this.pass.take() else { return };
        this.stuck.note(&mut pass.facts, now);
        let decision = plan(&pass.facts);
        self.mark_claims(&pass.facts);
        self.tell(None, || format!("operator {operator}: {decision:?}"), 10);
        self.operator.last = Some(decision.clone());
        match decision {
            Decision::Act(step) => {
                let delay = self.delay(100 * MS);
                self.operator_event(operator, What::Act(Box::new((step, pass.version, pass.seen))), delay);
            }
            Decision::Wait(_) | Decision::Settled => {
                let rest = self.delay(SECOND);
                self.operator_event(operator, What::Pass, rest);
            }
        }
    }

    /// The cluster's id on the claims whose members report it.
    fn mark_claims(&mut self, facts: &Facts) {
        let Founding::Latched(cluster) = &facts.founding else { return };
        let marked: Vec<u8> = facts
            .reports()
            .filter(|(_, report)| report.cluster == Some(*cluster))
            .map(|(ordinal, _)| ordinal.0)
            .collect();
        for pod in marked {
            if let Some(there) = self.pod_mut(pod) {
                there.volume.marked = Some(core::ClusterId(cluster.get()));
            }
        }
    }

    fn act(&mut self, step: Step, version: u64, seen: &Seen) {
        match step {
            Step::SetPods { to, .. } => {
                self.operator.pods_wanted = to;
                self.set_pods(to);
            }
            Step::WriteFounding { expected, next } => {
                let cluster = &mut self.operator;
                if cluster.version == version && cluster.register == expected {
                    if matches!(next, Founding::Latched(_)) {
                        self.coverage.note("latched");
                    }
                    cluster.register = next;
                    cluster.version += 1;
                }
            }
            Step::Found { pod, permit, roster, seeds } => {
                let seeds = seeds.into_iter().map(|peer| Route {
                    id: core::MemberId(peer.id.get()),
                    name: peer.name,
                    address: peer.address,
                    ..Route::default()
                });
                let founding = FoundingRequest {
                    cluster: core::ClusterId(permit.cluster.get()),
                    member: core::MemberId(permit.founder_member.get()),
                    roster: entries(&roster),
                    seeds: seeds.collect(),
                };
                self.call_process(pod.0, |world, process| world.found(process, &founding));
            }
            Step::Abandon { pod, cluster } => {
                let cluster = core::ClusterId(cluster.get());
                self.call_process(pod.0, |world, process| world.abandon(process, cluster));
            }
            Step::Form { pod, cluster } => {
                let cluster = core::ClusterId(cluster.get());
                self.admin_call(OPERATOR, pod.0, AdminRequest::Form { cluster }, AdminCaller::Operator);
            }
            Step::Admit { pod, cluster, expected, roster } => {
                let cluster = core::ClusterId(cluster.get());
                let expected = Some(core::Index(expected.0));
                let request = AdminRequest::Admit { cluster, expected, roster: entries(&roster) };
                self.admin_call(OPERATOR, pod.0, request, AdminCaller::Operator);
            }
            Step::Transfer { pod, to, .. } => {
                let to = Some(pods::name(to.0));
                self.call_process(pod.0, |world, process| world.transfer(process, to, AdminCaller::Operator));
            }
            Step::ReplaceVolume { pod, .. } => {
                let is_same =
                    self.pod(pod.0).map(|pod| pod.volume.number) == seen.get(&pod.0).map(|seen| seen.0);
                if is_same {
                    self.coverage.note("volume replaced by the operator");
                    self.replace_volume(pod.0);
                }
            }
            Step::RestartPod { pod } => {
                let running = self.process(pod.0).map_or(0, |process| process.at.incarnation);
                if seen.get(&pod.0).is_some_and(|seen| seen.1 == running) {
                    if let Some(there) = self.pod_mut(pod.0) {
                        there.outdated = false;
                    }
                    self.coverage.note("pod restarted in order");
                    self.stop_softly(pod.0);
                }
            }
        }
    }

    /// The operator has a pod's process do something, if it reaches that.
    fn call_process(
        &mut self,
        pod: u8,
        what: impl FnOnce(&mut Self, &mut super::process::Process) -> Ending,
    ) {
        if self.call_passes(OPERATOR, pod) {
            self.with_process(pod, what);
        }
    }

    /// Does something with a pod's process, if it answers.
    pub(super) fn with_process(
        &mut self,
        pod: u8,
        what: impl FnOnce(&mut Self, &mut super::process::Process) -> Ending,
    ) {
        if self.pod(pod).is_none_or(|pod| pod.paused_until > self.now) {
            return;
        }
        let Some(mut process) = self.pod_mut(pod).and_then(|pod| pod.process.take()) else { return };
        let ending = what(self, &mut process);
        self.put_back(process, ending);
    }
}

fn entries(roster: &Roster) -> Vec<RosterEntry> {
    let entry = |(name, role): (&String, &RosterRole)| RosterEntry {
        name: name.clone(),
        learner: *role == RosterRole::Learner,
    };
    roster.iter().map(entry).collect()
}
