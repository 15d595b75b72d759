//! What one member applies at an index, every member applies there, and in order.

use std::collections::BTreeMap;

use outrigger_core::types::{Index, Term};

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct CommittedImmutable(BTreeMap<Index, (Term, u64)>);

impl Invariant for CommittedImmutable {
    fn name(&self) -> &'static str {
        "committed entries immutable"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Handed { member, index, term, digest } = seen {
            let (known_term, known) = *self.0.entry(*index).or_insert((*term, *digest));
            if known_term != *term || known != *digest {
                return Err(format!(
                    "{member} applies another entry {index} (term {term}) than others did (term {known_term})"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::*;

    #[test]
    fn two_members_that_apply_different_entries_at_one_index() {
        breaks_nothing(&[handed(1, 5, 2, 9), handed(2, 5, 2, 9), handed(2, 6, 2, 8)]);
        breaks_only("committed entries immutable", &[handed(1, 5, 2, 9), handed(2, 5, 2, 8)]);
        breaks_only("committed entries immutable", &[handed(1, 5, 2, 9), handed(2, 5, 3, 9)]);
    }
}
