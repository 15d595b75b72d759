//! The simpler question: is every acknowledged write there at the end?
//!
//! May import: `history`. Deliberately absent: reading the store; the caller reads it and hands it in.

use std::collections::HashMap;

use thiserror::Error;

use crate::history::{Call, KeyId, Operation, Outcome, Revision, Stored};

/// An acknowledged write that is not there.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{write:?} was acknowledged, but the key ended with {found:?}")]
pub struct Lost {
    /// The write.
    pub write: Box<Operation>,
    /// What its key held at the end.
    pub found: Option<Stored>,
}

/// Checks that every acknowledged write is in `final_state`, was overwritten there by a later revision, or may have been
/// deleted: by a later revision, or by a delete of unknown outcome. An acknowledged delete leaves nothing that is older.
///
/// Keys that are written once make this exact: nothing can have overwritten them. Returns how many writes it checked.
///
/// # Errors
/// The first write that is lost.
pub fn check(history: &[Operation], final_state: &HashMap<KeyId, Stored>) -> Result<usize, Lost> {
    let mut checked = 0;
    let deleted = latest_deletes(history);
    for operation in history {
        let Outcome::Written { revision } = operation.outcome else { continue };
        let found = final_state.get(&operation.key).copied();
        let is_newer = |stored: Stored| stored.mod_revision > revision;
        let there = match (operation.call.writes(), found) {
            (Some(value), Some(stored)) => {
                is_newer(stored) || (stored.mod_revision == revision && stored.value == value)
            }
            (Some(_), None) => deleted.get(&operation.key).is_some_and(|latest| *latest > revision),
            (None, found) => found.is_none_or(is_newer),
        };
        if !there {
            return Err(Lost { write: Box::new(*operation), found });
        }
        checked += 1;
    }
    Ok(checked)
}

/// By key, the latest revision at which it may have been deleted.
fn latest_deletes(history: &[Operation]) -> HashMap<KeyId, Revision> {
    let mut latest = HashMap::new();
    for operation in history.iter().filter(|operation| operation.call == Call::Delete) {
        let revision = match operation.outcome {
            Outcome::Written { revision } => revision,
            Outcome::Unknown => Revision(i64::MAX),
            Outcome::Read { .. } | Outcome::NotEqual { .. } | Outcome::Failed => continue,
        };
        let known = latest.entry(operation.key).or_insert(revision);
        *known = revision.max(*known);
    }
    latest
}
