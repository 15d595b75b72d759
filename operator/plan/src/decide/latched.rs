//! The day after founding: the order of a pass, and what every later step asks of the configuration first.

use super::step::{Decision, Step, Wait};
use super::{found, repair, scale, update};
use crate::facts::{Facts, MemberPhase, Report};
use crate::ids::{ClusterId, Ordinal, quorum};
use crate::standing::Standing;

/// The cluster exists; it is brought to what the spec says, one step a pass.
pub(super) fn latched(facts: &Facts, cluster: ClusterId) -> Decision {
    if let Some(decision) = update::dead_and_outdated(facts) {
        return decision;
    }
    let Some((pod, leader)) = facts.leader_of(cluster) else {
        return leaderless(facts, cluster);
    };
    let live = Live { facts, cluster, pod, leader };
    if !leader.formed {
        return Decision::Act(Step::Form { pod, cluster });
    }
    if leader.configuration.is_joint() {
        return Decision::Wait(Wait::ConfigurationChanging);
    }
    repair::repair(&live)
        .or_else(|| scale::roster(&live))
        .or_else(|| scale::pods(&live))
        .or_else(|| found::strays(facts, cluster))
        .or_else(|| scale::joining(&live))
        .or_else(|| update::outdated(&live))
        .or_else(|| repair::lost(&live))
        .or_else(|| unwell(&live))
        .unwrap_or(Decision::Settled)
}

/// The facts of a cluster that has a leader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live<'a> {
    pub(super) facts: &'a Facts,
    pub(super) cluster: ClusterId,
    pub(super) pod: Ordinal,
    pub(super) leader: &'a Report,
}

impl<'a> Live<'a> {
    /// The pods of voters that answer, with their reports.
    pub(super) fn voters(&self) -> impl Iterator<Item = (Ordinal, &'a Report)> {
        let voters = &self.leader.configuration.voters;
        self.facts.members_of(self.cluster).filter(|(_, report)| voters.contains(&report.member))
    }

    /// Whether a pod's member is a voter that answers, serves and is in step with the leader.
    pub(super) fn is_well(&self, pod: Ordinal) -> bool {
        self.voters().any(|(ordinal, _)| ordinal == pod)
            && Standing::of(self.facts, pod, Some(self.leader)) == Standing::InStep
    }

    /// The rule before anything destructive and before any next change: a majority of the voters has the leader's
    /// configuration applied, and its commit on its disks. Without it a removed member's vote may still be needed to leave
    /// the joint configuration, and 3 → 1 would leave the last one joint for ever.
    pub(super) fn not_durable(&self) -> Option<Wait> {
        let wanted = self.leader.configuration_index;
        let has_it = |report: &Report| {
            report.configuration_index >= wanted && report.durable_configuration_index >= wanted
        };
        let reported = self.voters().filter(|(_, report)| has_it(report)).count();
        let needed = quorum(self.leader.configuration.voters.len());
        (reported < needed).then_some(Wait::ConfigurationNotDurable { reported, needed })
    }

    /// The pods of the target set that are not well.
    pub(super) fn unwell(&self) -> Vec<String> {
        let wanted = (0..self.facts.replicas).map(Ordinal);
        wanted.filter(|pod| !self.is_well(*pod)).map(|pod| self.facts.name.pod(pod)).collect()
    }
}

fn unwell(live: &Live<'_>) -> Option<Decision> {
    let pods = live.unwell();
    (!pods.is_empty()).then_some(Decision::Wait(Wait::MembersUnwell { pods }))
}

/// Nobody leads: say whether that is a matter of time or of silent voters.
fn leaderless(facts: &Facts, cluster: ClusterId) -> Decision {
    if facts.pods_wanted < facts.replicas {
        // Starting pods is never harmful: one that is not rostered parks. Not starting them may be why nobody leads.
        return Decision::Act(Step::SetPods { from: facts.pods_wanted, to: facts.replicas });
    }
    let newest =
        facts.members_of(cluster).map(|(_, report)| report).max_by_key(|report| report.configuration_index);
    let faulted = facts.reports().find(|(_, report)| report.phase == MemberPhase::Faulted);
    let (voters, needed): (Vec<_>, _) = match newest {
        Some(newest) => {
            let votes = |report: &Report| newest.configuration.voters.contains(&report.member);
            let voters = facts.members_of(cluster).filter(|(_, report)| votes(report)).collect();
            (voters, quorum(newest.configuration.voters.len()))
        }
        None => (Vec::new(), quorum(usize::from(facts.replicas))),
    };
    let answering = voters.len();
    match faulted {
        Some((pod, report)) if answering < needed => Decision::Wait(Wait::RepairRefused {
            pod: facts.name.pod(pod),
            fault: format!("halted: {}", report.fault),
            answering,
            needed,
        }),
        _ if answering < needed => {
            let outside = facts
                .reports()
                .filter(|(_, report)| report.cluster != Some(cluster) || report.phase != MemberPhase::Member);
            let empty = outside.map(|(pod, _)| facts.name.pod(pod)).collect();
            Decision::Wait(Wait::QuorumSilent { answering, needed, silent: facts.silent(), empty })
        }
        _ if voters.iter().all(|(_, report)| report.draining) => {
            let pods = voters.iter().map(|(pod, _)| facts.name.pod(*pod)).collect();
            Decision::Wait(Wait::AllDrained { pods })
        }
        _ => Decision::Wait(Wait::NoLeader { answering }),
    }
}
