//! A leader puts no change of the configuration into its log before the one before it is committed.

use std::collections::BTreeMap;

use outrigger_core::types::{Index, MemberId};

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct OneChange(BTreeMap<MemberId, Vec<Index>>);

impl Invariant for OneChange {
    fn name(&self) -> &'static str {
        "one configuration change in flight"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Issued { member, change, leads, commit } => {
                let open = self.0.entry(*member).or_default();
                if let Some(first) = change.entries.first() {
                    open.retain(|index| *index < first.index);
                }
                open.retain(|index| index > commit);
                for line in change.entries.iter().filter(|line| line.is_change) {
                    if *leads == Some(line.term)
                        && let Some(before) = open.last()
                    {
                        return Err(format!(
                            "{member} puts a change at {} while the one at {before} is not committed",
                            line.index
                        ));
                    }
                    open.push(line.index);
                }
            }
            Observation::Opened { member, .. } | Observation::Closed { member } => {
                self.0.remove(member);
            }
            Observation::Abandoned { .. }
            | Observation::GivesUp { .. }
            | Observation::Persisted { .. }
            | Observation::Interrupted { .. }
            | Observation::Recovered { .. }
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
    use outrigger_core::types::Term;

    use super::super::traces::*;
    use super::*;
    use crate::observation::Line;

    #[test]
    fn a_second_change_while_the_first_is_in_flight() {
        let issued = |index, leads, commit| Observation::Issued {
            member: MemberId(1),
            change: entries(&[Line { is_change: true, ..line(index, 2) }]),
            leads,
            commit: Index(commit),
        };
        let leads = Some(Term(2));
        breaks_nothing(&[issued(5, leads, 4), issued(6, leads, 5), issued(6, None, 5), issued(7, None, 5)]);
        breaks_only("one configuration change in flight", &[issued(5, leads, 4), issued(6, leads, 4)]);
    }
}
