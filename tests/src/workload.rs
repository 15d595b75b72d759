//! A recorded load for proofs of correctness: clients that put, read and compare on few keys, through any member.
//!
//! May import: `etcd_wire`, `history`. Deliberately absent: judgement, and retries of a write: an error leaves its
//! outcome unknown, and the next call is another one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tonic::Status;

use crate::etcd_wire::{
    Client, Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest,
    RequestOp, RequestUnion, TargetUnion, TxnRequest, prefix_end,
};
use crate::history::{Call, Clock, KeyId, Operation, Outcome, Recorder, Revision, Stored, ValueId};

/// All keys of a run start with it.
const PREFIX: &[u8] = b"run/";

/// Keys from here on are written once, so that a lost write cannot hide behind a later one.
const FIRST_UNIQUE_KEY: u32 = 1 << 24;

/// After an error a client pauses this long, so that a dead member is not asked in a tight loop.
const AFTER_ERROR: Duration = Duration::from_millis(5);

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the members are; each client starts at another one and moves on at an error.
    pub endpoints: Vec<SocketAddr>,
    /// How many clients, each with one call in flight.
    pub clients: u32,
    /// How many keys they share.
    pub keys: u32,
    /// Size of a value, in bytes.
    pub value_size_bytes: usize,
    /// A call without an answer after this long has an unknown outcome.
    pub deadline: Duration,
    /// Between two calls of a client.
    pub pause: Duration,
    /// Seeds every choice.
    pub seed: u64,
}

impl Plan {
    /// Eight clients on 16 keys with small values: much contention, and members are waited for 2 s.
    #[must_use]
    pub const fn contended(endpoints: Vec<SocketAddr>, seed: u64) -> Self {
        let deadline = Duration::from_secs(2);
        let pause = Duration::ZERO;
        Self { endpoints, clients: 8, keys: 16, value_size_bytes: 32, deadline, pause, seed }
    }
}

/// The running clients.
#[derive(Debug)]
pub struct Workload {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    tasks: JoinSet<Vec<Operation>>,
}

impl Workload {
    /// Starts the clients.
    ///
    /// # Errors
    /// When the plan names no endpoint.
    pub fn start(plan: &Plan) -> Result<Self> {
        if plan.endpoints.is_empty() {
            bail!("a workload needs at least one endpoint");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let clock = Clock::start();
        let values = Arc::new(AtomicU64::new(1));
        let mut tasks = JoinSet::new();
        for number in 0..plan.clients {
            let mut connections = Vec::new();
            for endpoint in &plan.endpoints {
                connections.push(Client::lazy(*endpoint).context("making a client")?);
            }
            let client = RecordedClient {
                connections,
                at: usize::try_from(number).unwrap_or(0),
                random: StdRng::seed_from_u64(plan.seed ^ u64::from(number)),
                recorder: Recorder::new(number, clock),
                values: Arc::clone(&values),
                acknowledged: Arc::clone(&acknowledged),
                last_seen: HashMap::new(),
                plan: plan.clone(),
            };
            tasks.spawn(client.run(Arc::clone(&stop)));
        }
        Ok(Self { stop, acknowledged, tasks })
    }

    /// Writes that were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets every client finish its call and gives the whole history.
    ///
    /// # Errors
    /// When a client ended early.
    pub async fn finish(mut self) -> Result<Vec<Operation>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut history = Vec::new();
        while let Some(one) = self.tasks.join_next().await {
            history.extend(one.context("a client task ended early")?);
        }
        Ok(history)
    }
}

/// What all keys of a run hold, read linearizably through `client`.
///
/// # Errors
/// The server's refusal, or a value that no client of a workload wrote.
pub async fn final_state(client: &mut Client) -> Result<HashMap<KeyId, Stored>> {
    let request = RangeRequest {
        key: Bytes::from_static(PREFIX),
        range_end: prefix_end(PREFIX),
        ..RangeRequest::default()
    };
    let answer = client.range(request, Duration::from_secs(60)).await.context("reading all keys")?;
    let mut state = HashMap::new();
    for pair in &answer.kvs {
        let key = pair.key.strip_prefix(PREFIX).and_then(|digits| std::str::from_utf8(digits).ok());
        let key = key.and_then(|digits| digits.parse().ok()).map(KeyId);
        let key = key.with_context(|| format!("a key that nobody wrote: {:?}", pair.key))?;
        let found = stored(pair).with_context(|| format!("a value that nobody wrote, at {key:?}"))?;
        state.insert(key, found);
    }
    Ok(state)
}

fn key_bytes(key: KeyId) -> Bytes {
    Bytes::from([PREFIX, format!("{:010}", key.0).as_bytes()].concat())
}

fn stored(pair: &KeyValue) -> Option<Stored> {
    let value = ValueId::from_bytes(&pair.value)?;
    Some(Stored { value, mod_revision: Revision(pair.mod_revision) })
}

struct RecordedClient {
    connections: Vec<Client>,
    at: usize,
    random: StdRng,
    recorder: Recorder,
    values: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
    /// What this client last knew each key to hold, so that comparisons often hold.
    last_seen: HashMap<KeyId, ValueId>,
    plan: Plan,
}

impl RecordedClient {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Vec<Operation> {
        while !stop.load(Ordering::Relaxed) {
            let (key, call) = self.choose();
            let connections = self.connections.len().max(1);
            let Some(connection) = self.connections.get(self.at % connections) else { break };
            let exchange = exchange(connection.clone(), key, call, &self.plan);
            let outcome = self.recorder.record(key, call, exchange).await;
            match outcome {
                Outcome::Written { .. } => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    self.last_seen.extend(call.writes().map(|value| (key, value)));
                }
                Outcome::Read { stored, .. } => {
                    self.last_seen.extend(stored.map(|stored| (key, stored.value)));
                }
                Outcome::NotEqual { .. } => {}
                Outcome::Unknown | Outcome::Failed => {
                    self.at = self.at.wrapping_add(1);
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
            if !self.plan.pause.is_zero() {
                tokio::time::sleep(self.plan.pause).await;
            }
        }
        self.recorder.into_operations()
    }

    fn choose(&mut self) -> (KeyId, Call) {
        let key = KeyId(self.random.random_range(0..self.plan.keys.max(1)));
        let number = self.values.fetch_add(1, Ordering::Relaxed);
        let new = ValueId(number);
        let is_deleted = key.0 + 1 == self.plan.keys;
        match self.random.random_range(0..10_u8) {
            0 if is_deleted => (key, Call::Delete),
            0..4 => (key, Call::Get),
            4..6 => (key, Call::Put(new)),
            6..8 => (key, Call::CompareAndSet { expected: self.last_seen.get(&key).copied(), new }),
            _ => (KeyId(FIRST_UNIQUE_KEY + u32::try_from(number).unwrap_or(0)), Call::Put(new)),
        }
    }
}

async fn exchange(mut client: Client, key: KeyId, call: Call, plan: &Plan) -> Outcome {
    let bytes = key_bytes(key);
    let answer: Result<Outcome, Status> = async {
        match call {
            Call::Get => {
                let (pair, revision) = client.get(&bytes, false, plan.deadline).await?;
                let revision = Revision(revision);
                match pair.as_ref().map(stored) {
                    // A value that nobody wrote must not pass for an absent one.
                    Some(None) => Ok(Outcome::Read { stored: Some(FOREIGN), revision }),
                    Some(found @ Some(_)) => Ok(Outcome::Read { stored: found, revision }),
                    None => Ok(Outcome::Read { stored: None, revision }),
                }
            }
            Call::Delete => {
                let answer = client
                    .delete(DeleteRangeRequest { key: bytes, ..Default::default() }, plan.deadline)
                    .await?;
                let revision = Revision(answer.header.map_or(0, |header| header.revision));
                Ok(match answer.deleted {
                    0 => Outcome::Read { stored: None, revision },
                    _ => Outcome::Written { revision },
                })
            }
            Call::Put(value) => {
                let put = put(bytes, value, plan);
                let header = client.put(put, plan.deadline).await?.header;
                Ok(Outcome::Written { revision: Revision(header.map_or(0, |header| header.revision)) })
            }
            Call::CompareAndSet { expected, new } => {
                let answer = client.txn(compare_and_set(bytes, expected, new, plan), plan.deadline).await?;
                let revision = Revision(answer.header.map_or(0, |header| header.revision));
                Ok(if answer.succeeded {
                    Outcome::Written { revision }
                } else {
                    Outcome::NotEqual { revision }
                })
            }
        }
    }
    .await;
    // No code proves that a write was never proposed: a proxying member may lose the answer of another.
    answer.unwrap_or(Outcome::Unknown)
}

/// Stands for bytes that no client wrote; no write has this number, so the judge rejects the read.
const FOREIGN: Stored = Stored { value: ValueId(u64::MAX), mod_revision: Revision(0) };

fn put(key: Bytes, value: ValueId, plan: &Plan) -> PutRequest {
    PutRequest { key, value: value.to_bytes(plan.value_size_bytes), ..PutRequest::default() }
}

fn compare_and_set(key: Bytes, expected: Option<ValueId>, new: ValueId, plan: &Plan) -> TxnRequest {
    let (target, right) = match expected {
        Some(value) => (CompareTarget::Value, TargetUnion::Value(value.to_bytes(plan.value_size_bytes))),
        None => (CompareTarget::Version, TargetUnion::Version(0)),
    };
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.clone(),
        target_union: Some(right),
    };
    let success = RequestOp { request: Some(RequestUnion::Put(put(key, new, plan))) };
    TxnRequest { compare: vec![compare], success: vec![success], failure: Vec::new() }
}
