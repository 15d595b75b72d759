//! Who leads has everything that is committed.

use super::Invariant;
use crate::observation::{Holds, Observation};

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness;

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        let Observation::Leads { member, term, at, committed, holds } = seen else { return Ok(()) };
        match holds {
            Holds::Entry(held) if held == committed => Ok(()),
            Holds::Compacted => Ok(()),
            // Who wins a term late need not have what a later term has committed since.
            Holds::Entry(_) | Holds::Nothing if committed > term => Ok(()),
            Holds::Entry(_) | Holds::Nothing => Err(format!(
                "{member} leads in term {term}; entry {at} is committed in term {committed}, and it holds {holds:?} there"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::{Index, MemberId, Term};

    use super::super::traces::*;
    use super::*;

    fn leads(member: u64, term: u64, holds: Holds) -> Observation {
        let (at, committed) = (Index(7), Term(2));
        Observation::Leads { member: MemberId(member), term: Term(term), at, committed, holds }
    }

    #[test]
    fn a_leader_without_a_committed_entry_or_with_another_in_its_place() {
        breaks_nothing(&[
            leads(2, 3, Holds::Entry(Term(2))),
            leads(3, 4, Holds::Compacted),
            leads(1, 1, Holds::Nothing),
        ]);
        breaks_only("leader completeness", &[leads(2, 3, Holds::Nothing)]);
        breaks_only("leader completeness", &[leads(2, 3, Holds::Entry(Term(1)))]);
    }
}
