//! `chaos`: runs a cluster of real processes under faults, and judges what its clients saw.

use anyhow::{Context, Result};
use clap::Parser;
use outrigger_tests::chaos::{self, Options};

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("starting the clients' runtime")?;
    runtime.block_on(chaos::run(options, &mut std::io::stdout()))
}
