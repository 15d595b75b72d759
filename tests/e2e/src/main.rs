//! What is promised on Kubernetes, seen on a real one: `make e2e`.
//!
//! Expects the chart to be installed and the images to be loaded (`tests/e2e.sh` does both), and to run where the cluster's
//! Service addresses are reachable. Each scenario has a cluster of its own under a load, and ends with the demand that every
//! acknowledged write is there and that the history is linearizable.
#![allow(clippy::print_stdout, reason = "its output is its report")]

mod audit;
mod kubectl;
mod scenarios;
mod subject;
mod writer;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::kubectl::Kubectl;
use crate::scenarios::Scenario;

/// Runs the scenarios on the cluster that kubectl points at.
#[derive(Parser, Debug)]
struct Args {
    /// Which; all when none is named.
    scenarios: Vec<String>,
    /// List them and end.
    #[arg(long)]
    list: bool,
    /// The API server's audit log, where its requests can be counted.
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// An operator that ends where FAILPOINTS says, for the scenario that ends it everywhere.
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,
    /// How many RaftClusters the scenario `many` makes.
    #[arg(long, default_value_t = 500, value_name = "COUNT")]
    many: usize,
    /// The chart, for the scenarios that upgrade it.
    #[arg(long, default_value = "charts/outrigger", value_name = "DIR")]
    chart: PathBuf,
}

/// What scenarios run with.
struct World {
    audit_log: Option<PathBuf>,
    operator: Option<PathBuf>,
    many: usize,
    chart: PathBuf,
}

/// What came of a scenario.
#[derive(Debug, Default)]
struct Outcome {
    /// The longest time without an acknowledged write, if something wrote.
    outage: Option<Duration>,
    /// Writes that were looked for and found.
    acknowledged: usize,
    /// What else was measured.
    notes: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let all = scenarios::all();
    if args.list {
        for scenario in &all {
            println!("{:<13} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    if let Some(unknown) = args.scenarios.iter().find(|name| all.iter().all(|found| found.name != **name)) {
        bail!("there is no scenario {unknown}: --list names them");
    }
    let world =
        World { audit_log: args.audit_log, operator: args.operator, many: args.many, chart: args.chart };
    let chosen = all
        .iter()
        .filter(|one| args.scenarios.is_empty() || args.scenarios.iter().any(|name| name == one.name));
    let mut rows = Vec::new();
    for scenario in chosen {
        println!("=== {}: {}", scenario.name, scenario.about);
        let begun = Instant::now();
        let outcome =
            in_a_namespace(scenario, &world).await.with_context(|| format!("scenario {}", scenario.name))?;
        rows.push(row(scenario.name, begun.elapsed(), &outcome));
    }
    println!("\n{:<13} {:>8} {:>10} {:>20}", "scenario", "seconds", "writes", "longest without one");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

fn row(name: &str, took: Duration, outcome: &Outcome) -> String {
    let outage = outcome.outage.map_or("-".to_owned(), |outage| format!("{} ms", outage.as_millis()));
    let row = format!("{name:<13} {:>8.1} {:>10} {outage:>20}", took.as_secs_f64(), outcome.acknowledged);
    outcome.notes.iter().fold(row, |row, note| format!("{row}\n              {note}"))
}

/// Gives a scenario a namespace of its own, which is deleted when it succeeds and kept to be looked at when it fails.
async fn in_a_namespace(scenario: &Scenario, world: &World) -> Result<Outcome> {
    let namespace = format!("e2e-{}", scenario.name);
    let kubectl = Kubectl::new(&namespace);
    kubectl.run(&["delete", "namespace", &namespace, "--ignore-not-found"]).await?;
    kubectl.run(&["create", "namespace", &namespace]).await?;
    let strict = "pod-security.kubernetes.io/enforce=baseline";
    kubectl.run(&["label", "namespace", &namespace, strict]).await?;
    let outcome = (scenario.run)(world, &kubectl).await;
    if let Err(error) = &outcome {
        println!("FAILED: {error:#}");
        for what in
            [["get", "raftclusters,pods,pvc"].as_slice(), &["get", "events", "--sort-by=.lastTimestamp"]]
        {
            println!("{}", kubectl.run(what).await.unwrap_or_else(|error| error.to_string()));
        }
        return outcome;
    }
    kubectl.run(&["delete", "namespace", &namespace, "--wait=false"]).await?;
    outcome
}

/// Says what was just seen.
fn seen(what: &str) {
    println!("    {what}");
}

impl Outcome {
    fn of(proof: writer::Proof) -> Self {
        Self { outage: Some(proof.outage), acknowledged: proof.acknowledged, notes: Vec::new() }
    }

    fn within(self, most: Duration) -> Result<Self> {
        if let Some(outage) = self.outage {
            ensure!(
                outage <= most,
                "no write was accepted for {outage:?}, and at most {most:?} are promised"
            );
        }
        Ok(self)
    }
}
