//! Everything that a node wants done: the closed list of what goes out.
//!
//! May import: `types`, `log`, `event`'s replies. Deliberately absent: how it is done.

use std::ops::Range;

use bytes::Bytes;

use crate::applier::ApplyTask;
use crate::error::Refusal;
use crate::event::AdminReply;
use crate::log::Batch;
use crate::snapshot::SnapshotHeader;
use crate::state_machine::Output;
use crate::types::{AdminId, FetchId, Index, MemberId, ProposalId, ReadId, Term};

/// At most one Ready's worth of work, to be done in any order except as the fields say.
#[derive(Debug, Default)]
pub struct Effects {
    /// Hand to the log. [`crate::event::Event::Persisted`] answers. A batch with an `Installed` mark: the snapshot file
    /// is durable already.
    pub persist: Option<Batch>,
    /// Send now: what had to wait for the disk was held back until it was durable.
    pub messages: Vec<Outgoing>,
    /// Hand to the applier, in order.
    pub apply: Vec<ApplyTask>,
    /// Answer these callers.
    pub replies: Vec<Reply>,
    /// Read old entries from the log; [`crate::event::Event::Fetched`] answers.
    pub fetch: Vec<Fetch>,
    /// Snapshots to stream to peers; [`crate::event::Event::SnapshotSent`] answers.
    pub send_snapshots: Vec<SendSnapshot>,
    /// Take a snapshot: the applier gets a task for it among `apply`; this says only that one was asked for.
    pub release_log_below: Option<Index>,
    /// Call back with [`crate::event::Event::CampaignDue`] after a delay: rank × max(10 ms, 3 × the fsync p99).
    pub campaign_after: Option<CampaignDelay>,
    /// This member is no longer one: stop the node, move the data aside.
    pub removed: bool,
    /// There is more: flush again before waiting.
    pub more: bool,
}

impl Effects {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.persist.is_none()
            && self.messages.is_empty()
            && self.apply.is_empty()
            && self.replies.is_empty()
            && self.fetch.is_empty()
            && self.send_snapshots.is_empty()
            && self.release_log_below.is_none()
            && self.campaign_after.is_none()
            && !self.removed
            && !self.more
    }
}

/// For transport's queues: what may be coalesced, what must not be dropped silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageClass {
    /// Only the newest counts.
    Heartbeat,
    /// Any other raft message.
    Raft,
    /// Forwarded proposals and reads, and their results.
    Forward,
}

/// One message to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub to: MemberId,
    /// For the queues.
    pub class: MessageClass,
    /// Opaque to everyone but core.
    pub bytes: Bytes,
}

/// An answer to a caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To a proposal.
    Proposal {
        /// Which.
        id: ProposalId,
        /// The applied result.
        outcome: Result<Output, Refusal>,
    },
    /// To a read: the published view holds everything that was acknowledged before it was asked.
    Read {
        /// Which.
        id: ReadId,
        /// The index that the view has reached.
        outcome: Result<Index, Refusal>,
    },
    /// To a membership request.
    Admin {
        /// Which.
        id: AdminId,
        /// What became of it.
        outcome: Result<AdminReply, Refusal>,
    },
}

/// A range of the log that is no longer in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Names the answer.
    pub id: FetchId,
    /// Half-open.
    pub range: Range<Index>,
    /// Stop after so many bytes, but give at least one entry.
    pub max_bytes: usize,
}

/// A snapshot to stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendSnapshot {
    /// To whom.
    pub to: MemberId,
    /// Which file.
    pub header: SnapshotHeader,
    /// Delivered to the peer's node once the file is durable there.
    pub message: Bytes,
}

/// When to campaign after a leader's process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignDelay {
    /// The term that the dead leader led.
    pub term: Term,
    /// This voter's place among the others, counted from 0.
    pub rank: u32,
}
