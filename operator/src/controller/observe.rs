//! Gathers the facts of one cluster: its live objects, and what its members say.
//!
//! May import: kube, `members`, `cluster`. Deliberately absent: writing, deciding, and any cache.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod as KubePod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::errors::{Doing as _, PassError};
use crate::admin_client::{AdminClients, Callee};
use crate::cluster::build::{self, CLUSTER_ANNOTATION, PEER_PORT, SIDECAR};
use crate::cluster::facts::{Answer, Pod};
use crate::cluster::ids::{ClusterId, ClusterName, Ordinal};
use crate::members::{Unwell, ask, now};

/// The label by which the StatefulSet's controller says which template a pod was made from.
const REVISION_LABEL: &str = "controller-revision-hash";

/// The live objects.
#[derive(Debug)]
pub(super) struct Observed {
    /// The set, if it exists.
    pub(super) set: Option<StatefulSet>,
    /// Its pods.
    pub(super) pods: BTreeMap<Ordinal, KubePod>,
    /// Its claims.
    pub(super) claims: BTreeMap<Ordinal, PersistentVolumeClaim>,
}

/// Reads what belongs to a cluster, from the API server itself.
pub(super) async fn observe(
    client: &Client,
    namespace: &str,
    name: &ClusterName,
) -> Result<Observed, PassError> {
    let selected = ListParams::default().labels(&build::selector(name));
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let pods: Api<KubePod> = Api::namespaced(client.clone(), namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let set_name = build::stateful_set_name(name);
    let set =
        sets.get_opt(&set_name).await.doing(|| format!("reading StatefulSet {namespace}/{set_name}"))?;
    let pods = pods.list(&selected).await.doing(|| format!("listing the pods of {namespace}/{name}"))?;
    let claims =
        claims.list(&selected).await.doing(|| format!("listing the claims of {namespace}/{name}"))?;
    let uid = set.as_ref().and_then(|set| set.uid());
    let in_between = set.as_ref().is_none_or(|set| set.metadata.deletion_timestamp.is_some());
    // A pod that only wears the label is not one of ours. While the set is made again, its pods have no owner.
    let is_ours = |pod: &KubePod| match pod.owner_references() {
        [] => in_between && pod.labels().contains_key(REVISION_LABEL),
        owners => owners.iter().any(|owner| Some(&owner.uid) == uid.as_ref()),
    };
    Ok(Observed {
        pods: by_ordinal(pods.items.into_iter().filter(is_ours), |pod| name.ordinal_of(pod)),
        claims: by_ordinal(claims.items, |claim| {
            name.ordinal_of(claim.strip_prefix(&build::claim_name(""))?)
        }),
        set,
    })
}

fn by_ordinal<K: kube::Resource>(
    items: impl IntoIterator<Item = K>,
    ordinal: impl Fn(&str) -> Option<Ordinal>,
) -> BTreeMap<Ordinal, K> {
    items.into_iter().filter_map(|item| Some((ordinal(item.meta().name.as_deref()?)?, item))).collect()
}

impl Observed {
    /// How many pods are asked for. While there is no set: as many as there are, so that the one that is made takes over all
    /// of them and stops none.
    pub(super) fn pods_wanted(&self) -> u8 {
        match &self.set {
            Some(set) => {
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
                replicas.and_then(|replicas| u8::try_from(replicas).ok()).unwrap_or(0)
            }
            None => self.pods.keys().next_back().map_or(0, |last| last.0.saturating_add(1)),
        }
    }

    /// The set is being deleted: it is made again only when it is gone.
    pub(super) fn is_set_going(&self) -> bool {
        self.set.as_ref().is_some_and(|set| set.metadata.deletion_timestamp.is_some())
    }

    /// The set's controller has seen what the set says now: which pods are outdated is known.
    pub(super) fn is_set_taken_up(&self) -> bool {
        self.set.as_ref().is_none_or(|set| {
            set.status.as_ref().is_some_and(|status| status.observed_generation == set.metadata.generation)
        })
    }

    /// Where a pod's member is called; `None` while the pod has no address.
    pub(super) fn address(&self, pod: Ordinal) -> Option<String> {
        let ip = self.pods.get(&pod)?.status.as_ref()?.pod_ip.as_deref()?;
        // An IPv6 address is bracketed.
        Some(if ip.contains(':') { format!("[{ip}]:{PEER_PORT}") } else { format!("{ip}:{PEER_PORT}") })
    }

    /// The clusters that are written on the claims.
    pub(super) fn volume_clusters(&self) -> BTreeMap<Ordinal, ClusterId> {
        let marked = self.claims.iter().filter_map(|(ordinal, claim)| {
            Some((*ordinal, claim.annotations().get(CLUSTER_ANNOTATION)?.parse().ok()?))
        });
        marked.collect()
    }

    /// Whether a pod was made from another template than the present one. While the set's controller has not seen the
    /// present one itself, nobody knows.
    fn is_outdated(&self, pod: &KubePod) -> bool {
        let Some(set) = &self.set else { return false };
        let Some(status) = &set.status else { return false };
        let is_current = status.observed_generation == set.metadata.generation;
        match (&status.update_revision, pod.labels().get(REVISION_LABEL)) {
            (Some(wanted), Some(found)) => is_current && wanted != found,
            (None, _) | (_, None) => false,
        }
    }

    /// Asks every member at once; a silent one costs its deadline, not everybody's.
    pub(super) async fn ask(
        &self,
        name: &ClusterName,
        clients: Option<&AdminClients>,
        unwell: &mut Unwell,
    ) -> BTreeMap<Ordinal, Pod> {
        let asked = self.pods.iter().map(|(ordinal, pod)| async move {
            if pod.metadata.deletion_timestamp.is_some() {
                // It still answers, but what it says will not be true for long; and it is being restarted already.
                return (*ordinal, Answer::Silent("the pod is being deleted".to_owned()), false);
            }
            let answer = match self.address(*ordinal).zip(clients) {
                Some((address, clients)) => {
                    match ask(Callee { pod: name.pod(*ordinal), address }, clients).await {
                        Answer::Silent(why) => Answer::Silent(why_not_running(pod).unwrap_or(why)),
                        answer @ Answer::Report(_) => answer,
                    }
                }
                None => Answer::Silent(
                    why_not_running(pod).unwrap_or_else(|| why_no_address(pod, self.claims.get(ordinal))),
                ),
            };
            (*ordinal, answer, self.is_outdated(pod))
        });
        let answers = join_all(asked).await.into_iter();
        answers
            .map(|(ordinal, answer, outdated)| {
                let unhealthy_for = unwell.note(ordinal, &answer, now());
                let serves = self.pods.get(&ordinal).is_some_and(is_sidecar_ready);
                let (stuck_for, lost_node) = (Duration::ZERO, None);
                (ordinal, Pod { answer, outdated, unhealthy_for, stuck_for, serves, lost_node })
            })
            .collect()
    }
}

/// Whether the kubelet finds the sidecar ready, beside an application or alone in its pod. The application's own readiness is no matter.
fn is_sidecar_ready(pod: &KubePod) -> bool {
    let Some(status) = &pod.status else { return false };
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.any(|found| found.name == SIDECAR && found.ready)
}

/// What the kubelet says of a container that does not run: its image, a crash.
fn why_not_running(pod: &KubePod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let mut waiting =
        containers.filter_map(|found| Some((&found.name, found.state.as_ref()?.waiting.as_ref()?)));
    // What only waits for its turn explains nothing.
    let told = waiting.find(|(_, waiting)| waiting.message.is_some());
    told.map(|(name, waiting)| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("container {name} waits: {}: {}", text(&waiting.reason), text(&waiting.message))
    })
}

/// What keeps a pod from having an address: the scheduler's word, or the container's.
fn why_no_address(pod: &KubePod, claim: Option<&PersistentVolumeClaim>) -> String {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let waiting =
        conditions.iter().find(|condition| condition.status == "False" && condition.message.is_some());
    let why = waiting.map_or(String::new(), |condition| {
        format!(": {}: {}", condition.type_, condition.message.as_deref().unwrap_or_default())
    });
    let unbound = claim
        .filter(|claim| claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound"));
    let unbound = unbound.map_or(String::new(), |claim| {
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or("none");
        format!("; its claim {} is not bound (storage class {class})", claim.name_any())
    });
    format!("the pod has no address yet{why}{unbound}")
}
