//! From what was seen to one plain value: what `-o json` prints and what `render` draws.
//!
//! Pure: the caller says what time it is. Where the leader's own words and the status differ, both are kept: the status is as old
//! as the operator's last pass. May import: `seen`, the resource. Deliberately absent: text for people.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde::Serialize;

use super::said::Said;
use super::seen::{Live, Seen};
use crate::cluster::build::SIDECAR;
use crate::cluster::ids::ClusterName;
use crate::crd::conditions::{AVAILABLE, NOT_ENFORCED, READY};
use crate::crd::{Health, Lag, MemberRole, MemberStatus, OperationType, Phase, RaftClusterStatus};

/// One cluster, at one moment.
#[derive(Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) phase: Option<Phase>,
    #[serde(rename = "clusterID")]
    pub(super) cluster_id: Option<String>,
    /// The spec's generation, and the one that the status speaks of.
    pub(super) generation: Option<i64>,
    pub(super) observed_generation: Option<i64>,
    /// How many voters the spec asks for.
    pub(super) replicas: i32,
    pub(super) voters: i32,
    pub(super) in_step: i32,
    pub(super) quorum: i32,
    /// How many voters may be lost before writes stop.
    pub(super) can_lose: i32,
    pub(super) available: bool,
    pub(super) leader: Option<LeaderView>,
    pub(super) operation: Option<OperationView>,
    pub(super) members: Vec<MemberView>,
    /// Conditions that are not as one would wish.
    pub(super) trouble: Vec<ConditionView>,
    /// Why nobody's own words are in here; absent when the leader's are.
    pub(super) leader_unheard: Option<String>,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeaderView {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) term: i64,
    pub(super) for_seconds: Option<i64>,
    /// Whom the status names, where it is another one than who says that it leads.
    pub(super) status_says: Option<String>,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct OperationView {
    #[serde(rename = "type")]
    pub(super) kind: OperationType,
    pub(super) member: Option<String>,
    pub(super) step: String,
    pub(super) for_seconds: Option<i64>,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemberView {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) role: MemberRole,
    pub(super) health: Health,
    /// By the status, in steps.
    pub(super) lag: Lag,
    /// By the leader's own words, in entries.
    pub(super) match_index: Option<u64>,
    pub(super) lag_entries: Option<u64>,
    pub(super) last_contact_ms: Option<u64>,
    pub(super) node: Option<String>,
    /// As `kubectl get pods` has it; absent where there is no pod.
    pub(super) pod: Option<String>,
    /// Of the sidecar.
    pub(super) restarts: i32,
    pub(super) version: Option<String>,
    pub(super) message: Option<String>,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionView {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) for_seconds: Option<i64>,
}

impl View {
    /// The same without what moves by itself: ages, and the numbers of every put. Two looks that differ in no more are alike.
    pub(super) fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        if let Some(leader) = &mut lasting.leader {
            leader.for_seconds = None;
        }
        if let Some(operation) = &mut lasting.operation {
            operation.for_seconds = None;
        }
        for found in &mut lasting.trouble {
            found.for_seconds = None;
        }
        for member in &mut lasting.members {
            // Who is heard from and who is not is told by health and lag.
            (member.match_index, member.lag_entries, member.last_contact_ms) = (None, None, None);
        }
        lasting
    }
}

/// Makes the view.
pub(super) fn view(seen: &Seen, now: &Time) -> View {
    let cluster = &seen.cluster;
    let never = RaftClusterStatus::default();
    let status = cluster.status.as_ref().unwrap_or(&never);
    let (said, leader_unheard) = match &seen.live {
        Live::Leader(said) => (Some(&**said), None),
        Live::Unknown(why) => (None, Some(why.clone())),
    };
    let holds =
        |kind: &str| status.conditions.iter().any(|found| found.type_ == kind && found.status == "True");
    let operation = status.operation.as_ref().map(|operation| OperationView {
        kind: operation.kind,
        member: operation.member.clone(),
        step: operation.step.clone(),
        for_seconds: since(operation.started_at.as_ref(), now),
    });
    View {
        namespace: cluster.namespace().unwrap_or_default(),
        name: cluster.name_any(),
        phase: status.phase,
        cluster_id: status.cluster_id.clone(),
        generation: cluster.metadata.generation,
        observed_generation: status.observed_generation,
        replicas: cluster.spec.replicas,
        voters: status.voters,
        in_step: status.ready_replicas,
        quorum: status.quorum,
        can_lose: status.fault_tolerance,
        available: holds(AVAILABLE),
        leader: leader(status, said, now),
        operation,
        members: members(seen, status, said),
        trouble: trouble(status, now),
        leader_unheard,
    }
}

fn leader(status: &RaftClusterStatus, said: Option<&Said>, now: &Time) -> Option<LeaderView> {
    let written = status.leader.as_ref();
    match said {
        Some(said) => {
            let same = written.filter(|leader| leader.name == said.name);
            Some(LeaderView {
                name: said.name.clone(),
                id: said.member_id.clone(),
                term: said.term,
                for_seconds: same.and_then(|leader| since(leader.since.as_ref(), now)),
                status_says: match (same, written) {
                    (None, Some(other)) => Some(other.name.clone()),
                    (Some(_), _) | (None, None) => None,
                },
            })
        }
        None => written.map(|leader| LeaderView {
            name: leader.name.clone(),
            id: leader.id.clone(),
            term: leader.term,
            for_seconds: since(leader.since.as_ref(), now),
            status_says: None,
        }),
    }
}

/// A row for each member of the status and for each pod, in the order of their numbers.
fn members(seen: &Seen, status: &RaftClusterStatus, said: Option<&Said>) -> Vec<MemberView> {
    let name = ClusterName(seen.cluster.name_any());
    // A stranger's pod that wears the label has no number of ours.
    let ours = seen.pods.iter().filter(|pod| name.ordinal_of(&pod.name_any()).is_some());
    let mut names: Vec<String> = status.members.iter().map(|member| member.name.clone()).collect();
    names.extend(ours.map(kube::ResourceExt::name_any));
    names.sort_by_key(|member| (name.ordinal_of(member), member.clone()));
    names.dedup();
    let row = |name: String| {
        let pod = seen.pods.iter().find(|pod| pod.name_any() == name);
        let member = status.members.iter().find(|member| member.name == name);
        member_row(name, pod, member, said)
    };
    names.into_iter().map(row).collect()
}

fn member_row(
    name: String,
    pod: Option<&Pod>,
    member: Option<&MemberStatus>,
    said: Option<&Said>,
) -> MemberView {
    let id = member.and_then(|member| member.id.clone());
    let known = said.and_then(|said| said.of(&name, id.as_deref()));
    let leads = said.is_some_and(|said| said.name == name);
    let written = member.map_or(MemberRole::Unknown, |member| member.role);
    let role = match (said.is_some(), leads, written) {
        (true, true, _) => MemberRole::Leader,
        // It led when the status was written.
        (true, false, MemberRole::Leader) => MemberRole::Follower,
        (true | false, _, other) => other,
    };
    MemberView {
        role,
        health: member.map_or(Health::Silent, |member| member.health),
        lag: member.map_or(Lag::Unknown, |member| member.lag),
        match_index: known.and_then(|known| known.match_index),
        lag_entries: known.and_then(|known| known.lag),
        // It does not hear from itself.
        last_contact_ms: known.filter(|_| !leads).and_then(|known| known.last_contact_ms),
        node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
        pod: pod.map(pod_state),
        restarts: pod.map_or(0, restarts),
        version: member.and_then(|member| member.version.clone()),
        message: member.and_then(|member| member.message.clone()),
        id,
        name,
    }
}

/// The word that `kubectl get pods` shows: what a container waits for says more than the phase.
fn pod_state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let Some(status) = &pod.status else { return "Unknown".to_owned() };
    let first = status.init_container_statuses.iter().flatten();
    let all = first.chain(status.container_statuses.iter().flatten());
    let reasons = all.filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let mut telling = reasons.filter(|reason| reason != "PodInitializing" && reason != "ContainerCreating");
    telling.next().or_else(|| status.phase.clone()).unwrap_or_else(|| "Unknown".to_owned())
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref());
    let sidecar = statuses.into_iter().flatten().find(|container| container.name == SIDECAR);
    sidecar.map_or(0, |sidecar| sidecar.restart_count)
}

/// `Ready` and `Available` shall hold, all others shall not. One that is missing is not as wished either.
fn trouble(status: &RaftClusterStatus, now: &Time) -> Vec<ConditionView> {
    let wished = |kind: &str| if [READY, AVAILABLE].contains(&kind) { "True" } else { "False" };
    let missing = [READY, AVAILABLE]
        .into_iter()
        .filter(|kind| !status.conditions.iter().any(|found| found.type_ == **kind))
        .map(|kind| ConditionView {
            kind: kind.to_owned(),
            status: "Unknown".to_owned(),
            reason: "NotWritten".to_owned(),
            message: "no operator has looked at this RaftCluster yet".to_owned(),
            for_seconds: None,
        });
    let found = status
        .conditions
        .iter()
        .filter(|found| found.type_ != NOT_ENFORCED && found.status != wished(&found.type_))
        .map(|found| ConditionView {
            kind: found.type_.clone(),
            status: found.status.clone(),
            reason: found.reason.clone(),
            message: found.message.clone(),
            for_seconds: since(Some(&found.last_transition_time), now),
        });
    missing.chain(found).collect()
}

/// Whole seconds between two times; clocks that disagree never make it negative.
fn since(then: Option<&Time>, now: &Time) -> Option<i64> {
    then.map(|then| now.0.as_second().saturating_sub(then.0.as_second()).max(0))
}

#[cfg(test)]
pub(super) mod tests;
