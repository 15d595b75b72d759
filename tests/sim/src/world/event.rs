//! What can happen in the world, and the order of what happens.

use std::cmp::Ordering;

use bytes::Bytes;
use outrigger_core::error::Refusal;
use outrigger_core::event::{AdminReply, Delivery};
use outrigger_core::membership::Route;
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_core::types::{ClusterId, FetchId, Index, MemberId, Term};

use super::Time;
use super::clients::Asked;
use super::operator::OperatorEvent;

/// A process: a pod and which of its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) pod: u8,
    pub(super) incarnation: u32,
}

#[derive(Debug)]
pub(super) enum Happening {
    Fault(usize),
    FaultEnds(usize),
    Client(usize),
    /// A client has waited long enough for the answer to a call.
    ClientGivesUp(usize, u64),
    /// A client's call reaches the member that it was sent to.
    ClientCall(usize, u64),
    Operator(OperatorEvent),
    /// The power goes while this process writes its log, if it still does.
    Tear(At),
    /// The pod's next process starts, if the pod is still the one that it was.
    PodStarts(u8, u32),
    Process(At, Input),
}

/// What happens to a process.
#[derive(Debug)]
pub(super) enum Input {
    Tick,
    /// The node takes in all that waits for it.
    Turn,
    /// A client asks for something.
    Call(Asked),
    /// A peer's message.
    Message {
        from: MemberId,
        bytes: Bytes,
    },
    /// This process dials a peer.
    Dial {
        peer: MemberId,
    },
    /// The stream to a peer is gone: its process ended, or has been silent for too long.
    StreamBroke {
        peer: MemberId,
        other: At,
    },
    /// A peer has shaken hands with this process.
    Met(Box<Route>),
    LogDone,
    /// The log has nothing to write: it makes segments ready.
    LogIdle,
    ApplyDone,
    /// What was applied is reported to the node.
    ApplyTold,
    SnapshotWritten,
    TakeSnapshot,
    Fetched {
        id: FetchId,
        from: Index,
        to: Index,
        max_bytes: usize,
    },
    SnapshotArrives(Box<Stream>),
    /// What arrived of it is written.
    SnapshotStored,
    SnapshotSent {
        to: MemberId,
        delivery: Delivery,
    },
    CampaignDue {
        term: Term,
    },
    /// An empty disk asks who is there.
    Round,
    JoinAnswered {
        cluster: ClusterId,
        outcome: Result<AdminReply, Refusal>,
    },
    /// A full disk is asked again.
    AskDisk,
    Resumes,
    /// Without a leader for long: asks DNS who is there.
    Search,
    /// The process was told to stop; it ends at the latest now.
    GraceEnds,
}

/// A snapshot's stream from one process to another.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) sender: At,
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    pub(super) header: SnapshotHeader,
    pub(super) message: Bytes,
    pub(super) file: Bytes,
    pub(super) crc: u32,
    /// Only so much of it arrives.
    pub(super) breaks_at: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: Time,
    pub(super) sequence: u64,
    pub(super) happening: Happening,
}

impl Happening {
    /// What happens, as a number: two runs that differ in it have parted.
    pub(super) fn digest(&self) -> u64 {
        let of = |kind: u64, detail: u64| kind << 56 ^ detail;
        let at = |at: &At| u64::from(at.pod) << 32 | u64::from(at.incarnation);
        match self {
            Self::Fault(fault) => of(1, *fault as u64),
            Self::FaultEnds(fault) => of(2, *fault as u64),
            Self::Client(client) => of(3, *client as u64),
            Self::ClientGivesUp(client, call) => of(4, (*client as u64) << 48 ^ call),
            Self::ClientCall(client, call) => of(5, (*client as u64) << 48 ^ call),
            Self::Operator(_) => of(6, 0),
            Self::Tear(process) => of(7, at(process)),
            Self::PodStarts(pod, life) => of(8, u64::from(*pod) << 32 | u64::from(*life)),
            Self::Process(process, input) => of(9, at(process)) ^ input.digest().rotate_left(17),
        }
    }
}

impl Input {
    fn digest(&self) -> u64 {
        let crc = |bytes: &Bytes| u64::from(crc32c::crc32c(bytes));
        match self {
            Self::Tick => 1,
            Self::Turn => 2,
            Self::Call(asked) => 3 ^ asked.number << 8,
            Self::Message { from, bytes } => 4 ^ from.0.rotate_left(8) ^ crc(bytes) << 8,
            Self::Dial { peer } => 5 ^ peer.0.rotate_left(8),
            Self::StreamBroke { peer, .. } => 6 ^ peer.0.rotate_left(8),
            Self::Met(route) => 7 ^ route.id.0.rotate_left(8),
            Self::LogDone => 8,
            Self::LogIdle => 9,
            Self::ApplyDone => 10,
            Self::SnapshotWritten => 11,
            Self::TakeSnapshot => 12,
            Self::Fetched { from, to, .. } => 13 ^ from.0 << 8 ^ to.0 << 36,
            Self::SnapshotArrives(stream) => 14 ^ u64::from(stream.crc) << 8,
            Self::SnapshotStored => 15,
            Self::SnapshotSent { to, .. } => 16 ^ to.0.rotate_left(8),
            Self::CampaignDue { term } => 17 ^ term.0 << 8,
            Self::Round => 18,
            Self::JoinAnswered { cluster, .. } => 19 ^ cluster.0.rotate_left(8),
            Self::AskDisk => 20,
            Self::Resumes => 21,
            Self::Search => 22,
            Self::GraceEnds => 23,
            Self::ApplyTold => 24,
        }
    }
}

/// The heap gives the largest: the earliest, and of one moment the first.
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Scheduled {}
