//! The simpler question: is every acknowledged write there at the end?
//!
//! May import: `history`. Deliberately absent: reading the store; the caller reads it and hands it in.

use std::collections::HashMap;

use thiserror::Error;

use crate::history::{KeyId, Operation, Outcome, Stored};

/// An acknowledged write that is not there.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{write:?} was acknowledged, but the key ended with {found:?}")]
pub struct Lost {
    /// The write.
    pub write: Box<Operation>,
    /// What its key held at the end.
    pub found: Option<Stored>,
}

/// Checks that every acknowledged write is in `final_state` or was overwritten there by a later revision.
///
/// Keys that are written once make this exact: nothing can have overwritten them. Returns how many writes it checked.
///
/// # Errors
/// The first write that is lost.
pub fn check(history: &[Operation], final_state: &HashMap<KeyId, Stored>) -> Result<usize, Lost> {
    let mut checked = 0;
    for operation in history {
        let (Some(value), Outcome::Written { revision }) = (operation.call.writes(), operation.outcome)
        else {
            continue;
        };
        let found = final_state.get(&operation.key).copied();
        let there = found.is_some_and(|stored| {
            stored.mod_revision > revision || (stored.mod_revision == revision && stored.value == value)
        });
        if !there {
            return Err(Lost { write: Box::new(*operation), found });
        }
        checked += 1;
    }
    Ok(checked)
}
