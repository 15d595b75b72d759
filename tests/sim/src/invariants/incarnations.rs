//! An id belongs to one disk, for ever, and at most one process runs under it. A disk keeps its id until its process says
//! that it gives it up.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_core::types::MemberId;

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct Incarnations {
    disks: BTreeMap<MemberId, u64>,
    ids: BTreeMap<u64, MemberId>,
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
                let kept = *self.ids.entry(*disk).or_insert(*member);
                if kept != *member {
                    return Err(format!("disk {disk} was {kept}'s, and is {member}'s now"));
                }
                if !self.live.insert(*member) {
                    return Err(format!("two processes run as {member}"));
                }
            }
            Observation::GivesUp { disk, .. } => {
                self.ids.remove(disk);
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
            | Observation::Served { .. } => {}
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
        let gives_up = Observation::GivesUp { member: MemberId(1), disk: 1 };
        breaks_nothing(&[opened(1, 1), closed(1), opened(1, 1), opened(2, 2)]);
        breaks_nothing(&[opened(1, 1), gives_up, closed(1), opened(2, 1)]);
        let name = "one live incarnation of an id, on one disk";
        breaks_only(name, &[opened(1, 1), closed(1), opened(1, 2)]);
        breaks_only(name, &[opened(1, 1), opened(1, 1)]);
        breaks_only(name, &[opened(1, 1), closed(1), opened(2, 1)]);
    }
}
