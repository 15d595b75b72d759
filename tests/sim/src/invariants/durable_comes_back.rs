//! What was reported durable is what is read back, plus at most a part of what was being written when the process ended.

use std::collections::BTreeMap;

use outrigger_core::types::MemberId;

use super::Invariant;
use super::shadow::Shadow;
use crate::observation::{Line, LogChange, LogState, Observation};

#[derive(Debug, Default)]
struct Disk {
    durable: Shadow,
    interrupted: Vec<LogChange>,
}

#[derive(Debug, Default)]
pub(super) struct DurableComesBack(BTreeMap<MemberId, Disk>);

/// Whether the log says what the shadow does. Its beginning may be released, its commit index behind.
fn is_it(shadow: &Shadow, log: &LogState) -> bool {
    let same_state =
        log.hard_state.term == shadow.hard_state.term && log.hard_state.vote == shadow.hard_state.vote;
    let first = log.entries.first().map_or(log.last.next(), |(index, _)| *index);
    let held = shadow.entries.range(first..).map(|(index, term)| (*index, *term));
    same_state && log.last == shadow.last() && held.eq(log.entries.iter().copied())
}

/// The shadow with the first of the part's entries, up to where the log ends.
fn with_pieces(shadow: &Shadow, part: &LogChange, log: &LogState) -> Shadow {
    let is_there = |line: &&Line| line.index <= log.last;
    let entries = part.entries.iter().take_while(is_there).copied().collect();
    let mut shadow = shadow.clone();
    shadow.apply(&LogChange { entries, ..part.clone() });
    shadow
}

impl Disk {
    /// A batch may have been split: term and vote first, then the entries, the commit index last. Between the entries only
    /// where a frame does not hold them all.
    fn may_say(&self, log: &LogState) -> bool {
        let mut shadow = self.durable.clone();
        if is_it(&shadow, log) {
            return true;
        }
        for change in &self.interrupted {
            let parts = [
                LogChange {
                    installed: change.installed,
                    hard_state: change.hard_state,
                    ..LogChange::default()
                },
                LogChange { entries: change.entries.clone(), ..LogChange::default() },
            ];
            for part in parts {
                if change.is_large && is_it(&with_pieces(&shadow, &part, log), log) {
                    return true;
                }
                shadow.apply(&part);
                if is_it(&shadow, log) {
                    return true;
                }
            }
            shadow.apply(change);
        }
        false
    }
}

impl Invariant for DurableComesBack {
    fn name(&self) -> &'static str {
        "what is durable comes back"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Persisted { member, change } => {
                self.0.entry(*member).or_default().durable.apply(change);
            }
            Observation::Interrupted { member, changes } => {
                self.0.entry(*member).or_default().interrupted.clone_from(changes);
            }
            Observation::Recovered { member, log } => {
                let disk = self.0.entry(*member).or_default();
                if !disk.may_say(log) {
                    let durable = &disk.durable;
                    return Err(format!(
                        "{member} reads back term {}, vote {}, entries {:?} to {}; durable were term {}, vote {}, up to {} ({} batches were under way)",
                        log.hard_state.term,
                        log.hard_state.vote,
                        log.entries.first(),
                        log.last,
                        durable.hard_state.term,
                        durable.hard_state.vote,
                        durable.last(),
                        disk.interrupted.len(),
                    ));
                }
                disk.durable.restore(log);
                disk.interrupted.clear();
            }
            Observation::Opened { .. }
            | Observation::Abandoned { .. }
            | Observation::GivesUp { .. }
            | Observation::Closed { .. }
            | Observation::Issued { .. }
            | Observation::Leads { .. }
            | Observation::Commits { .. }
            | Observation::Handed { .. }
            | Observation::Progress { .. }
            | Observation::State { .. }
            | Observation::Configured { .. }
            | Observation::Served { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::log::HardState;
    use outrigger_core::types::{Index, Term};

    use super::super::traces::*;
    use super::*;

    fn recovered(entries: &[(u64, u64)], last: u64) -> Observation {
        let log = LogState {
            hard_state: HardState { term: Term(1), vote: MemberId(1), commit: Index(0) },
            entries: entries.iter().map(|(index, term)| (Index(*index), Term(*term))).collect(),
            last: Index(last),
        };
        Observation::Recovered { member: MemberId(1), log }
    }

    #[test]
    fn an_entry_that_was_durable_and_is_gone() {
        let written = || {
            let change = LogChange { entries: vec![line(1, 1), line(2, 1)], ..state(1, 1, 0) };
            persisted(1, change)
        };
        let under_way = || Observation::Interrupted {
            member: MemberId(1),
            changes: vec![entries(&[line(2, 1), line(3, 1)])],
        };
        breaks_nothing(&[written(), recovered(&[(1, 1), (2, 1)], 2)]);
        breaks_nothing(&[written(), under_way(), recovered(&[(1, 1), (2, 1), (3, 1)], 3)]);
        breaks_nothing(&[written(), recovered(&[(2, 1)], 2)]);
        let name = "what is durable comes back";
        breaks_only(name, &[written(), recovered(&[(1, 1)], 1)]);
        breaks_only(name, &[written(), under_way(), recovered(&[(1, 1)], 1)]);
        breaks_only(name, &[written(), recovered(&[(1, 1), (2, 1), (3, 1)], 3)]);
        let cut = |is_large| Observation::Interrupted {
            member: MemberId(1),
            changes: vec![LogChange { is_large, ..entries(&[line(3, 1), line(4, 1)]) }],
        };
        let first_piece = || recovered(&[(1, 1), (2, 1), (3, 1)], 3);
        breaks_nothing(&[written(), cut(true), first_piece()]);
        breaks_only(name, &[written(), cut(false), first_piece()]);
    }
}
