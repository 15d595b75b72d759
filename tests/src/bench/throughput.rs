//! Requests a second, latency and CPU time a request, at each number of clients, on the leader.

use std::time::Duration;

use anyhow::Result;

use super::table::Better;
use super::{NOISE_LIMIT, Run, System};
use crate::load::{self, Action, Measurement, Plan};

/// Clients that fill a store before reads are measured.
const FILL_CLIENTS: u32 = 64;

/// Puts on a fresh cluster.
pub(super) async fn puts(run: &mut Run, system: &System, place: usize) -> Result<()> {
    for clients in run.options.clients.clone() {
        measured(run, system, place, (Action::Put, clients)).await?;
    }
    Ok(())
}

/// Both kinds of reads, on a store that holds the whole key set.
pub(super) async fn reads(run: &mut Run, system: &System, place: usize) -> Result<()> {
    let keys = u64::from(run.options.keys);
    load::fill(&plan(run, system, Action::Put, FILL_CLIENTS).await?, keys).await?;
    for action in [Action::Read, Action::SerializableRead] {
        for clients in run.options.clients.clone() {
            measured(run, system, place, (action, clients)).await?;
        }
    }
    Ok(())
}

/// A plan against the present leader.
pub(super) async fn plan(run: &Run, system: &System, action: Action, clients: u32) -> Result<Plan> {
    Ok(Plan {
        endpoint: system.leader_endpoint().await?,
        action,
        clients,
        clients_per_connection: run.options.clients_per_connection,
        keys: run.options.keys,
        value_size_bytes: run.options.value_size,
        warm_up: Duration::from_secs_f64(run.options.warm_up.clamp(0.0, 3600.0)),
        measured: run.options.measured(),
    })
}

async fn measured(
    run: &mut Run,
    system: &System,
    place: usize,
    (action, clients): (Action, u32),
) -> Result<()> {
    let pids = system.pids();
    let mut measurement = load::run(&plan(run, system, action, clients).await?, &pids).await?;
    for _ in 0..run.options.retries {
        if noise(&measurement) <= NOISE_LIMIT {
            break;
        }
        measurement = load::run(&plan(run, system, action, clients).await?, &pids).await?;
    }
    record(run, place, (action, clients), &measurement);
    Ok(())
}

/// Others' share of one core.
fn noise(measurement: &Measurement) -> f64 {
    measurement.other_cpu.as_secs_f64() / measurement.elapsed.as_secs_f64()
}

fn record(run: &mut Run, place: usize, (action, clients): (Action, u32), one: &Measurement) {
    let name = match action {
        Action::Put => "put",
        Action::Read => "linearizable read",
        Action::SerializableRead => "serializable read",
    };
    let plural = if clients == 1 { "client" } else { "clients" };
    let label = format!("{name}, {clients} {plural}");
    let requests = f64::from(u32::try_from(one.requests).unwrap_or(u32::MAX)).max(1.0);
    let elapsed = one.elapsed.as_secs_f64();
    let milliseconds = |per_thousand| one.latencies.quantile(per_thousand).as_secs_f64() * 1e3;
    let table = &mut run.table;
    table.add(place, &label, ("requests/s", Better::Higher), requests / elapsed);
    table.add(place, &label, ("p50 ms", Better::Lower), milliseconds(500));
    table.add(place, &label, ("p99 ms", Better::Lower), milliseconds(990));
    let server_micros = one.server_cpu.as_secs_f64() * 1e6 / requests;
    table.add(place, &label, ("server CPU µs/request", Better::Lower), server_micros);
    let client_micros = one.client_cpu.as_secs_f64() * 1e6 / requests;
    table.add(place, &label, ("client CPU µs/request", Better::Lower), client_micros);
    if noise(one) > NOISE_LIMIT {
        table.mark_disturbed(&label);
    }
    if one.errors > 0 {
        table.note_client(format!("{label}: {} requests of system {place} failed", one.errors));
    }
}
