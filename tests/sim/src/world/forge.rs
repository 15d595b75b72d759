//! Messages that no member sends: real ones, taken on their way and changed.

use bytes::Bytes;
use outrigger_core::types::MemberId;

use super::event::{At, Input};
use super::{Time, Violation, World};
use crate::schedule::Schedule;

/// Messages kept to be forged.
const KEPT: usize = 512;

/// The rule that is broken by a committed entry of which nobody can make anything.
pub(super) const SOUND_ENTRIES: &str = "committed entries make sense";

/// Rules that no peer may break, whatever it says. Others a leader that lies breaks easily, for raft believes who leads: it
/// commits what it likes, and contradicts what it did before.
const FOR_NO_PEER: [&str; 6] = [
    "consensus goes on",
    "the log takes what the node writes",
    "the log can be read back",
    "a received snapshot can be restored",
    "a crash leaves a log that opens",
    "a crash leaves a directory that opens",
];

/// What became of a forged message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The world goes on.
    GoesOn,
    /// This world is of no more use: a member has ended, or a rule is broken, which a member that lies may well achieve.
    Spent,
    /// It did what no peer may be able to do.
    Harmed(Violation),
}

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

    /// Hands a message to the member that it was for, changed, and goes on for a while.
    pub fn forge(&mut self, which: usize, change: impl FnOnce(&Bytes) -> Bytes, go_on: Time) -> Forged {
        let Some(which) = which.checked_rem(self.taken.messages.len()) else { return Forged::Spent };
        let Some((to, from, bytes)) = self.taken.messages.get(which).cloned() else { return Forged::Spent };
        self.process_event(to, Input::Message { from, bytes: change(&bytes) });
        self.run_until(self.now + go_on);
        match &self.violation {
            Some(violation) if FOR_NO_PEER.contains(&violation.rule.as_str()) => {
                Forged::Harmed(violation.clone())
            }
            None if self.is_live(to) => Forged::GoesOn,
            Some(_) | None => Forged::Spent,
        }
    }
}
