//! What a leader knows to be committed is on the disks of a majority (of both halves, in a joint configuration).

use std::collections::BTreeMap;

use outrigger_core::types::{Index, MemberId, Term};

use super::Invariant;
use super::shadow::Shadow;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct DurableQuorum {
    disks: BTreeMap<MemberId, Shadow>,
}

impl DurableQuorum {
    fn short(&self, of: &[MemberId], index: Index, term: Term) -> bool {
        let has = |member: &&MemberId| self.disks.get(*member).is_some_and(|disk| disk.has(index, term));
        !of.is_empty() && of.iter().filter(has).count() <= of.len() / 2
    }
}

impl Invariant for DurableQuorum {
    fn name(&self) -> &'static str {
        "committed on a durable quorum"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Persisted { member, change } => self.disks.entry(*member).or_default().apply(change),
            Observation::Recovered { member, log } => self.disks.entry(*member).or_default().restore(log),
            Observation::Commits { member, index, term, decided_by } => {
                let is_durable = |(voters, outgoing): &(Vec<MemberId>, Vec<MemberId>)| {
                    !self.short(voters, *index, *term) && !self.short(outgoing, *index, *term)
                };
                if !decided_by.iter().any(is_durable) {
                    return Err(format!(
                        "{member} calls entry {index} of term {term} committed, and no majority of {decided_by:?} has it on disk"
                    ));
                }
            }
            Observation::Opened { .. }
            | Observation::Abandoned { .. }
            | Observation::GivesUp { .. }
            | Observation::Closed { .. }
            | Observation::Issued { .. }
            | Observation::Interrupted { .. }
            | Observation::Leads { .. }
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
    use super::*;

    fn commits(index: u64, term: u64, outgoing: &[u64]) -> Observation {
        let ids = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
        Observation::Commits {
            member: MemberId(1),
            index: Index(index),
            term: Term(term),
            decided_by: vec![(ids(&[1, 2, 3]), ids(outgoing))],
        }
    }

    #[test]
    fn a_commit_that_is_on_one_disk_of_three_or_on_too_few_of_the_outgoing_half() {
        let on = |member| persisted(member, entries(&[line(1, 1), line(2, 1)]));
        breaks_nothing(&[on(1), on(3), commits(2, 1, &[]), commits(1, 1, &[1, 3, 9])]);
        breaks_only("committed on a durable quorum", &[on(1), commits(2, 1, &[])]);
        breaks_only("committed on a durable quorum", &[on(1), on(3), commits(2, 1, &[1, 8, 9])]);
        let overwritten = persisted(3, entries(&[line(2, 2)]));
        breaks_only("committed on a durable quorum", &[on(1), on(3), overwritten, commits(2, 1, &[])]);
    }
}
