//! Names, help texts and buckets: the one list of what is exported.
//!
//! May import: its parent's structs. Deliberately absent: recording.

use std::time::Instant;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::peers::Peers;
use super::process::ProcessMetrics;
use super::{ApplyMetrics, DoorMetrics, LogMetrics, Metrics, RaftMetrics, TlsMetrics};

/// 50 µs … 3.3 s: an `fdatasync` on a good disk takes 125 µs, a broken one seconds.
fn fsync_buckets() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 17))
}

/// 10 µs … 0.6 s: a batch of applied entries.
fn apply_buckets() -> Histogram {
    Histogram::new(exponential_buckets(10e-6, 2.0, 17))
}

/// 1 ms … 65 s: a whole snapshot.
fn snapshot_buckets() -> Histogram {
    Histogram::new(exponential_buckets(1e-3, 2.0, 17))
}

pub(super) fn build() -> Metrics {
    let log = LogMetrics {
        fsync_seconds: fsync_buckets(),
        frames: <_>::default(),
        bytes_written: <_>::default(),
        wal_bytes: <_>::default(),
        segments: <_>::default(),
        snapshot_bytes: <_>::default(),
        snapshot_index: <_>::default(),
        snapshots_taken: <_>::default(),
        snapshot_seconds: snapshot_buckets(),
    };
    let apply = ApplyMetrics { seconds: apply_buckets(), entries: <_>::default() };
    let doors = DoorMetrics { grpc: <_>::default(), refused: <_>::default(), refused_peers: <_>::default() };
    let (raft, tls) = (RaftMetrics::default(), TlsMetrics::default());
    let process = ProcessMetrics::default();

    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix("outrigger");
    register_log(ours, &log, &apply);
    register_doors(ours, &doors, &raft);
    register_tls(ours, &tls);
    register_raft(ours, &raft);
    register_peers(ours, &raft);
    register_process(&mut registry, &process);
    Metrics {
        registry,
        started: Instant::now(),
        peers: Peers::default(),
        log,
        apply,
        doors,
        tls,
        raft,
        process,
    }
}

fn register_log(to: &mut Registry, log: &LogMetrics, apply: &ApplyMetrics) {
    to.register(
        "wal_fsync_seconds",
        "Duration of the log's fdatasync, one a frame",
        log.fsync_seconds.clone(),
    );
    to.register("wal_frames", "Frames made durable", log.frames.clone());
    to.register("wal_written_bytes", "Bytes of the frames made durable", log.bytes_written.clone());
    to.register("wal_size_bytes", "Size of the log's segments on disk", log.wal_bytes.clone());
    to.register("wal_segments", "Segments of the log on disk", log.segments.clone());
    to.register("snapshot_size_bytes", "Size of the newest durable snapshot", log.snapshot_bytes.clone());
    to.register("snapshot_index", "Applied index of the newest durable snapshot", log.snapshot_index.clone());
    to.register("snapshots_taken", "Snapshots made by this member", log.snapshots_taken.clone());
    to.register("snapshot_seconds", "Duration of making a snapshot", log.snapshot_seconds.clone());
    to.register("apply_seconds", "Duration of applying a batch of committed entries", apply.seconds.clone());
    to.register("applied_entries", "Committed entries applied", apply.entries.clone());
}

fn register_doors(to: &mut Registry, doors: &DoorMetrics, raft: &RaftMetrics) {
    to.register("grpc_requests", "Answers of the client port by method and code", doors.grpc.clone());
    to.register("requests_refused", "Proposals and reads refused, by reason", doors.refused.clone());
    to.register(
        "peer_calls_refused",
        "Calls of peers refused before anything of them was read, by reason",
        doors.refused_peers.clone(),
    );
    to.register(
        "proposals_pending",
        "Proposals that await their applied result",
        raft.pending_proposals.clone(),
    );
    to.register("reads_pending", "Linearizable reads that await their index", raft.pending_reads.clone());
    to.register("kv_revision", "Revision of the published key space", raft.revision.clone());
    to.register(
        "kv_compacted_revision",
        "Revision below which history is dropped",
        raft.compacted_revision.clone(),
    );
    to.register("kv_keys", "Live keys", raft.keys.clone());
    to.register("kv_size_bytes", "Size of the key space with its history", raft.kv_bytes.clone());
    to.register(
        "kv_quota_bytes",
        "Size beyond which only what does not grow is served",
        raft.kv_quota.clone(),
    );
    to.register(
        "nospace",
        "1 while the NOSPACE alarm stands for this cause: the disk, the log's reserve, or the quota",
        raft.no_space.clone(),
    );
}

fn register_tls(to: &mut Registry, tls: &TlsMetrics) {
    to.register(
        "peer_tls_certificate_expiry_seconds",
        "When this member's certificate for the peer port expires, in seconds since 1970; 0 on a plain port",
        tls.expiry.clone(),
    );
    to.register("peer_tls_reloads", "New certificates that were taken into use", tls.reloads.clone());
    to.register(
        "peer_tls_reload_failures",
        "New certificates that were broken and kept out",
        tls.reload_failures.clone(),
    );
    to.register(
        "peer_tls_handshake_failures",
        "Connections to the peer port without a certificate that is believed",
        tls.handshake_failures.clone(),
    );
}

fn register_raft(to: &mut Registry, raft: &RaftMetrics) {
    to.register("member", "Always 1: who this member is", raft.info.clone());
    to.register("raft_has_leader", "1 if a leader is known", raft.has_leader.clone());
    to.register("raft_is_leader", "1 if this member leads", raft.is_leader.clone());
    to.register("raft_leader", "1 for the member that is known to lead", raft.leader.clone());
    to.register("raft_role", "1 for this member's role", raft.role.clone());
    to.register("raft_term", "Current term", raft.term.clone());
    to.register("raft_elections_started", "Elections that this member started", raft.elections.clone());
    to.register("raft_leader_changes", "Changes of leader that this member saw", raft.leader_changes.clone());
    to.register(
        "peer_messages_refused",
        "Messages of peers that were garbage, or that no member of this version sends: dropped unread",
        raft.refused_messages.clone(),
    );
    to.register("raft_commit_index", "Highest index known to be committed", raft.commit.clone());
    to.register("raft_applied_index", "Index of the published state", raft.applied.clone());
    to.register("raft_last_index", "Last index of the log", raft.last.clone());
    to.register("raft_first_index", "First index of the log", raft.first.clone());
    to.register(
        "raft_configuration_index",
        "Index of the last applied membership entry",
        raft.configuration.clone(),
    );
    to.register("raft_voters", "Voters of the configuration", raft.voters.clone());
    to.register("raft_learners", "Learners of the configuration", raft.learners.clone());
    to.register("formed", "1 once the cluster is formed and clients are served", raft.formed.clone());
}

fn register_peers(to: &mut Registry, raft: &RaftMetrics) {
    to.register("peer_lag_entries", "Entries behind the leader's commit; leader only", raft.peer_lag.clone());
    to.register("peer_match_index", "Highest index in the peer's log; leader only", raft.peer_match.clone());
    to.register(
        "peer_active",
        "1 if the leader heard from the peer within an election timeout; leader only",
        raft.peer_active.clone(),
    );
    to.register(
        "peer_send_failures",
        "Frames that could not be sent to the peer",
        raft.peer_send_failures.clone(),
    );
}

fn register_process(to: &mut Registry, process: &ProcessMetrics) {
    to.register("process_resident_memory_bytes", "Resident memory", process.resident_bytes.clone());
    to.register("process_open_fds", "Open file descriptors", process.open_fds.clone());
    // A gauge and not a counter by type, because it is read whole from the kernel; it never falls.
    to.register("process_cpu_seconds", "User and system CPU time", process.cpu_seconds.clone());
    to.register("process_uptime_seconds", "Time since the process started", process.uptime_seconds.clone());
}
