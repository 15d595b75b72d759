//! The judge of histories: is there one order of all operations that explains every answer and respects real time?
//!
//! Two ways to a proof. `revisions`: the answers of an MVCC store carry revisions, and a revision *is* a place in one
//! order; when that order explains everything, it is the proof, in linear time. Where it puts two writes in one place, or
//! an operation before one that had ended, the store has lied, whatever its values say. `search`: where only a value is not
//! explained, key by key, the memoised search of Wing & Gong as improved by Lowe ("Testing for linearizability", 2017),
//! which looks at values only and lets writes of unknown outcome stand anywhere. Running out of budget is a violation, never a pass. `acknowledged` asks the simpler question whether every
//! acknowledged write is there, `once` whether each happened once.
//!
//! May import: `history`. Deliberately absent: clocks and randomness; a history has one verdict.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::history::{KeyId, Operation};

pub mod acknowledged;
pub mod once;
mod revisions;
mod search;

pub use revisions::Contradiction;

/// How a history was found to be linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The revisions in the answers are an order that explains all of it.
    Revisions,
    /// A search found an order for each key.
    Search {
        /// What kept the revisions from being the proof. On a store whose revisions are right, that can only be a
        /// write of unknown outcome that nobody read.
        contradiction: Contradiction,
        /// Steps taken, all keys together.
        steps: u64,
    },
}

/// Why a history is not accepted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// The revisions that clients were told contradict each other or real time.
    #[error("the revisions are no order: {0}")]
    Revisions(#[source] Contradiction),
    /// No order of the key's operations explains the answers.
    #[error(
        "key {} is not linearizable: no order of its {operations} operations explains every answer; \
         the longest explained part ends before {stuck:?}",
        key.0
    )]
    NotLinearizable {
        /// The key.
        key: KeyId,
        /// How many operations it has.
        operations: usize,
        /// The operation that no order reached.
        stuck: Box<Operation>,
    },
    /// The search ended without a verdict, which counts as a failure.
    #[error("key {}: no verdict after {steps} steps; a history that cannot be judged is not accepted", key.0)]
    OutOfBudget {
        /// The key.
        key: KeyId,
        /// Steps taken.
        steps: u64,
    },
}

/// Steps that the search may take on all keys together: some seconds of one core.
pub const DEFAULT_BUDGET_STEPS: u64 = 20_000_000;

/// Judges a history over keys that were all absent at its start.
///
/// # Errors
/// A [`Violation`] when it is not linearizable, or when `budget_steps` do not suffice to know.
pub fn check(history: &[Operation], budget_steps: u64) -> Result<Proof, Violation> {
    let contradiction = match revisions::check(history) {
        Ok(()) => return Ok(Proof::Revisions),
        Err(contradiction @ (Contradiction::SharedRevision(_) | Contradiction::RealTime(_))) => {
            return Err(Violation::Revisions(contradiction));
        }
        Err(contradiction @ Contradiction::Value { .. }) => contradiction,
    };
    let mut keys: BTreeMap<KeyId, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(operation.key).or_default().push(*operation);
    }
    let mut steps = 0;
    for (key, operations) in keys {
        steps += search::check_key(key, &operations, budget_steps.saturating_sub(steps))?;
    }
    Ok(Proof::Search { contradiction, steps })
}

#[cfg(test)]
mod tests;
