//! The range of loopback addresses that a run takes: one address a member, the last but one for DNS, and a lock on the
//! whole range, so that two runs never fight over ports.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::layout::FileLock;
use crate::cluster::ids::Ordinal;

/// Where clients speak to a member.
pub const CLIENT_PORT: u16 = 2379;
/// Where peers and the operator speak to a member.
pub const PEER_PORT: u16 = 2380;
/// Probes, metrics and status.
pub const HTTP_PORT: u16 = 2381;

/// `127.x.y.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback {
    second: u8,
    third: u8,
}

/// Why a range cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoopbackError {
    /// The text is not a range.
    #[error(
        "--loopback: {found:?} is not a range of loopback addresses; write 127.X.Y.0/24, such as 127.0.2.0/24"
    )]
    NotARange {
        /// What was given.
        found: String,
    },
    /// Another run has it.
    #[error(
        "the loopback range {range} is held by {holder}; stop that run, or take another range with --loopback {other}"
    )]
    Held {
        /// The range.
        range: Loopback,
        /// Who holds it.
        holder: String,
        /// A range to try.
        other: Loopback,
    },
    /// The lock file cannot be made.
    #[error("cannot lock the loopback range {range} with the file {}", path.display())]
    Lock {
        /// The range.
        range: Loopback,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
}

impl LoopbackError {
    /// Whether a person wrote something that cannot be.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NotARange { .. } => true,
            Self::Held { .. } | Self::Lock { .. } => false,
        }
    }
}

impl Default for Loopback {
    /// `127.0.1.0/24`: 127.0.0.x is where everybody's own servers listen.
    fn default() -> Self {
        Self { second: 0, third: 1 }
    }
}

impl Loopback {
    /// A member's address: ordinal 0 has the range's first one.
    #[must_use]
    pub fn member(self, ordinal: Ordinal) -> Ipv4Addr {
        // Nine members at most; the addition cannot leave the range.
        Ipv4Addr::new(127, self.second, self.third, ordinal.0.saturating_add(1).min(253))
    }

    /// A member's address with one of its ports.
    #[must_use]
    pub fn socket(self, ordinal: Ordinal, port: u16) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(self.member(ordinal), port))
    }

    /// The DNS server's address.
    #[must_use]
    pub fn dns(self, port: u16) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, self.second, self.third, 254), port))
    }

    /// The next range, to name in a message.
    #[must_use]
    pub fn other(self) -> Self {
        Self { second: self.second, third: self.third.checked_add(1).unwrap_or(1) }
    }

    /// Locks the range on this machine. `holder` says who, for the message of the next one.
    ///
    /// # Errors
    /// Another run has it.
    pub fn lock(self, directory: &Path, holder: &str) -> Result<FileLock, LoopbackError> {
        let path = directory.join(format!("outrigger-loopback-127.{}.{}.lock", self.second, self.third));
        match FileLock::take(&path, holder) {
            Ok(Ok(lock)) => Ok(lock),
            Ok(Err(holder)) => Err(LoopbackError::Held { range: self, holder, other: self.other() }),
            Err(source) => Err(LoopbackError::Lock { range: self, path, source }),
        }
    }
}

impl fmt::Display for Loopback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "127.{}.{}.0/24", self.second, self.third)
    }
}

impl FromStr for Loopback {
    type Err = LoopbackError;

    fn from_str(text: &str) -> Result<Self, LoopbackError> {
        let not_a_range = || LoopbackError::NotARange { found: text.to_owned() };
        let address: Ipv4Addr =
            text.strip_suffix("/24").and_then(|address| address.parse().ok()).ok_or_else(not_a_range)?;
        match address.octets() {
            [127, second, third, 0] => Ok(Self { second, third }),
            _ => Err(not_a_range()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_garbage_is_refused_with_the_fix() {
        let range: Loopback = "127.0.2.0/24".parse().unwrap();
        assert_eq!(range.to_string(), "127.0.2.0/24");
        assert_eq!(range.socket(Ordinal(2), 2380).to_string(), "127.0.2.3:2380");
        assert_eq!(range.dns(5353).to_string(), "127.0.2.254:5353");
        for text in ["127.0.2.0", "127.0.2.1/24", "10.0.0.0/24", "127.0.2.0/16", "", "127.0.300.0/24"] {
            let error = text.parse::<Loopback>().unwrap_err();
            assert!(error.to_string().contains("127.0.2.0/24"), "{error}");
            assert!(error.is_usage());
        }
    }

    #[test]
    fn a_held_range_names_its_holder_and_another_range() {
        let directory = tempfile::tempdir().unwrap();
        let range = Loopback::default();
        let lock = range.lock(directory.path(), "process 7 (cluster orders)").unwrap();
        let error = range.lock(directory.path(), "process 8").unwrap_err().to_string();
        assert!(error.contains("held by process 7 (cluster orders)"), "{error}");
        assert!(error.contains("--loopback 127.0.2.0/24"), "{error}");
        assert!(range.other().lock(directory.path(), "process 8").is_ok());
        drop(lock);
        assert!(range.lock(directory.path(), "process 8").is_ok());
    }
}
