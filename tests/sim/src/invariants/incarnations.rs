//! An id belongs to one disk, for ever, and at most one process runs under it.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_core::types::MemberId;

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct Incarnations {
    disks: BTreeMap<MemberId, u64>,
    live: BTreeSet<MemberId>,
}

impl Invariant for Incarnations {
    fn name(&self) -> &'static str {
        "one live incarnation of an id, on one disk"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Opened { member, disk, .. } => {
                let known = *self.disks.entry(*member).or_insert(*disk);
                if known != *disk {
                    return Err(format!("{member} was on disk {known} and is on disk {disk} now"));
                }
                if !self.live.insert(*member) {
                    return Err(format!("two processes run as {member}"));
                }
            }
            Observation::Closed { member } => {
                self.live.remove(member);
            }
            Observation::Abandoned { .. }
            | Observation::Issued { .. }
            | Observation::Persisted { .. }
            | Observation::Interrupted { .. }
            | Observation::Recovered { .. }
            | Observation::Leads { .. }
            | Observation::Commits { .. }
            | Observation::Handed { .. }
            | Observation::Progress { .. }
            | Observation::State { .. }
            | Observation::Configured { .. }
            | Observation::Acknowledged { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::*;
    use super::*;

    #[test]
    fn an_id_on_two_disks_and_an_id_in_two_processes() {
        let opened =
            |member, disk| Observation::Opened { member: MemberId(member), disk, abandoned: Vec::new() };
        let closed = |member| Observation::Closed { member: MemberId(member) };
        breaks_nothing(&[opened(1, 1), closed(1), opened(1, 1), opened(2, 2)]);
        let name = "one live incarnation of an id, on one disk";
        breaks_only(name, &[opened(1, 1), closed(1), opened(1, 2)]);
        breaks_only(name, &[opened(1, 1), opened(1, 1)]);
    }
}
