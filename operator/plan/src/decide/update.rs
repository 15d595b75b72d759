//! Pods that run with another configuration than the spec asks for: dead ones first, the leader last.

use std::time::Duration;

use super::latched::Live;
use super::step::{Decision, Step, Wait};
use crate::facts::{Facts, Pod, Report};
use crate::ids::Ordinal;

/// One answer that did not come in time is no death.
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// A pod that is silent and outdated may be silent because of its configuration: without this, a configuration that kills
/// every member could never be taken back. One that serves is not dead: who cannot reach the members, because of a network policy or of
/// certificates, would otherwise restart all of them at once.
pub(super) fn dead_and_outdated(facts: &Facts) -> Option<Decision> {
    if !facts.restart_outdated {
        return None;
    }
    let silent = |pod: &Ordinal| facts.report(*pod).is_none();
    let dead = |fact: &Pod| !fact.serves && fact.unhealthy_for >= DEAD_AFTER;
    let found = facts.pods.iter().find(|(pod, fact)| fact.outdated && silent(pod) && dead(fact));
    found.map(|(pod, _)| Decision::Act(Step::RestartPod { pod: *pod }))
}

/// One outdated pod, once all others are well.
pub(super) fn outdated(live: &Live<'_>) -> Option<Decision> {
    let outdated: Vec<Ordinal> =
        live.facts.pods.iter().filter(|(_, pod)| pod.outdated).map(|(pod, _)| *pod).collect();
    if outdated.is_empty() {
        return None;
    }
    if !live.facts.restart_outdated {
        let pods = outdated.into_iter().map(|pod| live.facts.name.pod(pod)).collect();
        return Some(Decision::Wait(Wait::RestartByHand { pods }));
    }
    if !live.facts.may_roll {
        return Some(Decision::Wait(Wait::RollQueued));
    }
    let well = |pod: &Ordinal| live.is_well(*pod);
    // A restart takes one member away: the others have to be able to go on without it, or it must be the only unwell one.
    let others_unwell = |pod: Ordinal| -> Vec<String> {
        let name = live.facts.name.pod(pod);
        live.unwell().into_iter().filter(|other| *other != name).collect()
    };
    let unready = outdated.iter().find(|pod| !well(pod));
    let follower = outdated.iter().rev().find(|pod| **pod != live.pod);
    let pod = *unready.or(follower).unwrap_or(&live.pod);
    let unwell = others_unwell(pod);
    if !unwell.is_empty() {
        return Some(Decision::Wait(Wait::MembersUnwell { pods: unwell }));
    }
    if let Some(wait) = live.not_durable() {
        return Some(Decision::Wait(wait));
    }
    if pod == live.pod
        && let Some(to) = successor(live)
    {
        return Some(Decision::Act(Step::Transfer { pod, cluster: live.cluster, to }));
    }
    Some(Decision::Act(Step::RestartPod { pod }))
}

/// The follower that is least behind.
fn successor(live: &Live<'_>) -> Option<Ordinal> {
    let others = live.voters().filter(|(pod, _)| *pod != live.pod);
    others.max_by_key(|(_, report): &(Ordinal, &Report)| report.applied).map(|(pod, _)| pod)
}
