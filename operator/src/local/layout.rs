//! Where things stand in a cluster's data directory, and the lock on it.
//!
//! ```text
//! .outrigger/orders/
//!   status.yaml          the status and the number of pods: what an API server would keep
//!   volumes/orders-0/    one member's data: the volume's stand-in
//!   marks/orders-0       the cluster id that the volume belongs to: the claim's annotation
//!   certificates/        what members speak under with each other, and the operator's: `current/`
//!   authority/           what signs those
//!   removed/             volumes that were wiped or replaced, by time
//!   logs/orders-0.log    what the member printed
//!   control.sock         how `local scale` and the like reach the run
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::errors::LocalError;

/// What a run makes below its root, beside files.
const DIRECTORIES: [&str; 6] = ["volumes", "marks", "certificates", "authority", "removed", "logs"];

/// Paths below one cluster's data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The default place: `.outrigger/NAME` below the working directory.
    #[must_use]
    pub fn default_root(name: &str) -> PathBuf {
        Path::new(".outrigger").join(name)
    }

    /// Below `root`; nothing is created yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Creates the directories.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn create(root: &Path) -> Result<Self, LocalError> {
        for directory in DIRECTORIES {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(|source| LocalError::File {
                what: "create the directory",
                path: path.clone(),
                source,
            })?;
        }
        // Members get absolute paths, so that their logs and messages can be followed from anywhere.
        let root = fs::canonicalize(root).map_err(|source| LocalError::File {
            what: "resolve the directory",
            path: root.to_owned(),
            source,
        })?;
        Ok(Self::new(root))
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.root.join("status.yaml")
    }

    /// All volumes.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// One member's volume.
    #[must_use]
    pub fn volume(&self, pod: &str) -> PathBuf {
        self.volumes().join(pod)
    }

    /// The cluster id that a volume belongs to.
    #[must_use]
    pub fn mark(&self, pod: &str) -> PathBuf {
        self.root.join("marks").join(pod)
    }

    /// What members speak under.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    /// What signs certificates.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority")
    }

    /// Where a volume goes that was wiped at `unix_ms`.
    #[must_use]
    pub fn removed(&self, pod: &str, unix_ms: i64) -> PathBuf {
        self.root.join("removed").join(format!("{pod}-{unix_ms}"))
    }

    /// All logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// One member's log.
    #[must_use]
    pub fn log(&self, pod: &str) -> PathBuf {
        self.logs().join(format!("{pod}.log"))
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("runner.lock")
    }

    /// Whether no run has the directory. One that is not there is nobody's.
    ///
    /// # Errors
    /// The system's.
    pub fn is_free(&self) -> io::Result<bool> {
        FileLock::is_free(&self.lock_file())
    }

    /// Removes everything that a run makes, and the directory if nothing else is in it: `--data-dir` may name one that holds
    /// more than this cluster.
    ///
    /// # Errors
    /// What cannot be removed, with the system's words.
    pub fn remove(&self) -> Result<(), LocalError> {
        let failed = |path: PathBuf| {
            move |source: io::Error| {
                let absent = source.kind() == io::ErrorKind::NotFound;
                if absent { Ok(()) } else { Err(LocalError::File { what: "remove", path, source }) }
            }
        };
        for name in DIRECTORIES {
            let path = self.root.join(name);
            fs::remove_dir_all(&path).or_else(failed(path))?;
        }
        // The lock goes last: as long as it is there, nobody else begins anew in between.
        for path in [self.socket(), self.record().with_extension("tmp"), self.record(), self.lock_file()] {
            fs::remove_file(&path).or_else(failed(path))?;
        }
        match fs::remove_dir(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                failed(self.root.clone())(error)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Locks the directory for one run.
    ///
    /// # Errors
    /// Another run has it, or the file cannot be made.
    pub fn lock(&self, name: &str) -> Result<FileLock, LocalError> {
        let path = self.lock_file();
        match FileLock::take(&path, &format!("process {}", std::process::id())) {
            Ok(Ok(lock)) => Ok(lock),
            Ok(Err(holder)) => {
                Err(LocalError::DataDirInUse { path: self.root.clone(), holder, name: name.to_owned() })
            }
            Err(source) => Err(LocalError::File { what: "lock", path, source }),
        }
    }
}

/// A lock that the system lets go of when the process ends, however it ends. The file says who holds it.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Whether nobody has the lock.
    ///
    /// # Errors
    /// The system's.
    pub fn is_free(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        // Shared, and let go of at once with the file.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// The file cannot be opened, locked or written.
    pub fn take(path: &Path, holder: &str) -> io::Result<Result<Self, String>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                let text = text.trim();
                return Ok(Err(if text.is_empty() { "another process".to_owned() } else { text.to_owned() }));
            }
            Err(error) => return Err(error.into()),
        }
        // Only after the lock is had: the text is the holder's.
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{holder}")?;
        file.flush()?;
        Ok(Ok(Self { _file: file }))
    }
}
