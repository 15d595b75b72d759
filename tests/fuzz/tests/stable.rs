//! Every target with inputs that are drawn: the bounded run that needs no nightly toolchain.

use outrigger_fuzz::{TARGETS, drive};

/// Of each target.
const INPUTS: u64 = 5_000;
/// Of those that take milliseconds an input: a log's disk is made anew, a manifest is held against the whole definition.
const FEWER_INPUTS: u64 = 200;
const SLOW: [&str; 2] = ["wal-recovery", "manifest"];

#[test]
fn no_drawn_input_makes_a_target_fall_over_or_take_memory_without_bound() -> anyhow::Result<()> {
    for (name, target) in TARGETS {
        let due = if SLOW.contains(&name) { FEWER_INPUTS } else { INPUTS };
        let driven = drive(name, target, 1, |given| given < due)?;
        assert_eq!(driven.inputs, due, "{name}");
    }
    Ok(())
}
