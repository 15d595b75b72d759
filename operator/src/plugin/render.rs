//! A view as text, for people.
//!
//! Pure. May import: `view`, `output`'s tables. Deliberately absent: colours; the words are what one reads at 3 a.m.

use super::view::{MemberView, View};
use crate::crd::Phase;
use crate::output::{age, line_of, role, table};

/// Everything on one screen.
pub(super) fn render(view: &View) -> String {
    let mut text = format!("RaftCluster {}/{}: {}\n", view.namespace, view.name, phase(view));
    line_of(&mut text, "Cluster", view.cluster_id.as_deref().unwrap_or("not founded yet"));
    line_of(&mut text, "Voters", &voters(view));
    line_of(&mut text, "Leader", &leader(view));
    line_of(&mut text, "Can lose", &can_lose(view));
    line_of(&mut text, "Operation", &operation(view));
    if let Some(stale) = stale(view) {
        line_of(&mut text, "Stale", &stale);
    }
    if let Some(why) = &view.leader_unheard {
        line_of(&mut text, "Unheard", &format!("no MATCH, LAG in entries and CONTACT: {}", one_line(why)));
    }
    text.push('\n');
    text.push_str(&members(view));
    text.push('\n');
    text.push_str(&trouble(view));
    text
}

fn phase(view: &View) -> String {
    view.phase.map_or_else(|| "no status yet".to_owned(), |phase| format!("{phase:?}"))
}

fn voters(view: &View) -> String {
    let wanted =
        if view.voters == view.replicas { String::new() } else { format!(" ({} wanted)", view.replicas) };
    format!("{}{wanted}, {} in step, quorum {}", view.voters, view.in_step, view.quorum)
}

fn leader(view: &View) -> String {
    let Some(leader) = &view.leader else { return "none".to_owned() };
    let mut text = format!("{} ({}) in term {}", leader.name, leader.id, leader.term);
    if let Some(seconds) = leader.for_seconds {
        text.push_str(&format!(", for {}", age(seconds)));
    }
    if let Some(other) = &leader.status_says {
        text.push_str(&format!(", by its own word; the status still says {other}"));
    }
    text
}

/// The question of whoever is about to take a node away.
fn can_lose(view: &View) -> String {
    match (view.voters, view.available, view.can_lose) {
        (0, _, _) => "nothing yet: there is no cluster to lose".to_owned(),
        (_, false, _) => "no more: writes wait already".to_owned(),
        (_, true, ..=0) => "no more: the next loss stops writes".to_owned(),
        (_, true, 1) => "1 more voter".to_owned(),
        (_, true, more) => format!("{more} more voters"),
    }
}

fn operation(view: &View) -> String {
    let Some(operation) = &view.operation else { return "none".to_owned() };
    let member = operation.member.as_ref().map(|member| format!(" {member}")).unwrap_or_default();
    let since = operation.for_seconds.map(|seconds| format!(" (for {})", age(seconds))).unwrap_or_default();
    format!("{:?}{member}: {}{since}", operation.kind, one_line(&operation.step))
}

/// A status that speaks of an older spec lies by omission.
fn stale(view: &View) -> Option<String> {
    let (wanted, seen) = (view.generation?, view.observed_generation);
    match seen {
        Some(seen) if seen >= wanted => None,
        Some(seen) => Some(format!(
            "the spec is of generation {wanted}, the status speaks of {seen}: is the operator running?"
        )),
        None => Some(
            "no operator has written a status: is it running, and does it watch this namespace?".to_owned(),
        ),
    }
}

fn members(view: &View) -> String {
    if view.members.is_empty() {
        return "There are no pods and no members yet.\n".to_owned();
    }
    let header =
        ["MEMBER", "ROLE", "HEALTH", "MATCH", "LAG", "CONTACT", "NODE", "POD", "RESTARTS", "MESSAGE"];
    table(&header, &view.members.iter().map(|member| row(view, member)).collect::<Vec<_>>())
}

fn row(view: &View, member: &MemberView) -> Vec<String> {
    let dash = || "-".to_owned();
    let number = |number: Option<u64>| number.map_or_else(dash, |number| number.to_string());
    let leads = view.leader.as_ref().is_some_and(|leader| leader.name == member.name);
    let contact = match member.last_contact_ms {
        Some(ms) => format!("{ms}ms"),
        None if leads || view.leader_unheard.is_some() || member.match_index.is_none() => dash(),
        None => "never".to_owned(),
    };
    vec![
        member.name.clone(),
        role(member.role),
        format!("{:?}", member.health),
        number(member.match_index),
        member.lag_entries.map_or_else(|| format!("{:?}", member.lag), |lag| lag.to_string()),
        contact,
        member.node.clone().unwrap_or_else(dash),
        member.pod.clone().unwrap_or_else(|| "none".to_owned()),
        member.restarts.to_string(),
        one_line(member.message.as_deref().unwrap_or_default()),
    ]
}

fn trouble(view: &View) -> String {
    if view.trouble.is_empty() {
        let paused = view.phase == Some(Phase::Paused);
        let but = if paused { ", but spec.paused is true: nothing is changed" } else { "" };
        return format!("Conditions: all as wished{but}\n");
    }
    let rows: Vec<Vec<String>> = view
        .trouble
        .iter()
        .map(|found| {
            let since = found.for_seconds.map_or_else(|| "-".to_owned(), age);
            vec![
                found.kind.clone(),
                found.status.clone(),
                since,
                found.reason.clone(),
                one_line(&found.message),
            ]
        })
        .collect();
    table(&["CONDITION", "STATUS", "FOR", "REASON", "MESSAGE"], &rows)
}

/// Words of others may hold line breaks, which would tear a table apart.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
