//! Who leads has everything that is committed.

use std::collections::BTreeMap;

use outrigger_core::types::{Index, Term};

use super::Invariant;
use crate::observation::{Holds, Observation};

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness(BTreeMap<Index, Term>);

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Handed { index, term, .. } => {
                self.0.insert(*index, *term);
                while self.0.len() > 64 {
                    self.0.pop_first();
                }
                Ok(())
            }
            Observation::Leads { member, term, at, holds } => match (self.0.get(at), holds) {
                (Some(committed), Holds::Entry(held)) if held == committed => Ok(()),
                // Who wins a term late need not have what a later term has committed since.
                (Some(committed), _) if committed > term => Ok(()),
                (None, _) | (_, Holds::Compacted) => Ok(()),
                (Some(committed), _) => Err(format!(
                    "{member} leads in term {term}; entry {at} is committed in term {committed}, and it holds {holds:?} there"
                )),
            },
            Observation::Opened { .. }
            | Observation::Abandoned { .. }
            | Observation::Closed { .. }
            | Observation::Issued { .. }
            | Observation::Persisted { .. }
            | Observation::Interrupted { .. }
            | Observation::Recovered { .. }
            | Observation::Commits { .. }
            | Observation::Progress { .. }
            | Observation::State { .. }
            | Observation::Configured { .. }
            | Observation::Acknowledged { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::MemberId;

    use super::super::traces::*;
    use super::*;

    fn leads(member: u64, term: u64, at: u64, holds: Holds) -> Observation {
        Observation::Leads { member: MemberId(member), term: Term(term), at: Index(at), holds }
    }

    #[test]
    fn a_leader_without_a_committed_entry_or_with_another_in_its_place() {
        let committed = handed(1, 7, 2, 9);
        breaks_nothing(&[
            committed.clone(),
            leads(2, 3, 7, Holds::Entry(Term(2))),
            leads(3, 4, 7, Holds::Compacted),
        ]);
        breaks_only("leader completeness", &[committed.clone(), leads(2, 3, 7, Holds::Nothing)]);
        breaks_only("leader completeness", &[committed, leads(2, 3, 7, Holds::Entry(Term(1)))]);
    }
}
