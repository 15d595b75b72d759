//! The `outrigger` binary.

use std::process::ExitCode;

use clap::Parser;

/// The key space makes and drops a row and a few tree nodes with every put; the C library's allocator spent a third of a
/// member's time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    outrigger_sidecar::cli::main(outrigger_sidecar::cli::Cli::parse())
}
