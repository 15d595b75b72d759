//! The operator's loop: watches say when to look, one pass at a time a cluster, later and later after failures.
//!
//! May import: kube's runtime, `pass`. Deliberately absent: decisions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::client::ClientBuilder;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tower::util::MapRequestLayer;

use super::errors::{ControllerError, PassError};
use super::events::{self, Teller};
use super::http;
use super::leadership::{Election, Leadership};
use super::metrics::{Metrics, Outcome};
use super::pace::{FIRST_BACKOFF, Gait, LONGEST_BACKOFF, Pace, backoff, paced};
use super::pass::{Memory, Tools, pass};
use super::rolls::Rolls;
use super::seen::Seen;
use crate::certificates::Lifetimes;
use crate::cluster::build::{CLUSTER_LABEL, Settings};

/// Clusters that are looked at at once, shared by the namespaces.
const CONCURRENCY: u16 = 16;
/// What a pass may take: each member that is asked has a deadline of its own, a few seconds long.
const LONGEST_PASS: Duration = Duration::from_secs(60);
/// Until a cluster is looked at again whose namespace is being deleted.
const WHILE_A_NAMESPACE_GOES: Duration = Duration::from_secs(15);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces to look after; all when empty.
    pub namespaces: Vec<String>,
    /// What children are made with.
    pub settings: Settings,
    /// How long certificates are believed.
    pub lifetimes: Lifetimes,
    /// How many clusters restart outdated pods at once.
    pub rolls_at_once: NonZeroU16,
    /// Where probes and metrics are served.
    pub http: SocketAddr,
    /// How it is known which of several operators acts; `None`: there is only this one.
    pub election: Option<Election>,
}

/// What is kept of one cluster.
#[derive(Debug, Default)]
struct Kept {
    memory: Memory,
    failures: u32,
    gait: Option<Gait>,
}

/// Namespace and name.
type Key = (String, String);

struct Shared {
    tools: Tools,
    metrics: Arc<Metrics>,
    kept: Mutex<HashMap<Key, Arc<Mutex<Kept>>>>,
    pace: Pace,
}

impl Shared {
    /// A cluster is gone: nothing is told, counted or remembered of it any more.
    async fn forget(&self, key: Key) {
        let Some(kept) = self.kept.lock().await.remove(&key) else { return };
        let mut kept = kept.lock().await;
        let place = (key.0.as_str(), key.1.as_str());
        self.metrics.moved(kept.memory.phase.take(), None);
        self.metrics.judged(place, &std::mem::take(&mut kept.memory.conditions), &[]);
        self.pace.forget(&mut kept.gait);
        self.tools.rolls.leave(place);
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// There is no API server, it does not know the resource, a port is taken, or the Lease is lost.
pub async fn run(options: Options) -> Result<(), ControllerError> {
    #[cfg(feature = "fail-points")]
    let _places = super::fail_point::read();
    let metrics = Arc::new(Metrics::default());
    http::serve(options.http, Arc::clone(&metrics)).await?;
    let client = client(Arc::clone(&metrics)).await?;
    let mut stop = stop_signal()?;
    let Some(election) = &options.election else {
        metrics.leads();
        return look_after(client, &options, metrics, stop).await;
    };
    let leadership = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        won = Leadership::won(lease_client().await?, election) => won.map_err(ControllerError::Lease)?,
    };
    metrics.leads();
    let lost = leadership.lost();
    tokio::select! {
        ended = look_after(client, &options, metrics, stop) => {
            leadership.give_back().await;
            ended
        }
        () = lost => Err(ControllerError::LeaseLost),
    }
}

/// Turns true on SIGTERM or SIGINT.
fn stop_signal() -> Result<watch::Receiver<bool>, ControllerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ControllerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ControllerError::Signals)?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.send(true).ok();
        // Dropped, it would look like a signal that never comes.
        stop.closed().await;
    });
    Ok(stopped)
}

/// How the API server is reached.
async fn config() -> Result<kube::Config, ControllerError> {
    let inferred = kube::Config::infer().await;
    inferred.map_err(|error| ControllerError::Config(Box::new(kube::Error::InferConfig(error))))
}

/// A client for the Lease alone: on a connection of its own, and none of its calls hangs for as long as a watch may.
async fn lease_client() -> Result<Client, ControllerError> {
    const PATIENCE: Duration = Duration::from_secs(4);
    let mut config = config().await?;
    (config.connect_timeout, config.read_timeout, config.write_timeout) =
        (Some(PATIENCE), Some(PATIENCE), Some(PATIENCE));
    Client::try_from(config).map_err(|error| ControllerError::Config(Box::new(error)))
}

/// A client that counts its calls.
async fn client(metrics: Arc<Metrics>) -> Result<Client, ControllerError> {
    let config = config().await?;
    let counting = MapRequestLayer::new(move |request| {
        metrics.called(&request);
        request
    });
    let builder =
        ClientBuilder::try_from(config).map_err(|error| ControllerError::Config(Box::new(error)))?;
    Ok(builder.with_layer(&counting).build())
}

/// Passes over every cluster until `stop`; a pass that is under way comes to its end.
async fn look_after(
    client: Client,
    options: &Options,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) -> Result<(), ControllerError> {
    let scopes = scopes(&options.namespaces);
    for scope in &scopes {
        let all: Api<Seen> = api(&client, *scope);
        all.list(&kube::api::ListParams::default().limit(1))
            .await
            .map_err(|error| ControllerError::NoDefinition(Box::new(error)))?;
    }
    let instance =
        options.election.as_ref().map_or("outrigger-operator", |election| election.identity.as_str());
    let teller = Teller::new(client.clone(), instance);
    let (settings, lifetimes) = (options.settings.clone(), options.lifetimes);
    let tools = Tools { client, settings, lifetimes, teller, rolls: Rolls::new(options.rolls_at_once) };
    let shared = Arc::new(Shared { tools, metrics, kept: Mutex::default(), pace: Pace::default() });
    let concurrency = concurrency(scopes.len());
    let watches =
        scopes.into_iter().map(|scope| watch_scope(Arc::clone(&shared), scope, concurrency, stop.clone()));
    join_all(watches).await;
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

/// Looks after one namespace, or after all, until it is told to stop.
async fn watch_scope(
    shared: Arc<Shared>,
    namespace: Option<&str>,
    concurrency: u16,
    mut stop: watch::Receiver<bool>,
) {
    let client = &shared.tools.client;
    let clusters: Api<Seen> = api(client, namespace);
    let sets: Api<StatefulSet> = api(client, namespace);
    let pods: Api<Pod> = api(client, namespace);
    let labelled = watcher::Config::default().labels(CLUSTER_LABEL);
    tracing::info!(namespace, "watching RaftClusters");
    Controller::new(clusters, watcher::Config::default())
        .owns(sets, labelled.clone())
        .watches(pods, labelled, |pod| cluster_of(&pod))
        .with_config(Config::default().concurrency(concurrency).debounce(Duration::from_millis(100)))
        .graceful_shutdown_on(async move {
            stop.wait_for(|stop| *stop).await.ok();
        })
        .run(reconcile, |_, _, _| Action::requeue(LONGEST_BACKOFF), Arc::clone(&shared))
        .for_each(|outcome| {
            let shared = Arc::clone(&shared);
            async move {
                match outcome {
                    Ok(_) => {}
                    // Nobody is told of a deletion but in this way.
                    Err(Error::ObjectNotFound(gone)) => {
                        shared.forget((gone.namespace.clone().unwrap_or_default(), gone.name.clone())).await;
                    }
                    Err(error) => tracing::debug!(%error, "the watch was interrupted"),
                }
            }
        })
        .await;
}

/// The resource whose pod this is, by its label.
fn cluster_of(pod: &Pod) -> Option<ObjectRef<Seen>> {
    let name = pod.labels().get(CLUSTER_LABEL)?;
    Some(ObjectRef::new(name).within(pod.namespace()?.as_str()))
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

async fn reconcile(cluster: Arc<Seen>, shared: Arc<Shared>) -> Result<Action, PassError> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let key = (namespace.clone(), name.clone());
    let kept = Arc::clone(shared.kept.lock().await.entry(key.clone()).or_default());
    let mut kept = kept.lock().await;
    let (began, was, before) = (Instant::now(), kept.memory.phase, kept.memory.conditions.clone());
    let passing = pass(&shared.tools, (&namespace, &name), &mut kept.memory);
    // A call that hangs must not hold up a cluster for ever.
    let outcome = match timeout(LONGEST_PASS, passing).await {
        Ok(outcome) => outcome,
        Err(_) => Err(PassError::Hangs(LONGEST_PASS)),
    };
    let passed = |outcome| shared.metrics.passed(outcome, began.elapsed());
    match outcome {
        Ok(Some(again)) => {
            passed(Outcome::Done);
            shared.metrics.moved(was, kept.memory.phase);
            shared.metrics.judged((&namespace, &name), &before, &kept.memory.conditions);
            kept.failures = 0;
            let others = shared.pace.note(&mut kept.gait, again);
            Ok(Action::requeue(paced(again, others)))
        }
        Ok(None) => {
            passed(Outcome::Done);
            drop(kept);
            shared.forget(key).await;
            Ok(Action::await_change())
        }
        Err(PassError::Unreadable(error)) => {
            passed(Outcome::Failed);
            let error = error.to_string();
            tracing::error!(namespace, name, error, "this RaftCluster cannot be read and is left alone");
            shared.tools.teller.tell(&*cluster, vec![events::unreadable(&error)]).await;
            Ok(Action::await_change())
        }
        // What is left of it goes by itself; one that stays is looked at again.
        Err(error) if error.is_namespace_going() => {
            passed(Outcome::Done);
            tracing::debug!(namespace, name, "its namespace is being deleted");
            Ok(Action::requeue(WHILE_A_NAMESPACE_GOES))
        }
        // Somebody else wrote meanwhile: no fault.
        Err(error) if error.is_conflict() => {
            passed(Outcome::Conflict);
            Ok(Action::requeue(FIRST_BACKOFF))
        }
        Err(error) => {
            passed(Outcome::Failed);
            let wait = backoff(kept.failures);
            kept.failures = kept.failures.saturating_add(1);
            let said = crate::local::runner::chain(&error);
            tracing::warn!(namespace, name, error = said, again_in = ?wait, "the pass failed");
            Ok(Action::requeue(wait))
        }
    }
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
}
