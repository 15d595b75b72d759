//! The manifest on disk: read, checked with the schema and rules of the definition, and followed while it is edited.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize as _;
use serde_json::Value;

use crate::cluster::validate::{Wanted, validate};
use crate::crd::{RaftCluster, schema};

/// A manifest that stands.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object, with its defaults.
    pub cluster: RaftCluster,
    /// The same, read.
    pub wanted: Wanted,
}

/// Why a manifest does not stand.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML, or has a key that stands twice.
    #[error("{} is not YAML that an API server would take", path.display())]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_yaml::Error,
    },
    /// It has values that JSON, and so an API server, cannot hold.
    #[error("{} has a value that JSON cannot hold; write it as text", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Which value.
        #[source]
        source: serde_json::Error,
    },
    /// It does not hold exactly one document.
    #[error("{} holds {found} documents; exactly one RaftCluster is expected", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// Its fields break rules.
    #[error("{} is not a RaftCluster that can be run:\n{}", path.display(), Lines(violations))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// One line a violation: field, rule, value.
        violations: Vec<String>,
    },
    /// An edit gave it another name.
    #[error("{} now describes {now}, but this run is of {was}: restore the name, or start another run", path.display())]
    Renamed {
        /// The file.
        path: PathBuf,
        /// The name that runs.
        was: String,
        /// The name that stands there.
        now: String,
    },
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.iter().enumerate() {
            let end = if index + 1 == self.0.len() { "" } else { "\n" };
            write!(out, "  {line}{end}")?;
        }
        Ok(())
    }
}

impl Manifest {
    /// Reads and checks a file. `old` is what it replaces, if anything: immutable fields are then compared.
    ///
    /// # Errors
    /// Everything that is wrong with it, by field.
    pub fn load(path: &Path, old: Option<&RaftCluster>) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text, old)
    }

    /// The same of a text that has been read; `path` is what errors call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, by field.
    pub fn parse(path: &Path, text: &str, old: Option<&RaftCluster>) -> Result<Self, ManifestError> {
        let mut documents = Vec::new();
        for document in serde_yaml::Deserializer::from_str(text) {
            // By way of YAML's own value: it refuses a key that stands twice, where JSON's would keep the last.
            let value = serde_yaml::Value::deserialize(document)
                .map_err(|source| ManifestError::NotYaml { path: path.to_owned(), source })?;
            let value = serde_json::to_value(value)
                .map_err(|source| ManifestError::NotJson { path: path.to_owned(), source })?;
            // "---" at the end of a file, or a document of comments alone, is nothing.
            if !value.is_null() {
                documents.push(value);
            }
        }
        let [document] = documents.as_slice() else {
            return Err(ManifestError::NotOne { path: path.to_owned(), found: documents.len() });
        };
        Self::check(path, document, old)
    }

    /// The same manifest with another number of replicas, as `kubectl scale` would leave it.
    ///
    /// # Errors
    /// The number is not one that a cluster can have.
    pub fn scaled(&self, path: &Path, replicas: i32) -> Result<Self, ManifestError> {
        let mut document = serde_json::to_value(&self.cluster).unwrap_or(Value::Null);
        if let Some(spec) = document.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("replicas".to_owned(), replicas.into());
        }
        Self::check(path, &document, Some(&self.cluster))
    }

    fn check(path: &Path, document: &Value, old: Option<&RaftCluster>) -> Result<Self, ManifestError> {
        let invalid = |violations: Vec<String>| ManifestError::Invalid { path: path.to_owned(), violations };
        let cluster = schema::check(document, old)
            .map_err(|found| invalid(found.iter().map(ToString::to_string).collect()))?;
        let wanted =
            validate(&cluster).map_err(|found| invalid(found.iter().map(ToString::to_string).collect()))?;
        if let Some(was) = old.and_then(|old| old.metadata.name.clone()).filter(|was| *was != wanted.name.0) {
            return Err(ManifestError::Renamed { path: path.to_owned(), was, now: wanted.name.0 });
        }
        Ok(Self { cluster, wanted })
    }

    /// What the manifest asks for and processes cannot give, by field.
    #[must_use]
    pub fn not_enforced(&self) -> Vec<String> {
        let spec = &self.cluster.spec;
        let mut fields = vec!["spec.storage.size"];
        let has_template = spec.template.as_object().is_some_and(|template| !template.is_empty());
        let rows = [
            (has_template, "spec.template (containers are not run)"),
            (spec.sidecar.image.is_some(), "spec.sidecar.image (--sidecar names the program)"),
            (spec.sidecar.resources.is_some(), "spec.sidecar.resources"),
            (spec.storage.storage_class_name.is_some(), "spec.storage.storageClassName"),
        ];
        fields.extend(rows.iter().filter(|(is_set, _)| *is_set).map(|(_, field)| *field));
        fields.into_iter().map(str::to_owned).collect()
    }
}

/// Notices edits by time and length: asked each second, it costs one system call.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
    missing: bool,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that counts.
    None,
    /// It is another one.
    Edited,
    /// It is not there.
    Gone,
}

impl Watch {
    /// Watches a file from what it is now.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let seen = stamp(&path);
        Self { path, seen, missing: false }
    }

    /// What became of the file since it was last looked at. One that is missing is gone only at the second look: editors
    /// replace a file by two renames.
    pub fn look(&mut self) -> Change {
        let now = stamp(&self.path);
        if now.is_none() {
            return if std::mem::replace(&mut self.missing, true) { Change::Gone } else { Change::None };
        }
        self.missing = false;
        if now == self.seen {
            return Change::None;
        }
        self.seen = now;
        Change::Edited
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: outrigger.dev/v1alpha1\nkind: RaftCluster\nmetadata: {name: orders}\nspec: {replicas: 3}\n";

    fn parse(text: &str, old: Option<&Manifest>) -> Result<Manifest, String> {
        Manifest::parse(Path::new("orders.yaml"), text, old.map(|old| &old.cluster))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_stands() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders.yaml");
        let manifest = Manifest::load(&path, None).unwrap();
        assert_eq!(manifest.wanted.name.0, "orders");
        assert_eq!(manifest.wanted.replicas, 3);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_field_rule_and_value() {
        let rows = [
            ("spec: {", "orders.yaml is not YAML"),
            ("", "holds 0 documents"),
            ("a: 1\n---\nb: 2\n", "holds 2 documents"),
            ("kind: Pod\n", "kind: must be RaftCluster (found \"Pod\")"),
        ];
        for (text, wanted) in rows {
            let error = parse(text, None).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        let error = parse(&GOOD.replace("replicas: 3", "replicas: 4"), None).unwrap_err();
        assert!(error.contains("spec.replicas: must be 1, 3, 5, 7 or 9"), "{error}");
        assert!(error.contains("(found 4)"), "{error}");
        let error = parse(&GOOD.replace("replicas", "replicsa"), None).unwrap_err();
        assert!(error.contains("spec.replicsa: unknown field"), "{error}");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_with_its_name_and_line() {
        let flow = GOOD.replace("replicas: 3", "replicas: 3, replicas: 5");
        let block =
            GOOD.replace("spec: {replicas: 3}", "spec:\n  replicas: 3\n  paused: false\n  replicas: 5");
        for (text, key) in [
            (flow, "spec: duplicate entry with key \"replicas\" at line 4"),
            (block, "spec: duplicate entry with key \"replicas\" at line 5"),
            (format!("{GOOD}kind: RaftCluster\n"), "duplicate entry with key \"kind\""),
        ] {
            let error = Manifest::parse(Path::new("orders.yaml"), &text, None).unwrap_err();
            let said = crate::local::runner::chain(&error);
            assert!(said.starts_with("orders.yaml is not YAML") && said.contains(key), "{said}");
        }
    }

    #[test]
    fn an_edit_is_compared_with_what_runs() {
        let good = parse(GOOD, None).unwrap();
        let error = parse(&GOOD.replace("orders", "bills"), Some(&good)).unwrap_err();
        assert!(error.contains("now describes bills, but this run is of orders"), "{error}");
        assert_eq!(good.scaled(Path::new("-"), 5).unwrap().wanted.replicas, 5);
        assert!(good.scaled(Path::new("-"), 2).is_err());
    }

    #[test]
    fn an_edit_is_noticed_once_and_a_missing_file_is_gone_at_the_second_look() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.yaml");
        std::fs::write(&path, GOOD).unwrap();
        let mut watch = Watch::new(path.clone());
        assert_eq!(watch.look(), Change::None);
        std::fs::write(&path, format!("{GOOD}# edited\n")).unwrap();
        assert_eq!(watch.look(), Change::Edited);
        assert_eq!(watch.look(), Change::None);
        let aside = directory.path().join("aside");
        for _ in 0..2 {
            std::fs::rename(&path, &aside).unwrap();
            assert_eq!(watch.look(), Change::None, "an editor between two renames");
            std::fs::rename(&aside, &path).unwrap();
            assert_eq!(watch.look(), Change::None);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!([watch.look(), watch.look(), watch.look()], [Change::None, Change::Gone, Change::Gone]);
        std::fs::write(&path, GOOD).unwrap();
        assert_eq!(watch.look(), Change::Edited);
    }
}
