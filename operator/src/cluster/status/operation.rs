//! What is being done: its kind, whom it is about, and since when.
//!
//! The kind follows from what the configuration goes *from and to*, never from the wanted number alone: a joint configuration
//! already has the wanted number of voters while the change to it is in flight.

use std::cmp::Ordering;

use super::counts::Counts;
use super::{Context, text};
use crate::cluster::facts::Facts;
use crate::cluster::founding::Founding;
use crate::cluster::plan::{Decision, Step, Wait};
use crate::crd::{OperationStatus, OperationType, RaftClusterStatus};

pub(super) fn operation(
    facts: &Facts,
    decision: &Decision,
    counts: &Counts<'_>,
    context: Context<'_>,
) -> Option<OperationStatus> {
    let (kind, member) = match (&facts.founding, decision) {
        (_, Decision::Settled | Decision::Wait(Wait::Paused)) => return None,
        (Founding::Abandoning(_), _) => (OperationType::Abandon, None),
        (Founding::None | Founding::Permitted(_), _) => (OperationType::Found, None),
        (Founding::Latched(_), Decision::Act(step)) => of_step(facts, step, counts),
        (Founding::Latched(_), Decision::Wait(wait)) => {
            of_wait(facts, wait, counts).or_else(|| of_roll(facts, wait, context.previous))?
        }
    };
    let before = context.previous.operation.as_ref().filter(|before| before.kind == kind);
    let started_at =
        before.and_then(|before| before.started_at.clone()).or_else(|| Some(context.now.clone()));
    let step = match (kind, decision) {
        (OperationType::Update, Decision::Wait(_)) => format!("{}; {}", progress(facts), text(decision)),
        _ => text(decision),
    };
    Some(OperationStatus { kind, member, step, started_at })
}

/// A pod that was restarted for its new template, or is to be, keeps the roll waiting: that it is away is no other trouble.
fn of_roll(facts: &Facts, wait: &Wait, previous: &RaftClusterStatus) -> Option<About> {
    let rolled = previous.operation.as_ref().filter(|before| before.kind == OperationType::Update);
    let pod = if let Wait::MembersUnwell { pods } = wait {
        pods.first().cloned()
    } else if let Wait::QuorumSilent { silent, .. } = wait
        && facts.replicas == 1
    {
        // The only one there is.
        rolled.and(silent.first().cloned())
    } else {
        None
    }?;
    let rolls = facts.restart_outdated && facts.may_roll && facts.pods.values().any(|pod| pod.outdated);
    (rolls || rolled.is_some()).then_some((OperationType::Update, Some(pod)))
}

fn progress(facts: &Facts) -> String {
    let new = facts.pods.values().filter(|pod| !pod.outdated).count();
    format!("{new} of {} pods run the new template", facts.pods.len())
}

type About = (OperationType, Option<String>);

fn of_step(facts: &Facts, step: &Step, counts: &Counts<'_>) -> About {
    match step {
        Step::SetPods { from, to } => (scale(from.cmp(to)).unwrap_or(OperationType::ScaleUp), None),
        Step::Admit { .. } => (direction(facts, counts).unwrap_or(OperationType::ScaleUp), None),
        Step::ReplaceVolume { pod, .. } => (OperationType::Repair, Some(facts.name.pod(*pod))),
        Step::RestartPod { pod } | Step::Transfer { pod, .. } => {
            (OperationType::Update, Some(facts.name.pod(*pod)))
        }
        Step::WriteFounding { .. } | Step::Found { .. } | Step::Form { .. } => (OperationType::Found, None),
        Step::Abandon { pod, .. } => (OperationType::Abandon, Some(facts.name.pod(*pod))),
    }
}

fn of_wait(facts: &Facts, wait: &Wait, counts: &Counts<'_>) -> Option<About> {
    // Without a leader nothing is under way, whatever is missing.
    if matches!(wait, Wait::QuorumSilent { .. } | Wait::NoLeader { .. } | Wait::AllDrained { .. }) {
        return None;
    }
    let changes = matches!(
        wait,
        Wait::ConfigurationChanging
            | Wait::ConfigurationNotDurable { .. }
            | Wait::Joining { .. }
            | Wait::Leaving { .. }
            | Wait::UnknownMember { .. }
            | Wait::ScaleRefused { .. }
    );
    if changes && let Some(kind) = direction(facts, counts) {
        return Some((kind, None));
    }
    // The voters are as many as wanted, and one of them is gone: its pod is let back in under a new id.
    if let Some(pod) = counts.outside.clone().or_else(|| swapped_in(counts)) {
        return Some((OperationType::Repair, Some(pod)));
    }
    let outdated = facts.pods.values().any(|pod| pod.outdated);
    (changes && outdated).then_some((OperationType::Update, None))
}

/// Whether the number of voters grows or shrinks, by the first of these that says so: the halves of a joint configuration,
/// the voters, the pods, the roster.
fn direction(facts: &Facts, counts: &Counts<'_>) -> Option<OperationType> {
    let joint = counts.configuration.filter(|found| !found.voters_outgoing.is_empty());
    if let Some(joint) = joint {
        return scale(joint.voters_outgoing.len().cmp(&joint.voters.len()));
    }
    let wanted = usize::from(facts.replicas);
    let rostered = counts.leader.map_or(wanted, |leader| leader.roster.len());
    let compared = [counts.voters, usize::from(facts.pods_wanted), rostered];
    compared.into_iter().find_map(|present| scale(present.cmp(&wanted)))
}

fn scale(present_to_wanted: Ordering) -> Option<OperationType> {
    match present_to_wanted {
        Ordering::Less => Some(OperationType::ScaleUp),
        Ordering::Greater => Some(OperationType::ScaleDown),
        Ordering::Equal => None,
    }
}

/// The pod whose new id takes an old one's place in a joint configuration.
fn swapped_in(counts: &Counts<'_>) -> Option<String> {
    let joint = counts.configuration.filter(|found| !found.voters_outgoing.is_empty())?;
    let new = joint.voters.iter().find(|id| !joint.voters_outgoing.contains(id))?;
    counts.leader?.peers.iter().find(|peer| peer.id == *new).map(|peer| peer.name.clone())
}
