//! What keeps pods from being there or from being ready, though no member can tell: the API server's refusals, nodes, and the
//! user's own containers.
//!
//! May import: kube, the observed objects. Deliberately absent: what follows from it.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Node, Pod as KubePod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::apply::Obstacle;
use super::errors::{Doing as _, PassError};
use super::observe::Observed;
use crate::cluster::build::SIDECAR;
use crate::cluster::facts::{Answer, Pod};
use crate::cluster::ids::Ordinal;

/// Why the set's controller cannot make pods, in the API server's words; asked for only while pods are missing.
pub(super) async fn refused_pods(
    client: &Client,
    namespace: &str,
    observed: &Observed,
) -> Result<Option<Obstacle>, PassError> {
    let Some(set) =
        observed.set.as_ref().filter(|_| observed.pods.len() < usize::from(observed.pods_wanted()))
    else {
        return Ok(None);
    };
    let uid = set.uid().unwrap_or_default();
    let failed = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=FailedCreate"));
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let events = events
        .list(&failed)
        .await
        .doing(|| format!("listing the Events of StatefulSet {}", set.name_any()))?;
    let newest = events.items.into_iter().max_by_key(|event| event.last_timestamp.clone().map(|time| time.0));
    let said = newest.and_then(|event| event.message);
    Ok(said.map(|said| Obstacle::Refused(format!("StatefulSet {namespace}/{}: {said}", set.name_any()))))
}

/// Notes which silent pods are on nodes that are not ready.
pub(super) async fn note_lost_nodes(
    client: &Client,
    observed: &Observed,
    pods: &mut BTreeMap<Ordinal, Pod>,
) -> Result<(), PassError> {
    let api: Api<Node> = Api::all(client.clone());
    let silent = pods.iter_mut().filter(|(_, pod)| matches!(pod.answer, Answer::Silent(_)));
    let asked = silent.filter_map(|(ordinal, pod)| {
        let node = observed.pods.get(ordinal)?.spec.as_ref()?.node_name.clone()?;
        let api = api.clone();
        Some(async move {
            let found = api.get_opt(&node).await.doing(|| format!("reading node {node}"))?;
            // One that is gone is cleaned up by Kubernetes itself, and its volume may be reachable from elsewhere.
            if found.is_some_and(|found| !is_ready(&found)) {
                pod.lost_node = Some(node);
            }
            Ok(())
        })
    });
    join_all(asked).await.into_iter().collect()
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The pods whose sidecar is ready and whose own containers are not: no quorum cures that.
pub(super) fn unready_apps(observed: &Observed) -> Vec<String> {
    observed
        .pods
        .values()
        .filter_map(|pod| Some(format!("{}/{}", pod.name_any(), unready_app(pod)?)))
        .collect()
}

fn unready_app(pod: &KubePod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let is_ready = |container: &&ContainerStatus| container.name == SIDECAR && container.ready;
    status.init_container_statuses.as_deref()?.iter().find(is_ready)?;
    let unready = status.container_statuses.as_deref()?.iter().find(|container| !container.ready);
    unready.filter(|_| pod.metadata.deletion_timestamp.is_none()).map(|container| container.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_app_beside_a_ready_sidecar_is_to_blame() {
        for (sidecar, app, wanted) in [(true, false, Some("app")), (true, true, None), (false, false, None)] {
            let status = |name: &str, ready: bool| json!({"name": name, "ready": ready, "image": "", "imageID": "", "restartCount": 0});
            let pod: KubePod = serde_json::from_value(json!({"metadata": {"name": "orders-0"}, "status": {
                "initContainerStatuses": [status(SIDECAR, sidecar)],
                "containerStatuses": [status("app", app)],
            }}))
            .unwrap();
            assert_eq!(unready_app(&pod), wanted, "{sidecar} {app}");
        }
    }

    #[test]
    fn a_node_that_says_nothing_of_itself_is_not_ready() {
        for (status, wanted) in [("True", true), ("False", false), ("Unknown", false)] {
            let node: Node = serde_json::from_value(
                json!({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": status}]}}),
            )
            .unwrap();
            assert_eq!(is_ready(&node), wanted, "{status}");
        }
        assert!(!is_ready(&Node::default()));
    }
}
