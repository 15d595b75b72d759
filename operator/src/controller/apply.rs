//! Brings children into being and keeps them as they are wanted, by server-side apply, and only where something differs.
//!
//! An object of a name of ours that is somebody else's is never written to: the cluster says `NameConflict` until it is gone
//! or renamed. May import: kube, the built children. Deliberately absent: deciding what is wanted.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::covers::covers;
use super::errors::{Doing as _, PassError, is_refusal};
use super::fail_point;
use crate::cluster::build::{self, Children};
use crate::cluster::ids::ClusterName;

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

/// Writes the children that differ; gives what stands in the way of the others. `with_set`: the StatefulSet too.
pub(super) async fn apply(
    client: &Client,
    place: (&str, &ClusterName),
    uid: &str,
    children: &Children,
    (with_set, written): (bool, &mut Written),
) -> Result<Vec<Obstacle>, PassError> {
    let (namespace, name) = place;
    let mut applier = Applier { client, namespace, uid, written, obstacles: Vec::new() };
    applier.one::<Service>(&serde_json::to_value(&children.headless)?).await?;
    applier.one::<Service>(&serde_json::to_value(&children.client)?).await?;
    applier.one::<NetworkPolicy>(&serde_json::to_value(&children.policy)?).await?;
    match &children.budget {
        Some(budget) => applier.one::<PodDisruptionBudget>(&serde_json::to_value(budget)?).await?,
        None => applier.gone::<PodDisruptionBudget>(&build::budget_name(name)).await?,
    }
    if with_set {
        applier.one::<StatefulSet>(&children.stateful_set).await?;
    }
    Ok(applier.obstacles)
}

struct Applier<'a> {
    client: &'a Client,
    namespace: &'a str,
    uid: &'a str,
    written: &'a mut Written,
    obstacles: Vec<Obstacle>,
}

impl Applier<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn is_ours<K: Resource>(&self, live: &K) -> bool {
        live.owner_references().iter().any(|owner| owner.uid == self.uid)
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
            self.obstacles.push(Obstacle::NameConflict(named()));
            return Ok(());
        }
        let key = (kind.clone(), name.clone());
        let asked = hash(wanted);
        if let Some(live) = &live {
            let same = covers(&serde_json::to_value(live)?, wanted);
            let known = self
                .written
                .0
                .get(&key)
                .is_some_and(|(hash, version)| *hash == asked && *version == live.resource_version());
            if same || known {
                return Ok(());
            }
        }
        let mut wanted = wanted.clone();
        if let Value::Object(fields) = &mut wanted {
            fields.insert("apiVersion".to_owned(), K::api_version(&()).into_owned().into());
            fields.insert("kind".to_owned(), kind.clone().into());
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
                self.obstacles.push(Obstacle::Refused(format!("{}: {}", named(), status.message)));
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
            api.delete(name, &DeleteParams::default()).await.doing(|| format!("deleting {}", named()))?;
        }
        Ok(())
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
