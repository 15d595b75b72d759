//! `outrigger run`: check the settings, set up logging and the runtime, hand over to `wiring`.
//!
//! May import: `config`, `telemetry`, `wiring`. Deliberately absent: everything that a member does.

use super::error::CliError;
use crate::config::{Config, RunArgs};
use crate::{telemetry, wiring};

pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    let config = Config::load(args).map_err(CliError::Config)?;
    telemetry::init(&config.log_level, config.log_format)?;
    #[cfg(feature = "fail-points")]
    if let Some(path) = std::env::var_os(outrigger_storage::fail_point::VARIABLE) {
        tracing::warn!(?path, "this build fails on purpose, where a test says so");
        outrigger_storage::fail_point::follow(path.into()).map_err(CliError::Runtime)?;
    }
    // With one thread, no task ever waits for another core to wake: a put crosses only the log's and the applier's threads.
    let mut builder = if config.worker_threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    if config.worker_threads > 1 {
        builder.worker_threads(config.worker_threads);
    }
    let runtime = builder.thread_name("outrigger").enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(wiring::run(config)).map_err(CliError::Member)
}
