//! Carries out what `cluster::volumes` decides about claims, and says how far a growth is.
//!
//! May import: kube, the observed objects. Deliberately absent: replacing a volume (`execute`).

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::apply::{MANAGER, Obstacle};
use super::errors::{Doing as _, PassError};
use super::execute::Hands;
use super::fail_point;
use crate::cluster::ids::Ordinal;
use crate::cluster::validate::Wanted;
use crate::cluster::volumes::{Growth, growth, owners, still_growing};
use crate::crd::DeletionPolicy;

/// What a pass did about the claims.
#[derive(Debug, Default)]
pub(super) struct Tended {
    /// What stands in the way.
    pub(super) obstacles: Vec<Obstacle>,
    /// The claims that asked for more and do not have it yet, or the set that is made again for it.
    pub(super) growing: Option<String>,
    /// Other objects differed from what is wanted.
    pub(super) differed: bool,
}

impl Hands<'_> {
    /// Gives the claims the owners that the deletion policy asks for, and lets them grow. `settled`: nothing else is under
    /// way, so that the set may be made again.
    pub(super) async fn tend_claims(
        &self,
        wanted: &Wanted,
        owner: &OwnerReference,
        settled: bool,
    ) -> Result<Tended, PassError> {
        let claims: Vec<&PersistentVolumeClaim> = self.observed.claims.values().collect();
        for claim in &claims {
            if let Some(owners) = owners(claim, owner, wanted.deletion_policy) {
                // The version keeps another writer's owners from being lost.
                let patch = json!({"metadata": {
                    "ownerReferences": owners,
                    "resourceVersion": claim.resource_version(),
                }});
                self.patch_claim(&claim.name_any(), patch, "naming the owners of").await?;
            }
        }
        let mut tended = Tended::default();
        match growth(&wanted.storage_size, self.observed.set.as_ref(), &claims) {
            Growth::Done => {}
            Growth::Claims(names) => {
                for name in names {
                    let size = &wanted.storage_size;
                    let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
                    match self.patch_claim(&name, patch, "growing").await {
                        Ok(()) => tracing::info!(claim = name, size, "asked to grow"),
                        Err(error) => tended.obstacles.push(Obstacle::Refused(error.refusal()?)),
                    }
                }
            }
            Growth::Set if settled => self.remake_set().await?,
            Growth::Set => {
                tended.growing =
                    Some("the StatefulSet is made again for it once nothing else is under way".to_owned());
            }
        }
        let growing = still_growing(&wanted.storage_size, &claims);
        if !growing.is_empty() {
            tended.growing = Some(format!("{} grow to {}", growing.join(", "), wanted.storage_size));
        }
        if settled && wanted.deletion_policy == DeletionPolicy::Delete {
            self.delete_surplus(wanted).await?;
        }
        Ok(tended)
    }

    /// Deletes the set and keeps its pods: the next pass makes it from the present template, and it takes them over.
    async fn remake_set(&self) -> Result<(), PassError> {
        let Some(set) = &self.observed.set else { return Ok(()) };
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), self.namespace);
        let how = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            preconditions: Some(Preconditions { uid: set.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        let name = set.name_any();
        tracing::info!(set = name, "made again for a larger claim template; its pods stay");
        let deleted = api.delete(&name, &how).await.map(drop);
        fail_point::reached("set-orphaned");
        deleted.doing(|| format!("remaking StatefulSet {}/{name}", self.namespace))
    }

    /// After a scale-down with the policy `Delete`, the volumes of pods that are gone go too.
    async fn delete_surplus(&self, wanted: &Wanted) -> Result<(), PassError> {
        let is_surplus =
            |ordinal: &Ordinal| ordinal.0 >= wanted.replicas && !self.observed.pods.contains_key(ordinal);
        for (_, claim) in self.observed.claims.iter().filter(|(ordinal, _)| is_surplus(ordinal)) {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), self.namespace);
            self.delete(&api, claim, None).await?;
        }
        Ok(())
    }

    async fn patch_claim(&self, claim: &str, patch: Value, doing: &str) -> Result<(), PassError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), self.namespace);
        let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patched = api.patch(claim, &how, &Patch::Merge(&patch)).await;
        patched.map(drop).doing(|| format!("{doing} the claim {}/{claim}", self.namespace))
    }
}
