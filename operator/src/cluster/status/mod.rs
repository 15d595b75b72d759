//! From one snapshot of facts and what was decided on it to the whole `status`.
//!
//! Pure: the caller says what time it is and what the status was before. Nothing is carried over from before but times and
//! what only time can tell, so a status never speaks of a mixture of two moments. One file a part: `counts`, `phase`,
//! `members`, `operation`, `verdicts`.

mod counts;
mod members;
mod operation;
mod phase;
mod verdicts;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::counts::Counts;
use super::facts::Facts;
use super::founding::Founding;
use super::plan::{Decision, Step, plan};
use super::register;
use crate::crd::RaftClusterStatus;

/// What the status is made of, beside the facts.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The status before.
    pub previous: &'a RaftClusterStatus,
    /// The generation of the spec that the facts were judged by.
    pub generation: Option<i64>,
    /// What time it is.
    pub now: &'a Time,
}

/// Makes the status.
#[must_use]
pub fn status(facts: &Facts, decision: &Decision, context: Context<'_>) -> RaftClusterStatus {
    let previous = context.previous;
    let leader =
        facts.founding.cluster().and_then(|cluster| facts.leader_of(cluster)).map(|(_, report)| report);
    let counts = Counts::of(facts, leader);
    let members: Vec<_> = facts.pods.keys().map(|pod| members::member(facts, *pod, leader)).collect();
    let mut status = RaftClusterStatus {
        observed_generation: context.generation,
        cluster_id: match &facts.founding {
            Founding::Latched(cluster) => Some(cluster.to_string()),
            Founding::None | Founding::Permitted(_) | Founding::Abandoning(_) => None,
        },
        founding: register::to_status(&facts.founding),
        phase: Some(phase::phase(facts, decision, &counts)),
        replicas: count(facts.pods.len()),
        ready_replicas: count(counts.well),
        voters: count(counts.voters),
        learners: count(counts.learners),
        quorum: count(counts.quorum),
        fault_tolerance: count(counts.can_lose()),
        selector: previous.selector.clone(),
        provisioned_storage: previous.provisioned_storage.clone(),
        leader: leader.map(|leader| members::leader(facts, leader, context)),
        version: members::versions(&members),
        members,
        operation: operation::operation(facts, decision, &counts, context),
        conditions: previous.conditions.clone(),
    };
    let would_settle = facts.paused && plan(&Facts { paused: false, ..facts.clone() }) == Decision::Settled;
    verdicts::write(&mut status, decision, (&counts, would_settle), context);
    status
}

/// What is done or waited for, in words.
#[must_use]
pub fn text(decision: &Decision) -> String {
    match decision {
        Decision::Settled => "everything is as the spec says".to_owned(),
        Decision::Wait(wait) => wait.to_string(),
        Decision::Act(step) => match step {
            Step::SetPods { from, to } => format!("pods: {from} → {to}"),
            Step::WriteFounding { next, .. } => format!("register: {next}"),
            Step::Found { permit, .. } => format!("{} founds cluster {}", permit.founder, permit.cluster),
            Step::Abandon { pod, cluster } => format!("pod {pod} forgets cluster {cluster}"),
            Step::Form { cluster, .. } => format!("cluster {cluster} begins to serve"),
            Step::Admit { roster, .. } => {
                format!("roster: {}", roster.keys().cloned().collect::<Vec<_>>().join(", "))
            }
            Step::Transfer { to, .. } => format!("leadership goes to pod {to}"),
            Step::ReplaceVolume { pod, .. } => format!("pod {pod} gets an empty volume"),
            Step::RestartPod { pod } => format!("pod {pod} restarts with the new configuration"),
        },
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
