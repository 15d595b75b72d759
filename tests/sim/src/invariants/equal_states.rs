//! Equal applied index, equal state.

use std::collections::BTreeMap;

use outrigger_core::types::Index;

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct EqualStates(BTreeMap<Index, u64>);

impl Invariant for EqualStates {
    fn name(&self) -> &'static str {
        "equal applied index, equal state"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::State { member, index, digest } = seen {
            let known = *self.0.entry(*index).or_insert(*digest);
            if known != *digest {
                return Err(format!(
                    "the state of {member} at {index} is {digest:016x}, another member's was {known:016x}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::MemberId;

    use super::super::traces::*;
    use super::*;

    #[test]
    fn two_states_at_one_index() {
        let at = |member, index, digest| Observation::State {
            member: MemberId(member),
            index: Index(index),
            digest,
        };
        breaks_nothing(&[at(1, 5, 7), at(2, 5, 7), at(2, 6, 8)]);
        breaks_only("equal applied index, equal state", &[at(1, 5, 7), at(2, 5, 8)]);
    }
}
