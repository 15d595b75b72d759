//! Two logs that agree on an entry agree on everything before it.
//!
//! By induction: an entry, named by index and term, always says the same and always follows an entry of the same term.

use std::collections::BTreeMap;

use outrigger_core::types::{Index, MemberId, Term};

use super::Invariant;
use super::shadow::Shadow;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct LogMatching {
    logs: BTreeMap<MemberId, Shadow>,
    known: BTreeMap<(Index, Term), (u64, Option<Term>)>,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Persisted { member, change } => {
                let log = self.logs.entry(*member).or_default();
                log.apply(change);
                for line in &change.entries {
                    let before = log.entries.get(&line.index.previous()).copied();
                    let (digest, known) =
                        self.known.entry((line.index, line.term)).or_insert((line.digest, before));
                    let known_before = *known;
                    if *digest != line.digest || (before.is_some() && known.is_some() && before != *known) {
                        return Err(format!(
                            "{member} has an entry {} of term {} (after {before:?}) that differs from another log's (after {known_before:?})",
                            line.index, line.term
                        ));
                    }
                    *known = known.or(before);
                }
            }
            Observation::Recovered { member, log } => self.logs.entry(*member).or_default().restore(log),
            Observation::Opened { .. }
            | Observation::Abandoned { .. }
            | Observation::GivesUp { .. }
            | Observation::Closed { .. }
            | Observation::Issued { .. }
            | Observation::Interrupted { .. }
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
    use super::super::traces::*;
    use crate::observation::Line;

    #[test]
    fn one_entry_with_two_contents_or_two_pasts() {
        let first = persisted(1, entries(&[line(1, 1), line(2, 2)]));
        breaks_nothing(&[
            first.clone(),
            persisted(2, entries(&[line(1, 1)])),
            persisted(2, entries(&[line(2, 2)])),
        ]);
        let other = Line { digest: 0, ..line(2, 2) };
        breaks_only("log matching", &[first.clone(), persisted(2, entries(&[other]))]);
        let past = persisted(2, entries(&[Line { digest: 1, ..line(1, 2) }, line(2, 2)]));
        breaks_only("log matching", &[first, past]);
    }
}
