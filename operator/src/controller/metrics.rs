//! What Prometheus sees of the operator.
//!
//! May import: prometheus-client, the status's phase. Deliberately absent: what members see of themselves; each sidecar has its
//! own `/metrics`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::client::Body;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tonic::codegen::http::{Method, Request};

use crate::crd::Phase;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVerb {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    phase: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCondition {
    namespace: String,
    name: String,
    condition: String,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It came to its end.
    Done,
    /// Somebody else wrote meanwhile.
    Conflict,
    /// It failed, and is tried again later.
    Failed,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    reconciles: Family<ByResult, Counter>,
    seconds: Histogram,
    calls: Family<ByVerb, Counter>,
    clusters: Family<ByPhase, Gauge>,
    conditions: Family<ByCondition, Gauge>,
    leads: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("outrigger_operator");
        // 1 ms … 16 s: a pass that asks a silent member takes that member's deadline.
        let seconds = Histogram::new(exponential_buckets(1e-3, 2.0, 15));
        let (reconciles, calls) = (Family::default(), Family::default());
        let (clusters, conditions, leads) = (Family::default(), Family::default(), Gauge::default());
        registry.register("reconciles", "Passes over one cluster, by how they ended", reconciles.clone());
        registry.register("reconcile_seconds", "Duration of a pass over one cluster", seconds.clone());
        registry.register("api_calls", "Calls to the API server, by verb", calls.clone());
        registry.register("clusters", "RaftClusters, by phase", clusters.clone());
        registry.register(
            "condition",
            "A RaftCluster's conditions: 1 where one is true, 0 where it is not",
            conditions.clone(),
        );
        registry.register("leading", "1 while this process holds the Lease", leads.clone());
        Self { registry, reconciles, seconds, calls, clusters, conditions, leads }
    }
}

impl Metrics {
    pub(super) fn passed(&self, outcome: Outcome, took: Duration) {
        let result = match outcome {
            Outcome::Done => "done",
            Outcome::Conflict => "conflict",
            Outcome::Failed => "failed",
        };
        self.reconciles.get_or_create(&ByResult { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A cluster's phase is another than before; `None` where it has none (any more).
    pub(super) fn moved(&self, from: Option<Phase>, to: Option<Phase>) {
        if from == to {
            return;
        }
        let of = |phase: Phase| self.clusters.get_or_create_owned(&ByPhase { phase: format!("{phase:?}") });
        if let Some(from) = from {
            of(from).dec();
        }
        if let Some(to) = to {
            of(to).inc();
        }
    }

    /// What a cluster's conditions are; a condition that is not among them is not told of any more.
    pub(super) fn judged(&self, (namespace, name): (&str, &str), before: &[Condition], now: &[Condition]) {
        let labels = |condition: &Condition| ByCondition {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            condition: condition.type_.clone(),
        };
        for gone in before.iter().filter(|was| now.iter().all(|is| is.type_ != was.type_)) {
            self.conditions.remove(&labels(gone));
        }
        for condition in now {
            let gauge = self.conditions.get_or_create_owned(&labels(condition));
            gauge.set(i64::from(condition.status == "True"));
        }
    }

    pub(super) fn leads(&self) {
        self.leads.set(1);
    }

    /// A call to the API server.
    pub(super) fn called(&self, request: &Request<Body>) {
        let verb = verb(request.method(), request.uri().query().unwrap_or_default());
        self.calls.get_or_create(&ByVerb { verb }).inc();
    }

    /// All of it, in Prometheus' text form.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        encode(&mut text, &self.registry).ok();
        text
    }
}

fn verb(method: &Method, query: &str) -> &'static str {
    match method.as_str() {
        "GET" if query.split('&').any(|part| part == "watch=true") => "watch",
        "GET" => "read",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn clusters_are_counted_in_one_phase_each() {
        let metrics = Metrics::default();
        metrics.moved(None, Some(Phase::Founding));
        metrics.moved(Some(Phase::Founding), Some(Phase::Healthy));
        metrics.moved(None, Some(Phase::Healthy));
        metrics.moved(Some(Phase::Healthy), None);
        let text = metrics.text();
        assert!(text.contains("outrigger_operator_clusters{phase=\"Healthy\"} 1"), "{text}");
        assert!(text.contains("outrigger_operator_clusters{phase=\"Founding\"} 0"), "{text}");
    }

    #[test]
    fn a_clusters_conditions_are_told_by_its_name_and_go_with_it() {
        let metrics = Metrics::default();
        let condition = |kind: &str, status: &str| Condition {
            last_transition_time: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
            message: String::new(),
            observed_generation: None,
            reason: "Settled".to_owned(),
            status: status.to_owned(),
            type_: kind.to_owned(),
        };
        let conditions = [condition("Ready", "False"), condition("QuorumLost", "True")];
        metrics.judged(("shop", "orders"), &[], &conditions);
        let lost =
            "outrigger_operator_condition{namespace=\"shop\",name=\"orders\",condition=\"QuorumLost\"} 1";
        let ready = "outrigger_operator_condition{namespace=\"shop\",name=\"orders\",condition=\"Ready\"} 0";
        assert!(metrics.text().contains(lost) && metrics.text().contains(ready), "{}", metrics.text());
        metrics.judged(("shop", "orders"), &conditions, &[]);
        assert!(!metrics.text().contains("name=\"orders\""), "{}", metrics.text());
    }

    #[test]
    fn calls_are_told_apart_by_what_they_do() {
        for (method, query, wanted) in [
            (Method::GET, "", "read"),
            (Method::GET, "limit=1", "read"),
            (Method::GET, "allowWatchBookmarks=true&watch=true", "watch"),
            (Method::PATCH, "fieldManager=a", "patch"),
            (Method::DELETE, "", "delete"),
            (Method::HEAD, "", "other"),
        ] {
            assert_eq!(verb(&method, query), wanted);
        }
    }
}
