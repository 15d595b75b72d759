//! A member's term never goes back, and it votes once in a term: over all its boots, as its disk has it.

use std::collections::BTreeMap;

use outrigger_core::log::HardState;
use outrigger_core::types::MemberId;

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct TermAndVote(BTreeMap<MemberId, HardState>);

impl TermAndVote {
    fn follows(&mut self, member: MemberId, next: HardState) -> Result<(), String> {
        let last = self.0.insert(member, next).unwrap_or_default();
        let revoted = next.term == last.term && last.vote != MemberId(0) && next.vote != last.vote;
        if next.term < last.term || revoted {
            return Err(format!(
                "{member} had voted for {} in term {}, and now for {} in term {}",
                last.vote, last.term, next.vote, next.term
            ));
        }
        Ok(())
    }
}

impl Invariant for TermAndVote {
    fn name(&self) -> &'static str {
        "term and vote monotonic"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Persisted { member, change } => match change.hard_state {
                Some(next) => self.follows(*member, next),
                None => Ok(()),
            },
            Observation::Recovered { member, log } => self.follows(*member, log.hard_state),
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
            | Observation::Served { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::*;

    #[test]
    fn a_second_vote_in_a_term_and_a_term_that_goes_back() {
        let had = || persisted(1, state(3, 2, 0));
        breaks_nothing(&[
            had(),
            persisted(1, state(3, 2, 5)),
            persisted(1, state(4, 0, 5)),
            persisted(1, state(4, 1, 5)),
        ]);
        breaks_only("term and vote monotonic", &[had(), persisted(1, state(3, 1, 0))]);
        breaks_only("term and vote monotonic", &[had(), persisted(1, state(2, 2, 0))]);
    }
}
