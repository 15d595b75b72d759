//! The slow way: the memoised search of Wing & Gong and Lowe, on one key, by values alone.
//!
//! Calls and returns stand in a doubly linked list by time. Taking an operation lifts its two nodes out; a return
//! whose call was not taken is a dead end, and the last choice is taken back. A pair of (operations taken, value
//! held) that was met before is not tried again.

use std::collections::HashSet;

use super::Violation;
use crate::history::{Call, KeyId, Operation, Outcome, ValueId};

/// What the key holds.
type State = Option<ValueId>;

/// Judges one key's operations; returns the steps that it took.
pub(super) fn check_key(key: KeyId, operations: &[Operation], budget_steps: u64) -> Result<u64, Violation> {
    let operations = relevant(operations);
    Search::new(key, &operations, budget_steps).run()
}

/// Leaves out what can never matter: failures, reads without an answer, and writes of unknown outcome that nobody
/// can have met (a write that is never read can only spoil what others saw, unless it explains a comparison that did
/// not hold).
fn relevant(operations: &[Operation]) -> Vec<Operation> {
    let mut met: HashSet<ValueId> = HashSet::new();
    let mut comparison_failed = false;
    for operation in operations {
        match operation.outcome {
            Outcome::Read { stored, .. } => met.extend(stored.map(|stored| stored.value)),
            Outcome::NotEqual { .. } => comparison_failed = true,
            Outcome::Written { .. } | Outcome::Unknown | Outcome::Failed => {}
        }
        if let Call::CompareAndSet { expected: Some(value), .. } = operation.call {
            met.insert(value);
        }
    }
    let matters = |operation: &&Operation| match operation.outcome {
        Outcome::Failed => false,
        Outcome::Unknown => {
            let value = operation.call.writes();
            value.is_some_and(|value| comparison_failed || met.contains(&value))
        }
        Outcome::Written { .. } | Outcome::NotEqual { .. } | Outcome::Read { .. } => true,
    };
    operations.iter().filter(matters).copied().collect()
}

/// The state after the operation, or `None` when its answer does not fit the state.
fn step(state: State, operation: &Operation) -> Option<State> {
    match (operation.call, operation.outcome) {
        (Call::Put(value), Outcome::Written { .. } | Outcome::Unknown) => Some(Some(value)),
        (Call::Get, Outcome::Read { stored, .. }) => {
            (stored.map(|stored| stored.value) == state).then_some(state)
        }
        (Call::CompareAndSet { expected, new }, Outcome::Written { .. }) => {
            (state == expected).then_some(Some(new))
        }
        (Call::CompareAndSet { expected, .. }, Outcome::NotEqual { .. }) => {
            (state != expected).then_some(state)
        }
        // Whatever became of it: it held or it did not.
        (Call::CompareAndSet { expected, new }, Outcome::Unknown) => {
            Some(if state == expected { Some(new) } else { state })
        }
        (Call::Put(_), Outcome::NotEqual { .. } | Outcome::Read { .. })
        | (Call::Get, Outcome::Written { .. } | Outcome::NotEqual { .. } | Outcome::Unknown)
        | (Call::CompareAndSet { .. }, Outcome::Read { .. })
        | (_, Outcome::Failed) => None,
    }
}

/// A set of operations, as bits.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Taken(Box<[u64]>);

impl Taken {
    fn none(operations: usize) -> Self {
        Self(vec![0; operations.div_ceil(64)].into_boxed_slice())
    }

    fn flip(&mut self, operation: usize) {
        if let Some(word) = self.0.get_mut(operation / 64) {
            *word ^= 1 << (operation % 64);
        }
    }
}

/// Nodes are numbers: operation `i` is called at node `2i` and returns at `2i + 1`; one node before all is the head,
/// which is also the end.
struct Search<'a> {
    key: KeyId,
    operations: &'a [Operation],
    next: Vec<usize>,
    previous: Vec<usize>,
    budget_steps: u64,
}

#[expect(clippy::indexing_slicing, reason = "every index is a node's own number, in vectors of that length")]
impl<'a> Search<'a> {
    fn new(key: KeyId, operations: &'a [Operation], budget_steps: u64) -> Self {
        let head = operations.len() * 2;
        let time = |node: &usize| {
            let operation = &operations[node / 2];
            // A call at the same instant as a return comes first: the two count as overlapping.
            match (node % 2, operation.outcome) {
                (0, _) => (operation.invoked, 0),
                (_, Outcome::Unknown) => (u64::MAX, 1),
                (_, _) => (operation.returned, 1),
            }
        };
        let mut nodes: Vec<usize> = (0..head).collect();
        nodes.sort_by_key(time);
        let mut search = Self {
            key,
            operations,
            next: vec![head; head + 1],
            previous: vec![head; head + 1],
            budget_steps,
        };
        let mut last = head;
        for node in nodes {
            search.next[last] = node;
            search.previous[node] = last;
            last = node;
        }
        search.next[last] = head;
        search.previous[head] = last;
        search
    }

    fn run(mut self) -> Result<u64, Violation> {
        let head = self.operations.len() * 2;
        let mut state: State = None;
        let mut taken = Taken::none(self.operations.len());
        let mut met: HashSet<(Taken, State)> = HashSet::new();
        let mut choices: Vec<(usize, State)> = Vec::new();
        let mut stuck = (0, 0);
        let mut steps = 0;
        let mut node = self.next[head];
        while self.next[head] != head {
            steps += 1;
            if steps > self.budget_steps {
                return Err(Violation::OutOfBudget { key: self.key, steps });
            }
            let operation = node / 2;
            if node.is_multiple_of(2) {
                if let Some(after) = step(state, &self.operations[operation]) {
                    taken.flip(operation);
                    if met.insert((taken.clone(), after)) {
                        choices.push((operation, state));
                        state = after;
                        self.lift(operation);
                        node = self.next[head];
                        continue;
                    }
                    taken.flip(operation);
                }
                node = self.next[node];
                continue;
            }
            if choices.len() >= stuck.0 {
                stuck = (choices.len(), operation);
            }
            let Some((undone, before)) = choices.pop() else {
                return Err(Violation::NotLinearizable {
                    key: self.key,
                    operations: self.operations.len(),
                    stuck: Box::new(self.operations[stuck.1]),
                });
            };
            state = before;
            taken.flip(undone);
            self.put_back(undone);
            node = self.next[undone * 2];
        }
        Ok(steps)
    }

    /// Takes both nodes of an operation out of the list; they keep their own links for [`Search::put_back`].
    fn lift(&mut self, operation: usize) {
        for node in [operation * 2, operation * 2 + 1] {
            let (previous, next) = (self.previous[node], self.next[node]);
            self.next[previous] = next;
            self.previous[next] = previous;
        }
    }

    /// Undoes [`Search::lift`], in the opposite order.
    fn put_back(&mut self, operation: usize) {
        for node in [operation * 2 + 1, operation * 2] {
            let (previous, next) = (self.previous[node], self.next[node]);
            self.next[previous] = node;
            self.previous[next] = node;
        }
    }
}
