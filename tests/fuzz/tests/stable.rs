//! Every target with inputs that are drawn: the bounded run that needs no nightly toolchain.

use outrigger_fuzz::{TARGETS, drive};

/// Of each target.
const INPUTS: u64 = 3_000;

#[test]
fn no_drawn_input_makes_a_target_fall_over_or_take_memory_without_bound() -> anyhow::Result<()> {
    for (name, target) in TARGETS {
        drive(name, target, 1, |given| given < INPUTS)?;
    }
    Ok(())
}
