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
use crate::crd::{OperationStatus, OperationType};

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
        (Founding::Latched(_), Decision::Wait(wait)) => of_wait(facts, wait, counts)?,
    };
    let before = context.previous.operation.as_ref().filter(|before| before.kind == kind);
    let started_at =
        before.and_then(|before| before.started_at.clone()).or_else(|| Some(context.now.clone()));
    Some(OperationStatus { kind, member, step: text(decision), started_at })
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
