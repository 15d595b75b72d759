//! Writes the status: compared and set, and only when it says something new.
//!
//! The register stands in it, so every write names the version that was read: of two operators that both believe to lead, one
//! is refused. May import: kube, the resource. Deliberately absent: what the status says (`cluster::status`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};

use super::apply::{MANAGER, Obstacle};
use super::errors::{Doing as _, PassError};
use crate::cluster::founding::Founding;
use crate::cluster::register;
use crate::cluster::status::Context;
use crate::crd::conditions::{self, Verdict};
use crate::crd::{Phase, RaftCluster, RaftClusterStatus};

/// Writes the status of `live` unless it stands there already; gives the object as it stands then.
pub(super) async fn write(
    client: &Client,
    live: RaftCluster,
    status: RaftClusterStatus,
) -> Result<RaftCluster, PassError> {
    if live.status.as_ref() == Some(&status) {
        return Ok(live);
    }
    let (namespace, name) = (live.namespace().unwrap_or_default(), live.name_any());
    let api: Api<RaftCluster> = Api::namespaced(client.clone(), &namespace);
    let how = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let new = RaftCluster { status: Some(status), ..live };
    let written = api.replace_status(&name, &how, &new).await;
    written.doing(|| format!("writing the status of RaftCluster {namespace}/{name}"))
}

/// Writes another state of the register, as a step of its own.
pub(super) async fn write_founding(
    client: &Client,
    live: RaftCluster,
    next: &Founding,
) -> Result<RaftCluster, PassError> {
    let mut status = live.status.clone().unwrap_or_default();
    status.founding = register::to_status(next);
    if let Founding::Latched(cluster) = next {
        status.cluster_id = Some(cluster.to_string());
    }
    write(client, live, status).await
}

/// Says in the conditions what stands in the way of objects; what no longer does is taken out.
pub(super) fn note_obstacles(status: &mut RaftClusterStatus, obstacles: &[Obstacle], context: Context<'_>) {
    let conflicts: Vec<&str> = obstacles.iter().filter_map(Obstacle::conflict).collect();
    let refusals: Vec<&str> = obstacles.iter().filter_map(Obstacle::refusal).collect();
    let conflict = (!conflicts.is_empty()).then(|| {
        let message = format!(
            "{} is not this RaftCluster's and is not touched: rename or delete it, or give the RaftCluster another name",
            conflicts.join(", ")
        );
        Verdict::yes("NameTaken", message)
    });
    let refused = (!refusals.is_empty()).then(|| Verdict::yes("Refused", refusals.join("; ")));
    for (kind, verdict) in [(conditions::NAME_CONFLICT, conflict), (conditions::OBJECT_REFUSED, refused)] {
        match verdict {
            Some(verdict) => {
                let stalled = Verdict::yes(verdict.reason, verdict.message.clone());
                let others = Verdict::no(verdict.reason, verdict.message.clone());
                let mut say = |kind: &str, verdict: Verdict| {
                    conditions::upsert(
                        &mut status.conditions,
                        kind,
                        verdict,
                        context.generation,
                        context.now,
                    );
                };
                say(kind, verdict);
                say(conditions::STALLED, stalled);
                say(conditions::READY, others.clone());
                say(conditions::RECONCILING, others);
                stall(status);
            }
            None => conditions::remove(&mut status.conditions, kind),
        }
    }
}

/// Says that claims grow; says nothing once they have.
pub(super) fn note_growth(status: &mut RaftClusterStatus, growing: Option<&str>, context: Context<'_>) {
    let growing = growing.map(|said| Verdict::yes("Growing", said));
    note(status, conditions::STORAGE_RESIZING, growing.clone(), context);
    if let Some(growing) = growing {
        note_under_way(status, growing, context);
    }
}

/// Says that the plan has nothing to do and something is under way all the same: who waits for `Ready` waits for that, too.
pub(super) fn note_under_way(status: &mut RaftClusterStatus, what: Verdict, context: Context<'_>) {
    let is_ready = |found: &Condition| found.type_ == conditions::READY && found.status == "True";
    if !status.conditions.iter().any(is_ready) {
        return;
    }
    note(status, conditions::READY, Some(Verdict { holds: false, ..what.clone() }), context);
    note(status, conditions::RECONCILING, Some(what), context);
    if status.phase == Some(Phase::Healthy) {
        status.phase = Some(Phase::Reconciling);
    }
}

/// Says of a paused cluster that objects differ from what the spec asks for: it is not ready, and nothing is under way.
pub(super) fn note_differs(status: &mut RaftClusterStatus, context: Context<'_>) {
    let said = "spec.paused is true, and objects differ from what the spec asks for";
    note(status, conditions::READY, Some(Verdict::no("Paused", said)), context);
}

/// Says that the spec, or the register in the status, is wrong: nothing is done until a person has mended it. What else the status says stays.
pub(super) fn note_wrong(status: &mut RaftClusterStatus, wrong: Verdict, context: Context<'_>) {
    status.observed_generation = context.generation;
    for (kind, holds) in
        [(conditions::STALLED, true), (conditions::READY, false), (conditions::RECONCILING, false)]
    {
        note(status, kind, Some(Verdict { holds, ..wrong.clone() }), context);
    }
    // No step is taken, whatever the plan would do.
    status.operation = None;
    stall(status);
}

/// What is worse, or a person's own wish, stays in the phase.
fn stall(status: &mut RaftClusterStatus) {
    if matches!(status.phase, Some(Phase::Healthy | Phase::Reconciling | Phase::Founding)) {
        status.phase = Some(Phase::Stalled);
    }
}

/// Says whose own containers are not ready beside a ready sidecar: a pod like that blocks drains, and no quorum cures it.
pub(super) fn note_apps(status: &mut RaftClusterStatus, unready: &[String], context: Context<'_>) {
    let said = (!unready.is_empty()).then(|| {
        let message = format!(
            "the sidecar is ready and the container beside it is not: {}; see its logs and its readiness probe",
            unready.join(", ")
        );
        Verdict::yes("ContainersNotReady", message)
    });
    note(status, conditions::APP_NOT_READY, said, context);
}

fn note(status: &mut RaftClusterStatus, kind: &str, said: Option<Verdict>, context: Context<'_>) {
    match said {
        Some(verdict) => {
            conditions::upsert(&mut status.conditions, kind, verdict, context.generation, context.now);
        }
        None => conditions::remove(&mut status.conditions, kind),
    }
}

impl Obstacle {
    fn conflict(&self) -> Option<&str> {
        match self {
            Self::NameConflict(what) => Some(what),
            Self::Refused(_) => None,
        }
    }

    fn refusal(&self) -> Option<&str> {
        match self {
            Self::Refused(what) => Some(what),
            Self::NameConflict(_) => None,
        }
    }
}
