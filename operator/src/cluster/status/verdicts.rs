//! The conditions: what machines wait on.

use super::counts::Counts;
use super::{Context, text};
use crate::cluster::plan::{Decision, Wait};
use crate::crd::conditions::{self, Verdict};
use crate::crd::{Phase, RaftClusterStatus};

pub(super) fn write(
    status: &mut RaftClusterStatus,
    decision: &Decision,
    (counts, would_settle): (&Counts<'_>, bool),
    context: Context<'_>,
) {
    let said = text(decision);
    let reason = match decision {
        Decision::Settled => "Settled",
        Decision::Act(_) => "Changing",
        Decision::Wait(wait) => wait.reason(),
    };
    let paused = status.phase == Some(Phase::Paused);
    let latched = status.cluster_id.is_some();
    let all_well = latched && counts.well > 0 && counts.well == counts.voters;
    let available = latched && counts.leader.is_some() && counts.well >= counts.quorum && counts.quorum > 0;
    let lost = matches!(decision, Decision::Wait(Wait::QuorumSilent { .. }))
        || status.phase == Some(Phase::QuorumLost);
    let stalled = matches!(decision, Decision::Wait(wait) if wait.needs_a_person());
    let settled = matches!(decision, Decision::Settled);
    let verdict = |holds: bool, message: &str| Verdict { holds, reason, message: message.to_owned() };
    let degraded = latched && !all_well && counts.voters > 0;
    let tolerance = counts.in_words();
    let rows = [
        (conditions::READY, verdict(settled || would_settle, &said)),
        (conditions::AVAILABLE, verdict(available, &tolerance)),
        (conditions::RECONCILING, verdict(!settled && !stalled && !paused, &said)),
        (conditions::STALLED, verdict(stalled, &said)),
        (conditions::DEGRADED, verdict(degraded, &tolerance)),
        (conditions::QUORUM_LOST, verdict(lost, &said)),
    ];
    for (kind, verdict) in rows {
        conditions::upsert(&mut status.conditions, kind, verdict, context.generation, context.now);
    }
}
