//! `sim`: runs seeds, replays and shrinks schedules.

use std::process::ExitCode;

fn main() -> ExitCode {
    outrigger_sim::command::main()
}
