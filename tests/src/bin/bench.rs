//! `bench`: prints how Outrigger compares with the real etcd on this machine, as Markdown.

use anyhow::{Context, Result};
use clap::Parser;
use outrigger_tests::bench::{self, Options};

fn main() -> Result<()> {
    let options = Options::parse();
    let mut runtime = if options.client_threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    // A load generator on one thread wakes nobody, and leaves the other cores to the servers.
    let runtime = runtime.worker_threads(options.client_threads.max(1)).enable_all().build();
    let runtime = runtime.context("starting the load generator's runtime")?;
    runtime.block_on(bench::run(options, &mut std::io::stdout(), &mut std::io::stderr()))
}
