//! The operator's loop: watches say when to look, one pass at a time a cluster, later and later after failures.
//!
//! May import: kube's runtime, `pass`. Deliberately absent: decisions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::Mutex;

use super::errors::{ControllerError, PassError};
use super::pass::{Memory, Tools, pass};
use crate::admin_client::AdminClients;
use crate::cluster::build::Settings;
use crate::crd::RaftCluster;

/// Clusters that are looked at at once, shared by the namespaces.
const CONCURRENCY: u16 = 16;
/// The first wait after a failure, and the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces to look after; all when empty.
    pub namespaces: Vec<String>,
    /// What children are made with.
    pub settings: Settings,
}

/// What is kept of one cluster.
#[derive(Debug, Default)]
struct Kept {
    memory: Memory,
    failures: u32,
}

/// Namespace and name.
type Key = (String, String);

struct Shared {
    tools: Tools,
    kept: Mutex<HashMap<Key, Arc<Mutex<Kept>>>>,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// There is no API server, or it does not know the resource.
pub async fn run(options: Options) -> Result<(), ControllerError> {
    let client = Client::try_default().await.map_err(|error| ControllerError::Config(Box::new(error)))?;
    let scopes = scopes(&options.namespaces);
    for scope in &scopes {
        let all: Api<RaftCluster> = api(&client, *scope);
        all.list(&kube::api::ListParams::default().limit(1))
            .await
            .map_err(|error| ControllerError::NoDefinition(Box::new(error)))?;
    }
    let tools = Tools { client, members: AdminClients::default(), settings: options.settings };
    let shared = Arc::new(Shared { tools, kept: Mutex::default() });
    let concurrency = concurrency(scopes.len());
    join_all(scopes.into_iter().map(|scope| watch(Arc::clone(&shared), scope, concurrency))).await;
    Ok(())
}

/// Who may only look at some namespaces must not ask for all: one watch each.
fn scopes(namespaces: &[String]) -> Vec<Option<&str>> {
    let mut named: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    // Given twice, a namespace is still looked after once.
    named.sort_unstable();
    named.dedup();
    if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() }
}

/// How many clusters are looked at at once in each of so many scopes.
fn concurrency(scopes: usize) -> u16 {
    let scopes = u16::try_from(scopes).unwrap_or(u16::MAX).max(1);
    (CONCURRENCY / scopes).max(1)
}

/// Looks after one namespace, or after all, until SIGTERM or SIGINT.
async fn watch(shared: Arc<Shared>, namespace: Option<&str>, concurrency: u16) {
    let client = &shared.tools.client;
    // One object that does not parse must not hide the others.
    let clusters: Api<DeserializeGuard<RaftCluster>> = api(client, namespace);
    let sets: Api<StatefulSet> = api(client, namespace);
    tracing::info!(namespace, "watching RaftClusters");
    Controller::new(clusters, watcher::Config::default())
        .owns(sets, watcher::Config::default())
        .with_config(Config::default().concurrency(concurrency).debounce(Duration::from_millis(100)))
        .shutdown_on_signal()
        .run(reconcile, |_, _, _| Action::requeue(LONGEST_BACKOFF), Arc::clone(&shared))
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                tracing::debug!(%error, "the watch was interrupted");
            }
        })
        .await;
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

async fn reconcile(
    cluster: Arc<DeserializeGuard<RaftCluster>>,
    shared: Arc<Shared>,
) -> Result<Action, PassError> {
    let meta = kube::Resource::meta(&*cluster);
    let (namespace, name) =
        (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    if let Err(invalid) = &cluster.0 {
        tracing::error!(namespace, name, error = %invalid.error, "this RaftCluster cannot be read and is left alone");
        return Ok(Action::await_change());
    }
    let key = (namespace.clone(), name.clone());
    let kept = Arc::clone(shared.kept.lock().await.entry(key.clone()).or_default());
    let mut kept = kept.lock().await;
    match pass(&shared.tools, (&namespace, &name), &mut kept.memory).await {
        Ok(Some(again)) => {
            kept.failures = 0;
            Ok(Action::requeue(again))
        }
        Ok(None) => {
            shared.kept.lock().await.remove(&key);
            Ok(Action::await_change())
        }
        // Somebody else wrote meanwhile: no fault.
        Err(error) if error.is_conflict() => Ok(Action::requeue(FIRST_BACKOFF)),
        Err(error) => {
            let wait = backoff(kept.failures);
            kept.failures = kept.failures.saturating_add(1);
            let said = crate::local::runner::chain(&error);
            tracing::warn!(namespace, name, error = said, again_in = ?wait, "the pass failed");
            Ok(Action::requeue(wait))
        }
    }
}

/// Twice as long after each failure.
fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(10)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_watched_one_by_one_and_share_the_work() {
        let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(scopes(&[]), [None]);
        assert_eq!(scopes(&named(&["b", "a", "b"])), [Some("a"), Some("b")]);
        assert_eq!([0, 1, 2, 5, 17, 100_000].map(concurrency), [16, 16, 8, 3, 1, 1]);
    }

    #[test]
    fn failures_are_met_later_and_later_and_never_too_late() {
        let waits: Vec<u128> = (0..9).map(|failures| backoff(failures).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff(u32::MAX), LONGEST_BACKOFF);
    }
}
