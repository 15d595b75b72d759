//! Carries out the steps that are not a call to a member: pods and volumes.
//!
//! Each deletion names the very object that was looked at (by uid): one that was replaced meanwhile is not touched. May
//! import: kube, the observed objects. Deliberately absent: the register (`status`), the number of pods (`apply`).

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod as KubePod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::json;

use super::apply::MANAGER;
use super::errors::{Doing as _, PassError};
use super::fail_point;
use super::observe::Observed;
use crate::cluster::build::{self, CLUSTER_ANNOTATION};
use crate::cluster::facts::Facts;
use crate::cluster::founding::Founding;
use crate::cluster::ids::{ClusterId, Ordinal};

/// The objects of one cluster, to be changed.
pub(super) struct Hands<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) observed: &'a Observed,
}

impl Hands<'_> {
    /// Deletes a pod; the set makes it anew from the present template.
    pub(super) async fn restart(&self, pod: Ordinal) -> Result<(), PassError> {
        let Some(live) = self.observed.pods.get(&pod) else { return Ok(()) };
        self.end(live, None).await
    }

    /// Deletes a claim and then its pod: the set makes both anew, and the member that starts there has an empty disk.
    ///
    /// On a lost node nobody would confirm the pod's end, so it is not waited for: should the old member run on there, its id
    /// is no longer the one that the new member joins with, and it is refused everywhere.
    pub(super) async fn replace_volume(&self, pod: Ordinal, lost_node: bool) -> Result<(), PassError> {
        let claim = self.observed.claims.get(&pod);
        // One that is being deleted waits for its pod: an operator that died in between goes on there.
        if let Some(claim) = claim.filter(|claim| claim.metadata.deletion_timestamp.is_none()) {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), self.namespace);
            self.delete(&api, claim, None).await?;
            fail_point::reached("claim-deleted");
        }
        let Some(live) = self.observed.pods.get(&pod) else { return Ok(()) };
        self.end(live, lost_node.then_some(0)).await
    }

    async fn end(&self, live: &KubePod, grace_seconds: Option<u32>) -> Result<(), PassError> {
        let api: Api<KubePod> = Api::namespaced(self.client.clone(), self.namespace);
        self.delete(&api, live, grace_seconds).await
    }

    pub(super) async fn delete<K>(
        &self,
        api: &Api<K>,
        live: &K,
        grace_period_seconds: Option<u32>,
    ) -> Result<(), PassError>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let name = live.name_any();
        let preconditions = Some(Preconditions { uid: live.uid(), resource_version: None });
        let how = DeleteParams { preconditions, grace_period_seconds, ..DeleteParams::default() };
        match api.delete(&name, &how).await {
            Ok(_) => Ok(()),
            // Gone already, or another one by now: the next pass looks again.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) => Err(error).doing(|| format!("deleting {} {}/{name}", K::kind(&()), self.namespace)),
        }
    }

    /// Writes the cluster's id on the claims whose members report it: whoever finds the volumes without the resource must
    /// not found a second cluster over them.
    pub(super) async fn mark_claims(&self, facts: &Facts) -> Result<(), PassError> {
        let Founding::Latched(cluster) = facts.founding else { return Ok(()) };
        for (pod, report) in facts.reports() {
            let is_marked = facts.volume_clusters.get(&pod) == Some(&cluster);
            if report.cluster == Some(cluster) && !is_marked && self.observed.claims.contains_key(&pod) {
                self.mark(&build::claim_name(&facts.name.pod(pod)), cluster).await?;
            }
        }
        Ok(())
    }

    async fn mark(&self, claim: &str, cluster: ClusterId) -> Result<(), PassError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), self.namespace);
        let mark = json!({"metadata": {"annotations": {CLUSTER_ANNOTATION: cluster.to_string()}}});
        let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patched = api.patch(claim, &how, &Patch::Merge(&mark)).await;
        patched.map(drop).doing(|| format!("marking the claim {}/{claim}", self.namespace))
    }
}
