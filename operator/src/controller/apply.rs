//! Brings children into being and keeps them as they are wanted, by server-side apply, and only where something differs.
//!
//! An object of a name of ours that is somebody else's is never written to: the cluster says `NameConflict` until it is gone
//! or renamed. May import: kube, the built children. Deliberately absent: deciding what is wanted.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::covers::covers;
use super::errors::{Doing as _, PassError, is_refusal};
use super::fail_point;
use crate::cluster::build::{self, Budget, Children};
use crate::cluster::ids::ClusterName;

/// On a child: what was asked for when it was last written, as a number. A field that is no longer asked for is seen by it alone.
const ASKED_ANNOTATION: &str = "outrigger.dev/asked-for";

/// Who writes, as `managedFields` names it.
pub(super) const MANAGER: &str = "outrigger-operator";

/// What was written last: kind and name to the hash of what was wanted, and what came of it.
///
/// An API server may hold a value in another form than it was written in, so that it never looks the same; what was asked for
/// before, on an object that nobody touched since, is not asked for again.
#[derive(Debug, Default)]
pub(super) struct Written(HashMap<(String, String), (u64, Option<String>)>);

/// What stands in the way of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// An object of that name is somebody else's.
    NameConflict(String),
    /// The API server refuses the object, in its words: a typo in the template, a quota, a policy.
    Refused(String),
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// Objects that differ are written; otherwise it is only said that some do.
    pub(super) writes: bool,
    /// The StatefulSet is among them.
    pub(super) with_set: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// What stands in the way.
    pub(super) obstacles: Vec<Obstacle>,
    /// Objects differed from what is wanted, whether or not they were written.
    pub(super) differed: bool,
}

/// Writes the children that differ.
pub(super) async fn apply(
    client: &Client,
    (namespace, name): (&str, &ClusterName),
    uid: &str,
    children: &Children,
    (reach, written): (Reach, &mut Written),
) -> Result<Applied, PassError> {
    let applied = Applied::default();
    let mut applier =
        Applier { client, namespace, cluster: name, uid, written, writes: reach.writes, applied };
    applier.one::<Service>(&serde_json::to_value(&children.headless)?).await?;
    applier.one::<Service>(&serde_json::to_value(&children.client)?).await?;
    applier.one::<ConfigMap>(&serde_json::to_value(&children.config)?).await?;
    applier.one::<NetworkPolicy>(&serde_json::to_value(&children.policy)?).await?;
    match &children.budget {
        Budget::Wanted(budget) => applier.one::<PodDisruptionBudget>(&serde_json::to_value(budget)?).await?,
        Budget::Unwanted => applier.gone::<PodDisruptionBudget>(&build::budget_name(name)).await?,
        Budget::AsItIs => {}
    }
    if reach.with_set {
        applier.one::<StatefulSet>(&children.stateful_set).await?;
    }
    Ok(applier.applied)
}

struct Applier<'a> {
    client: &'a Client,
    namespace: &'a str,
    cluster: &'a ClusterName,
    uid: &'a str,
    written: &'a mut Written,
    writes: bool,
    applied: Applied,
}

impl Applier<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn is_ours<K: Resource>(&self, live: &K) -> bool {
        is_ours(live, self.uid, self.cluster)
    }

    async fn one<K>(&mut self, wanted: &Value) -> Result<(), PassError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let (kind, api) = (K::kind(&()).into_owned(), self.api::<K>());
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let named = || format!("{kind} {}/{name}", self.namespace);
        let live = api.get_opt(&name).await.doing(|| format!("reading {}", named()))?;
        if let Some(live) = &live
            && !self.is_ours(live)
        {
            self.applied.obstacles.push(Obstacle::NameConflict(named()));
            return Ok(());
        }
        let key = (kind.clone(), name.clone());
        let asked = hash(wanted);
        let mut wanted = marked(wanted, asked);
        if let Some(live) = &live {
            let known = self
                .written
                .0
                .get(&key)
                .is_some_and(|(hash, version)| *hash == asked && *version == live.resource_version());
            if known || covers(&serde_json::to_value(live)?, &wanted) {
                return Ok(());
            }
        }
        self.applied.differed = true;
        if !self.writes {
            return Ok(());
        }
        set(&mut wanted, "apiVersion", K::api_version(&()).into_owned().into());
        set(&mut wanted, "kind", kind.clone().into());
        // Of two operators that both believe to lead, one is refused.
        let version = live.as_ref().and_then(|live| live.resource_version());
        if let (Some(version), Some(metadata)) = (version, wanted.get_mut("metadata")) {
            set(metadata, "resourceVersion", version.into());
        }
        let how = PatchParams::apply(MANAGER).force().validation_strict();
        match api.patch(&name, &how, &Patch::Apply(&wanted)).await {
            Ok(made) => {
                tracing::info!(object = named(), "applied");
                fail_point::reached("child-applied");
                self.written.0.insert(key, (asked, made.resource_version()));
                Ok(())
            }
            // What is wrong with the object itself is said in the status; it is tried again with the next pass.
            Err(kube::Error::Api(status)) if is_refusal(&status) => {
                self.applied.obstacles.push(Obstacle::Refused(format!("{}: {}", named(), status.message)));
                Ok(())
            }
            Err(error) => Err(error).doing(|| format!("applying {}", named())),
        }
    }

    async fn gone<K>(&mut self, name: &str) -> Result<(), PassError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let (kind, api) = (K::kind(&()).into_owned(), self.api::<K>());
        let named = || format!("{kind} {}/{name}", self.namespace);
        let live = api.get_opt(name).await.doing(|| format!("reading {}", named()))?;
        if live.is_some_and(|live| self.is_ours(&live)) {
            self.applied.differed = true;
            if !self.writes {
                return Ok(());
            }
            api.delete(name, &DeleteParams::default()).await.doing(|| format!("deleting {}", named()))?;
        }
        Ok(())
    }
}

/// Whether an object is a cluster's: it says so, or it was made for a cluster of this name and nobody has it (any more), as after a deletion that
/// left the children, or a restore of the objects without their owners.
pub(super) fn is_ours<K: Resource>(live: &K, uid: &str, cluster: &ClusterName) -> bool {
    let owners = live.owner_references();
    let orphan = || {
        let made = build::labels_of(cluster);
        owners.iter().all(|owner| owner.controller != Some(true))
            && made.iter().all(|(label, value)| live.labels().get(label) == Some(value))
    };
    owners.iter().any(|owner| owner.uid == uid) || orphan()
}

/// With the mark of what is asked for.
fn marked(wanted: &Value, asked: u64) -> Value {
    let mut wanted = wanted.clone();
    if let Some(Value::Object(metadata)) = wanted.get_mut("metadata") {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        set(annotations, ASKED_ANNOTATION, format!("{asked:016x}").into());
    }
    wanted
}

fn set(of: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = of {
        fields.insert(key.to_owned(), value);
    }
}

/// The same for the same text, in every process of one build; where another build hashes otherwise, each object is written once more.
fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
