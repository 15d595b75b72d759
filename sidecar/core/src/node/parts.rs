//! What a node keeps, by concern: what is durable, who leads, where the applier stands.
//!
//! May import: `types`, `log`, `effects`, `snapshot`. Deliberately absent: behaviour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::effects::Outgoing;
use crate::log::HardState;
use crate::snapshot::SnapshotHeader;
use crate::types::{BatchNumber, Index, InstallEpoch, MemberId, Term};

/// A Ready that waits for its batch.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub(super) ready: u64,
    pub(super) batch: BatchNumber,
    pub(super) messages: Vec<Outgoing>,
    pub(super) hard_state: Option<HardState>,
    pub(super) installed: Option<Index>,
    pub(super) taken: bool,
}

/// What is issued to the disk, and what is durable on it.
#[derive(Debug, Default)]
pub(super) struct Durability {
    pub(super) issued: BatchNumber,
    pub(super) durable: BatchNumber,
    pub(super) awaiting: VecDeque<Awaiting>,
    /// The newest hard state seen, and whether a batch has to carry it.
    pub(super) newest: HardState,
    pub(super) newest_written: HardState,
    pub(super) durable_state: HardState,
    /// Configuration indexes that are applied but whose commit is not durable yet.
    pub(super) configurations: VecDeque<Index>,
    pub(super) durable_configuration: Index,
}

/// What was told the leader last, and when in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) leader: MemberId,
    pub(super) configuration: Index,
    pub(super) disk_full: bool,
    pub(super) draining: bool,
    pub(super) at: u64,
}

/// Leadership and time.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    pub(super) ticks: u64,
    pub(super) leader: MemberId,
    pub(super) term: Term,
    pub(super) leading_since: u64,
    pub(super) last_heard: BTreeMap<MemberId, u64>,
    pub(super) caught_up_since: BTreeMap<MemberId, u64>,
    pub(super) reports: BTreeMap<MemberId, Index>,
    pub(super) leaderless_since: Option<u64>,
    pub(super) changes: u64,
    pub(super) campaigns: u64,
    /// The term whose leader is known to be gone, and how often this member has campaigned for its place.
    pub(super) gone: Option<Term>,
    pub(super) tries: u32,
    pub(super) draining: bool,
    /// To whom this draining leader has offered its place in vain, and until when it asks nobody.
    pub(super) offered: BTreeSet<MemberId>,
    pub(super) offers_rest_until: u64,
    /// Who told this leader that it never campaigns again.
    pub(super) draining_peers: BTreeSet<MemberId>,
    pub(super) last_report: Reported,
    pub(super) last_announce: u64,
}

/// Where the applier stands.
#[derive(Debug, Default)]
pub(super) struct Applying {
    pub(super) epoch: InstallEpoch,
    pub(super) handed: Index,
    pub(super) handed_term: Term,
    /// The first entry of the newest term that was handed over.
    pub(super) term_start: Option<(Term, Index)>,
    pub(super) applied: Index,
    pub(super) snapshot_running: bool,
    pub(super) snapshot_size: u64,
    /// What the newest snapshot file that came says of itself.
    pub(super) received: Option<SnapshotHeader>,
    pub(super) streams: BTreeMap<MemberId, Index>,
}
