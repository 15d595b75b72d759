//! Places where a test makes the disk fail, or wait, while the log is written: `wal-write`, `wal-sync`, `wal-allocate`.
//!
//! Only with the feature `fail-points`; else they are plain calls. What happens at a place is said as the crate `fail` has
//! it: `return(eio)`, `return(enospc)`, `return(short)` (a part is written, then there is no room), `sleep(200)` (a slow
//! disk), each with a frequency or a count before it, as in `10%return(eio)` or `1*return(short)`.
//!
//! May import: `fs`. Deliberately absent: when any of it happens; a test says so in a file (see `follow`).

use std::io;

use crate::fs::File;

#[cfg(feature = "fail-points")]
pub use following::{VARIABLE, follow};

/// Writes a part of a segment, unless a test lets it fail.
pub(crate) fn write_at(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(feature = "fail-points")]
    fail::fail_point!("wal-write", |what| {
        if what.as_deref() == Some("short") {
            file.write_at(bytes.get(..bytes.len() / 2).unwrap_or_default(), offset)?;
        }
        Err(following::error(what.as_deref()))
    });
    file.write_at(bytes, offset)
}

/// Syncs what was written, unless a test lets it fail.
pub(crate) fn sync_data(file: &dyn File) -> io::Result<()> {
    #[cfg(feature = "fail-points")]
    fail::fail_point!("wal-sync", |what| Err(following::error(what.as_deref())));
    file.sync_data()
}

/// Takes a new segment's space, unless a test lets it fail.
pub(crate) fn allocate(file: &dyn File, len: u64) -> io::Result<()> {
    #[cfg(feature = "fail-points")]
    fail::fail_point!("wal-allocate", |what| Err(following::error(what.as_deref())));
    file.allocate(len)
}

#[cfg(feature = "fail-points")]
mod following {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// Names the file to follow in a process's environment.
    pub const VARIABLE: &str = "OUTRIGGER_FAIL_POINTS";

    const EIO: i32 = 5;
    const EVERY: Duration = Duration::from_millis(10);

    pub(super) fn error(what: Option<&str>) -> io::Error {
        match what {
            Some("enospc" | "short") => io::ErrorKind::StorageFull.into(),
            _ => io::Error::from_raw_os_error(EIO),
        }
    }

    /// Does as the file says from now on: a line each of `place=what happens there`; what it names no more is off. Once the
    /// text holds, it is written to the same path with `.done` behind it.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn follow(path: PathBuf) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("fail-points".to_owned());
        thread.spawn(move || {
            let mut known = None;
            loop {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if known.as_ref() != Some(&text) {
                    let said = configure(&text);
                    // Whoever waits for it sees in the file why it does not hold.
                    drop(std::fs::write(done(&path), said.err().unwrap_or_else(|| text.clone())));
                    known = Some(text);
                }
                std::thread::sleep(EVERY);
            }
        })?;
        Ok(())
    }

    fn done(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".done");
        PathBuf::from(name)
    }

    fn configure(text: &str) -> Result<(), String> {
        for (place, _) in fail::list() {
            fail::remove(place);
        }
        for line in text.lines() {
            let (place, actions) =
                line.split_once('=').ok_or_else(|| format!("{line} is no place=actions"))?;
            fail::cfg(place, actions)?;
        }
        Ok(())
    }
}
