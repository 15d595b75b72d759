//! Released ≤ snapshot ≤ applied ≤ committed ≤ last: nothing is let go of that no snapshot holds, nothing is applied that is
//! not committed, nothing is committed that is not in the log.

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct Bounds;

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "released, snapshot, applied, committed, last in order"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Progress { member, first, snapshot, applied, commit, last, .. } = seen {
            let released = first.previous();
            if !(released <= *snapshot && snapshot <= commit && applied <= commit && commit <= last) {
                return Err(format!(
                    "{member}: released {released}, snapshot {snapshot}, applied {applied}, committed {commit}, last {last}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::{Index, MemberId};

    use super::super::traces::*;
    use super::*;

    fn progress(first: u64, snapshot: u64, applied: u64, commit: u64, last: u64) -> Observation {
        Observation::Progress {
            member: MemberId(1),
            boot: 1,
            first: Index(first),
            snapshot: Index(snapshot),
            applied: Index(applied),
            commit: Index(commit),
            last: Index(last),
        }
    }

    #[test]
    fn each_bound_that_is_crossed() {
        breaks_nothing(&[progress(3, 2, 4, 5, 6), progress(7, 6, 4, 6, 6)]);
        for crossed in [
            progress(4, 2, 4, 5, 6),
            progress(3, 6, 4, 5, 6),
            progress(3, 2, 6, 5, 6),
            progress(3, 2, 4, 7, 6),
        ] {
            breaks_only("released, snapshot, applied, committed, last in order", &[crossed]);
        }
    }
}
