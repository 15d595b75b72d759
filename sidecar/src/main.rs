//! The `outrigger` binary.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    outrigger_sidecar::cli::main(outrigger_sidecar::cli::Cli::parse())
}
