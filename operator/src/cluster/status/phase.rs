//! One word for people: where the cluster stands.

use super::counts::Counts;
use crate::cluster::facts::Facts;
use crate::cluster::founding::Founding;
use crate::cluster::plan::{Decision, Step, Wait};
use crate::crd::Phase;

pub(super) fn phase(facts: &Facts, decision: &Decision, counts: &Counts<'_>) -> Phase {
    if facts.paused {
        return Phase::Paused;
    }
    match (&facts.founding, decision) {
        (Founding::None | Founding::Permitted(_) | Founding::Abandoning(_), _) => Phase::Founding,
        (Founding::Latched(_), Decision::Wait(Wait::NoLeader { .. } | Wait::AllDrained { .. })) => {
            Phase::Electing
        }
        (Founding::Latched(_), Decision::Wait(Wait::QuorumSilent { .. })) => Phase::QuorumLost,
        (Founding::Latched(_), Decision::Act(Step::Form { .. })) => Phase::Founding,
        // Pods are made again, and until then there is nobody at all.
        (Founding::Latched(_), Decision::Act(Step::SetPods { .. })) if counts.configuration.is_none() => {
            Phase::QuorumLost
        }
        (Founding::Latched(_), Decision::Act(_)) => Phase::Reconciling,
        (Founding::Latched(_), Decision::Settled) => Phase::Healthy,
        (Founding::Latched(_), Decision::Wait(wait)) => match wait {
            Wait::ConfigurationChanging
            | Wait::ConfigurationNotDurable { .. }
            | Wait::Joining { .. }
            | Wait::Leaving { .. }
            | Wait::UnknownMember { .. } => Phase::Reconciling,
            Wait::RepairRefused { .. } if counts.leader.is_none() => Phase::QuorumLost,
            Wait::RollQueued | Wait::RestartByHand { .. } | Wait::ForeignCluster { .. }
                if counts.well == counts.voters =>
            {
                Phase::Healthy
            }
            Wait::Paused
            | Wait::PodsSilent { .. }
            | Wait::NotEmpty { .. }
            | Wait::VolumesCarryCluster { .. }
            | Wait::ConflictingClusters { .. }
            | Wait::UnknownFounder { .. }
            | Wait::FounderAbandoned { .. }
            | Wait::PodFaulted { .. }
            | Wait::Forming { .. }
            | Wait::ForeignCluster { .. }
            | Wait::QuorumSilent { .. }
            | Wait::NoLeader { .. }
            | Wait::AllDrained { .. }
            | Wait::ScaleRefused { .. }
            | Wait::MembersUnwell { .. }
            | Wait::RepairLater { .. }
            | Wait::RepairByHand { .. }
            | Wait::RepairRefused { .. }
            | Wait::RollQueued
            | Wait::RestartByHand { .. } => Phase::Degraded,
        },
    }
}
