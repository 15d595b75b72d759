//! A term has at most one leader.

use std::collections::BTreeMap;

use outrigger_core::types::{MemberId, Term};

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct ElectionSafety(BTreeMap<Term, MemberId>);

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Leads { member, term, .. } = seen {
            let leader = *self.0.entry(*term).or_insert(*member);
            if leader != *member {
                return Err(format!("{leader} and {member} both lead in term {term}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::Index;

    use super::super::traces::*;
    use super::*;
    use crate::observation::Holds;

    fn leads(member: u64, term: u64) -> Observation {
        let (member, term) = (MemberId(member), Term(term));
        Observation::Leads { member, term, at: Index(0), committed: Term(0), holds: Holds::Compacted }
    }

    #[test]
    fn two_leaders_of_a_term() {
        breaks_nothing(&[leads(1, 2), leads(2, 3), leads(1, 4), leads(1, 4)]);
        breaks_only("election safety", &[leads(1, 2), leads(2, 2)]);
    }
}
