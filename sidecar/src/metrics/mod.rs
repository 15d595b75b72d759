//! Everything that Prometheus is told, and the counts of send failures that the status shows too.
//!
//! Rooms record what only they see (the log thread its fsyncs, the transport its failures, the API its answers);
//! what the node knows anyway is read from its status when somebody scrapes, so that the driver pays nothing.
//! May import: core's status types, `member`. Deliberately absent: HTTP.

mod peers;
mod process;
mod refresh;
mod registry;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outrigger_core::types::MemberId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use peers::PeerFailures;
pub use refresh::Facts;
pub(crate) use refresh::role_word;

/// One label.
type One = [(&'static str, String); 1];
/// Two labels.
type Two = [(&'static str, String); 2];
/// The labels of the member itself.
type Four = [(&'static str, String); 4];

/// The registry and every metric in it. Shared by all rooms behind an `Arc`; every method takes `&self` and none blocks
/// for longer than a map lookup.
pub struct Metrics {
    registry: Registry,
    started: Instant,
    peers: peers::Peers,
    log: LogMetrics,
    apply: ApplyMetrics,
    doors: DoorMetrics,
    tls: TlsMetrics,
    raft: RaftMetrics,
    process: process::ProcessMetrics,
}

/// What the log thread records.
#[derive(Debug)]
struct LogMetrics {
    fsync_seconds: Histogram,
    frames: Counter,
    bytes_written: Counter,
    wal_bytes: Gauge,
    segments: Gauge,
    snapshot_bytes: Gauge,
    snapshot_index: Gauge,
    snapshots_taken: Counter,
    snapshot_seconds: Histogram,
}

/// What the applier's task records.
#[derive(Debug)]
struct ApplyMetrics {
    seconds: Histogram,
    entries: Counter,
}

/// What the API records.
#[derive(Debug)]
struct DoorMetrics {
    grpc: Family<Two, Counter>,
    refused: Family<One, Counter>,
    refused_peers: Family<One, Counter>,
}

/// What the peer port's certificates are told of.
#[derive(Debug, Default)]
struct TlsMetrics {
    expiry: Gauge,
    reloads: Counter,
    reload_failures: Counter,
    handshake_failures: Counter,
}

/// What is read from the node's status at a scrape.
#[derive(Debug, Default)]
struct RaftMetrics {
    info: Family<Four, Gauge>,
    has_leader: Gauge,
    is_leader: Gauge,
    leader: Family<Two, Gauge>,
    role: Family<One, Gauge>,
    term: Gauge,
    elections: Counter,
    leader_changes: Counter,
    refused_messages: Counter,
    commit: Gauge,
    applied: Gauge,
    last: Gauge,
    first: Gauge,
    configuration: Gauge,
    voters: Gauge,
    learners: Gauge,
    formed: Gauge,
    pending_proposals: Gauge,
    pending_reads: Gauge,
    peer_lag: Family<Two, Gauge>,
    peer_match: Family<Two, Gauge>,
    peer_active: Family<Two, Gauge>,
    peer_send_failures: Family<Two, Counter>,
    revision: Gauge,
    compacted_revision: Gauge,
    keys: Gauge,
    kv_bytes: Gauge,
    kv_quota: Gauge,
    no_space: Family<One, Gauge>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero. `started` is the process's start: make it first.
    #[must_use]
    pub fn new() -> Self {
        registry::build()
    }

    /// The log made one frame durable: how long the `fdatasync` took, and the frame's size.
    pub fn frame_persisted(&self, fsync: Duration, frame_bytes: u64) {
        self.log.fsync_seconds.observe(fsync.as_secs_f64());
        self.log.frames.inc();
        self.log.bytes_written.inc_by(frame_bytes);
    }

    /// The log's size on disk, in bytes and segments, after one was added or released.
    pub fn wal_size(&self, bytes: u64, segments: usize) {
        self.log.wal_bytes.set(clamp(bytes));
        self.log.segments.set(i64::try_from(segments).unwrap_or(i64::MAX));
    }

    /// The log's size on disk in bytes, as it was told last.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        u64::try_from(self.log.wal_bytes.get()).unwrap_or(0)
    }

    /// A snapshot is durable on this disk: its index and size, and how long it took, if it was made here.
    pub fn snapshot_durable(&self, index: u64, bytes: u64, took: Option<Duration>) {
        self.log.snapshot_index.set(clamp(index));
        self.log.snapshot_bytes.set(clamp(bytes));
        if let Some(took) = took {
            self.log.snapshots_taken.inc();
            self.log.snapshot_seconds.observe(took.as_secs_f64());
        }
    }

    /// The applier went through a task: how many entries, and how long it took.
    pub fn applied(&self, entries: u64, took: Duration) {
        self.apply.seconds.observe(took.as_secs_f64());
        self.apply.entries.inc_by(entries);
    }

    /// A frame to a peer could not be sent. The text is kept for the status: it must not hold payloads.
    pub fn send_failed(&self, peer: MemberId, error: &dyn std::fmt::Display) {
        self.peers.failed(peer, error.to_string());
    }

    /// Send failures to the peer since start, the last one's text and age.
    #[must_use]
    pub fn peer_failures(&self, peer: MemberId) -> PeerFailures {
        self.peers.of(peer)
    }

    /// A proposal or a read was refused; `reason` is one of a closed set of words.
    pub fn refused(&self, reason: &'static str) {
        self.doors.refused.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// A peer's call was refused before anything of it was read; `reason` is one of a closed set of words.
    pub fn peer_refused(&self, reason: &'static str) {
        self.doors.refused_peers.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// A connection to the peer port did not get through its handshake.
    pub fn tls_handshake_failed(&self) {
        self.tls.handshake_failures.inc();
    }

    /// This member's certificate for the peer port is valid until then, in seconds since 1970.
    pub fn tls_expiry(&self, until: i64) {
        self.tls.expiry.set(until);
    }

    /// A new set of certificates is used, valid until then.
    pub fn tls_reloaded(&self, until: i64) {
        self.tls.reloads.inc();
        self.tls_expiry(until);
    }

    /// A new set of certificates is broken and kept out.
    pub fn tls_reload_failed(&self) {
        self.tls.reload_failures.inc();
    }

    /// The counter of a gRPC method's answers with one code: looked up once, kept by the caller.
    #[must_use]
    pub fn grpc_counter(&self, method: &str, code: &str) -> Counter {
        self.doors.grpc.get_or_create_owned(&[("method", method.to_owned()), ("code", code.to_owned())])
    }

    /// The registry as Prometheus reads it, after everything that is read from the status was brought up to date.
    #[must_use]
    pub fn render(&self, facts: &Facts<'_>) -> String {
        self.refresh(facts);
        let mut text = String::with_capacity(16 * 1024);
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing into a String does not fail; a metric that cannot be formatted would leave half a page, and half
            // a page without its end mark is refused by the scraper anyway.
            Err(_) => String::new(),
        }
    }
}

/// Sets a counter that somebody else counts.
fn store(counter: &Counter, value: u64) {
    let inner: &AtomicU64 = counter.inner();
    inner.store(value, Ordering::Relaxed);
}

/// Prometheus's gauges are signed here; an index beyond 2^63 does not happen.
fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
