//! `outrigger run`: check the settings, set up logging and the runtime, hand over to `wiring`.
//!
//! May import: `config`, `telemetry`, `wiring`. Deliberately absent: everything that a member does.

use super::error::CliError;
use crate::config::{Config, RunArgs};
use crate::{telemetry, wiring};

pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    let config = Config::load(args).map_err(CliError::Config)?;
    telemetry::init(&config.log_level, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .thread_name("outrigger")
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(wiring::run(config)).map_err(CliError::Member)
}
