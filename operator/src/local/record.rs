//! What an API server would keep of a cluster, in one file: the status with its founding register, the number of pods, and
//! what was asked beside the manifest (`local scale`).
//!
//! The register is changed by compare-and-set against the *file*, not against memory, so that an edit by hand or a run that
//! died half-way is met as such. A file is replaced by rename after it is on disk: no crash leaves half of one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cluster::founding::Founding;
use crate::cluster::register::{self, RegisterError};
use crate::crd::{DeletionPolicy, RaftClusterStatus};

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// The cluster's name.
    #[serde(default)]
    pub name: String,
    /// When the cluster was first run, in seconds since 1970.
    pub created_unix_seconds: i64,
    /// How many pods are asked for; a StatefulSet's `spec.replicas`.
    pub pods: u8,
    /// The size that the members were first started with.
    pub initial_size: u8,
    /// The manifest that is followed, or was when it last ran; absent in a record of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<Followed>,
    /// What `local scale` put in the place of the manifest's replicas. It stands until these are edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled: Option<u8>,
    /// The status.
    #[serde(default)]
    pub status: RaftClusterStatus,
}

/// What is kept of the manifest: what it takes to say how the run is started again, and to delete without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// The file.
    pub path: PathBuf,
    /// Its own `spec.replicas`, whatever `local scale` said since.
    pub replicas: u8,
    /// Its `spec.deletionPolicy`.
    pub deletion_policy: DeletionPolicy,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// It is not YAML of the expected shape.
    #[error("{} cannot be read: restore it, or remove it to have the cluster adopted from its members", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_yaml::Error,
    },
    /// The register in it is not whole.
    #[error("{} holds no usable register", path.display())]
    Register {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: RegisterError,
    },
    /// The register is no longer what the decision was made on.
    #[error("the register says \"{found}\", and \"{expected}\" was expected: deciding anew")]
    Conflict {
        /// What the decision was made on.
        expected: Box<Founding>,
        /// What stands there.
        found: Box<Founding>,
    },
    /// The register cannot go there from where it is.
    #[error("the register cannot go from \"{from}\" to \"{to}\"")]
    Unlawful {
        /// Where it is.
        from: Box<Founding>,
        /// Where it was to go.
        to: Box<Founding>,
    },
}

/// The record on disk.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    content: Content,
}

impl Record {
    /// Reads the record, or begins one with `initial`.
    ///
    /// # Errors
    /// The file is there and cannot be used. It is then never taken for absent.
    pub fn open(path: PathBuf, initial: Content) -> Result<Self, RecordError> {
        match read(&path)? {
            Some(content) => Ok(Self { path, content }),
            None => {
                let record = Self { path, content: initial };
                record.write(&record.content)?;
                Ok(record)
            }
        }
    }

    /// What a record says that nobody may be using; absent if there is none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn peek(path: &Path) -> Result<Option<Content>, RecordError> {
        read(path)
    }

    /// What it says.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The register.
    ///
    /// # Errors
    /// It is not whole.
    pub fn founding(&self) -> Result<Founding, RecordError> {
        register::from_status(&self.content.status.founding)
            .map_err(|source| RecordError::Register { path: self.path.clone(), source })
    }

    /// Changes the register if the file still says `expected`.
    ///
    /// # Errors
    /// [`RecordError::Conflict`] if it says something else, [`RecordError::Unlawful`] if there is no way from there to `next`.
    pub fn change_founding(&mut self, expected: &Founding, next: &Founding) -> Result<(), RecordError> {
        if let Some(content) = read(&self.path)? {
            self.content.status.founding = content.status.founding;
        }
        let found = self.founding()?;
        if found != *expected {
            return Err(RecordError::Conflict {
                expected: Box::new(expected.clone()),
                found: Box::new(found),
            });
        }
        if !found.may_become(next) {
            return Err(RecordError::Unlawful { from: Box::new(found), to: Box::new(next.clone()) });
        }
        let mut content = self.content.clone();
        content.status.founding = register::to_status(next);
        self.replace(content)
    }

    /// Asks for another number of pods.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_pods(&mut self, pods: u8) -> Result<(), RecordError> {
        let content = Content { pods, ..self.content.clone() };
        self.replace(content)
    }

    /// Keeps which manifest is followed, and what `local scale` put in the place of its replicas.
    ///
    /// # Errors
    /// The file cannot be written; nothing is changed then.
    pub fn set_followed(
        &mut self,
        name: &str,
        followed: Followed,
        scaled: Option<u8>,
    ) -> Result<(), RecordError> {
        let name = name.to_owned();
        let content = Content { name, followed: Some(followed), scaled, ..self.content.clone() };
        self.replace(content)
    }

    /// Writes the status, all but its register, if it says something new.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_status(&mut self, status: RaftClusterStatus) -> Result<(), RecordError> {
        let founding = self.content.status.founding.clone();
        let content = Content { status: RaftClusterStatus { founding, ..status }, ..self.content.clone() };
        self.replace(content)
    }

    fn replace(&mut self, content: Content) -> Result<(), RecordError> {
        if content != self.content {
            self.write(&content)?;
            self.content = content;
        }
        Ok(())
    }

    fn write(&self, content: &Content) -> Result<(), RecordError> {
        let yaml = serde_yaml::to_string(content)
            .map_err(|source| RecordError::Malformed { path: self.path.clone(), source })?;
        replace_file(&self.path, yaml.as_bytes()).map_err(|source| RecordError::Io {
            what: "write",
            path: self.path.clone(),
            source,
        })
    }
}

/// Replaces a file whole: temporary file, fsync, rename, fsync of the directory.
///
/// # Errors
/// The system's.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Content>, RecordError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Io { what: "read", path: path.to_owned(), source }),
    };
    serde_yaml::from_str(&text)
        .map(Some)
        .map_err(|source| RecordError::Malformed { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::founding::Permit;
    use crate::cluster::ids::{ClusterId, MemberId};

    fn open(directory: &Path) -> Result<Record, RecordError> {
        let initial = Content { created_unix_seconds: 1, pods: 0, initial_size: 3, ..Content::default() };
        Record::open(directory.join("status.yaml"), initial)
    }

    fn permitted(cluster: u64) -> Founding {
        Founding::Permitted(Permit {
            cluster: ClusterId::from_wire(cluster).unwrap(),
            founder: "orders-0".to_owned(),
            founder_member: MemberId::from_wire(7).unwrap(),
            size: 3,
        })
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = open(directory.path()).unwrap();
        record.set_pods(3).unwrap();
        record.change_founding(&Founding::None, &permitted(1)).unwrap();
        let again = open(directory.path()).unwrap();
        assert_eq!(again.content(), record.content());
        assert_eq!(again.founding().unwrap(), permitted(1));
    }

    #[test]
    fn the_register_is_compared_with_the_file_and_not_with_memory() {
        let directory = tempfile::tempdir().unwrap();
        let mut one = open(directory.path()).unwrap();
        let mut other = open(directory.path()).unwrap();
        one.change_founding(&Founding::None, &permitted(1)).unwrap();
        let error = other.change_founding(&Founding::None, &permitted(2)).unwrap_err();
        assert!(matches!(error, RecordError::Conflict { .. }), "{error}");
        assert_eq!(open(directory.path()).unwrap().founding().unwrap(), permitted(1));
    }

    #[test]
    fn an_unlawful_change_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = open(directory.path()).unwrap();
        let latched = Founding::Latched(ClusterId::from_wire(1).unwrap());
        record.change_founding(&Founding::None, &latched).unwrap();
        let error = record.change_founding(&latched, &permitted(2)).unwrap_err();
        assert!(matches!(error, RecordError::Unlawful { .. }), "{error}");
    }

    #[test]
    fn a_status_never_overwrites_the_register() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = open(directory.path()).unwrap();
        record.change_founding(&Founding::None, &permitted(1)).unwrap();
        record.set_status(RaftClusterStatus { voters: 3, ..RaftClusterStatus::default() }).unwrap();
        assert_eq!(record.founding().unwrap(), permitted(1));
        assert_eq!(record.content().status.voters, 3);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_never_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        fs::write(directory.path().join("status.yaml"), "pods: [").unwrap();
        assert!(matches!(open(directory.path()), Err(RecordError::Malformed { .. })));
    }
}
