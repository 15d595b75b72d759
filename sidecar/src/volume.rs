//! Whether the data directory is still the one that the member was started on.
//!
//! A file that is deleted while it is open can be written for ever, and nobody will read it again. So a member whose
//! volume was deleted under it would go on acknowledging what its next start does not find: it must notice, and end at
//! once. What it does then is what every start on an empty disk does: it joins anew, under a new id.
//!
//! May import: std. Deliberately absent: the log. The directory is looked at from a thread of its own, for a look may hang
//! where a disk does.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks. What is acknowledged in between may be on no disk of this member; it is on those of the others.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Written anew by its rename, so that only its absence means something.
const IDENTITY: &str = "identity";
/// What keeps its inode for as long as the member runs: the directory itself, its lock and its log's folder.
const KEPT: [&str; 3] = ["", "LOCK", "wal"];

/// The data directory is gone, or another one stands in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeLost {
    /// A part of it was deleted.
    #[error(
        "{} was deleted while this member was running: what it writes now would be lost at its next start. Started again, \
         it joins as a new member if the whole directory is gone, and asks to be replaced if a part of it is left",
        path.display()
    )]
    Deleted {
        /// Which part.
        path: PathBuf,
    },
    /// A part of it is another file or directory now.
    #[error(
        "{} was replaced while this member was running: what it writes goes to files that nobody will read again. Start it \
         again on what stands there now, if that is meant to be its data directory",
        path.display()
    )]
    Replaced {
        /// Which part.
        path: PathBuf,
    },
}

/// The directory as it was at the start.
#[derive(Clone, Debug)]
pub struct Volume {
    identity: PathBuf,
    /// With device and inode.
    kept: Vec<(PathBuf, (u64, u64))>,
}

impl Volume {
    /// Remembers what stands there. The directory must be locked and its log open.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let remember = |name: &&str| {
            let path = if name.is_empty() { dir.to_path_buf() } else { dir.join(name) };
            which(&path).map(|which| (path, which))
        };
        Ok(Self { identity: dir.join(IDENTITY), kept: KEPT.iter().map(remember).collect::<io::Result<_>>()? })
    }

    /// Whether it is still there. A look that fails for another reason says nothing: the log's own writes will.
    ///
    /// # Errors
    /// What is gone or replaced.
    pub fn look(&self) -> Result<(), VolumeLost> {
        for (path, remembered) in &self.kept {
            match which(path) {
                Ok(found) if found == *remembered => {}
                Ok(_) => return Err(VolumeLost::Replaced { path: path.clone() }),
                Err(error) => told(path, &error)?,
            }
        }
        which(&self.identity).map_or_else(|error| told(&self.identity, &error), |_| Ok(()))
    }
}

fn which(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).and_then(|found| {
        // A volume may be given by a link: what it leads to is what counts.
        let found = if found.is_symlink() { std::fs::metadata(path)? } else { found };
        Ok((found.dev(), found.ino()))
    })
}

fn told(path: &Path, error: &io::Error) -> Result<(), VolumeLost> {
    use io::ErrorKind::{NotADirectory, NotFound, StaleNetworkFileHandle};
    if [NotFound, NotADirectory, StaleNetworkFileHandle].contains(&error.kind()) {
        return Err(VolumeLost::Deleted { path: path.to_path_buf() });
    }
    tracing::warn!(%error, path = %path.display(), "the data directory cannot be looked at");
    Ok(())
}

/// A thread that looks until it is stopped.
#[derive(Debug)]
pub struct VolumeWatch {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl VolumeWatch {
    /// Looks every `interval`, and calls `lost` once when there is nothing left to look at.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        volume: Volume,
        interval: Duration,
        lost: impl FnOnce(VolumeLost) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = volume.look() {
                    return lost(error);
                }
            }
        };
        let thread = std::thread::Builder::new().name("volume".to_string()).spawn(look)?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread and waits for it: the directory may be moved afterwards. Blocks as long as one look.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that looks at the data directory panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn laid_out() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        fs::create_dir_all(dir.join("wal")).unwrap();
        fs::write(dir.join("LOCK"), "").unwrap();
        fs::write(dir.join(IDENTITY), "one").unwrap();
        (folder, dir)
    }

    #[test]
    fn a_directory_that_is_gone_or_another_is_told_and_what_a_member_does_itself_is_not() {
        type Change = fn(&Path) -> io::Result<()>;
        let rewrite: Change = |dir| {
            fs::write(dir.join("new"), "two")?;
            fs::rename(dir.join("new"), dir.join(IDENTITY))?;
            fs::write(dir.join("wal/segment"), "")
        };
        let again: Change = |dir| {
            fs::rename(dir, dir.with_extension("old"))?;
            fs::create_dir_all(dir.join("wal"))?;
            fs::write(dir.join("LOCK"), "")?;
            fs::write(dir.join(IDENTITY), "one")
        };
        /// What is told: the part, and whether it was replaced.
        type Told = Option<(&'static str, bool)>;
        let table: [(&str, Change, Told); 7] = [
            ("its own writes", rewrite, None),
            ("all of it", |dir| fs::remove_dir_all(dir), Some(("data", false))),
            ("the identity", |dir| fs::remove_file(dir.join(IDENTITY)), Some((IDENTITY, false))),
            ("the lock", |dir| fs::remove_file(dir.join("LOCK")), Some(("LOCK", false))),
            ("the log", |dir| fs::remove_dir(dir.join("wal")), Some(("wal", false))),
            ("another directory", again, Some(("data", true))),
            (
                "another log",
                |dir| {
                    fs::rename(dir.join("wal"), dir.join("old"))?;
                    fs::create_dir(dir.join("wal"))
                },
                Some(("wal", true)),
            ),
        ];
        for (what, change, expected) in table {
            let (_folder, dir) = laid_out();
            let volume = Volume::of(&dir).unwrap();
            assert_eq!(volume.look(), Ok(()), "before: {what}");
            change(&dir).unwrap();
            let expected = expected.map(|(name, is_replaced)| {
                let path = if name == "data" { dir.clone() } else { dir.join(name) };
                if is_replaced { VolumeLost::Replaced { path } } else { VolumeLost::Deleted { path } }
            });
            assert_eq!(volume.look().err(), expected, "{what}");
        }
    }

    #[test]
    fn the_watch_tells_of_a_loss_and_is_silent_once_it_is_stopped() {
        let (_folder, dir) = laid_out();
        let (tell, told) = mpsc::channel();
        let watch = |tell: mpsc::Sender<VolumeLost>| {
            let tell = move |lost| tell.send(lost).unwrap();
            VolumeWatch::start(Volume::of(&dir).unwrap(), Duration::from_millis(1), tell).unwrap()
        };
        watch(tell.clone()).stop();
        let watching = watch(tell);
        fs::remove_dir_all(&dir).unwrap();
        let lost = told.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(lost.to_string().contains(dir.to_str().unwrap()), "{lost}");
        watching.stop();
        assert!(told.recv().is_err(), "only one of them told, and once");
    }
}
