//! The slow way: the memoised search of Wing & Gong and Lowe, on one key, by values alone.
//!
//! Calls and returns stand in a doubly linked list by time. Taking an operation lifts its two nodes out; a return
//! whose call was not taken is a dead end, and the last choice is taken back. A pair of (operations taken, value
//! held) that was met before is not tried again.
//!
//! Three rules keep a burst of writes of unknown outcome from being tried in all its orders; none gives up a verdict:
//! * an answer that fits and changes nothing is taken at once, with no alternative: whatever order explains the rest
//!   explains it with that answer in front, too;
//! * a value that is overwritten never comes back, as no two writes write the same: who still has to be answered with it
//!   makes overwriting it a dead end (of nothing, where no delete brings it back, the same is true);
//! * unknown writes of values that no answer and no comparison names differ in when they were called and in nothing else,
//!   as do unknown deletes: the one that was called first goes first.
//!
//! May import: `history`. Deliberately absent: revisions.

use std::collections::{HashMap, HashSet};

use super::Violation;
use crate::history::{Call, KeyId, Operation, Outcome, ValueId};

/// What the key holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Absent,
    Holds(ValueId),
    /// A value that no answer and no comparison names.
    Nameless,
}

impl State {
    fn of(value: Option<ValueId>) -> Self {
        value.map_or(Self::Absent, Self::Holds)
    }
}

/// Judges one key's operations; returns the steps that it took.
pub(super) fn check_key(key: KeyId, operations: &[Operation], budget_steps: u64) -> Result<u64, Violation> {
    let named = named(operations);
    let operations = relevant(operations, &named);
    Search::new(key, &operations, &named, budget_steps).run()
}

/// The values that an answer or a comparison names.
fn named(operations: &[Operation]) -> HashSet<ValueId> {
    let mut named = HashSet::new();
    for operation in operations {
        if let Outcome::Read { stored: Some(stored), .. } = operation.outcome {
            named.insert(stored.value);
        }
        if let Call::CompareAndSet { expected: Some(value), .. } = operation.call {
            named.insert(value);
        }
    }
    named
}

/// Leaves out what can never matter: failures, reads without an answer, and writes of unknown outcome that nobody
/// can have met (a write that is never read can only spoil what others saw, unless it explains a comparison that did
/// not hold, or a delete that found something).
fn relevant(operations: &[Operation], named: &HashSet<ValueId>) -> Vec<Operation> {
    let needs_any = operations.iter().any(|operation| match operation.outcome {
        Outcome::NotEqual { .. } => true,
        Outcome::Written { .. } => operation.call == Call::Delete,
        Outcome::Read { .. } | Outcome::Unknown | Outcome::Failed => false,
    });
    let matters = |operation: &&Operation| match operation.outcome {
        Outcome::Failed => false,
        Outcome::Unknown => {
            let value = operation.call.writes();
            operation.call == Call::Delete || value.is_some_and(|value| needs_any || named.contains(&value))
        }
        Outcome::Written { .. } | Outcome::NotEqual { .. } | Outcome::Read { .. } => true,
    };
    operations.iter().filter(matters).copied().collect()
}

/// What an operation does to the state.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Effect {
    /// The state that it needs; `None` for any.
    needs: Option<State>,
    /// The state that it cannot happen in.
    refuses: Option<State>,
    /// The state that it leaves; `None` for the one that it found.
    leaves: Option<State>,
    /// Whether it changes nothing where the state is not the one it needs, instead of being impossible there.
    or_nothing: bool,
}

impl Effect {
    /// `None` for an answer that is of another call's kind: it explains nothing.
    fn of(operation: &Operation, named: &HashSet<ValueId>) -> Option<Self> {
        let none = Self { needs: None, refuses: None, leaves: None, or_nothing: false };
        let left =
            |value: ValueId| Some(if named.contains(&value) { State::Holds(value) } else { State::Nameless });
        match (operation.call, operation.outcome) {
            (Call::Put(value), Outcome::Written { .. } | Outcome::Unknown) => {
                Some(Self { leaves: left(value), ..none })
            }
            (Call::Get, Outcome::Read { stored, .. }) => {
                Some(Self { needs: Some(State::of(stored.map(|stored| stored.value))), ..none })
            }
            (Call::CompareAndSet { expected, new }, Outcome::Written { .. }) => {
                Some(Self { needs: Some(State::of(expected)), leaves: left(new), ..none })
            }
            (Call::CompareAndSet { expected, .. }, Outcome::NotEqual { .. }) => {
                Some(Self { refuses: Some(State::of(expected)), ..none })
            }
            // Whatever became of it: it held or it did not.
            (Call::CompareAndSet { expected, new }, Outcome::Unknown) => Some(Self {
                needs: Some(State::of(expected)),
                leaves: left(new),
                refuses: None,
                or_nothing: true,
            }),
            (Call::Delete, Outcome::Written { .. }) => {
                Some(Self { refuses: Some(State::Absent), leaves: Some(State::Absent), ..none })
            }
            (Call::Delete, Outcome::Read { stored: None, .. }) => {
                Some(Self { needs: Some(State::Absent), ..none })
            }
            (Call::Delete, Outcome::Unknown) => Some(Self { leaves: Some(State::Absent), ..none }),
            (Call::Put(_) | Call::Delete, Outcome::NotEqual { .. } | Outcome::Read { .. })
            | (Call::Get, Outcome::Written { .. } | Outcome::NotEqual { .. } | Outcome::Unknown)
            | (Call::CompareAndSet { .. }, Outcome::Read { .. })
            | (_, Outcome::Failed) => None,
        }
    }

    /// The state after it, or `None` where it cannot have happened.
    fn step(self, state: State) -> Option<State> {
        if self.refuses == Some(state) {
            return None;
        }
        if self.needs.is_some_and(|needed| needed != state) {
            return self.or_nothing.then_some(state);
        }
        Some(self.leaves.unwrap_or(state))
    }

    /// The state that its answer proves to have been held, if one that is left never comes back.
    fn proves(self, absent_returns: bool) -> Option<State> {
        self.needs.filter(|needed| !(self.or_nothing || absent_returns && *needed == State::Absent))
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

    fn has(&self, operation: usize) -> bool {
        self.0.get(operation / 64).is_some_and(|word| word & (1 << (operation % 64)) != 0)
    }
}

/// An operation that was taken, and how to take it back.
struct Choice {
    operation: usize,
    before: State,
    /// There is no alternative to it.
    forced: bool,
}

/// Where the search stands.
struct Position {
    state: State,
    taken: Taken,
    /// For each state, how many operations that prove it are not taken yet.
    owed: HashMap<State, usize>,
    choices: Vec<Choice>,
}

/// Nodes are numbers: operation `i` is called at node `2i` and returns at `2i + 1`; one node before all is the head,
/// which is also the end.
struct Search<'a> {
    key: KeyId,
    operations: &'a [Operation],
    effects: Vec<Option<Effect>>,
    /// Somebody may have deleted the key.
    absent_returns: bool,
    /// For an unknown delete or write of a nameless value, the one like it that was called before.
    earlier: Vec<Option<usize>>,
    next: Vec<usize>,
    previous: Vec<usize>,
    budget_steps: u64,
}

#[expect(clippy::indexing_slicing, reason = "every index is a node's own number, in vectors of that length")]
impl<'a> Search<'a> {
    fn new(key: KeyId, operations: &'a [Operation], named: &HashSet<ValueId>, budget_steps: u64) -> Self {
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
        let effects: Vec<_> = operations.iter().map(|operation| Effect::of(operation, named)).collect();
        let mut search = Self {
            key,
            operations,
            earlier: earlier(operations, &effects, &nodes),
            absent_returns: effects.iter().flatten().any(|effect| effect.leaves == Some(State::Absent)),
            effects,
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
        let mut at = Position {
            state: State::Absent,
            taken: Taken::none(self.operations.len()),
            owed: HashMap::new(),
            choices: Vec::new(),
        };
        for proved in self.effects.iter().flatten().filter_map(|effect| effect.proves(self.absent_returns)) {
            *at.owed.entry(proved).or_default() += 1;
        }
        let mut met: HashSet<(Taken, State)> = HashSet::new();
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
                if let Some(after) = self.step(operation, &at) {
                    let forced = after == at.state && self.answers(operation);
                    self.take(operation, after, forced, &mut at);
                    if forced || met.insert((at.taken.clone(), after)) {
                        node = self.next[head];
                        continue;
                    }
                    self.take_back(&mut at);
                }
                node = self.next[node];
                continue;
            }
            if at.choices.len() >= stuck.0 {
                stuck = (at.choices.len(), operation);
            }
            loop {
                match self.take_back(&mut at) {
                    Some(Choice { forced: true, .. }) => {}
                    Some(undone) => break node = self.next[undone.operation * 2],
                    None => {
                        return Err(Violation::NotLinearizable {
                            key: self.key,
                            operations: self.operations.len(),
                            stuck: Box::new(self.operations[stuck.1]),
                        });
                    }
                }
            }
        }
        Ok(steps)
    }

    /// Whether it has an answer that says nothing was changed.
    fn answers(&self, operation: usize) -> bool {
        matches!(self.operations[operation].outcome, Outcome::Read { .. } | Outcome::NotEqual { .. })
    }

    /// The state after the operation, or `None` where taking it now can lead nowhere.
    fn step(&self, operation: usize, at: &Position) -> Option<State> {
        if self.earlier[operation].is_some_and(|earlier| !at.taken.has(earlier)) {
            return None;
        }
        let effect = self.effects[operation]?;
        let after = effect.step(at.state)?;
        let owed = at.owed.get(&at.state).copied().unwrap_or_default();
        let own = usize::from(effect.proves(self.absent_returns) == Some(at.state));
        (after == at.state || owed == own).then_some(after)
    }

    fn take(&mut self, operation: usize, after: State, forced: bool, at: &mut Position) {
        at.choices.push(Choice { operation, before: at.state, forced });
        at.taken.flip(operation);
        at.state = after;
        if let Some(owed) = self.owed(operation, at) {
            *owed -= 1;
        }
        self.lift(operation);
    }

    fn take_back(&mut self, at: &mut Position) -> Option<Choice> {
        let choice = at.choices.pop()?;
        at.taken.flip(choice.operation);
        at.state = choice.before;
        if let Some(owed) = self.owed(choice.operation, at) {
            *owed += 1;
        }
        self.put_back(choice.operation);
        Some(choice)
    }

    fn owed<'b>(&self, operation: usize, at: &'b mut Position) -> Option<&'b mut usize> {
        at.owed.get_mut(&self.effects[operation]?.proves(self.absent_returns)?)
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

/// For each unknown delete or write of a nameless value, the one before it in `nodes` with the same effect.
fn earlier(operations: &[Operation], effects: &[Option<Effect>], nodes: &[usize]) -> Vec<Option<usize>> {
    let mut earlier = vec![None; operations.len()];
    let mut latest: HashMap<(Option<State>, Option<State>), usize> = HashMap::new();
    for operation in nodes.iter().filter(|node| node.is_multiple_of(2)).map(|node| node / 2) {
        let unknown = operations.get(operation).is_some_and(|own| own.outcome == Outcome::Unknown);
        let effect = effects.get(operation).copied().flatten();
        let alike = |effect: &Effect| matches!(effect.leaves, Some(State::Nameless | State::Absent));
        let Some(effect) = effect.filter(|effect| unknown && alike(effect)) else { continue };
        if let Some(slot) = earlier.get_mut(operation) {
            *slot = latest.insert((effect.needs, effect.leaves), operation);
        }
    }
    earlier
}
