//! Generated histories: of a real (little) store, of one that lies, and of anything at all.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// What a generated client does; numbers are choices that the generator below interprets.
#[derive(Clone, Copy, Debug)]
struct Choice {
    key: u32,
    kind: u8,
    before: u64,
    after: u64,
    loses_answer: bool,
}

fn choices(spread: u64) -> impl Strategy<Value = Vec<Choice>> {
    let choice = (0..3_u32, 0..5_u8, 0..=spread, 0..=spread, prop::bool::weighted(0.1)).prop_map(
        |(key, kind, before, after, loses_answer)| Choice { key, kind, before, after, loses_answer },
    );
    prop::collection::vec(choice, 1..60)
}

/// Executes the choices one after the other on a real (little) store, each in one instant, and widens the instants
/// into intervals: linearizable by construction.
fn execute(choices: &[Choice]) -> Vec<Operation> {
    let mut store: HashMap<KeyId, Stored> = HashMap::new();
    let mut revision = 1;
    let mut history = Vec::new();
    for (number, choice) in choices.iter().enumerate() {
        let instant = 10_000 + u64::try_from(number).unwrap() * 100;
        let new = ValueId(u64::try_from(number).unwrap());
        let key = KeyId(choice.key);
        let held = store.get(&key).copied();
        let call = match choice.kind {
            0 => Call::Get,
            1 => Call::Put(new),
            4 => Call::Delete,
            2 => Call::CompareAndSet { expected: held.map(|stored| stored.value), new },
            _ => Call::CompareAndSet { expected: Some(ValueId(u64::MAX)), new },
        };
        let writes = matches!(choice.kind, 1 | 2) || (choice.kind == 4 && held.is_some());
        if writes {
            revision += 1;
            match call.writes() {
                Some(value) => drop(store.insert(key, Stored { value, mod_revision: Revision(revision) })),
                None => drop(store.remove(&key)),
            }
        }
        let outcome = match (choice.loses_answer, call) {
            (true, _) => Outcome::Unknown,
            (false, Call::Delete) if held.is_some() => Outcome::Written { revision: Revision(revision) },
            (false, Call::Get | Call::Delete) => Outcome::Read { stored: held, revision: Revision(revision) },
            (false, _) if writes => Outcome::Written { revision: Revision(revision) },
            (false, _) => Outcome::NotEqual { revision: Revision(revision) },
        };
        let (invoked, returned) = (instant - choice.before, instant + choice.after);
        history.push(Operation { client: 0, key, call, outcome, invoked, returned });
    }
    history
}

/// Any history of one key: what a client was told has nothing to do with what others did.
fn anything() -> impl Strategy<Value = Vec<Operation>> {
    let one = (0..4_u8, 0..4_u64, 0..4_u8, 0..60_u64, 1..40_u64);
    prop::collection::vec(one, 1..7).prop_map(|choices| {
        let operation_of = |(number, (kind, named, outcome, invoked, took)): (u64, _)| {
            let seen = (named > 0).then_some(named);
            let call = match kind {
                0 => Call::Get,
                1 => Call::Put(ValueId(number + 1)),
                3 => Call::Delete,
                _ => Call::CompareAndSet { expected: seen.map(ValueId), new: ValueId(number + 1) },
            };
            let outcome = match (kind, outcome) {
                (_, 0) => Outcome::Unknown,
                (0, _) => get(seen.map(|value| (value, 2)), 2, 0, 0).outcome,
                (2, 1) => not_equal(2),
                (3, 1) => get(None, 2, 0, 0).outcome,
                _ => written(2),
            };
            operation(call, outcome, invoked, invoked + took)
        };
        (0..).zip(choices).map(operation_of).collect()
    })
}

/// The definition itself: some order of the answered operations, with any of the unknown ones among them, respects real
/// time and explains every answer.
fn some_order_explains(left: &[Operation], held: Option<ValueId>) -> bool {
    let answered = |operation: &&Operation| operation.outcome != Outcome::Unknown;
    let Some(first_return) = left.iter().filter(answered).map(|operation| operation.returned).min() else {
        return true;
    };
    (0..left.len()).any(|index| {
        let next = left[index];
        let after = match (next.call, next.outcome) {
            (Call::Put(value), _) => Some(Some(value)),
            (Call::Get, Outcome::Read { stored, .. }) => {
                (stored.map(|stored| stored.value) == held).then_some(held)
            }
            (Call::Get, _) => Some(held),
            (Call::Delete, Outcome::Read { .. }) => held.is_none().then_some(None),
            (Call::Delete, Outcome::Written { .. }) => held.is_some().then_some(None),
            (Call::Delete, _) => Some(None),
            (Call::CompareAndSet { expected, .. }, Outcome::NotEqual { .. }) => {
                (expected != held).then_some(held)
            }
            (Call::CompareAndSet { expected, new }, outcome) => {
                let nothing = (outcome == Outcome::Unknown).then_some(held);
                if expected == held { Some(Some(new)) } else { nothing }
            }
        };
        let mut others = left.to_vec();
        others.remove(index);
        next.invoked <= first_return && after.is_some_and(|after| some_order_explains(&others, after))
    })
}

/// The same choices, with every answer arriving.
fn complete(choices: &[Choice]) -> Vec<Choice> {
    choices.iter().map(|choice| Choice { loses_answer: false, ..*choice }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn the_search_knows_what_the_definition_says(history in anything()) {
        let verdict = search::check_key(KeyId(0), &history, BUDGET);
        prop_assert_eq!(verdict.is_ok(), some_order_explains(&history, None), "{:?}", verdict);
    }
}

proptest! {
    #[test]
    fn executions_with_overlaps_are_accepted_both_ways(choices in choices(1_000)) {
        let history = execute(&choices);
        prop_assert!(check(&history, BUDGET).is_ok());
        for key in 0..3 {
            let own: Vec<Operation> = history.iter().filter(|op| op.key == KeyId(key)).copied().collect();
            prop_assert!(search::check_key(KeyId(key), &own, BUDGET).is_ok());
        }
    }

    #[test]
    fn an_execution_where_every_answer_arrived_is_proved_by_its_revisions(choices in choices(1_000)) {
        prop_assert_eq!(check(&execute(&complete(&choices)), BUDGET), Ok(Proof::Revisions));
    }

    #[test]
    fn a_read_of_a_swapped_value_is_rejected(choices in choices(0), pick in any::<prop::sample::Index>()) {
        // Without overlaps and with every outcome known a read has one right answer, so any other is wrong.
        let mut history = execute(&complete(&choices));
        let answered =
            |operation: &Operation| operation.call == Call::Get && matches!(operation.outcome, Outcome::Read { .. });
        let reads: Vec<usize> = (0..history.len()).filter(|index| answered(&history[*index])).collect();
        prop_assume!(!reads.is_empty());
        let read = *pick.get(&reads);
        let Outcome::Read { stored, revision } = history[read].outcome else { unreachable!() };
        let mut others = history.iter().filter(|op| op.key == history[read].key).filter_map(|op| op.call.writes());
        let wrong = others.rfind(|value| Some(*value) != stored.map(|stored| stored.value));
        let value = wrong.unwrap_or(ValueId(u64::MAX - 1));
        let mod_revision = stored.map_or(Revision(2), |stored| stored.mod_revision);
        history[read].outcome = Outcome::Read { stored: Some(Stored { value, mod_revision }), revision };
        prop_assert!(check(&history, BUDGET).is_err());
    }
}
