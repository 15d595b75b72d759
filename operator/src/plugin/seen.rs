//! Gathers what a view is made of: the RaftCluster, its pods, and what the leader itself says.
//!
//! May import: kube, `ask`. Deliberately absent: making sense of it (`view`).

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::ask;
use super::errors::{PluginError, words};
use super::said::Said;
use crate::cluster::build::CLUSTER_LABEL;
use crate::crd::RaftCluster;
use crate::local::runner::chain;

/// How many members are asked in search of the leader: the one that the status names, the one that this one names, one more.
const ASKED_AT_MOST: usize = 3;

/// What was seen in one look.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) cluster: RaftCluster,
    pub(super) pods: Vec<Pod>,
    pub(super) live: Live,
}

/// What the leader says at this moment.
#[derive(Clone, Debug)]
pub(super) enum Live {
    /// Its words.
    Leader(Box<Said>),
    /// Nobody was asked, or nobody could be: why.
    Unknown(String),
}

/// Where one cluster is looked for.
pub(super) struct Eyes<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Eyes<'_> {
    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    pub(super) async fn cluster(&self) -> Result<RaftCluster, PluginError> {
        let Self { namespace, name, .. } = self;
        let api: Api<RaftCluster> = Api::namespaced(self.client.clone(), namespace);
        let found = api
            .get_opt(name)
            .await
            .map_err(api_error(|| format!("reading RaftCluster {namespace}/{name}")))?;
        found.ok_or_else(|| PluginError::NoCluster {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
        })
    }

    pub(super) async fn members(&self) -> Result<Vec<Pod>, PluginError> {
        let selected = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", self.name));
        let what = || format!("listing the pods of {}/{}", self.namespace, self.name);
        let mut pods = self.pods().list(&selected).await.map_err(api_error(what))?.items;
        pods.sort_by_key(|pod| (pod.name_any().len(), pod.name_any()));
        Ok(pods)
    }

    /// Looks once. Without `exec` nothing is run in a pod.
    pub(super) async fn look(&self, exec: bool) -> Result<Seen, PluginError> {
        let (cluster, pods) = tokio::try_join!(self.cluster(), self.members())?;
        let live = if exec {
            self.live(&cluster, &pods).await
        } else {
            Live::Unknown("nobody was asked (--no-exec)".to_owned())
        };
        Ok(Seen { cluster, pods, live })
    }

    async fn live(&self, cluster: &RaftCluster, pods: &[Pod]) -> Live {
        let api = self.pods();
        let mut left = candidates(cluster, pods);
        let mut why = "no pod runs".to_owned();
        for _ in 0..ASKED_AT_MOST {
            if left.is_empty() {
                break;
            }
            let pod = left.remove(0);
            match ask::status(&api, &pod).await {
                Ok(said) if said.leads() => return Live::Leader(Box::new(said)),
                Ok(said) => {
                    why = format!(
                        "{pod} does not lead{}",
                        said.leader().map_or(" and knows of nobody who does".to_owned(), |leader| format!(
                            ", and says that {leader} does"
                        ))
                    );
                    first(&mut left, said.leader());
                }
                // Without the right to one pod there is none to the others.
                Err(error @ PluginError::Exec { .. }) => return Live::Unknown(chain(&error)),
                Err(error) => why = chain(&error),
            }
        }
        Live::Unknown(why)
    }
}

/// Whom to ask, in this order: whom the status calls the leader, then every pod that runs.
fn candidates(cluster: &RaftCluster, pods: &[Pod]) -> Vec<String> {
    let runs = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
    };
    let mut names: Vec<String> = pods.iter().filter(runs).map(kube::ResourceExt::name_any).collect();
    let leader = cluster.status.as_ref().and_then(|status| status.leader.as_ref());
    first(&mut names, leader.map(|leader| leader.name.as_str()));
    names
}

/// Brings one that is there to the front.
fn first(names: &mut Vec<String>, name: Option<&str>) {
    if let Some(at) = name.and_then(|name| names.iter().position(|found| found == name)) {
        let found = names.remove(at);
        names.insert(0, found);
    }
}

fn api_error(what: impl Fn() -> String) -> impl Fn(kube::Error) -> PluginError {
    move |error| PluginError::Api { what: what(), said: words(&error) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, phase: &str, leaving: bool) -> Pod {
        let deleted = if leaving { json!("2026-01-01T00:00:00Z") } else { Value::Null };
        serde_json::from_value(
            json!({"metadata": {"name": name, "deletionTimestamp": deleted}, "status": {"phase": phase}}),
        )
        .unwrap()
    }

    #[test]
    fn the_leader_is_asked_first_and_who_cannot_answer_never() {
        let pods = [
            pod("orders-0", "Running", false),
            pod("orders-1", "Pending", false),
            pod("orders-2", "Running", false),
            pod("orders-3", "Running", true),
        ];
        let rows = [
            (json!({}), vec!["orders-0", "orders-2"]),
            (json!({"leader": {"name": "orders-2", "id": "a", "term": 1}}), vec!["orders-2", "orders-0"]),
            (json!({"leader": {"name": "orders-1", "id": "a", "term": 1}}), vec!["orders-0", "orders-2"]),
        ];
        for (status, wanted) in rows {
            let cluster = serde_json::from_value(json!({
                "apiVersion": "outrigger.dev/v1alpha1", "kind": "RaftCluster",
                "metadata": {"name": "orders"}, "spec": {}, "status": status,
            }))
            .unwrap();
            assert_eq!(candidates(&cluster, &pods), wanted, "{status}");
        }
    }
}
