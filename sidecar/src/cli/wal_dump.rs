//! `outrigger wal dump DIR`: shows a log that no process uses.
//!
//! May import: storage's dump. Deliberately absent: the format; it is storage's.

use std::path::Path;

use super::error::CliError;
use crate::output::Output;

/// Prints every segment, frame and record of the log in `dir`.
///
/// # Errors
/// When the directory cannot be read, or the output fails.
pub(super) fn dump(dir: &Path, output: &mut Output) -> Result<(), CliError> {
    // Connected to the storage crate's dump when both are in one tree.
    output.line(&format!("{}:", dir.display()))?;
    Err(CliError::NotBuilt("wal dump"))
}
