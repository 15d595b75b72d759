//! One run a loopback range: a lock file in the temporary directory, held for the runner's life.
//!
//! The lock is `flock`'s, so it dies with the process, however that dies; the text in the file only tells the next one
//! who holds it. Deliberately absent: removing the file, which would race with a process that has just opened it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::addresses::LoopbackRange;

/// Proof that this process alone uses a range; dropping it gives the range back.
#[derive(Debug)]
pub struct RangeLock {
    _file: File,
}

/// Why the range could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another runner has it.
    #[error(
        "loopback range {range} is in use by {holder}; stop that runner, or use another range: --loopback {other}"
    )]
    Held {
        /// The range that was asked for.
        range: String,
        /// Process id and manifest of the holder.
        holder: String,
        /// A range to try instead.
        other: &'static str,
    },
    /// The lock file could not be opened, locked or written.
    #[error("cannot lock loopback range {range} through {}", path.display())]
    Io {
        /// The range that was asked for.
        range: String,
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Locks `range` for this process, through a file in `directory` (the system's temporary directory in earnest).
///
/// # Errors
/// `Held`, with the holder's process id and manifest, while another process has it; `Io` otherwise.
pub fn lock(range: LoopbackRange, directory: &Path, manifest: &Path) -> Result<RangeLock, LockError> {
    let name = range.to_string().replace('/', "_");
    let path = directory.join(format!("outrigger-loopback-{name}.lock"));
    let failed = |source| LockError::Io { range: range.to_string(), path: path.clone(), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            return Err(LockError::Held {
                range: range.to_string(),
                holder: describe(&holder),
                other: if range.to_string() == "127.0.2.0/24" { "127.0.3.0/24" } else { "127.0.2.0/24" },
            });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    let shown = std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_owned());
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    write!(file, "process {} ({})", std::process::id(), shown.display()).map_err(failed)?;
    Ok(RangeLock { _file: file })
}

fn describe(holder: &str) -> String {
    // A holder that has locked but not yet written leaves an empty or an old text for an instant.
    if holder.trim().is_empty() {
        "a runner that is just starting".to_owned()
    } else {
        holder.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> LoopbackRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_it_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(range("127.0.1.0/24"), directory.path(), Path::new("/etc/orders.yaml")).unwrap();
        let text =
            lock(range("127.0.1.0/24"), directory.path(), Path::new("b.yaml")).unwrap_err().to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        assert!(text.contains("/etc/orders.yaml"), "{text}");
        assert!(text.contains("--loopback 127.0.2.0/24"), "{text}");
        drop(first);
        lock(range("127.0.1.0/24"), directory.path(), Path::new("b.yaml")).unwrap();
    }

    #[test]
    fn two_ranges_do_not_exclude_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(range("127.0.1.0/24"), directory.path(), Path::new("a.yaml")).unwrap();
        let second = lock(range("127.0.2.0/24"), directory.path(), Path::new("b.yaml")).unwrap();
        drop((first, second));
    }
}
