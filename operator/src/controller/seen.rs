//! That a RaftCluster is there and has changed: all that is watched of it.
//!
//! What it says is read by itself in each pass, so that one that cannot be read hides no other. Not even all of its metadata is: who wrote
//! which field (`managedFields`) is nested as deep as the user's template, and serde_json reads nothing into memory that is nested
//! deeper than 128; what is only skipped may be. May import: the resource. Deliberately absent: what a change means.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::crd::RaftCluster;

/// A RaftCluster by name and version.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Lean")]
pub(super) struct Seen(ObjectMeta);

#[derive(Deserialize)]
struct Lean {
    metadata: LeanMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
}

impl From<Lean> for Seen {
    fn from(lean: Lean) -> Self {
        let LeanMeta { name, namespace, uid, resource_version, generation } = lean.metadata;
        Self(ObjectMeta { name, namespace, uid, resource_version, generation, ..ObjectMeta::default() })
    }
}

impl Resource for Seen {
    type DynamicType = ();
    type Scope = <RaftCluster as Resource>::Scope;

    fn metadata_api() -> bool {
        true
    }

    fn kind(of: &()) -> Cow<'_, str> {
        RaftCluster::kind(of)
    }

    fn group(of: &()) -> Cow<'_, str> {
        RaftCluster::group(of)
    }

    fn version(of: &()) -> Cow<'_, str> {
        RaftCluster::version(of)
    }

    fn plural(of: &()) -> Cow<'_, str> {
        RaftCluster::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    /// As an API server answers, with a template that is nested far deeper than any reader follows.
    fn deep() -> String {
        let depth = 5_000;
        let (open, close) = (r#"{"f:a":"#.repeat(depth), "}".repeat(depth));
        format!(
            r#"{{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {{"name": "deep", "namespace": "shop",
            "uid": "u", "resourceVersion": "7", "generation": 2, "managedFields": [{{"manager": "m", "fieldsV1": {open}{{}}{close}}}]}}}}"#
        )
    }

    #[test]
    fn one_that_no_reader_follows_to_its_end_is_seen_all_the_same() {
        let list = format!(
            r#"{{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {{"resourceVersion": "9"}}, "items": [{}]}}"#,
            deep()
        );
        let list: ObjectList<Seen> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items[0].name_any(), "deep");
        let event = format!(r#"{{"type": "ADDED", "object": {}}}"#, deep());
        let WatchEvent::Added(seen) = serde_json::from_str::<WatchEvent<Seen>>(&event).unwrap() else {
            panic!()
        };
        assert_eq!(
            (seen.namespace().as_deref(), seen.resource_version().as_deref()),
            (Some("shop"), Some("7"))
        );
    }
}
