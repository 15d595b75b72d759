//! Everything that can happen to a node: the closed list of what comes in.
//!
//! May import: `types`, `log`, `membership`'s request types. Deliberately absent: how it came.

use bytes::Bytes;

use crate::applier::Applied;
use crate::log::Entry;
use crate::membership::{RosterEntry, Route};
use crate::types::{AdminId, BatchNumber, ClusterId, FetchId, Index, MemberId, ProposalId, ReadId, Term};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// One heartbeat interval went by.
    Tick,
    /// A peer's message arrived; `from` is what its handshake said and was verified.
    Peer {
        /// The sender.
        from: MemberId,
        /// As [`crate::effects::Outgoing::bytes`] left the other side.
        bytes: Bytes,
    },
    /// A client proposes. `id.sequence` grows within a boot.
    Propose {
        /// Names it for ever.
        id: ProposalId,
        /// The state machine's command.
        command: Bytes,
        /// Ticks until it is answered with [`crate::error::Refusal::Timeout`].
        deadline_ticks: u32,
    },
    /// A client wants a linearizable read.
    Read {
        /// Names it within the boot.
        id: ReadId,
        /// Ticks until it is answered with a timeout.
        deadline_ticks: u32,
    },
    /// A membership or metadata request.
    Admin {
        /// Names it within the boot.
        id: AdminId,
        /// What is wanted.
        request: AdminRequest,
        /// Ticks until it is answered with a timeout.
        deadline_ticks: u32,
    },
    /// The log has this batch, and all before it, durably.
    Persisted {
        /// The newest durable batch.
        batch: BatchNumber,
    },
    /// The applier is through with a task and has published its view.
    Applied(Applied),
    /// Old entries that were asked for.
    Fetched {
        /// Which request.
        fetch: FetchId,
        /// The entries from the start of the range, possibly fewer than wanted, never none.
        entries: Vec<Entry>,
    },
    /// A snapshot of this member's state is durable on its disk (file and log mark may follow).
    SnapshotTaken {
        /// Its place, and what the file begins with.
        header: crate::snapshot::SnapshotHeader,
        /// The file's length: the next one is taken when the log outgrows it.
        size_bytes: u64,
    },
    /// A snapshot that a leader sent is durable on this disk; its announcing message follows as `Peer`.
    SnapshotReceived {
        /// Its header.
        header: crate::snapshot::SnapshotHeader,
    },
    /// The stream of a snapshot to a peer ended. Every stream's end is reported: raft-rs never retries otherwise.
    SnapshotSent {
        /// The peer.
        to: MemberId,
        /// What became of it.
        delivery: Delivery,
    },
    /// Messages to the peer could not be sent.
    Unreachable {
        /// The peer.
        peer: MemberId,
    },
    /// The leader's process is gone: its stream broke and the reconnect was refused or met another boot.
    LeaderGone {
        /// The term of that leader.
        term: Term,
    },
    /// The delay that [`crate::effects::Effects::campaign_after`] asked for is over.
    CampaignDue {
        /// The term in which it was asked for.
        term: Term,
    },
    /// A verified handshake told a peer's name and address.
    Handshake(Route),
    /// This member's own address is this one now.
    OwnAddress(Route),
    /// Never campaign again; hand the leadership over if it is here.
    Drain,
    /// What this member is short of now.
    Shortage(crate::status::Shortage),
    /// Take a snapshot soon, however small the log is: on a full disk only the release that follows gives space back.
    SnapshotDue,
}

/// What became of a snapshot's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The peer has it durably.
    Delivered,
    /// It did not arrive.
    Broken,
    /// The file is not there any more, or cannot be read: another one must go.
    NoFile,
}

/// What the membership and the cluster's metadata can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// Write the whole roster, if the configuration index is the expected one.
    Admit {
        /// The cluster that the caller means.
        cluster: ClusterId,
        /// Compare-and-set; `None` from a person: whatever stands.
        expected: Option<Index>,
        /// The whole target set.
        roster: Vec<RosterEntry>,
    },
    /// Let a member in.
    Join {
        /// The cluster that the joiner means; 0 if it does not know.
        cluster: ClusterId,
        /// Who, under which name, where.
        route: Route,
        /// Clusters that the joiner's disk has abandoned.
        abandoned: Vec<ClusterId>,
    },
    /// Drop one member from roster and configuration.
    Remove {
        /// The cluster that the caller means.
        cluster: ClusterId,
        /// Which; by id or by name.
        target: MemberSelector,
        /// Compare-and-set; `None` from a person.
        expected: Option<Index>,
    },
    /// Propose the entry after which clients are served.
    Form {
        /// The cluster that the caller means.
        cluster: ClusterId,
    },
    /// Move the leadership.
    Transfer {
        /// To whom; `None` for the best voter.
        to: Option<MemberSelector>,
    },
    /// Set a key of the cluster metadata (`None` deletes it).
    SetMetadata {
        /// At most 256 bytes.
        key: String,
        /// JSON, at most 64 KiB; all keys and values together at most 1 MiB.
        value: Option<Bytes>,
    },
}

/// A member, named either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberSelector {
    /// By id.
    Id(MemberId),
    /// By the pod's name.
    Name(String),
}

/// What an [`AdminRequest`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminReply {
    /// The roster stands, or the member is dropped from it: the configuration index after that.
    Configuration {
        /// Compare the next request with this.
        index: Index,
    },
    /// The joiner is in, as a learner.
    Joined {
        /// The cluster.
        cluster: ClusterId,
        /// Everyone's address.
        members: Vec<Route>,
    },
    /// Done.
    Done,
    /// Who leads now.
    Leader {
        /// The new leader.
        id: MemberId,
    },
}
