//! Facts in, at most one step out.
//!
//! The order of a pass is: paused → found → continue what is in flight → repair → scale → forget strays → update. A step
//! that changes something is chosen from live membership alone, never from a pod's ordinal or from the status, and anything
//! that would be destructive waits until a majority of the voters that stay has the present configuration on its disks.
//! Pure; the caller carries the step out, looks again, and asks again.

mod found;
mod latched;
mod repair;
mod scale;
mod step;
mod update;

pub use step::{Decision, Step, Wait};

use crate::facts::Facts;
use crate::founding::Founding;

/// Decides what to do next, or says what is waited for.
#[must_use]
pub fn plan(facts: &Facts) -> Decision {
    if facts.paused {
        return Decision::Wait(Wait::Paused);
    }
    match &facts.founding {
        Founding::None => found::unrecorded(facts),
        Founding::Permitted(permit) => found::permitted(facts, permit),
        Founding::Abandoning(permit) => found::abandoning(facts, permit),
        Founding::Latched(cluster) => latched::latched(facts, *cluster),
    }
}

#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
