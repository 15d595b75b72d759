//! Members whose disk is beyond use get an empty one, while the rest can do without them.
//!
//! A lost or wiped volume needs nothing from here: the empty pod asks to join and the leader swaps the ids by itself.

use std::cmp::Reverse;

use super::latched::Live;
use super::step::{Decision, Step, Wait};
use crate::facts::{Answer, MemberPhase, Repair};
use crate::ids::{Ordinal, quorum};

pub(super) fn repair(live: &Live<'_>) -> Option<Decision> {
    let wanted = live.facts.target_roster();
    let mut waiting = None;
    // The one that is unwell for longest is next, and is the one to speak of.
    let mut faulted: Vec<_> =
        live.facts.reports().filter(|(_, report)| report.phase == MemberPhase::Faulted).collect();
    faulted.sort_by_key(|(pod, _)| Reverse(live.facts.pods.get(pod).map(|pod| pod.unhealthy_for)));
    for (pod, report) in faulted {
        // A pod that is about to be removed is not worth a new disk.
        if wanted.contains_key(&live.facts.name.pod(pod)) {
            match decide(live, pod, format!("halted: {}", report.fault), false) {
                act @ Decision::Act(_) => return Some(act),
                other @ (Decision::Wait(_) | Decision::Settled) => waiting = waiting.or(Some(other)),
            }
        }
    }
    // One whose node is lost may come back: nothing else waits for it, but when its time is over it is replaced.
    waiting.or_else(|| lost(live).filter(|decision| matches!(decision, Decision::Act(_))))
}

/// What is to be done about a silent member whose node is lost, if there is one.
pub(super) fn lost(live: &Live<'_>) -> Option<Decision> {
    let wanted = live.facts.target_roster();
    let lost = live.facts.pods.iter().find_map(|(ordinal, pod)| {
        let silent = matches!(pod.answer, Answer::Silent(_));
        let node = pod.lost_node.as_ref().filter(|_| silent)?;
        wanted.contains_key(&live.facts.name.pod(*ordinal)).then_some((*ordinal, node))
    });
    lost.map(|(pod, node)| decide(live, pod, format!("is on {node}, which is not ready"), true))
}

fn decide(live: &Live<'_>, ordinal: Ordinal, fault: String, lost_node: bool) -> Decision {
    let pod = live.facts.name.pod(ordinal);
    let after = match live.facts.repair {
        Repair::After(after) => after,
        Repair::ByHand => return Decision::Wait(Wait::RepairByHand { pod, fault }),
    };
    // Neither a faulted nor a silent member is in step; one that answers and lags may lack what only this volume still has.
    let answering = live.voters().filter(|(other, _)| live.is_well(*other)).count();
    let needed = quorum(live.leader.configuration.voters.len());
    if answering < needed {
        return Decision::Wait(Wait::RepairRefused { pod, fault, answering, needed });
    }
    let unhealthy_for = live.facts.pods.get(&ordinal).map(|pod| pod.unhealthy_for).unwrap_or_default();
    if unhealthy_for < after {
        return Decision::Wait(Wait::RepairLater { pod, fault, after });
    }
    match live.not_durable() {
        Some(wait) => Decision::Wait(wait),
        None => Decision::Act(Step::ReplaceVolume { pod: ordinal, lost_node }),
    }
}
