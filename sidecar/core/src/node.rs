//! CONTRACT SKETCH, being implemented by the lead: signatures are stable, bodies come.
#![allow(missing_docs, clippy::all, clippy::unimplemented, unused_variables, reason = "sketch")]

use std::ops::Range;

use crate::applier::ApplyTask;
use crate::effects::Effects;
use crate::error::Fatal;
use crate::event::Event;
use crate::log::{Entry, Recovered, Seed};
use crate::membership::{Membership, RosterEntry, Route};
use crate::snapshot::SnapshotHeader;
use crate::status::NodeStatus;
use crate::types::{ClusterId, Index};

/// What a node needs to be told once.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub cluster: ClusterId,
    /// This member: id, name, address, address version, software version.
    pub own: Route,
    /// Ticks of silence until an election; one tick = the heartbeat interval.
    pub election_ticks: u32,
    /// Proposals and reads that may be pending each, before `TooManyRequests`.
    pub max_pending: usize,
    /// Largest command in bytes.
    pub max_command_bytes: usize,
    /// Snapshot when the entries since the last one weigh more than max(this, the last snapshot's size).
    pub snapshot_every_bytes: u64,
    /// A founder by hand forms by itself once so many voters are in the configuration.
    pub form_when: Option<usize>,
}

/// A node that is being rebuilt from its disk.
#[derive(Debug)]
pub struct Replay {}

impl Replay {
    /// `header` is the decoded header of the snapshot that `recovered.snapshot` names.
    pub fn new(
        config: NodeConfig,
        recovered: &Recovered,
        header: Option<SnapshotHeader>,
    ) -> Result<Self, Fatal> {
        unimplemented!()
    }
    /// The committed entries that are still to be applied: read them in chunks and hand each to `apply`. Empty: done.
    pub fn wanted(&self) -> Range<Index> {
        unimplemented!()
    }
    /// Applies membership entries and gives the task for the applier (run it synchronously, drop its results).
    pub fn apply(&mut self, entries: Vec<Entry>) -> Result<ApplyTask, Fatal> {
        unimplemented!()
    }
    /// The entries (commit, last], all of them (`tail_wanted`), go into memory; the node starts.
    pub fn tail_wanted(&self) -> Range<Index> {
        unimplemented!()
    }
    pub fn into_node(self, tail: Vec<Entry>) -> Result<Node, Fatal> {
        unimplemented!()
    }
}

/// The consensus node: owns raft-rs's `RawNode`.
#[derive(Debug)]
pub struct Node {}

impl Node {
    /// Takes note of what happened. Only mutates.
    pub fn handle(&mut self, event: Event) {
        unimplemented!()
    }
    /// Turns all that was handled since into at most one Ready's worth of work.
    pub fn flush(&mut self) -> Result<Effects, Fatal> {
        unimplemented!()
    }
    pub fn status(&self) -> NodeStatus {
        unimplemented!()
    }
    pub fn membership(&self) -> &Membership {
        unimplemented!()
    }
    /// Routes by which peers are to be dialled now: the log's map overlaid by newer handshakes; changes bump the counter.
    pub fn routes(&self) -> (u64, Vec<Route>) {
        unimplemented!()
    }
}

/// The snapshot with which a founder's log begins: index 1, its own configuration, the seed map.
pub fn founding_header(
    cluster: ClusterId,
    founder: &Route,
    roster: &[RosterEntry],
    seeds: &[Route],
) -> SnapshotHeader {
    unimplemented!()
}

/// Seeds of the address map, to be written into the log.
pub fn seeds_of(routes: &[Route]) -> Vec<Seed> {
    unimplemented!()
}
