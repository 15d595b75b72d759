//! Did every write happen once, at the revision that its client was told?
//!
//! A write that is applied again right after itself leaves values as they are, so that an order by values explains it. Its
//! revision gives it away: no two writes of a run write the same value, so that a value has one revision.
//!
//! May import: `history`. Deliberately absent: everything that an order explains.

use std::collections::HashMap;

use thiserror::Error;

use crate::history::{Operation, Outcome, Revision, ValueId};

/// A value that stands at two revisions.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("value {} was written at revision {first}, and {operation:?} has it at {second}", value.0)]
pub struct Twice {
    /// The value.
    pub value: ValueId,
    /// Where it was first known to be.
    pub first: Revision,
    /// And where else.
    pub second: Revision,
    /// Who was told so.
    pub operation: Box<Operation>,
}

/// Checks that each value has one revision, whoever was told of it.
///
/// # Errors
/// The first value that has two.
pub fn check(history: &[Operation]) -> Result<(), Twice> {
    let mut known: HashMap<ValueId, Revision> = HashMap::new();
    for operation in history {
        let told = match operation.outcome {
            Outcome::Written { revision } => operation.call.writes().map(|value| (value, revision)),
            Outcome::Read { stored, .. } => stored.map(|stored| (stored.value, stored.mod_revision)),
            Outcome::NotEqual { .. } | Outcome::Unknown | Outcome::Failed => None,
        };
        let Some((value, second)) = told else { continue };
        let first = *known.entry(value).or_insert(second);
        if first != second {
            return Err(Twice { value, first, second, operation: Box::new(*operation) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, KeyId, Stored};

    fn operation(call: Call, outcome: Outcome) -> Operation {
        Operation { client: 1, key: KeyId(1), call, outcome, invoked: 0, returned: 1 }
    }

    fn wrote(value: u64, revision: i64) -> Operation {
        operation(Call::Put(ValueId(value)), Outcome::Written { revision: Revision(revision) })
    }

    fn read(value: u64, mod_revision: i64) -> Operation {
        let stored = Some(Stored { value: ValueId(value), mod_revision: Revision(mod_revision) });
        operation(Call::Get, Outcome::Read { stored, revision: Revision(99) })
    }

    #[test]
    fn a_value_that_is_read_elsewhere_than_it_was_written_happened_twice() {
        assert_eq!(check(&[wrote(1, 5), read(1, 5), wrote(2, 6), read(2, 6)]), Ok(()));
        assert_eq!(check(&[wrote(1, 5), read(1, 6)]).unwrap_err().second, Revision(6));
        assert_eq!(check(&[read(1, 5), read(1, 6)]).unwrap_err().first, Revision(5), "of unknown outcome");
    }
}
