//! Where a run's own log goes.
//!
//! May import: the layout. Deliberately absent: the members' logs; each has a file of its own.

use std::fs::OpenOptions;
use std::sync::Mutex;

use super::errors::LocalError;
use super::layout::Layout;

/// The run's own log goes to a file: the screen is redrawn over anything that is printed.
pub(super) fn log_to(layout: &Layout) -> Result<(), LocalError> {
    let path = layout.log("operator");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|source| LocalError::File { what: "write", path, source })?;
    // The DNS server logs every question at INFO.
    let filter = tracing_subscriber::EnvFilter::new("warn,outrigger_operator=info");
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Mutex::new(file));
    // A full disk loses lines; telling of it on a standard error that is full as well would panic.
    let subscriber = subscriber.log_internal_errors(false);
    // Set twice only by tests that run several in one process; the first one stays.
    subscriber.try_init().ok();
    Ok(())
}
