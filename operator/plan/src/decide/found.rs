//! Before there is a cluster: permitting, founding, latching, abandoning, adopting.
//!
//! Two founders would be two clusters under one name, so everything here would rather wait for ever than guess. The rules
//! are those of a register with one lawful way through it; see `cluster::founding`.

use std::collections::BTreeSet;

use super::step::{Decision, Step, Wait};
use crate::facts::{Facts, MemberPhase, Peer, Report, Roster, RosterRole};
use crate::founding::{Founding, Permit};
use crate::ids::{ClusterId, Ordinal, quorum};

/// Nothing is recorded: adopt what members report, or permit the founding of a new cluster.
pub(super) fn unrecorded(facts: &Facts) -> Decision {
    if facts.pods_wanted < facts.replicas {
        // A pod that does not exist cannot say that its volume is empty.
        return Decision::Act(Step::SetPods { from: facts.pods_wanted, to: facts.replicas });
    }
    #[cfg(feature = "mutants")]
    if outrigger_mutants::is_alive(outrigger_mutants::Mutant::PermittedUnasked)
        && let Some((founder, report)) =
            facts.reports().find(|(_, report)| report.phase == MemberPhase::Empty)
    {
        let (cluster, founder) = (facts.fresh_cluster, facts.name.pod(founder));
        let permit = Permit { cluster, founder, founder_member: report.member, size: facts.replicas };
        return write(facts, Founding::Permitted(permit));
    }
    if let Some(cluster) = formed_by_a_majority(facts) {
        return write(facts, Founding::Latched(cluster));
    }
    let silent = facts.silent();
    if !silent.is_empty() {
        return Decision::Wait(Wait::PodsSilent { pods: silent });
    }
    let clusters: BTreeSet<ClusterId> = facts.reports().filter_map(|(_, report)| report.cluster).collect();
    let mut clusters = clusters.into_iter();
    match (clusters.next(), clusters.next()) {
        (None, _) => permit_new(facts),
        (Some(cluster), None) => adopt(facts, cluster),
        (Some(first), Some(second)) => Decision::Wait(Wait::ConflictingClusters {
            clusters: [first, second].into_iter().chain(clusters).collect(),
        }),
    }
}

/// One disk may found: see it through to the latch, unless that disk is lost.
pub(super) fn permitted(facts: &Facts, permit: &Permit) -> Decision {
    if has_settled(facts, permit) {
        return write(facts, Founding::Latched(permit.cluster));
    }
    if facts.pods_wanted < permit.size {
        return Decision::Act(Step::SetPods { from: facts.pods_wanted, to: permit.size });
    }
    let founder = facts
        .name
        .ordinal_of(&permit.founder)
        .and_then(|ordinal| facts.report(ordinal).map(|report| (ordinal, report)));
    let Some((pod, founder)) = founder else {
        return Decision::Wait(Wait::PodsSilent { pods: vec![permit.founder.clone()] });
    };
    if founder.member != permit.founder_member {
        // The disk that was permitted is gone. Nobody was served yet, so nothing is lost by starting over; but every disk
        // has to forget this cluster first, or its remains could elect a leader beside the next one.
        return write(facts, Founding::Abandoning(permit.clone()));
    }
    if let Some(decision) = strays(facts, permit.cluster) {
        return decision;
    }
    match founder.phase {
        MemberPhase::Faulted => {
            Decision::Wait(Wait::PodFaulted { pod: permit.founder.clone(), fault: founder.fault.clone() })
        }
        MemberPhase::Empty if founder.abandoned.contains(&permit.cluster) => {
            Decision::Wait(Wait::FounderAbandoned { pod: permit.founder.clone(), cluster: permit.cluster })
        }
        MemberPhase::Empty => found(facts, permit, pod),
        MemberPhase::Joining | MemberPhase::Removed => {
            Decision::Wait(Wait::NotEmpty { pod: permit.founder.clone(), phase: founder.phase })
        }
        MemberPhase::Member => {
            let (reported, needed) = settled_voters(facts, permit);
            Decision::Wait(Wait::Forming { cluster: permit.cluster, reported, needed })
        }
    }
}

/// The founder's disk is gone: make every other disk forget, then permit anew.
pub(super) fn abandoning(facts: &Facts, permit: &Permit) -> Decision {
    let wanted = facts.replicas.max(permit.size);
    if facts.pods_wanted < wanted {
        return Decision::Act(Step::SetPods { from: facts.pods_wanted, to: wanted });
    }
    // All are asked before the first is told: one that says that the cluster served stops the whole abandoning.
    if has_served(facts, permit.cluster) {
        return Decision::Wait(Wait::ConflictingClusters { clusters: vec![permit.cluster] });
    }
    for (pod, report) in facts.reports() {
        if report.abandoned.contains(&permit.cluster) {
            continue;
        }
        if report.phase == MemberPhase::Faulted {
            return Decision::Wait(Wait::PodFaulted {
                pod: facts.name.pod(pod),
                fault: report.fault.clone(),
            });
        }
        return Decision::Act(Step::Abandon { pod, cluster: permit.cluster });
    }
    let silent = facts.silent();
    if !silent.is_empty() {
        return Decision::Wait(Wait::PodsSilent { pods: silent });
    }
    if let Some(decision) = strays(facts, permit.cluster) {
        return decision;
    }
    permit_new(facts)
}

/// Disks that hold another cluster than the recorded one are told to forget it, unless it served clients.
pub(super) fn strays(facts: &Facts, ours: ClusterId) -> Option<Decision> {
    let stray = |report: &Report| report.cluster.filter(|cluster| *cluster != ours);
    let served = facts.reports().find(|(_, report)| report.formed && stray(report).is_some());
    for (pod, report) in facts.reports() {
        let Some(cluster) = stray(report) else { continue };
        let tellable = report.phase != MemberPhase::Faulted && !report.abandoned.contains(&cluster);
        if tellable && !has_served(facts, cluster) {
            return Some(Decision::Act(Step::Abandon { pod, cluster }));
        }
    }
    let (pod, report) = served?;
    let found = stray(report)?;
    Some(Decision::Wait(Wait::ForeignCluster { pod: facts.name.pod(pod), found, ours }))
}

/// Whether any member says that clients of this cluster were served. One that lags may not know it yet.
fn has_served(facts: &Facts, cluster: ClusterId) -> bool {
    facts.reports().any(|(_, report)| report.formed && report.cluster == Some(cluster))
}

/// A formed cluster is the only one that its members ever formed, so a majority of its voters may be believed even
/// while other pods are silent: waiting for a dead node would leave the cluster without an operator for good.
fn formed_by_a_majority(facts: &Facts) -> Option<ClusterId> {
    let (_, newest) = facts
        .reports()
        .filter(|(_, report)| {
            report.formed && report.phase == MemberPhase::Member && report.cluster.is_some()
        })
        .max_by_key(|(_, report)| report.configuration_index)?;
    let cluster = newest.cluster?;
    if facts.reports().any(|(_, report)| report.formed && report.cluster != Some(cluster)) {
        return None;
    }
    let voters = &newest.configuration.voters;
    let answering = facts
        .members_of(cluster)
        .filter(|(_, report)| report.formed && voters.contains(&report.member))
        .count();
    (!voters.is_empty() && answering >= quorum(voters.len())).then_some(cluster)
}

fn permit_new(facts: &Facts) -> Decision {
    for (pod, report) in facts.reports() {
        if report.phase != MemberPhase::Empty || report.cluster.is_some() {
            return Decision::Wait(Wait::NotEmpty { pod: facts.name.pod(pod), phase: report.phase });
        }
    }
    if let Some(cluster) = facts.volume_clusters.values().next() {
        let carries = facts.volume_clusters.iter().filter(|(_, found)| *found == cluster);
        let pods = carries.map(|(ordinal, _)| facts.name.pod(*ordinal)).collect();
        return Decision::Wait(Wait::VolumesCarryCluster { cluster: *cluster, pods });
    }
    let Some((founder, report)) = facts.reports().next() else {
        return Decision::Wait(Wait::PodsSilent { pods: vec![facts.name.pod(Ordinal(0))] });
    };
    let permit = Permit {
        cluster: facts.fresh_cluster,
        founder: facts.name.pod(founder),
        founder_member: report.member,
        size: facts.replicas,
    };
    write(facts, Founding::Permitted(permit))
}

/// Every pod answers and those that hold a cluster hold the same one: it is adopted, never minted again.
fn adopt(facts: &Facts, cluster: ClusterId) -> Decision {
    if facts.reports().any(|(_, report)| report.formed && report.cluster == Some(cluster)) {
        return write(facts, Founding::Latched(cluster));
    }
    // Founders are always the first pod, so its id, as the members know it, is the founder's.
    let founder = facts.name.pod(Ordinal(0));
    let holders = || facts.reports().filter(|(_, report)| report.cluster == Some(cluster));
    let id =
        holders().flat_map(|(_, report)| &report.peers).find(|peer| peer.name == founder).map(|peer| peer.id);
    let roster = holders().map(|(_, report)| &report.roster).find(|roster| !roster.is_empty());
    let size = roster.and_then(|roster| u8::try_from(roster.len()).ok());
    match (id, size) {
        (Some(founder_member), Some(size)) => {
            write(facts, Founding::Permitted(Permit { cluster, founder, founder_member, size }))
        }
        (None, _) | (_, None) => Decision::Wait(Wait::UnknownFounder { cluster }),
    }
}

fn found(facts: &Facts, permit: &Permit, pod: Ordinal) -> Decision {
    let initial: Vec<Ordinal> = (0..permit.size).map(Ordinal).collect();
    let silent: Vec<String> = initial
        .iter()
        .filter(|ordinal| facts.report(**ordinal).is_none())
        .map(|ordinal| facts.name.pod(*ordinal))
        .collect();
    if !silent.is_empty() {
        // The founder writes how the others are reached, which only they can say.
        return Decision::Wait(Wait::PodsSilent { pods: silent });
    }
    let seeds = initial.iter().filter_map(|ordinal| {
        let report = facts.report(*ordinal)?;
        let (id, name, address) = (report.member, facts.name.pod(*ordinal), report.address.clone());
        Some(Peer { id, name, address, progress: None })
    });
    let roster: Roster =
        initial.iter().map(|ordinal| (facts.name.pod(*ordinal), RosterRole::Voter)).collect();
    Decision::Act(Step::Found { pod, permit: permit.clone(), roster, seeds: seeds.collect() })
}

/// Whether the latch may fall: a majority of the initial voters reports the final configuration as applied, and its commit
/// as durable. Before that, members that still stand in the joint configuration cannot elect without the founder, and those
/// that would stand in it again after a crash cannot either; once latched, nothing could be founded in their place.
fn has_settled(facts: &Facts, permit: &Permit) -> bool {
    let formed = facts.members_of(permit.cluster).any(|(_, report)| report.formed);
    let (reported, needed) = settled_voters(facts, permit);
    formed || reported >= needed
}

fn settled_voters(facts: &Facts, permit: &Permit) -> (usize, usize) {
    let size = usize::from(permit.size);
    let is_final = |report: &Report| {
        let configuration = &report.configuration;
        !configuration.is_joint()
            && configuration.voters.len() == size
            && configuration.voters.contains(&report.member)
            && report.durable_configuration_index >= report.configuration_index
    };
    let settled = || facts.members_of(permit.cluster).filter(|(_, report)| is_final(report));
    let newest = settled().map(|(_, report)| report).max_by_key(|report| report.configuration_index);
    // Reports of two different final configurations (a replacement in between) are not a majority of either.
    let voters = newest.map(|report| &report.configuration.voters);
    let reported = settled().filter(|(_, report)| Some(&report.configuration.voters) == voters).count();
    (reported, quorum(size))
}

fn write(facts: &Facts, next: Founding) -> Decision {
    Decision::Act(Step::WriteFounding { expected: facts.founding.clone(), next })
}
