//! The operator's loop: watches say when to look, one pass at a time a cluster, later and later after failures.
//!
//! May import: kube's runtime, `pass`. Deliberately absent: decisions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::client::ClientBuilder;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tower::util::MapRequestLayer;

use super::errors::{ControllerError, PassError};
use super::events::{self, Teller};
use super::http;
use super::leadership::{Election, Leadership};
use super::metrics::{Metrics, Outcome};
use super::pass::{AFTER_A_STEP, AT_REST, Memory, Tools, pass};
use crate::certificates::Lifetimes;
use crate::cluster::build::{CLUSTER_LABEL, Settings};
use crate::crd::RaftCluster;

/// Clusters that are looked at at once, shared by the namespaces.
const CONCURRENCY: u16 = 16;
/// The first wait after a failure, and the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
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
        won = Leadership::won(client.clone(), election) => won.map_err(ControllerError::Lease)?,
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

/// A client that counts its calls.
async fn client(metrics: Arc<Metrics>) -> Result<Client, ControllerError> {
    let config = kube::Config::infer()
        .await
        .map_err(|error| ControllerError::Config(Box::new(kube::Error::InferConfig(error))))?;
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
        let all: Api<RaftCluster> = api(&client, *scope);
        all.list(&kube::api::ListParams::default().limit(1))
            .await
            .map_err(|error| ControllerError::NoDefinition(Box::new(error)))?;
    }
    let instance =
        options.election.as_ref().map_or("outrigger-operator", |election| election.identity.as_str());
    let teller = Teller::new(client.clone(), instance);
    let (settings, lifetimes) = (options.settings.clone(), options.lifetimes);
    let tools = Tools { client, settings, lifetimes, teller };
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
    // One object that does not parse must not hide the others.
    let clusters: Api<DeserializeGuard<RaftCluster>> = api(client, namespace);
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
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                tracing::debug!(%error, "the watch was interrupted");
            }
        })
        .await;
}

/// The resource whose pod this is, by its label.
fn cluster_of(pod: &Pod) -> Option<ObjectRef<DeserializeGuard<RaftCluster>>> {
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

async fn reconcile(
    cluster: Arc<DeserializeGuard<RaftCluster>>,
    shared: Arc<Shared>,
) -> Result<Action, PassError> {
    let meta = kube::Resource::meta(&*cluster);
    let (namespace, name) =
        (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    if let Err(invalid) = &cluster.0 {
        tracing::error!(namespace, name, error = %invalid.error, "this RaftCluster cannot be read and is left alone");
        shared.tools.teller.tell(&*cluster, vec![events::unreadable(&invalid.error)]).await;
        return Ok(Action::await_change());
    }
    let key = (namespace.clone(), name.clone());
    let kept = Arc::clone(shared.kept.lock().await.entry(key.clone()).or_default());
    let mut kept = kept.lock().await;
    let (began, was, before) = (Instant::now(), kept.memory.phase, kept.memory.conditions.clone());
    let outcome = pass(&shared.tools, (&namespace, &name), &mut kept.memory).await;
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
            shared.metrics.moved(was, None);
            shared.metrics.judged((&namespace, &name), &before, &[]);
            shared.pace.forget(&mut kept.gait);
            shared.kept.lock().await.remove(&key);
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

/// How soon a cluster is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gait {
    /// It waits for something that a watch does not tell.
    Waiting,
    /// It is as it should be, or only a person can change anything.
    AtRest,
}

/// How many clusters have each gait.
#[derive(Debug, Default)]
struct Pace {
    waiting: AtomicUsize,
    at_rest: AtomicUsize,
}

impl Pace {
    fn of(&self, gait: Gait) -> &AtomicUsize {
        match gait {
            Gait::Waiting => &self.waiting,
            Gait::AtRest => &self.at_rest,
        }
    }

    fn forget(&self, gait: &mut Option<Gait>) {
        if let Some(gait) = gait.take() {
            self.of(gait).fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes a cluster's gait; gives how many have it. One that takes steps is in nobody's way: it soon has taken them.
    fn note(&self, gait: &mut Option<Gait>, again: Duration) -> usize {
        self.forget(gait);
        if again <= AFTER_A_STEP {
            return 0;
        }
        let now = if again < AT_REST { Gait::Waiting } else { Gait::AtRest };
        *gait = Some(now);
        self.of(now).fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Members are asked again and again, for no watch tells what they know. Many clusters of one gait are asked less often each, so
/// that all of them together cost the API server no more than this many passes a second; those that wait do not slow down for
/// those at rest. A change of objects or pods is looked at at once, whatever the pace.
fn paced(again: Duration, clusters: usize) -> Duration {
    const PASSES_A_SECOND: u32 = 20;
    let clusters = u32::try_from(clusters).unwrap_or(u32::MAX);
    again.max(Duration::from_secs(1).saturating_mul(clusters) / PASSES_A_SECOND)
}

/// Twice as long after each failure.
fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(10)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_clusters_of_one_gait_are_asked_less_often_and_hold_up_no_others() {
        let seconds = Duration::from_secs;
        let pace = Pace::default();
        let mut gaits = vec![None; 500];
        let mut last = 0;
        for gait in &mut gaits {
            last = pace.note(gait, seconds(5));
        }
        assert_eq!(paced(seconds(5), last), seconds(25));
        let mut one = None;
        assert_eq!(paced(seconds(1), pace.note(&mut one, seconds(1))), seconds(1), "it alone waits");
        assert_eq!(paced(seconds(1), 500), seconds(25));
        for _ in 0..3 {
            assert_eq!(pace.note(&mut one, seconds(1)), 1, "it is counted once");
        }
        assert_eq!(paced(AFTER_A_STEP, pace.note(&mut one, AFTER_A_STEP)), AFTER_A_STEP);
        assert_eq!(pace.note(&mut one, seconds(5)), 501);
        gaits.iter_mut().for_each(|gait| pace.forget(gait));
        assert_eq!(paced(seconds(5), pace.note(&mut one, seconds(5))), seconds(5));
    }

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
