//! A seed has one run: two of them are the same, line by line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use outrigger_sim::generate::{Shape, schedule};
use outrigger_sim::runs::run;

const SHAPE: Shape = Shape { seconds: 150, replicas: None };

#[test]
fn two_runs_of_a_seed_are_the_same_to_the_last_line() {
    for seed in 1..=4 {
        let schedule = schedule(seed, SHAPE);
        let (first, second) = (run(&schedule, true), run(&schedule, true));
        assert_eq!(first.violation, None);
        let (first_log, second_log) = (first.log.unwrap(), second.log.unwrap());
        assert!(first_log.lines().count() > 100, "seed {seed} did nothing");
        let differs = first_log.lines().zip(second_log.lines()).find(|(one, two)| one != two);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((first_log.len(), first.digest), (second_log.len(), second.digest), "seed {seed}");
        assert_eq!((first.events, first.operations), (second.events, second.operations), "seed {seed}");
        assert_eq!(run(&schedule, false).digest, first.digest, "without a log, seed {seed}");
    }
}

#[test]
fn two_seeds_have_two_runs() {
    let digest = |seed| run(&schedule(seed, SHAPE), false).digest;
    assert_ne!(digest(1), digest(2));
}
