//! Why a command failed, and its exit code.
//!
//! May import: tonic's status, `config`'s errors. Deliberately absent: printing.

use std::io;
use std::path::PathBuf;

use tonic::{Code, Status};

use crate::api::FAULTED;
use crate::config::ConfigErrors;
use crate::telemetry::TelemetryError;
use crate::tls::TlsError;

/// Why.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The arguments do not fit.
    #[error("{0}")]
    Usage(String),
    /// The settings do not fit.
    #[error("the configuration is refused:\n{0}")]
    Config(ConfigErrors),
    /// Nobody answers at the endpoint.
    #[error("nobody answers at {endpoint}: check that a member runs there, or name another with {flag}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What names it.
        flag: &'static str,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// There is no secure connection to the admin port.
    #[error(
        "{endpoint} is not reached under the certificate of --tls-dir: {problem}; check that a member of that cluster runs there"
    )]
    Unbelieved {
        /// Where.
        endpoint: String,
        /// Why.
        problem: String,
    },
    /// The certificate to show cannot be used.
    #[error(
        "--tls-dir {directory:?}: the certificates cannot be used (files of another name are named by --tls-name)"
    )]
    Certificates {
        /// Where they are.
        directory: PathBuf,
        /// Why.
        #[source]
        source: Box<TlsError>,
    },
    /// The member answered with an error.
    #[error("{endpoint} answered: {text} ({code:?}){hint}")]
    Refused {
        /// Who.
        endpoint: String,
        /// What it said.
        text: String,
        /// Its code.
        code: Code,
        /// What to do, where the code alone says it.
        hint: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{path:?} could not be {done}")]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        done: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stream of a snapshot ended before its end.
    #[error("the snapshot ended after {got} of {total} bytes: nothing was kept at {path:?}; save it again")]
    CutShort {
        /// The file that was not written.
        path: PathBuf,
        /// Bytes that came.
        got: u64,
        /// Bytes that were promised.
        total: u64,
    },
    /// Standard output failed.
    #[error("the answer could not be written")]
    Output(#[from] io::Error),
    /// The runtime could not be made.
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
    /// Logging could not be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The member ended with an error.
    #[error("{0:#}")]
    Member(anyhow::Error),
    /// The log holds what no crash leaves.
    #[error("the log in {dir:?} is damaged, and a member would halt on it: {}; give that member an empty volume, and it gets the data from the others", damages.join("; "))]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// The places, as they are listed.
        damages: Vec<String>,
    },
    /// A data directory cannot be read.
    #[error("the data directory cannot be read: check that it exists and may be read")]
    Disk(#[source] outrigger_storage::fs::IoFailure),
}

impl CliError {
    /// 2 for what the caller must write differently, 1 for everything else.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Unreachable { .. }
            | Self::Unbelieved { .. }
            | Self::Certificates { .. }
            | Self::Refused { .. }
            | Self::File { .. }
            | Self::CutShort { .. }
            | Self::Output(_)
            | Self::Runtime(_)
            | Self::Telemetry(_)
            | Self::Member(_)
            | Self::Damaged { .. }
            | Self::Disk(_) => 1,
        }
    }

    /// The member's answer, with what to do where its text does not say it.
    /// `is_change`: what was asked may have been done although it is not known.
    pub(super) fn refused(endpoint: &str, status: &Status, is_change: bool) -> Self {
        let code = status.code();
        let hint = match code {
            // The fault itself says what to do; trying again is not it.
            Code::Unavailable if status.message().starts_with(FAULTED) => "",
            Code::Unavailable => {
                "; the cluster may be electing or forming: try again, see `outrigger status`"
            }
            Code::DeadlineExceeded | Code::Cancelled if is_change => {
                "; a write may still have been applied: read before writing again, or wait longer with --timeout"
            }
            Code::DeadlineExceeded | Code::Cancelled => "; nothing was changed: wait longer with --timeout",
            Code::Aborted => "; something changed meanwhile: look at the status and decide anew",
            Code::Unimplemented => "; is this the right port? keys are on 2379, members and status on 2380",
            // A connection that breaks at once, or an alert where a frame is due: what a port with certificates does to a
            // plain one.
            Code::Unknown => PLAIN,
            Code::Internal if status.message().starts_with(NO_HTTP2) => PLAIN,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => "",
        };
        Self::Refused { endpoint: endpoint.to_owned(), text: status.message().to_owned(), code, hint }
    }
}

/// What to do about a port that does not speak plain HTTP/2.
const PLAIN: &str = "; a member with --peer-tls-dir is asked with --tls-dir";
/// How tonic's own error begins when what comes is no HTTP/2.
const NO_HTTP2: &str = "h2 protocol error";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_only_where_that_is_what_to_do() {
        let told = |status: Status, is_change| CliError::refused("a:2379", &status, is_change).to_string();
        let late = || Status::deadline_exceeded("Timeout expired");
        assert!(told(late(), true).contains("a write may still have been applied"));
        assert!(told(late(), false).ends_with("nothing was changed: wait longer with --timeout"));
        assert!(told(Status::unavailable("etcdserver: no leader"), true).contains("try again"));
        for broken in [Status::unknown("transport error"), Status::internal("h2 protocol error: http2 error")]
        {
            assert!(told(broken, false).contains("--tls-dir"));
        }
        assert!(!told(Status::internal("the disk failed"), false).contains("--tls-dir"));
        let faulted = format!("{FAULTED}/data/identity is damaged");
        let expected = format!("a:2379 answered: {faulted} (Unavailable)");
        assert_eq!(told(Status::unavailable(faulted), true), expected);
    }
}
