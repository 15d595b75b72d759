//! The judge judged: hand-written traces of both verdicts, and generated ones.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::history::{Call, Outcome, Revision, Stored, ValueId};

const BUDGET: u64 = 1_000_000;

fn operation(call: Call, outcome: Outcome, invoked: u64, returned: u64) -> Operation {
    Operation { client: 0, key: KeyId(0), call, outcome, invoked, returned }
}

fn put(value: u64, revision: i64, invoked: u64, returned: u64) -> Operation {
    let outcome = Outcome::Written { revision: Revision(revision) };
    operation(Call::Put(ValueId(value)), outcome, invoked, returned)
}

fn maybe_put(value: u64, invoked: u64, returned: u64) -> Operation {
    operation(Call::Put(ValueId(value)), Outcome::Unknown, invoked, returned)
}

fn get(seen: Option<(u64, i64)>, revision: i64, invoked: u64, returned: u64) -> Operation {
    let stored = seen
        .map(|(value, mod_revision)| Stored { value: ValueId(value), mod_revision: Revision(mod_revision) });
    operation(Call::Get, Outcome::Read { stored, revision: Revision(revision) }, invoked, returned)
}

fn delete(outcome: Outcome, invoked: u64, returned: u64) -> Operation {
    operation(Call::Delete, outcome, invoked, returned)
}

fn cas(expected: Option<u64>, new: u64, outcome: Outcome, invoked: u64, returned: u64) -> Operation {
    let call = Call::CompareAndSet { expected: expected.map(ValueId), new: ValueId(new) };
    operation(call, outcome, invoked, returned)
}

const fn written(revision: i64) -> Outcome {
    Outcome::Written { revision: Revision(revision) }
}

const fn not_equal(revision: i64) -> Outcome {
    Outcome::NotEqual { revision: Revision(revision) }
}

/// Both ways must agree on the verdict: the search is asked even where the revisions already are a proof.
fn accepted(history: &[Operation]) -> bool {
    let by_search = search::check_key(KeyId(0), history, BUDGET).is_ok();
    let by_both = check(history, BUDGET).is_ok();
    assert_eq!(by_search, by_both, "{history:?}");
    by_both
}

#[test]
fn linearizable_traces_are_accepted() {
    let traces: [(&str, Vec<Operation>); 7] = [
        (
            "a delete of what is there, and of nothing",
            vec![
                put(1, 2, 0, 10),
                delete(written(3), 20, 30),
                get(None, 3, 40, 50),
                delete(get(None, 3, 0, 0).outcome, 60, 70),
                cas(None, 2, written(4), 80, 90),
            ],
        ),
        ("nothing", vec![]),
        ("a read of an absent key", vec![get(None, 1, 0, 1)]),
        ("read your write", vec![put(1, 2, 0, 10), get(Some((1, 2)), 2, 20, 30)]),
        (
            "two overlapping puts, either order",
            vec![put(1, 3, 0, 100), put(2, 2, 0, 100), get(Some((1, 3)), 3, 200, 300)],
        ),
        (
            "a read that overlaps a put may see it or not",
            vec![put(1, 2, 0, 100), get(None, 1, 10, 20), get(Some((1, 2)), 2, 30, 40)],
        ),
        (
            "a chain of comparisons",
            vec![
                cas(None, 1, written(2), 0, 10),
                cas(None, 2, not_equal(2), 20, 30),
                cas(Some(1), 3, written(3), 40, 50),
                get(Some((3, 3)), 3, 60, 70),
            ],
        ),
    ];
    for (name, trace) in traces {
        assert!(accepted(&trace), "{name}");
        assert_eq!(check(&trace, BUDGET), Ok(Proof::Revisions), "{name}");
    }
}

#[test]
fn broken_traces_are_rejected() {
    let traces: [(&str, Vec<Operation>); 10] = [
        (
            "a delete that did not happen",
            vec![put(1, 2, 0, 10), delete(written(3), 20, 30), get(Some((1, 2)), 3, 40, 50)],
        ),
        ("a delete of nothing that says that it was something", vec![delete(written(2), 0, 10)]),
        (
            "a delete that found nothing where something was",
            vec![put(1, 2, 0, 10), delete(get(None, 2, 0, 0).outcome, 20, 30)],
        ),
        ("a stale read", vec![put(1, 2, 0, 10), put(2, 3, 20, 30), get(Some((1, 2)), 2, 40, 50)]),
        ("a lost write", vec![put(1, 2, 0, 10), get(None, 1, 20, 30)]),
        ("a value from nowhere", vec![put(1, 2, 0, 10), get(Some((9, 2)), 2, 20, 30)]),
        ("a read from the future", vec![get(Some((1, 2)), 2, 0, 10), put(1, 2, 20, 30)]),
        (
            "reads that go back and forth",
            vec![
                put(1, 2, 0, 100),
                put(2, 3, 0, 100),
                get(Some((2, 3)), 3, 110, 120),
                get(Some((1, 2)), 3, 130, 140),
            ],
        ),
        (
            "two comparisons with the same value held",
            vec![cas(None, 1, written(2), 0, 10), cas(None, 2, written(3), 20, 30)],
        ),
        (
            "a comparison that did not hold, though it must have",
            vec![put(1, 2, 0, 10), cas(Some(1), 2, not_equal(2), 20, 30)],
        ),
    ];
    for (name, trace) in traces {
        assert!(!accepted(&trace), "{name}");
    }
}

#[test]
fn an_unknown_write_may_have_happened_or_not() {
    let happened = [put(1, 2, 0, 10), maybe_put(2, 20, 30), get(Some((2, 3)), 3, 40, 50)];
    let deleted = [put(1, 2, 0, 10), delete(Outcome::Unknown, 20, 30), get(None, 3, 40, 50)];
    let did_not = [put(1, 2, 0, 10), maybe_put(2, 20, 30), get(Some((1, 2)), 2, 40, 50)];
    let late =
        [maybe_put(2, 0, 10), put(1, 2, 20, 30), get(Some((1, 2)), 2, 40, 50), get(Some((2, 3)), 3, 60, 70)];
    let explains_a_comparison =
        [put(1, 2, 0, 10), maybe_put(2, 20, 30), cas(Some(1), 3, not_equal(3), 40, 50)];
    for trace in [&happened[..], &deleted, &did_not, &late, &explains_a_comparison] {
        assert!(accepted(trace), "{trace:?}");
    }
    let both_ways = [maybe_put(2, 0, 10), get(Some((2, 2)), 2, 20, 30), get(None, 1, 40, 50)];
    assert!(!accepted(&both_ways), "once seen, it stays");
    let before_its_call = [get(Some((2, 2)), 2, 0, 10), maybe_put(2, 20, 30)];
    assert!(!accepted(&before_its_call));
}

#[test]
fn a_failed_write_that_is_read_is_rejected() {
    let failed = operation(Call::Put(ValueId(1)), Outcome::Failed, 0, 10);
    assert!(accepted(&[failed, get(None, 1, 20, 30)]));
    assert!(!accepted(&[failed, get(Some((1, 2)), 2, 20, 30)]));
}

#[test]
fn revisions_that_go_back_across_keys_or_meet_are_a_violation_though_each_key_alone_is_fine() {
    let mut other = put(2, 2, 20, 30);
    other.key = KeyId(1);
    for (trace, what) in [
        ([put(1, 3, 0, 10), other], "against real time"),
        ([put(1, 2, 0, 10), put(2, 2, 20, 30)], "two writes at one revision"),
        ([put(1, 3, 0, 10), put(2, 2, 20, 30)], "backwards on one key"),
    ] {
        assert!(search::check_key(KeyId(0), &trace[..1], BUDGET).is_ok());
        let verdict = check(&trace, BUDGET);
        assert!(matches!(verdict, Err(Violation::Revisions(_))), "{what}: {verdict:?}");
    }
}

#[test]
fn running_out_of_budget_is_a_violation() {
    let trace = [put(1, 2, 0, 10), maybe_put(2, 20, 30), cas(Some(1), 3, not_equal(3), 40, 50)];
    assert!(matches!(check(&trace, BUDGET), Ok(Proof::Search { .. })));
    assert_eq!(check(&trace, 1), Err(Violation::OutOfBudget { key: KeyId(0), steps: 2 }));
}

/// A key that is written, then written by `of` calls of unknown outcome, of which a comparison met one and nobody read any.
fn burst(of: u64) -> Vec<Operation> {
    let mut history = vec![put(1, 2, 0, 10)];
    history.extend((2..of + 2).map(|value| maybe_put(value, 20 + value, 50)));
    history.push(cas(Some(1), of + 2, not_equal(9), 60, 70));
    history
}

#[test]
fn a_burst_of_unknown_writes_costs_no_search_of_its_orders() {
    let mut wrong = burst(20);
    wrong.extend([get(Some((1, 2)), 9, 80, 90), get(None, 9, 100, 110)]);
    assert!(search::check_key(KeyId(0), &burst(20), 1_000).is_ok());
    let verdict = search::check_key(KeyId(0), &wrong, 10_000);
    assert!(matches!(verdict, Err(Violation::NotLinearizable { .. })), "{verdict:?}");

    // The same with writes that were all read in the end: each is one that matters.
    let mut read: Vec<Operation> = (1..=16).map(|value| maybe_put(value, value, 50)).collect();
    for value in 1..=16 {
        let instant = 100 + value * 10;
        read.push(get(Some((17 - value, 9)), 9, instant, instant + 5));
    }
    assert!(search::check_key(KeyId(0), &read, 10_000).is_ok());
    read.push(get(Some((5, 9)), 9, 400, 410));
    let verdict = search::check_key(KeyId(0), &read, 10_000);
    assert!(matches!(verdict, Err(Violation::NotLinearizable { .. })), "{verdict:?}");
}

#[test]
fn an_acknowledged_write_that_is_not_there_is_found() {
    let stored = |value, revision| Stored { value: ValueId(value), mod_revision: Revision(revision) };
    let history = [put(1, 2, 0, 10), put(2, 3, 20, 30)];
    let ends = [
        (Some(stored(2, 3)), true),
        (Some(stored(7, 9)), true),
        (Some(stored(1, 2)), false),
        (Some(stored(1, 3)), false),
        (None, false),
    ];
    let is_fine = |history: &[Operation], end: Option<Stored>| {
        let state: HashMap<KeyId, Stored> = end.map(|end| (KeyId(0), end)).into_iter().collect();
        acknowledged::check(history, &state).is_ok()
    };
    for (end, fine) in ends {
        assert_eq!(is_fine(&history, end), fine, "{end:?}");
    }
    let [first, second] = history;
    for (delete, end, fine) in [
        (delete(written(4), 40, 50), None, true),
        (delete(Outcome::Unknown, 40, 50), None, true),
        (delete(get(None, 3, 0, 0).outcome, 40, 50), None, false),
        (delete(written(1), 40, 50), None, false),
        (delete(written(4), 40, 50), Some(stored(2, 3)), false),
        (delete(written(4), 40, 50), Some(stored(9, 5)), true),
    ] {
        assert_eq!(is_fine(&[first, second, delete], end), fine, "{delete:?} {end:?}");
    }
}

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
