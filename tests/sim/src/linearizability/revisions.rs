//! The fast way: the store's own revisions as the order.
//!
//! A write stands at its revision, a read behind the write of the revision that its header names. If that order
//! respects real time and explains every value, it is a linearization of the whole store, not only of each key.
//! A value that is not explained is not yet a verdict where a write whose outcome nobody knows may explain it: that has no
//! revision to stand at. Two writes at one revision, or a revision against real time, are one: what stands in the order stands
//! there by an answer.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

use crate::history::{Call, KeyId, Operation, Outcome, Revision, Stored, ValueId};

/// Why the revisions are not an order that explains the history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Contradiction {
    /// Two writes claim one revision.
    #[error("two writes were acknowledged at revision {0}")]
    SharedRevision(Revision),
    /// An operation stands before one that had ended when it began.
    #[error("{0:?} ended before an operation began that its revision puts in front of it")]
    RealTime(Box<Operation>),
    /// An answer holds what was written at a later revision than its own.
    #[error("{0:?} shows what was written later than its own revision")]
    FromLater(Box<Operation>),
    /// An answer differs from what the order says.
    #[error("{operation:?} stands where the key holds {held:?}")]
    Value {
        /// The operation.
        operation: Box<Operation>,
        /// What the key holds there.
        held: Option<Stored>,
    },
}

/// Writes stand before the reads of the same revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Write,
    Read,
}

struct Place {
    revision: Revision,
    kind: Kind,
    operation: Operation,
    /// `u64::MAX` for an unknown outcome: it has no end in time.
    returned: u64,
}

/// Checks that the order by revisions respects real time, and explains every answer: gives the first answer of each key that it
/// does not explain. None: the order is a linearization.
pub(super) fn check(history: &[Operation]) -> Result<BTreeMap<KeyId, Contradiction>, Contradiction> {
    let order = places(history);
    for pair in order.windows(2) {
        let [one, two] = pair else { continue };
        if one.revision == two.revision && two.kind == Kind::Write {
            return Err(Contradiction::SharedRevision(two.revision));
        }
    }
    // Time first, of all of them: no write of unknown outcome excuses an answer from the past.
    let mut latest_invocation = 0;
    for place in &order {
        if place.returned < latest_invocation {
            return Err(Contradiction::RealTime(Box::new(place.operation)));
        }
        latest_invocation = latest_invocation.max(place.operation.invoked);
        if let Outcome::Read { stored: Some(stored), revision } = place.operation.outcome
            && stored.mod_revision > revision
        {
            return Err(Contradiction::FromLater(Box::new(place.operation)));
        }
    }
    let mut held: HashMap<KeyId, Stored> = HashMap::new();
    let mut unexplained = BTreeMap::new();
    for place in &order {
        let key = place.operation.key;
        let before = held.get(&key).copied();
        if !explains(before, place) {
            let value = Contradiction::Value { operation: Box::new(place.operation), held: before };
            unexplained.entry(key).or_insert(value);
        }
        match (place.kind, place.operation.call.writes()) {
            (Kind::Write, Some(value)) => {
                held.insert(key, Stored { value, mod_revision: place.revision });
            }
            (Kind::Write, None) => drop(held.remove(&key)),
            (Kind::Read, _) => {}
        }
    }
    Ok(unexplained)
}

/// Whether the answer is the one that a key which holds `before` gives.
fn explains(before: Option<Stored>, place: &Place) -> bool {
    let value = before.map(|stored| stored.value);
    match (place.operation.call, place.operation.outcome) {
        (Call::Get, Outcome::Read { stored, .. }) => stored == before,
        (Call::Delete, Outcome::Read { stored, .. }) => stored.is_none() && before.is_none(),
        (Call::Delete, Outcome::Written { .. } | Outcome::Unknown) => before.is_some(),
        (Call::CompareAndSet { expected, .. }, Outcome::NotEqual { .. }) => value != expected,
        (Call::CompareAndSet { expected, .. }, Outcome::Written { .. } | Outcome::Unknown) => {
            value == expected
        }
        (Call::Put(_), Outcome::Written { .. } | Outcome::Unknown) => true,
        // An answer of another call's kind explains nothing.
        (Call::Get, Outcome::Written { .. } | Outcome::NotEqual { .. } | Outcome::Unknown)
        | (Call::CompareAndSet { .. }, Outcome::Read { .. })
        | (Call::Put(_), Outcome::Read { .. } | Outcome::NotEqual { .. })
        | (Call::Delete, Outcome::NotEqual { .. })
        | (_, Outcome::Failed) => false,
    }
}

/// All operations that have a revision to stand at, in order.
fn places(history: &[Operation]) -> Vec<Place> {
    let observed: HashMap<ValueId, Revision> = history.iter().filter_map(observation).collect();
    let mut order: Vec<Place> = Vec::with_capacity(history.len());
    for operation in history {
        let (revision, kind, returned) = match operation.outcome {
            Outcome::Written { revision } => (revision, Kind::Write, operation.returned),
            Outcome::NotEqual { revision } | Outcome::Read { revision, .. } => {
                (revision, Kind::Read, operation.returned)
            }
            // It stands where a reader saw it; unseen, it is taken as never done.
            Outcome::Unknown => {
                let seen = operation.call.writes().and_then(|value| observed.get(&value));
                let Some(revision) = seen else { continue };
                (*revision, Kind::Write, u64::MAX)
            }
            Outcome::Failed => continue,
        };
        order.push(Place { revision, kind, operation: *operation, returned });
    }
    // Reads of one revision see the same state: among them the order of calls respects real time.
    order.sort_by_key(|place| (place.revision, place.kind, place.operation.invoked));
    order
}

fn observation(operation: &Operation) -> Option<(ValueId, Revision)> {
    match operation.outcome {
        Outcome::Read { stored, .. } => stored.map(|stored| (stored.value, stored.mod_revision)),
        Outcome::Written { .. } | Outcome::NotEqual { .. } | Outcome::Unknown | Outcome::Failed => None,
    }
}
