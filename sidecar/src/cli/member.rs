//! `member list`, `member remove`, `member transfer`, `drain`.
//!
//! May import: the admin wire, `output`. Deliberately absent: admitting (the roster is the operator's).

use outrigger_proto::v1;
use serde_json::json;

use super::connect::Endpoints;
use super::error::CliError;
use super::status;
use crate::output::{Format, Output};

pub(super) async fn list(endpoints: &Endpoints, output: &mut Output) -> Result<(), CliError> {
    let status = status::fetch(endpoints).await?;
    match output.format() {
        Format::Json => {
            let members = status.members.iter().map(|member| status::member_json(&status, member));
            output.json(&json!({ "members": members.collect::<Vec<_>>() }))?;
        }
        Format::Table => status::members_table(&status, output)?,
    }
    Ok(())
}

/// Id and name of what a person wrote, one of them empty: a name that the member knows wins over an id.
///
/// # Errors
/// `Usage` for what is neither.
fn select(status: &v1::StatusResponse, given: &str) -> Result<(u64, String), CliError> {
    let named = status.members.iter().any(|member| member.name == given)
        || status.roster.iter().any(|entry| entry.name == given);
    if named {
        return Ok((0, given.to_owned()));
    }
    let digits = given.strip_prefix("0x").unwrap_or(given);
    u64::from_str_radix(digits, 16).map(|id| (id, String::new())).map_err(|_| {
        let names: Vec<&str> = status.members.iter().map(|member| member.name.as_str()).collect();
        CliError::Usage(format!(
            "{given:?} is no member's name and no hexadecimal id: the members are {}",
            names.join(", ")
        ))
    })
}

pub(super) async fn remove(endpoints: &Endpoints, given: &str, output: &mut Output) -> Result<(), CliError> {
    let status = status::fetch(endpoints).await?;
    let (member_id, name) = select(&status, given)?;
    let request = v1::RemoveRequest {
        cluster_id: status.cluster_id,
        member_id,
        name,
        // What the person saw is what must still stand.
        expected_configuration_index: status.configuration_index,
    };
    let mut asked = endpoints.admin().await?;
    let answer = asked.client.remove(request).await.map_err(|status| asked.refused(&status))?.into_inner();
    match output.format() {
        Format::Json => {
            output.json(&json!({ "removed": given, "configuration_index": answer.configuration_index }))?
        }
        Format::Table => output.line(&format!(
            "{given} is removed (configuration {}); it comes back only if its name is admitted again",
            answer.configuration_index
        ))?,
    }
    Ok(())
}

pub(super) async fn transfer(
    endpoints: &Endpoints,
    given: Option<&str>,
    output: &mut Output,
) -> Result<(), CliError> {
    let status = status::fetch(endpoints).await?;
    let (to, to_name) = given.map(|given| select(&status, given)).transpose()?.unwrap_or_default();
    let request = v1::TransferRequest { cluster_id: status.cluster_id, to, to_name };
    let mut asked = endpoints.admin().await?;
    let answer = asked.client.transfer(request).await.map_err(|status| asked.refused(&status))?.into_inner();
    match output.format() {
        Format::Json => output.json(&json!({ "leader_id": status::hex(answer.leader_id) }))?,
        Format::Table => output.line(&format!("{} leads", status::named(&status, answer.leader_id)))?,
    }
    Ok(())
}

pub(super) async fn drain(endpoints: &Endpoints, output: &mut Output) -> Result<(), CliError> {
    let mut asked = endpoints.admin().await?;
    asked.client.drain(v1::DrainRequest {}).await.map_err(|status| asked.refused(&status))?;
    match output.format() {
        Format::Json => output.json(&json!({ "draining": true }))?,
        Format::Table => output.line("draining: it never campaigns again in this run")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_wins_over_an_id_that_is_written_like_it() {
        let member = |name: &str| v1::Member { name: name.into(), ..v1::Member::default() };
        let status =
            v1::StatusResponse { members: vec![member("beef"), member("orders-1")], ..Default::default() };
        assert_eq!(select(&status, "beef").unwrap(), (0, "beef".to_owned()));
        assert_eq!(select(&status, "bee").unwrap(), (0xbee, String::new()));
        assert_eq!(select(&status, "0xbeef").unwrap(), (0xbeef, String::new()));
        let error = select(&status, "orders-2").unwrap_err();
        assert!(error.to_string().contains("beef, orders-1"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
