//! Reads a manifest as a person wrote it: YAML, perhaps several documents, of which only `RaftCluster`s are meant.
//!
//! May import: `crd`. Deliberately absent: files (the caller hands the text in, and says where it came from) and what needs
//! more than the schema and its rules; that is `cluster::validate`'s.

use std::fmt;

use serde::Deserialize as _;
use serde_json::Value;

use super::schema::{Violation, check};
use super::{KIND, RaftCluster};

/// Why a manifest cannot be followed. `document` counts from 1, as a reader of the file does.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A document is not YAML, or has what no API object can have, such as a key that stands twice.
    #[error("document {document} is not YAML that an API server would take; fix it at the place named below")]
    Yaml {
        /// Which document.
        document: usize,
        /// The parser's words, with line and column.
        #[source]
        source: serde_yaml::Error,
    },
    /// A document has values that JSON, and so an API server, cannot hold.
    #[error("document {document} has a value that JSON cannot hold; write it as text")]
    Json {
        /// Which document.
        document: usize,
        /// Which value.
        #[source]
        source: serde_json::Error,
    },
    /// A `RaftCluster` breaks its schema or its rules.
    #[error("document {document} ({name}) is refused: {}", Listed(violations))]
    Refused {
        /// Which document.
        document: usize,
        /// `metadata.name`, or a text that says that there is none.
        name: String,
        /// All that is wrong with it: field, rule and value.
        violations: Vec<Violation>,
    },
    /// There is nothing to follow.
    #[error(
        "no document of kind {KIND} among {documents}: add one with `apiVersion: outrigger.dev/v1alpha1` and `kind: RaftCluster`"
    )]
    Nothing {
        /// How many documents there are, empty ones aside.
        documents: usize,
    },
    /// Two documents claim one name.
    #[error("{name} stands in the manifest twice, again in document {document}: rename or drop one")]
    Twice {
        /// Which document repeats it.
        document: usize,
        /// `namespace/name`.
        name: String,
    },
}

/// Reads all `RaftCluster`s of a manifest, in its order. Empty documents and other kinds are passed over; a document
/// without a kind is not, because a forgotten line must not make a cluster disappear.
///
/// # Errors
/// The first document that cannot be followed, with everything that is wrong with it.
pub fn load(yaml: &str) -> Result<Vec<RaftCluster>, LoadError> {
    let mut clusters: Vec<RaftCluster> = Vec::new();
    let mut documents = 0;
    for (index, parser) in serde_yaml::Deserializer::from_str(yaml).enumerate() {
        let document = index + 1;
        // By way of YAML's own value: it refuses a key that stands twice, where JSON's would keep the last.
        let parsed = serde_yaml::Value::deserialize(parser);
        let value = parsed.map_err(|source| LoadError::Yaml { document, source })?;
        if value.is_null() {
            continue;
        }
        documents += 1;
        let value = serde_json::to_value(value).map_err(|source| LoadError::Json { document, source })?;
        if value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind != KIND) {
            continue;
        }
        let cluster = check(&value, None).map_err(|violations| LoadError::Refused {
            document,
            name: name_in(&value),
            violations,
        })?;
        if clusters.iter().any(|other| identity(other) == identity(&cluster)) {
            return Err(LoadError::Twice { document, name: identity(&cluster) });
        }
        clusters.push(cluster);
    }
    if clusters.is_empty() { Err(LoadError::Nothing { documents }) } else { Ok(clusters) }
}

fn name_in(document: &Value) -> String {
    let name = document.pointer("/metadata/name").and_then(Value::as_str);
    name.map_or_else(|| "without a name".to_owned(), ToOwned::to_owned)
}

fn identity(cluster: &RaftCluster) -> String {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or("default");
    format!("{namespace}/{}", cluster.metadata.name.as_deref().unwrap_or_default())
}

struct Listed<'a>(&'a [Violation]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, violation) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(out, "{separator}{violation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, spec: &str) -> String {
        format!(
            "apiVersion: outrigger.dev/v1alpha1\nkind: RaftCluster\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    }

    #[test]
    fn the_example_stands() {
        let clusters = load(include_str!("../../../examples/orders.yaml")).unwrap();
        assert_eq!(clusters.len(), 1);
        assert_eq!(clusters[0].metadata.name.as_deref(), Some("orders"));
        assert_eq!(clusters[0].spec.replicas, 3);
    }

    #[test]
    fn other_kinds_and_empty_documents_are_passed_over() {
        let yaml = format!(
            "---\n---\nkind: Namespace\napiVersion: v1\n---\n{}---\n{}",
            manifest("a", "{}"),
            manifest("b", "{replicas: 5}")
        );
        let names: Vec<_> = load(&yaml).unwrap().into_iter().map(|c| c.metadata.name.unwrap()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_is_refused_names_document_field_rule_and_value() {
        let first = manifest("a", "{}");
        let rows = [
            (manifest("b", "{replica: 3}"), "document 2 (b)", "spec.replica: unknown field"),
            (manifest("b", "{replicas: 4}"), "document 2 (b)", "(found 4)"),
            (manifest("b", "{storage: {size: 1Gi}}"), "document 2 (b)", "4 × spec.consensus.quota + 512Mi"),
            ("metadata: {name: b}\n".to_owned(), "document 2 (b)", "kind: must be RaftCluster"),
            (
                "kind: RaftCluster\n".to_owned(),
                "without a name",
                "apiVersion: must be outrigger.dev/v1alpha1",
            ),
            (manifest("a", "{}"), "default/a", "twice, again in document 2"),
        ];
        for (second, place, rule) in rows {
            let text = load(&format!("{first}---\n{second}")).unwrap_err().to_string();
            assert!(text.contains(place) && text.contains(rule), "{text}");
        }
    }

    #[test]
    fn a_field_that_stands_twice_is_refused_rather_than_the_last_one_believed() {
        let yaml = manifest("a", "{replicas: 3, replicas: 5}");
        let error = load(&yaml).unwrap_err();
        assert!(matches!(error, LoadError::Yaml { document: 1, .. }), "{error:?}");
    }

    #[test]
    fn a_manifest_without_a_cluster_says_what_to_add() {
        for (yaml, documents) in [("", 0), ("kind: Secret\n", 1), ("# only a comment\n", 0)] {
            let error = load(yaml).unwrap_err();
            let LoadError::Nothing { documents: found } = error else { panic!("{error}") };
            assert_eq!(found, documents, "{yaml:?}");
        }
    }
}
