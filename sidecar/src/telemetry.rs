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

/// Below `info` a bare level means this program's own lines: those of the libraries under it are many and say little.
fn own_lines(directives: &str) -> String {
    match directives.trim().to_ascii_lowercase().as_str() {
        level @ ("debug" | "trace") => format!("info,outrigger_sidecar={level}"),
        _ => directives.to_owned(),
    }
}

/// Lines go to standard error from here on.
///
/// # Errors
/// When the directives do not parse, or logging was set up before.
pub fn init(directives: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(own_lines(directives))
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

#[cfg(test)]
mod tests {
    use super::own_lines;

    #[test]
    fn a_bare_level_below_info_is_this_programs_own_and_directives_are_taken_as_they_are() {
        assert_eq!(own_lines("debug"), "info,outrigger_sidecar=debug");
        assert_eq!(own_lines("Trace"), "info,outrigger_sidecar=trace");
        for taken in ["info", "warn", "debug,h2=trace", ""] {
            assert_eq!(own_lines(taken), taken);
        }
    }
}
