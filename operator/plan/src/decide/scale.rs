//! Another number of voters: the roster first, then, when it has taken hold, the pods.
//!
//! Up: the names are admitted before their pods exist, so that they find a door that is open. Down: the names are dropped,
//! the leader takes the members out of the configuration in one joint change, and only when a majority of those that stay has
//! that on its disks do the pods go.

use std::collections::{BTreeMap, BTreeSet};

use super::latched::Live;
use super::step::{Decision, Step, Wait};
use crate::ids::{MemberId, Ordinal};

/// The roster is brought to the target set, whole, by compare-and-set.
pub(super) fn roster(live: &Live<'_>) -> Option<Decision> {
    let target = live.facts.target_roster();
    if live.leader.roster == target {
        return None;
    }
    if let Some(wait) = live.not_durable() {
        return Some(Decision::Wait(wait));
    }
    // Voters that stay have to be there: they are the quorum after the change. Those that are dropped need not be, so
    // that a dead node can be scaled away.
    let voters = live.leader.peers.iter().filter(|peer| live.leader.configuration.voters.contains(&peer.id));
    let pods: Vec<String> = voters
        .filter(|peer| target.contains_key(&peer.name))
        .filter(|peer| !live.facts.name.ordinal_of(&peer.name).is_some_and(|pod| live.is_well(pod)))
        .map(|peer| peer.name.clone())
        .collect();
    if !pods.is_empty() {
        return Some(Decision::Wait(Wait::ScaleRefused { pods }));
    }
    Some(Decision::Act(Step::Admit {
        pod: live.pod,
        cluster: live.cluster,
        expected: live.leader.configuration_index,
        roster: target,
    }))
}

/// The roster stands; the pods follow it.
pub(super) fn pods(live: &Live<'_>) -> Option<Decision> {
    let (from, to) = (live.facts.pods_wanted, live.facts.replicas);
    #[cfg(feature = "mutants")]
    if outrigger_mutants::is_alive(outrigger_mutants::Mutant::PodsDeletedEarly) && from != to {
        return Some(Decision::Act(Step::SetPods { from, to }));
    }
    if let Some(wait) = leaving(live) {
        return Some(Decision::Wait(wait));
    }
    if from < to {
        return Some(Decision::Act(Step::SetPods { from, to }));
    }
    if from == to {
        return None;
    }
    if let Some(wait) = live.not_durable() {
        return Some(Decision::Wait(wait));
    }
    let still_in = still_configured(live, to);
    if !still_in.is_empty() {
        return Some(Decision::Wait(Wait::Leaving { pods: still_in }));
    }
    Some(Decision::Act(Step::SetPods { from, to }))
}

/// Pods from `to` on that any member that stays still has in its configuration. Answers are seconds apart, so the leader's
/// word alone is not enough: another one may have applied a newer configuration than it. What the pods that go believe does
/// not count, because a removed member may never hear that it was.
fn still_configured(live: &Live<'_>, to: u8) -> Vec<String> {
    let name = &live.facts.name;
    let stays =
        || live.facts.members_of(live.cluster).filter(|(pod, _)| pod.0 < to).map(|(_, report)| report);
    let leaves = |pod: &Ordinal| pod.0 >= to;
    // By what the pods say of themselves: a name can be wrong, an id cannot.
    let by_id = live
        .facts
        .reports()
        .filter(|(_, report)| stays().any(|other| other.configuration.names(report.member)));
    // By name too, because a pod that goes may be silent.
    let by_name = stays().flat_map(|report| {
        report
            .peers
            .iter()
            .filter(|peer| report.configuration.names(peer.id))
            .filter_map(|peer| name.ordinal_of(&peer.name))
    });
    let pods: BTreeSet<Ordinal> = by_id.map(|(pod, _)| pod).chain(by_name).filter(leaves).collect();
    pods.into_iter().map(|pod| name.pod(pod)).collect()
}

/// Names that may join and do not vote yet.
pub(super) fn joining(live: &Live<'_>) -> Option<Decision> {
    let names = names(live);
    let voting: Vec<&str> =
        live.leader.configuration.voters.iter().filter_map(|id| names.get(id).copied()).collect();
    let pods: Vec<String> = live
        .leader
        .roster
        .keys()
        .filter(|name| !voting.contains(&name.as_str()))
        .filter(|name| live.facts.name.ordinal_of(name).is_some_and(|pod| pod.0 < live.facts.replicas))
        .cloned()
        .collect();
    (!pods.is_empty()).then_some(Decision::Wait(Wait::Joining { pods }))
}

/// Members of the configuration that the roster does not name (any more).
fn leaving(live: &Live<'_>) -> Option<Wait> {
    let names = names(live);
    let configuration = &live.leader.configuration;
    let mut pods = Vec::new();
    for member in configuration.voters.iter().chain(&configuration.learners) {
        match names.get(member) {
            None => return Some(Wait::UnknownMember { member: *member }),
            Some(name) if !live.leader.roster.contains_key(*name) => pods.push((*name).to_owned()),
            Some(_) => {}
        }
    }
    (!pods.is_empty()).then_some(Wait::Leaving { pods })
}

fn names<'a>(live: &Live<'a>) -> BTreeMap<MemberId, &'a str> {
    live.leader.peers.iter().map(|peer| (peer.id, peer.name.as_str())).collect()
}
