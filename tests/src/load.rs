//! The load generator: N clients in a closed loop on few connections, against one server of any system.
//!
//! May import: `etcd_wire`, `histogram`, `proc_stat`. Deliberately absent: knowledge of which system it drives; both
//! get the same bytes over the same number of connections, so that a difference is the server's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tonic::Status;

use crate::etcd_wire::{Client, PutRequest};
use crate::histogram::Histogram;
use crate::proc_stat::{self, Usage};

/// A request that takes longer is an error.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// What each client does, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put a random key of the key set.
    Put,
    /// Get a random key of the key set, linearizably.
    Read,
    /// The same from the server's own state.
    SerializableRead,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub endpoint: SocketAddr,
    /// What to do.
    pub action: Action,
    /// How many clients, each with one request in flight.
    pub clients: u32,
    /// How many clients share one HTTP/2 connection.
    pub clients_per_connection: u32,
    /// Size of the key set.
    pub keys: u32,
    /// Size of a value, in bytes.
    pub value_size_bytes: usize,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
}

/// What one measurement found.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Requests that were answered within the measured time.
    pub requests: u64,
    /// Requests that failed in that time.
    pub errors: u64,
    /// The measured time as it was.
    pub elapsed: Duration,
    /// Latencies of the answered requests.
    pub latencies: Histogram,
    /// HTTP/2 connections used.
    pub connections: u32,
    /// CPU time of the servers, all together.
    pub server_cpu: Duration,
    /// CPU time of this process.
    pub client_cpu: Duration,
    /// CPU time of everyone else on the machine.
    pub other_cpu: Duration,
}

/// CPU meters at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Meters {
    at: Instant,
    servers: Duration,
    client: Duration,
    machine: Duration,
}

impl Meters {
    /// Reads the meters of these servers, this process and the machine.
    ///
    /// # Errors
    /// When a server is gone.
    pub fn read(servers: &[u32]) -> Result<Self> {
        let mut sum = Duration::ZERO;
        for pid in servers {
            sum += Usage::of(*pid)?.cpu;
        }
        Ok(Self {
            servers: sum,
            client: proc_stat::own_cpu()?,
            machine: proc_stat::machine_busy()?,
            at: Instant::now(),
        })
    }

    /// Time between two readings, and the CPU times in it: servers, this process, everyone else.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> (Duration, [Duration; 3]) {
        let servers = self.servers.saturating_sub(earlier.servers);
        let client = self.client.saturating_sub(earlier.client);
        let others = self.machine.saturating_sub(earlier.machine).saturating_sub(servers + client);
        (self.at.duration_since(earlier.at), [servers, client, others])
    }
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const ENDING: u8 = 2;

#[derive(Default)]
struct ClientTally {
    errors: u64,
    latencies: Histogram,
}

/// Runs one measurement; `servers` are the pids whose CPU time counts.
///
/// # Errors
/// When a server ends meanwhile, or not one request was answered.
pub async fn run(plan: &Plan, servers: &[u32]) -> Result<Measurement> {
    let connections = plan.clients.div_ceil(plan.clients_per_connection.max(1)).max(1);
    let mut channels = Vec::new();
    for _ in 0..connections {
        channels.push(Client::lazy(plan.endpoint).context("making a client")?);
    }
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut tasks = JoinSet::new();
    for (number, client) in (0..u64::from(plan.clients)).zip(channels.iter().cycle()) {
        tasks.spawn(one_client(client.clone(), plan.clone(), number, Arc::clone(&phase)));
    }
    tokio::time::sleep(plan.warm_up).await;
    let before = Meters::read(servers)?;
    phase.store(MEASURING, Ordering::Release);
    tokio::time::sleep(plan.measured).await;
    phase.store(ENDING, Ordering::Release);
    let after = Meters::read(servers)?;
    let mut tally = ClientTally::default();
    while let Some(one) = tasks.join_next().await {
        let one = one.context("a client task ended early")?;
        tally.errors += one.errors;
        tally.latencies.add(&one.latencies);
    }
    ensure!(tally.latencies.total() > 0, "not one request was answered by {}", plan.endpoint);
    let (elapsed, [server_cpu, client_cpu, other_cpu]) = after.since(&before);
    Ok(Measurement {
        requests: tally.latencies.total(),
        errors: tally.errors,
        elapsed,
        latencies: tally.latencies,
        connections,
        server_cpu,
        client_cpu,
        other_cpu,
    })
}

async fn one_client(mut client: Client, plan: Plan, number: u64, phase: Arc<AtomicU8>) -> ClientTally {
    let mut random = StdRng::seed_from_u64(number);
    let value = value(plan.value_size_bytes, number);
    let mut tally = ClientTally::default();
    loop {
        let key = key(random.random_range(0..plan.keys.max(1)));
        let measured = phase.load(Ordering::Acquire);
        if measured == ENDING {
            return tally;
        }
        let start = Instant::now();
        let answer = exchange(&mut client, plan.action, key, &value).await;
        // Only what began and ended within the measured time counts.
        if measured != MEASURING || phase.load(Ordering::Acquire) != MEASURING {
            continue;
        }
        match answer {
            Ok(()) => tally.latencies.record(start.elapsed()),
            Err(_) => tally.errors += 1,
        }
    }
}

async fn exchange(client: &mut Client, action: Action, key: Bytes, value: &Bytes) -> Result<(), Status> {
    match action {
        Action::Put => {
            let request = PutRequest { key, value: value.clone(), ..PutRequest::default() };
            client.put(request, REQUEST_DEADLINE).await.map(drop)
        }
        Action::Read => client.get(&key, false, REQUEST_DEADLINE).await.map(drop),
        Action::SerializableRead => client.get(&key, true, REQUEST_DEADLINE).await.map(drop),
    }
}

/// Puts `count` values, the keys `0..keys` in turn, with `clients` clients; every put must be acknowledged.
///
/// # Errors
/// The first put that fails.
pub async fn fill(plan: &Plan, count: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks: JoinSet<Result<(), Status>> = JoinSet::new();
    let connections = plan.clients.div_ceil(plan.clients_per_connection.max(1)).max(1);
    let mut channels = Vec::new();
    for _ in 0..connections {
        channels.push(Client::lazy(plan.endpoint).context("making a client")?);
    }
    for (number, client) in (0..u64::from(plan.clients)).zip(channels.iter().cycle()) {
        let (mut client, next) = (client.clone(), Arc::clone(&next));
        let value = value(plan.value_size_bytes, number);
        let keys = u64::from(plan.keys.max(1));
        tasks.spawn(async move {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= count {
                    return Ok(());
                }
                let key = key(u32::try_from(turn % keys).unwrap_or(0));
                exchange(&mut client, Action::Put, key, &value).await?;
            }
        });
    }
    while let Some(one) = tasks.join_next().await {
        one.context("a client task ended early")?.context("a put while filling the store")?;
    }
    Ok(())
}

fn key(number: u32) -> Bytes {
    Bytes::from(format!("bench/{number:010}"))
}

/// Not compressible by repetition, and another one for each client.
fn value(size_bytes: usize, seed: u64) -> Bytes {
    let mut random = StdRng::seed_from_u64(!seed);
    (0..size_bytes).map(|_| random.random::<u8>()).collect()
}
