//! Messages that no member sends: real ones, taken on their way and changed.

use bytes::Bytes;
use outrigger_core::types::MemberId;

use super::event::{At, Input};
use super::{Time, World};
use crate::schedule::Schedule;

/// Messages kept to be forged.
const KEPT: usize = 512;

/// What was taken on its way.
#[derive(Debug, Default)]
pub(super) struct Taken {
    is_taking: bool,
    messages: Vec<(At, MemberId, Bytes)>,
}

impl Taken {
    pub(super) fn take(&mut self, to: At, from: MemberId, bytes: &Bytes) {
        if self.is_taking && self.messages.len() < KEPT {
            self.messages.push((to, from, bytes.clone()));
        }
    }
}

impl World {
    /// A world in which this schedule has run so far, and messages have been taken since.
    #[must_use]
    pub fn to_be_forged(schedule: Schedule, until: Time) -> Self {
        let mut world = Self::new(schedule, false);
        world.run_until(until / 2);
        world.taken.is_taking = true;
        world.run_until(until);
        world
    }

    /// Hands a message to the member that it was for, changed, and goes on for a while. `false`: this world is of no more
    /// use, because a member has ended or a rule is broken, which a member that lies may well achieve.
    pub fn forge(&mut self, which: usize, change: impl FnOnce(&Bytes) -> Bytes, go_on: Time) -> bool {
        let Some(which) = which.checked_rem(self.taken.messages.len()) else { return false };
        let Some((to, from, bytes)) = self.taken.messages.get(which).cloned() else { return false };
        self.process_event(to, Input::Message { from, bytes: change(&bytes) });
        self.run_until(self.now + go_on);
        self.violation.is_none() && self.is_live(to)
    }
}
