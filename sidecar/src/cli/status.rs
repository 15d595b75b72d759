//! `status`: what a member says of itself and of everyone.
//!
//! May import: the admin wire, `output`. Deliberately absent: changes (`member`).

use outrigger_proto::v1;
use serde_json::{Value, json};

use super::connect::Endpoints;
use super::error::CliError;
use crate::output::{Format, Output};

pub(super) async fn fetch(endpoints: &Endpoints) -> Result<v1::StatusResponse, CliError> {
    let mut asked = endpoints.admin().await?;
    let answer = asked.client.status(v1::StatusRequest {}).await;
    Ok(answer.map_err(|status| asked.refused_read(&status))?.into_inner())
}

pub(super) async fn show(endpoints: &Endpoints, output: &mut Output) -> Result<(), CliError> {
    let status = fetch(endpoints).await?;
    match output.format() {
        Format::Json => output.json(&status_json(&status))?,
        Format::Table => print(&status, output)?,
    }
    Ok(())
}

fn print(status: &v1::StatusResponse, output: &mut Output) -> Result<(), CliError> {
    let mut lines = vec![
        ("name", status.name.clone()),
        ("member", hex(status.member_id)),
        ("cluster", if status.cluster_id == 0 { "none yet".to_owned() } else { hex(status.cluster_id) }),
        ("phase", phase(status).to_owned()),
        ("version", status.version.clone()),
    ];
    let optional = [("waiting for", &status.waiting_for), ("fault", &status.fault)];
    lines.extend(
        optional.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone())),
    );
    if status.phase() == v1::Phase::Member {
        let leader = match status.leader_id {
            0 => format!("none for {} ms", status.leaderless_ms),
            id => named(status, id),
        };
        lines.extend([
            ("formed", if status.formed { "yes" } else { "no: clients are not served yet" }.to_owned()),
            ("role", role(status.role()).to_owned()),
            ("leader", leader),
            ("term", status.term.to_string()),
            (
                "index",
                format!(
                    "commit {}, applied {}, last {}, snapshot {}, configuration {}",
                    status.commit_index,
                    status.applied_index,
                    status.last_index,
                    status.snapshot_index,
                    status.configuration_index
                ),
            ),
            ("revision", status.revision.to_string()),
            ("size", format!("keys {} bytes, log {} bytes", status.db_size_bytes, status.wal_bytes)),
        ]);
        if status.draining {
            lines.push(("draining", "yes: never campaigns again in this run".to_owned()));
        }
    }
    for (name, text) in lines {
        output.line(&format!("{name:<12} {text}"))?;
    }
    if !status.members.is_empty() {
        output.line("")?;
        members_table(status, output)?;
    }
    Ok(())
}

/// Everyone, one a line; what only a leader knows is a dash elsewhere.
pub(super) fn members_table(status: &v1::StatusResponse, output: &mut Output) -> Result<(), CliError> {
    let leads = status.role() == v1::Role::Leader;
    let known = |text: String| if leads { text } else { "-".to_owned() };
    let rows: Vec<Vec<String>> = status
        .members
        .iter()
        .map(|member| {
            let contact = match member.last_contact_ms {
                ms if ms < 0 => "never".to_owned(),
                ms => format!("{ms} ms"),
            };
            vec![
                member.name.clone(),
                hex(member.id),
                member_role(status, member).to_owned(),
                member.address.clone(),
                known(member.match_index.to_string()),
                known(member.lag.to_string()),
                known(contact),
                failures(member),
            ]
        })
        .collect();
    let header = ["NAME", "ID", "ROLE", "ADDRESS", "MATCH", "LAG", "LAST CONTACT", "SEND FAILURES"];
    Ok(output.table(&header, &rows)?)
}

fn failures(member: &v1::Member) -> String {
    match member.send_failures {
        0 => "0".to_owned(),
        count => {
            format!("{count}, {} s ago: {}", member.last_send_error_ms_ago / 1000, member.last_send_error)
        }
    }
}

pub(super) fn status_json(status: &v1::StatusResponse) -> Value {
    let hexes = |ids: &[u64]| ids.iter().map(|id| hex(*id)).collect::<Vec<_>>();
    let members: Vec<Value> = status.members.iter().map(|member| member_json(status, member)).collect();
    let roster = status
        .roster
        .iter()
        .map(|entry| json!({ "name": entry.name, "role": if entry.learner { "learner" } else { "voter" } }));
    let configuration = status.conf_state.as_ref().map(|conf| {
        json!({
            "voters": hexes(&conf.voters),
            "learners": hexes(&conf.learners),
            "voters_outgoing": hexes(&conf.voters_outgoing),
            "learners_next": hexes(&conf.learners_next),
        })
    });
    json!({
        "name": status.name,
        "address": status.address,
        "version": status.version,
        "phase": phase(status),
        "waiting_for": status.waiting_for,
        "fault": status.fault,
        "cluster_id": hex(status.cluster_id),
        "member_id": hex(status.member_id),
        "formed": status.formed,
        "role": role(status.role()),
        "leader_id": hex(status.leader_id),
        "leaderless_ms": status.leaderless_ms,
        "term": status.term,
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "last_index": status.last_index,
        "snapshot_index": status.snapshot_index,
        "configuration_index": status.configuration_index,
        "durable_configuration_index": status.durable_configuration_index,
        "revision": status.revision,
        "db_size_bytes": status.db_size_bytes,
        "wal_bytes": status.wal_bytes,
        "draining": status.draining,
        "configuration": configuration,
        "members": members,
        "roster": roster.collect::<Vec<_>>(),
        "tombstones": hexes(&status.tombstones),
        "abandoned": hexes(&status.abandoned),
    })
}

pub(super) fn member_json(status: &v1::StatusResponse, member: &v1::Member) -> Value {
    // Only a leader knows these: elsewhere they are null, not a number that says all is well.
    let leads = status.role() == v1::Role::Leader;
    let contact = (leads && member.last_contact_ms >= 0).then_some(member.last_contact_ms);
    json!({
        "id": hex(member.id),
        "name": member.name,
        "address": member.address,
        "version": member.version,
        "role": member_role(status, member),
        "match_index": leads.then_some(member.match_index),
        "lag": leads.then_some(member.lag),
        "last_contact_ms": contact,
        "active": member.active,
        "send_failures": member.send_failures,
        "last_send_error": member.last_send_error,
        "last_send_error_ms_ago": member.last_send_error_ms_ago,
    })
}

pub(super) fn hex(id: u64) -> String {
    format!("{id:016x}")
}

/// The name and the id, or the id alone.
pub(super) fn named(status: &v1::StatusResponse, id: u64) -> String {
    match status.members.iter().find(|member| member.id == id) {
        Some(member) => format!("{} ({})", member.name, hex(id)),
        None => hex(id),
    }
}

fn member_role(status: &v1::StatusResponse, member: &v1::Member) -> &'static str {
    if member.id == status.leader_id {
        "leader"
    } else if member.learner {
        "learner"
    } else if member.voter {
        "voter"
    } else {
        "none"
    }
}

fn role(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "none",
        v1::Role::Follower => "follower",
        v1::Role::Candidate => "candidate",
        v1::Role::Leader => "leader",
        v1::Role::Learner => "learner",
    }
}

fn phase(status: &v1::StatusResponse) -> &'static str {
    match status.phase() {
        v1::Phase::Unspecified => "unknown to this version",
        v1::Phase::Empty => "empty",
        v1::Phase::Joining => "joining",
        v1::Phase::Member => "member",
        v1::Phase::Removed => "removed",
        v1::Phase::Faulted => "faulted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_leader_knows_is_null_elsewhere() {
        let member = v1::Member { lag: 7, match_index: 3, last_contact_ms: 20, ..v1::Member::default() };
        let shown = |role: v1::Role, member: &v1::Member| {
            let status = v1::StatusResponse { role: role.into(), ..v1::StatusResponse::default() };
            let shown = member_json(&status, member);
            ["lag", "match_index", "last_contact_ms"].map(|name| shown[name].clone())
        };
        assert_eq!(shown(v1::Role::Leader, &member), [json!(7), json!(3), json!(20)]);
        assert_eq!(shown(v1::Role::Follower, &member), [Value::Null, Value::Null, Value::Null]);
        let silent = v1::Member { last_contact_ms: -1, ..member };
        assert_eq!(shown(v1::Role::Leader, &silent)[2], Value::Null);
    }
}
