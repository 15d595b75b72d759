//! The judge judged: hand-written traces of both verdicts, and generated ones.

use std::collections::HashMap;

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
fn an_answer_from_the_past_is_a_violation_though_another_value_waits_for_an_unknown_write() {
    let unexplained = [put(1, 2, 0, 10), maybe_put(2, 20, 30), cas(Some(1), 3, not_equal(2), 40, 50)];
    assert!(matches!(check(&unexplained, BUDGET), Ok(Proof::Search { .. })));
    let (mut newer, mut stale) = (put(9, 5, 100, 110), get(None, 3, 200, 210));
    (newer.key, stale.key) = (KeyId(1), KeyId(2));
    let verdict = check(&[&unexplained[..], &[newer, stale]].concat(), BUDGET);
    assert!(matches!(verdict, Err(Violation::Revisions(Contradiction::RealTime(_)))), "{verdict:?}");
    let later = [put(1, 7, 0, 100), get(Some((1, 7)), 3, 10, 20)];
    let verdict = check(&later, BUDGET);
    assert!(matches!(verdict, Err(Violation::Revisions(Contradiction::FromLater(_)))), "{verdict:?}");
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

mod generated;
