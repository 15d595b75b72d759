//! Logging: where lines go and what they look like.
//!
//! May import: tracing-subscriber, `config`'s format. Deliberately absent: what is logged.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives do not parse; the configuration's checks have said so before.
    #[error("the log level {directives:?} does not parse: write error, warn, info, debug or trace")]
    Directives {
        /// What was given.
        directives: String,
        /// What does not fit.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else has set it up already.
    #[error("logging is set up already")]
    AlreadySet(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Lines go to standard error from here on.
///
/// # Errors
/// When the directives do not parse, or logging was set up before.
pub fn init(directives: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(directives)
        .map_err(|source| TelemetryError::Directives { directives: directives.to_owned(), source })?;
    // A line that cannot be written is lost, and no more: telling of it would panic where standard error is a file on a
    // full disk.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => {
            // Colours belong to a terminal, not to a file that a kubelet writes.
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            tracing::subscriber::set_global_default(lines.with_ansi(colours).finish())
        }
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    }
    .map_err(TelemetryError::AlreadySet)
}
