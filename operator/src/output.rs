//! The one place that prints: tables as `kubectl` would show them, on whatever can be written to.
//!
//! On a terminal one screen is redrawn; elsewhere a new block is written, and only when something changed that is not a
//! counter: a log of blocks then reads as a history.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::crd::conditions::{NOT_ENFORCED, READY};
use crate::crd::{Health, Lag, MemberRole, Phase};
use crate::local::view::View;

/// Clears a terminal and goes to its first column and row.
pub(crate) const CLEAR: &str = "\x1b[2J\x1b[H";

/// Where a run shows what stands.
pub struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    redraw: bool,
    last: String,
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Screen").field("redraw", &self.redraw).finish_non_exhaustive()
    }
}

/// Whether counters are part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counters {
    Shown,
    Hidden,
}

impl<'a> Screen<'a> {
    /// `redraw` for a terminal; blocks otherwise.
    #[must_use]
    pub fn new(out: &'a mut (dyn Write + Send), redraw: bool) -> Self {
        Self { out, redraw, last: String::new() }
    }

    /// Shows a view.
    ///
    /// # Errors
    /// The writer's.
    pub fn show(&mut self, view: &View) -> io::Result<()> {
        if self.redraw {
            write!(self.out, "{CLEAR}{}\nCtrl-C stops the members and keeps their data.\n", render(view))?;
            return self.out.flush();
        }
        let lasting = block(view, Counters::Hidden);
        if lasting != self.last {
            writeln!(self.out, "{}", render(view))?;
            self.out.flush()?;
            self.last = lasting;
        }
        Ok(())
    }
}

/// A view, as `kubectl get raftcluster` and `describe` would show it together.
#[must_use]
pub fn render(view: &View) -> String {
    block(view, Counters::Shown)
}

/// Writes one line.
///
/// # Errors
/// The writer's.
pub fn line(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "{text}")
}

fn block(view: &View, counters: Counters) -> String {
    let shown = counters == Counters::Shown;
    let status = &view.status;
    let leader = status.leader.as_ref();
    let none = || "<none>".to_owned();
    let mut text = table(
        &["NAME", "VOTERS", "READY", "LEADER", "TERM", "PHASE", "AGE"],
        &[vec![
            view.name.clone(),
            status.voters.to_string(),
            format!("{}/{}", status.ready_replicas, view.replicas),
            leader.map_or_else(none, |leader| leader.name.clone()),
            leader.map_or_else(none, |leader| leader.term.to_string()),
            status.phase.map_or_else(none, phase),
            if shown { age(view.age_seconds) } else { String::new() },
        ]],
    );
    text.push('\n');
    text.push_str(&members(view, counters));
    text.push('\n');
    if let Some(operation) = &status.operation {
        let member = operation.member.as_ref().map(|member| format!(" {member}")).unwrap_or_default();
        line_of(&mut text, "Operation", &format!("{:?}{member}: {}", operation.kind, operation.step));
    } else if shown {
        line_of(&mut text, "Operation", &format!("none; {}", view.doing));
    }
    if let Some(trouble) = &view.trouble {
        line_of(&mut text, "Trouble", trouble);
    }
    if let Some(manifest) = view.scaled_from {
        let said = format!("to {} by `local scale`; the manifest says {manifest}", view.replicas);
        line_of(&mut text, "Scaled", &said);
    }
    line_of(&mut text, "Cluster", status.cluster_id.as_deref().unwrap_or("not latched yet"));
    let tolerance = format!("{} (quorum {} of {})", status.fault_tolerance, status.quorum, status.voters);
    line_of(&mut text, "Tolerates", &tolerance);
    line_of(&mut text, "Service", &format!("{} (DNS {})", view.service, view.dns));
    line_of(&mut text, "Data", &view.data_dir);
    text.push('\n');
    text.push_str(&conditions(view, counters));
    text
}

fn members(view: &View, counters: Counters) -> String {
    let shown = counters == Counters::Shown;
    let dash = || "-".to_owned();
    let rows: Vec<Vec<String>> = view
        .members
        .iter()
        .map(|member| {
            let status = view.status.members.iter().find(|status| status.name == member.name);
            let lag = match (shown, member.lag_entries) {
                (true, Some(entries)) => entries.to_string(),
                (true, None) | (false, _) => status.map_or_else(dash, |status| lag(status.lag)),
            };
            let contact = member.last_contact_ms.filter(|_| shown).map_or_else(dash, |ms| format!("{ms}ms"));
            vec![
                member.name.clone(),
                status.map_or_else(dash, |status| role(status.role)),
                status.map_or_else(dash, |status| health(status.health)),
                status.and_then(|status| status.id.clone()).unwrap_or_else(dash),
                lag,
                contact,
                member.restarts.to_string(),
                member.client.clone(),
                // Seconds until a restart count down in this text.
                status.and_then(|status| status.message.clone()).filter(|_| shown).unwrap_or_default(),
            ]
        })
        .collect();
    table(&["MEMBER", "ROLE", "HEALTH", "ID", "LAG", "CONTACT", "RESTARTS", "CLIENTS", "MESSAGE"], &rows)
}

fn conditions(view: &View, counters: Counters) -> String {
    let shown = counters == Counters::Shown;
    let rows: Vec<Vec<String>> = view
        .status
        .conditions
        .iter()
        .filter(|condition| shown || condition.type_ != NOT_ENFORCED)
        .map(|condition| {
            // What does not hold has nothing to add, but for the one that everybody looks at.
            let speaks = shown && (condition.status == "True" || condition.type_ == READY);
            let message = if speaks { condition.message.replace('\n', " ") } else { String::new() };
            vec![condition.type_.clone(), condition.status.clone(), condition.reason.clone(), message]
        })
        .collect();
    table(&["CONDITION", "STATUS", "REASON", "MESSAGE"], &rows)
}

/// Columns three spaces apart, as `kubectl` prints them.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    let all = || std::iter::once(&header).chain(rows);
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            write!(line, "{cell:width$}   ").ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

pub(crate) fn line_of(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{:<11}{value}", format!("{name}:")).ok();
}

pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

fn phase(phase: Phase) -> String {
    format!("{phase:?}")
}

pub(crate) fn role(role: MemberRole) -> String {
    match role {
        MemberRole::None | MemberRole::Unknown => "-".to_owned(),
        MemberRole::Leader | MemberRole::Follower | MemberRole::Candidate | MemberRole::Learner => {
            format!("{role:?}")
        }
    }
}

fn health(health: Health) -> String {
    format!("{health:?}")
}

fn lag(lag: Lag) -> String {
    format!("{lag:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{LeaderStatus, MemberStatus, RaftClusterStatus};
    use crate::local::view::MemberView;

    fn view() -> View {
        let member = |ordinal: u8, role| MemberStatus {
            name: format!("orders-{ordinal}"),
            id: Some(format!("{ordinal:016x}")),
            role,
            health: Health::Ready,
            lag: Lag::None,
            version: None,
            message: None,
        };
        let process = |ordinal: u8| MemberView {
            name: format!("orders-{ordinal}"),
            client: format!("127.0.1.{}:2379", ordinal + 1),
            process: Some(1),
            restarts: 0,
            lag_entries: Some(3),
            last_contact_ms: Some(40),
            applied_index: Some(9),
            log: String::new(),
            volume: String::new(),
        };
        View {
            name: "orders".to_owned(),
            namespace: "default".to_owned(),
            age_seconds: 61,
            replicas: 3,
            scaled_from: None,
            status: RaftClusterStatus {
                phase: Some(Phase::Healthy),
                voters: 3,
                ready_replicas: 3,
                quorum: 2,
                fault_tolerance: 1,
                leader: Some(LeaderStatus { name: "orders-1".into(), id: "1".into(), term: 4, since: None }),
                members: vec![member(0, MemberRole::Follower), member(1, MemberRole::Leader)],
                ..RaftClusterStatus::default()
            },
            members: vec![process(0), process(1)],
            doing: "everything is as the spec says".to_owned(),
            trouble: None,
            dns: "127.0.1.254:5353".to_owned(),
            service: "orders-peers.default.svc.cluster.local".to_owned(),
            data_dir: ".outrigger/orders".to_owned(),
        }
    }

    #[test]
    fn the_first_lines_are_what_kubectl_get_would_show() {
        let text = render(&view());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME     VOTERS   READY   LEADER     TERM   PHASE     AGE");
        assert_eq!(lines[1], "orders   3        3/3     orders-1   4      Healthy   61s");
        assert!(lines[3].starts_with("MEMBER     ROLE       HEALTH   ID"), "{text}");
        assert!(
            lines[4].starts_with("orders-0   Follower   Ready    0000000000000000   3     40ms"),
            "{text}"
        );
    }

    #[test]
    fn a_block_is_printed_again_only_when_something_lasting_changed() {
        let mut out = Vec::new();
        let mut view = view();
        let mut screen = Screen::new(&mut out, false);
        screen.show(&view).unwrap();
        view.age_seconds = 62;
        view.members[0].last_contact_ms = Some(80);
        view.members[0].lag_entries = Some(9);
        screen.show(&view).unwrap();
        view.members[0].restarts = 1;
        screen.show(&view).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("NAME ").count(), 2, "{text}");
    }

    #[test]
    fn a_terminal_is_redrawn_each_time() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, true);
        screen.show(&view()).unwrap();
        screen.show(&view()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().matches(CLEAR).count(), 2);
    }

    #[test]
    fn a_scale_that_the_manifest_does_not_know_is_shown() {
        let mut view = view();
        assert!(!render(&view).contains("Scaled:"));
        view.scaled_from = Some(5);
        assert!(render(&view).contains("\nScaled:    to 3 by `local scale`; the manifest says 5\n"));
    }

    #[test]
    fn ages_are_short() {
        for (seconds, wanted) in [(-1, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(age(seconds), wanted);
        }
    }
}
