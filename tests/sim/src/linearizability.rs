//! The judge of histories: is there one order of all operations that explains every answer and respects real time?
//!
//! Two ways to a proof. `revisions`: the answers of an MVCC store carry revisions, and a revision *is* a place in one
//! order; when that order explains everything, it is the proof, in linear time. Where it puts two writes in one place, or
//! an operation before one that had ended, the store has lied, whatever its values say. `search`: for each key of which only a
//! value is not explained, and a write of unknown outcome may be why, the memoised search of Wing & Gong as improved by Lowe ("Testing for linearizability", 2017),
//! which looks at values only and lets writes of unknown outcome stand anywhere. Running out of budget is a violation, never a pass. `acknowledged` asks the simpler question whether every
//! acknowledged write is there, `once` whether each happened once.
//!
//! May import: `history`. Deliberately absent: clocks and randomness; a history has one verdict.

use thiserror::Error;

use crate::history::{Call, KeyId, Operation, Outcome};

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
    /// They explain all keys but some, for each of which a search found an order.
    Search {
        /// What kept the revisions from being the proof, on the last of them: that can only be a write of unknown outcome
        /// that nobody read.
        contradiction: Contradiction,
        /// Steps taken, all of these keys together.
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
    let unexplained = revisions::check(history).map_err(Violation::Revisions)?;
    let mut proof = Proof::Revisions;
    let mut steps = 0;
    for (key, contradiction) in unexplained {
        let operations: Vec<Operation> =
            history.iter().filter(|operation| operation.key == key).copied().collect();
        if !may_be_explained(&operations) {
            return Err(Violation::Revisions(contradiction));
        }
        steps += search::check_key(key, &operations, budget_steps.saturating_sub(steps))?;
        proof = Proof::Search { contradiction, steps };
    }
    Ok(proof)
}

/// Whether a write of unknown outcome, of which nobody knows where it stands, may be what an answer of the key differs by.
fn may_be_explained(operations: &[Operation]) -> bool {
    operations.iter().any(|other| other.outcome == Outcome::Unknown && other.call != Call::Get)
}

#[cfg(test)]
mod tests;
