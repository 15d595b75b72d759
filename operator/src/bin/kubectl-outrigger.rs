//! `kubectl outrigger`: on the PATH as `kubectl-outrigger`, kubectl finds it by its name.

use std::process::ExitCode;

use clap::Parser as _;
use outrigger_operator::plugin::{Args, execute};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    execute(Args::parse()).await
}
