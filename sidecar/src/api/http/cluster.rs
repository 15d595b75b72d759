//! `GET /cluster` and `DELETE /cluster/peer/{id}`.
//!
//! Ids are 16 hexadecimal digits everywhere, as etcd's tools print them: as JSON numbers they would lose digits.
//! May import: core's status, serde_json. Deliberately absent: the node's decisions.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use outrigger_core::event::{AdminReply, AdminRequest, MemberSelector};
use outrigger_core::status::{MemberStatus, NodeStatus, Role};
use outrigger_core::types::MemberId;
use serde_json::{Value, json};

use super::{HttpDoor, Shared, failure};
use crate::api::alarms::{Alarm, alarms};
use crate::member::Phase;
use crate::metrics::role_word;

pub(super) fn hex(id: u64) -> String {
    format!("{id:016x}")
}

fn ids(members: &[MemberId]) -> Vec<String> {
    members.iter().map(|id| hex(id.0)).collect()
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Empty => "empty",
        Phase::Joining => "joining",
        Phase::Member => "member",
        Phase::Removed => "removed",
        Phase::Faulted => "faulted",
    }
}

pub(super) async fn show(State(shared): State<Shared>) -> Json<Value> {
    let door = &shared.door;
    let standing = door.member.standing();
    let mut shown = json!({
        "cluster_id": hex(standing.cluster.0),
        "member_id": hex(standing.member.0),
        "name": door.identity.name,
        "address": door.identity.peer_address,
        "version": door.identity.version,
        "phase": phase_word(standing.phase),
        "waiting_for": standing.waiting_for,
        "fault": standing.fault,
        "cluster_size": door.identity.cluster_size,
        "formed": false,
        "members": [],
    });
    if let (Some(node), Some(fields)) = (door.member.node(), shown.as_object_mut()) {
        let status = node.status();
        if let Value::Object(more) = of_node(door, &status) {
            fields.extend(more);
        }
        if let Some(published) = node.summary() {
            fields.insert("revision".to_owned(), json!(published.revision.0));
            fields.insert("db_size_bytes".to_owned(), json!(published.size_bytes));
            fields.insert("db_quota_bytes".to_owned(), json!(door.identity.quota_bytes));
        }
    }
    Json(shown)
}

fn alarm(alarm: &Alarm) -> Value {
    let Alarm { member, cause } = alarm;
    json!({ "alarm": "NOSPACE", "member_id": hex(member.0), "cause": cause.word(), "text": cause.advice() })
}

fn of_node(door: &HttpDoor, status: &NodeStatus) -> Value {
    let leader = status.leader.map(|id| {
        let known = status.members.iter().find(|member| member.route.id == id);
        json!({ "id": hex(id.0), "name": known.map(|member| member.route.name.as_str()) })
    });
    let roster = status
        .roster
        .iter()
        .map(|entry| json!({ "name": entry.name, "role": if entry.learner { "learner" } else { "voter" } }));
    json!({
        "formed": status.formed,
        "role": role_word(status.role),
        "leader": leader,
        "term": status.term.0,
        "commit_index": status.commit.0,
        "applied_index": status.applied.0,
        "last_index": status.last.0,
        "snapshot_index": status.snapshot.0,
        "configuration_index": status.configuration_index.0,
        "configuration": {
            "voters": ids(&status.conf_state.voters),
            "learners": ids(&status.conf_state.learners),
            "voters_outgoing": ids(&status.conf_state.voters_outgoing),
            "learners_next": ids(&status.conf_state.learners_next),
        },
        "quorum": status.quorum(),
        "pending": { "proposals": status.pending_proposals, "reads": status.pending_reads },
        "leaderless_ms": door.identity.ticks_to_ms(status.leaderless_ticks),
        "draining": status.draining,
        "alarms": alarms(status).iter().map(alarm).collect::<Vec<_>>(),
        "roster": roster.collect::<Vec<_>>(),
        "tombstones": ids(&status.tombstones),
        "members": status.members.iter().map(|known| member(door, status, known)).collect::<Vec<_>>(),
    })
}

fn member(door: &HttpDoor, status: &NodeStatus, known: &MemberStatus) -> Value {
    let leads = status.leader == Some(known.route.id);
    let role = match (leads, known.voter, known.learner) {
        (true, _, _) => role_word(Role::Leader),
        (false, _, true) => role_word(Role::Learner),
        (false, true, false) => role_word(Role::Follower),
        // In the address map, but in neither half of the configuration.
        (false, false, false) => "none",
    };
    let failures = door.metrics.peer_failures(known.route.id);
    let last_error = failures.last.map(
        |(text, age)| json!({ "text": text, "ms_ago": u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }),
    );
    let progress = known.progress;
    json!({
        "id": hex(known.route.id.0),
        "name": known.route.name,
        "address": known.route.address,
        "version": known.route.version,
        "role": role,
        "match_index": progress.map(|progress| progress.matched.0),
        "lag": progress.map(|progress| status.commit.0.saturating_sub(progress.matched.0)),
        "last_contact_ms": progress
            .and_then(|progress| progress.last_contact_ticks)
            .map(|ticks| door.identity.ticks_to_ms(ticks)),
        "send_failures": failures.count,
        "last_send_error": last_error,
    })
}

/// Removes a member, named by id or by its pod's name, whatever configuration stands.
pub(super) async fn remove_peer(State(shared): State<Shared>, Path(given): Path<String>) -> Response {
    let door = &shared.door;
    let node = match door.node() {
        Ok(node) => node,
        Err(nodeless) => return nodeless.into_response(),
    };
    let status = node.status();
    let Some(target) = selector(&status, &given) else {
        let text = format!(
            "{given} is neither a member's name nor an id of up to 16 hexadecimal digits: GET /cluster lists both"
        );
        return failure(StatusCode::BAD_REQUEST, &text);
    };
    let request = AdminRequest::Remove { cluster: status.cluster, target, expected: None };
    match node.admin(request).await {
        Ok(AdminReply::Configuration { index }) => {
            Json(json!({ "removed": given, "configuration_index": index.0 })).into_response()
        }
        Ok(AdminReply::Done | AdminReply::Joined { .. } | AdminReply::Leader { .. }) => {
            Json(json!({ "removed": given })).into_response()
        }
        Err(refusal) => door.refused(&refusal),
    }
}

/// A name wins over an id that happens to be written like it.
fn selector(status: &NodeStatus, given: &str) -> Option<MemberSelector> {
    let named = status.members.iter().any(|member| member.route.name == given)
        || status.roster.iter().any(|entry| entry.name == given);
    if named {
        return Some(MemberSelector::Name(given.to_owned()));
    }
    let digits = given.strip_prefix("0x").unwrap_or(given);
    let id = u64::from_str_radix(digits, 16).ok()?;
    Some(MemberSelector::Id(MemberId(id)))
}
