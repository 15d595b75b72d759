//! Material in a directory, as a Secret is mounted: `NAME.crt`, `NAME.key`, `ca.crt`.
//!
//! A kubelet changes all files at once by renaming a symbolic link; three files read in a row may still be of two sets.
//! So they are read until two readings agree. May import: std. Deliberately absent: when it is read again.

use std::io;
use std::path::PathBuf;

use crate::material::Pem;

/// Readings until two in a row must agree: a set changes once in weeks.
const READINGS: usize = 5;

/// Where material lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The directory.
    pub directory: PathBuf,
    /// The files' name without its ending: `tls`, or the member's where one directory serves several.
    pub name: String,
}

/// Why the files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// One is not there, or may not be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// They never stood still.
    #[error("the files in {path} change faster than they are read")]
    Restless {
        /// The directory.
        path: PathBuf,
    },
}

impl Source {
    /// Reads the three files. Blocks.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn read(&self) -> Result<Pem, FilesError> {
        let mut last = self.read_once()?;
        for _ in 0..READINGS {
            let again = self.read_once()?;
            if again == last {
                return Ok(again);
            }
            last = again;
        }
        Err(FilesError::Restless { path: self.directory.clone() })
    }

    fn read_once(&self) -> Result<Pem, FilesError> {
        let file = |name: String| {
            let path = self.directory.join(name);
            std::fs::read(&path).map_err(|source| FilesError::Unreadable { path, source })
        };
        Ok(Pem {
            certificate: file(format!("{}.crt", self.name))?,
            key: file(format!("{}.key", self.name))?,
            authorities: file("ca.crt".to_owned())?,
        })
    }
}
