//! Members whose disk is beyond use get an empty one, while the rest can do without them.
//!
//! A lost or wiped volume needs nothing from here: the empty pod asks to join and the leader swaps the ids by itself.

use std::cmp::Reverse;

use super::latched::Live;
use super::step::{Decision, Step, Wait};
use crate::cluster::facts::{MemberPhase, Repair, Report};
use crate::cluster::ids::{Ordinal, quorum};

pub(super) fn repair(live: &Live<'_>) -> Option<Decision> {
    let wanted = live.facts.target_roster();
    let mut waiting = None;
    // The one that is unwell for longest is next, and is the one to speak of.
    let mut reports: Vec<_> = live.facts.reports().collect();
    reports.sort_by_key(|(pod, _)| Reverse(live.facts.pods.get(pod).map(|pod| pod.unhealthy_for)));
    for (pod, report) in reports {
        // A pod that is about to be removed is not worth a new disk.
        if report.phase == MemberPhase::Faulted && wanted.contains_key(&live.facts.name.pod(pod)) {
            match decide(live, pod, report) {
                act @ Decision::Act(_) => return Some(act),
                other @ (Decision::Wait(_) | Decision::Settled) => waiting = waiting.or(Some(other)),
            }
        }
    }
    waiting
}

fn decide(live: &Live<'_>, ordinal: Ordinal, report: &Report) -> Decision {
    let pod = live.facts.name.pod(ordinal);
    let fault = report.fault.clone();
    let after = match live.facts.repair {
        Repair::After(after) => after,
        Repair::ByHand => return Decision::Wait(Wait::RepairByHand { pod, fault }),
    };
    // A faulted member is not among `voters()`, which are running ones.
    let answering = live.voters().count();
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
        None => Decision::Act(Step::ReplaceVolume { pod: ordinal }),
    }
}
