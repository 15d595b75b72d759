//! Every target with inputs that are drawn: the bounded run that needs no nightly toolchain.

use outrigger_fuzz::{TARGETS, drive};

/// Of each target.
const INPUTS: u64 = 10_000;
/// Of the one that takes milliseconds an input: a manifest is held against the whole definition.
const FEWER_INPUTS: u64 = 200;
const SLOW: &str = "manifest";

#[test]
fn no_drawn_input_makes_a_target_fall_over_or_take_memory_without_bound() -> anyhow::Result<()> {
    for target in TARGETS {
        let due = if target.name == SLOW { FEWER_INPUTS } else { INPUTS };
        let driven = drive(target, 1, |given| given < due)?;
        assert_eq!(driven.inputs, due, "{}", target.name);
    }
    Ok(())
}
