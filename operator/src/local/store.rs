//! What a run must remember to go on after a crash, in `<data-dir>/status.yaml`: the API server's stand-in.
//!
//! A write is a compare-and-set on `resourceVersion`, and is on disk before it is reported: temporary file, fsync,
//! rename, directory fsync. The founding register lives here, so a write that is reported and then lost could found a
//! second cluster. Deliberately absent: what the record means; that is the caller's type.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Counts the writes of a record; 0 before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceVersion(u64);

/// A record and the version that a write of it must name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versioned<T> {
    /// The version of `record`.
    pub resource_version: ResourceVersion,
    /// The record.
    pub record: T,
}

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone else wrote since it was read.
    #[error("{} changed since it was read (expected version {expected}, found {found}); is a second runner using this --data-dir?", path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// What the writer had read.
        expected: u64,
        /// What stands.
        found: u64,
    },
    /// The file is not ours, or damaged.
    #[error("{} is not a status record; restore it, or use another --data-dir (its members' data stays valid)", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_yaml::Error,
    },
    /// The disk.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The file of one run's record.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The store in `data_dir`, which must exist.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("status.yaml") }
    }

    /// Reads the record; the default one, at version 0, when there is none yet.
    ///
    /// # Errors
    /// `Malformed` for a file that does not parse (it is never overwritten then), `Io` otherwise.
    pub fn read<T: DeserializeOwned + Default>(&self) -> Result<Versioned<T>, StoreError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => serde_yaml::from_str(&text)
                .map_err(|source| StoreError::Malformed { path: self.path.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Versioned { resource_version: ResourceVersion::default(), record: T::default() })
            }
            Err(source) => Err(self.io(source)),
        }
    }

    /// Replaces the record if it still has `new.resource_version`; returns it with its new version, durable.
    ///
    /// # Errors
    /// `Conflict` when it has another version; then nothing was written.
    pub fn replace<T>(&self, new: &Versioned<T>) -> Result<Versioned<T>, StoreError>
    where
        T: Serialize + DeserializeOwned + Default + Clone,
    {
        let standing = self.read::<T>()?.resource_version;
        if standing != new.resource_version {
            let (expected, found) = (new.resource_version.0, standing.0);
            return Err(StoreError::Conflict { path: self.path.clone(), expected, found });
        }
        let next = Versioned {
            resource_version: ResourceVersion(standing.0.saturating_add(1)),
            record: new.record.clone(),
        };
        let text = serde_yaml::to_string(&next)
            .map_err(|source| StoreError::Malformed { path: self.path.clone(), source })?;
        self.write_durably(text.as_bytes()).map_err(|source| self.io(source))?;
        Ok(next)
    }

    fn write_durably(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("yaml.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        // The rename itself is durable only with its directory.
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    struct Record {
        founding: Option<String>,
    }

    fn record(founding: &str) -> Record {
        Record { founding: Some(founding.to_owned()) }
    }

    #[test]
    fn a_write_is_read_back_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        let mut first: Versioned<Record> = store.read().unwrap();
        assert_eq!(first.record, Record::default());
        first.record = record("permitted");
        let written = store.replace(&first).unwrap();
        assert_eq!(Store::new(directory.path()).read::<Record>().unwrap(), written);
    }

    #[test]
    fn a_writer_with_an_old_version_is_refused_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        let stale: Versioned<Record> = store.read().unwrap();
        let winner = store
            .replace(&Versioned { resource_version: stale.resource_version, record: record("a") })
            .unwrap();
        let refused =
            store.replace(&Versioned { resource_version: stale.resource_version, record: record("b") });
        assert!(matches!(refused, Err(StoreError::Conflict { expected: 0, found: 1, .. })));
        assert_eq!(store.read::<Record>().unwrap(), winner);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("status.yaml"), "resourceVersion: [").unwrap();
        assert!(matches!(Store::new(directory.path()).read::<Record>(), Err(StoreError::Malformed { .. })));
    }

    #[test]
    fn a_temporary_file_left_by_a_crash_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("status.yaml.tmp"), "torn").unwrap();
        assert_eq!(Store::new(directory.path()).read::<Record>().unwrap().record, Record::default());
    }
}
