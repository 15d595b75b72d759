//! The `outrigger-operator` binary.

use std::process::ExitCode;

use clap::Parser as _;
use outrigger_operator::args::Args;
use outrigger_operator::commands::execute;

#[tokio::main]
async fn main() -> ExitCode {
    execute(Args::parse()).await
}
