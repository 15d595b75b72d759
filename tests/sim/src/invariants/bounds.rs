//! Released ≤ snapshot ≤ applied ≤ committed ≤ last: nothing is let go of that no snapshot holds, no snapshot is taken of what
//! is not applied, nothing is applied that is not committed, nothing is committed that is not in the log.
//!
//! A snapshot that was received is ahead of what is applied until the applier has taken it in.

use std::collections::BTreeMap;

use outrigger_core::types::{Index, MemberId};

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct Bounds {
    installed: BTreeMap<MemberId, Index>,
}

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "released, snapshot, applied, committed, last in order"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Issued { member, change, .. } = seen
            && let Some((index, _)) = change.installed
        {
            self.installed.insert(*member, index);
        }
        if let Observation::Progress { member, first, snapshot, applied, commit, last, .. } = seen {
            let released = first.previous();
            let is_received = self.installed.get(member) == Some(snapshot);
            let is_held = snapshot <= applied || (is_received && snapshot <= commit);
            if !(released <= *snapshot && is_held && applied <= commit && commit <= last) {
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
    use outrigger_core::types::Term;

    use super::super::traces::*;
    use super::*;
    use crate::observation::LogChange;

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
        let installed = Some((Index(6), Term(1)));
        let received = Observation::Issued {
            member: MemberId(1),
            change: LogChange { installed, ..LogChange::default() },
            leads: None,
            commit: Index(6),
        };
        breaks_nothing(&[progress(3, 2, 4, 5, 6), received, progress(7, 6, 4, 6, 6)]);
        for crossed in [
            progress(3, 5, 4, 5, 6),
            progress(4, 2, 4, 5, 6),
            progress(3, 6, 4, 5, 6),
            progress(3, 2, 6, 5, 6),
            progress(3, 2, 4, 7, 6),
        ] {
            breaks_only("released, snapshot, applied, committed, last in order", &[crossed]);
        }
    }
}
