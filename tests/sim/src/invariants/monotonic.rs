//! Within a boot, what a member knows to be committed and what it has applied never go back.

use std::collections::BTreeMap;

use outrigger_core::types::{Index, MemberId};

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct Monotonic(BTreeMap<MemberId, (u64, Index, Index)>);

impl Invariant for Monotonic {
    fn name(&self) -> &'static str {
        "commit and applied monotonic"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Progress { member, boot, applied, commit, .. } = seen {
            let last = self.0.insert(*member, (*boot, *commit, *applied));
            if let Some((last_boot, last_commit, last_applied)) = last
                && last_boot == *boot
                && (*commit < last_commit || *applied < last_applied)
            {
                return Err(format!(
                    "{member} goes from commit {last_commit}, applied {last_applied} back to {commit}, {applied}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::*;
    use super::*;

    fn progress(boot: u64, applied: u64, commit: u64) -> Observation {
        Observation::Progress {
            member: MemberId(1),
            boot,
            first: Index(1),
            snapshot: Index(0),
            applied: Index(applied),
            commit: Index(commit),
            last: Index(9),
        }
    }

    #[test]
    fn a_commit_or_an_applied_index_that_goes_back_within_a_boot() {
        breaks_nothing(&[progress(1, 4, 6), progress(1, 5, 6), progress(2, 3, 5)]);
        breaks_only("commit and applied monotonic", &[progress(1, 4, 6), progress(1, 4, 5)]);
        breaks_only("commit and applied monotonic", &[progress(1, 4, 6), progress(1, 3, 6)]);
    }
}
