//! What keeps pods from being there or from being ready, though no member can tell: the API server's refusals, nodes, and the
//! user's own containers.
//!
//! May import: kube, the observed objects. Deliberately absent: what follows from it.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Node, Pod as KubePod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::apply::Obstacle;
use super::errors::{Doing as _, PassError};
use super::observe::Observed;
use crate::cluster::build::SIDECAR;
use crate::cluster::facts::{Answer, Pod};
use crate::cluster::ids::Ordinal;

/// An Event older than this tells of something that may be over: one that lasts is told again, at least every 17 minutes.
const FRESH: SignedDuration = SignedDuration::from_mins(20);
/// A node so tainted is switched off, says who tainted it: Kubernetes ends its pods by itself, and volumes may be reached from elsewhere.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Why the set's controller cannot make pods, in the API server's words; asked for only while pods are missing.
pub(super) async fn refused_pods(
    client: &Client,
    namespace: &str,
    observed: &Observed,
    now: Timestamp,
) -> Result<Option<Obstacle>, PassError> {
    let is_missing = observed.pods.len() < usize::from(observed.pods_wanted());
    // A pod waits for its claim while that goes: nobody refuses it.
    let claim_goes = observed.claims.values().any(|claim| claim.metadata.deletion_timestamp.is_some());
    let Some(set) = observed.set.as_ref().filter(|_| is_missing && !claim_goes) else {
        return Ok(None);
    };
    let uid = set.uid().unwrap_or_default();
    let failed = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=FailedCreate"));
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let events = events
        .list(&failed)
        .await
        .doing(|| format!("listing the Events of StatefulSet {}", set.name_any()))?;
    // What was refused before a pod could be made is over.
    let made = observed.pods.values().filter_map(|pod| pod.creation_timestamp()).map(|time| time.0).max();
    let said = newest(&events.items, made, now);
    Ok(said.map(|said| Obstacle::Refused(format!("StatefulSet {namespace}/{}: {said}", set.name_any()))))
}

/// The last word that still counts.
fn newest(events: &[Event], made: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let at = |event: &Event| event.last_timestamp.as_ref().map(|time| time.0);
    let counts =
        |time: &Timestamp| now.duration_since(*time) < FRESH && made.is_none_or(|made| *time >= made);
    let fresh = events.iter().filter(|event| at(event).as_ref().is_some_and(counts));
    fresh.max_by_key(|event| at(event)).and_then(|event| event.message.clone())
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
            // What a kubelet that is not there said last of its containers is old.
            pod.serves &= found.as_ref().is_some_and(is_ready);
            // One that is gone is cleaned up by Kubernetes itself, and its volume may be reachable from elsewhere.
            if found.is_some_and(|found| !is_ready(&found) && !is_out_of_service(&found)) {
                pod.lost_node = Some(node);
            }
            Ok(())
        })
    });
    join_all(asked).await.into_iter().collect()
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
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
    fn a_refusal_counts_until_it_is_old_or_a_pod_was_made_after_it() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let event = |second: i64, message: &str| -> Event {
            serde_json::from_value(json!({
                "metadata": {}, "involvedObject": {}, "message": message, "lastTimestamp": at(second).to_string(),
            }))
            .unwrap()
        };
        let events = [event(100, "quota"), event(200, "security")];
        assert_eq!(newest(&events, None, at(250)).as_deref(), Some("security"));
        assert_eq!(newest(&events, Some(at(150)), at(250)).as_deref(), Some("security"));
        assert_eq!(newest(&events, Some(at(201)), at(250)), None, "a pod could be made since");
        assert_eq!(newest(&events, None, at(1_400)), None, "nobody has refused anything for twenty minutes");
        assert_eq!(newest(&[], None, at(0)), None);
    }

    #[test]
    fn a_node_that_is_out_of_service_is_left_to_kubernetes() {
        for (key, wanted) in [(OUT_OF_SERVICE, true), ("node.kubernetes.io/unreachable", false)] {
            let taint = json!({"key": key, "effect": "NoExecute"});
            let node: Node =
                serde_json::from_value(json!({"metadata": {}, "spec": {"taints": [taint]}})).unwrap();
            assert_eq!(is_out_of_service(&node), wanted, "{key}");
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
