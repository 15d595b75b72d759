//! A run, written down: its size, its seed, and every fault with its time. What a seed expands to, what a failing run is
//! shrunk to, and what a file replays.
//!
//! May import: serde. Deliberately absent: carrying a fault out (the world's), and inventing one (`generate`).

mod validate;

use serde::{Deserialize, Serialize};

pub use validate::{REPLICAS, SECONDS};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Gives every draw of network, disk, clients and operator.
    pub seed: u64,
    /// `spec.replicas` at the beginning: one of [`REPLICAS`].
    pub replicas: u8,
    /// Clients, each with one call at a time.
    pub clients: u8,
    /// Length of the safety phase in simulated seconds; healing and the liveness phase follow.
    pub seconds: u32,
    /// A planted bug by name; only in a build that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// In order of time.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Simulated milliseconds after the start.
    pub at_ms: u64,
    /// What happens.
    pub kind: Kind,
}

/// What can happen. Pods by ordinal; one that is not there is left alone. Durations in simulated milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "a field says what its name says; units stand above")]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Kind {
    /// `kill -9`; the pod comes back.
    Kill { pod: u8 },
    /// The machine loses its power: what was not synced is gone, torn, or there.
    PowerCut { pod: u8 },
    /// All at once.
    PowerCutAll,
    /// The process ends after so many more changes to its disk, wherever that is; `power`: as by a power cut.
    Fuse { pod: u8, changes: u32, power: bool },
    /// The process ends now, and the next one after so many changes to its disk: in opening it, in recovery, or later.
    FuseAtStart { pod: u8, changes: u32, power: bool },
    /// The power goes in the middle of the next so many writes of the log, one after the other.
    TornWrites { pod: u8, times: u8 },
    /// The volume and the pod are deleted; the pod comes back on an empty one.
    Wipe { pod: u8 },
    /// SIGSTOP, or a frozen machine.
    Pause { pod: u8, ms: u32 },
    /// These pods on one side, all others on the other.
    Partition { side: Vec<u8>, ms: u32 },
    /// Nothing arrives from one at the other.
    OneWay { from: u8, to: u8, ms: u32 },
    /// Each message is lost, doubled or late, in so many of 1000.
    Lossy { drop: u16, duplicate: u16, late: u16, ms: u32 },
    /// Every message takes up to so much longer.
    SlowNetwork { extra_ms: u16, ms: u32 },
    /// Every sync takes up to so long.
    SlowDisk { pod: u8, sync_ms: u16, ms: u32 },
    /// The disk has no room for anything more.
    FullDisk { pod: u8, ms: u32 },
    /// The next sync fails.
    FailedSync { pod: u8 },
    /// The next read from the disk fails, in this process or the next one.
    FailedRead { pod: u8 },
    /// A bit of the log, before its last frame, of a snapshot, or of the identity flips; then the process is killed.
    Rot { pod: u8 },
    /// A block of the log, before its last frame, holds what was written for another place, or nothing; then the process is killed.
    MisplacedWrite { pod: u8 },
    /// A person moves the leadership.
    Transfer { to: u8 },
    /// `kubectl scale`.
    Scale { replicas: u8 },
    /// A snapshot is taken, however small the log is.
    Snapshot { pod: u8 },
    /// The clock runs at so many of 1000.
    ClockDrift { pod: u8, per_mille: u16, ms: u32 },
    /// The pod comes back under another address, maybe one that another pod had.
    Move { pod: u8 },
    /// A follower is told, wrongly, that its leader's process is gone.
    FalseAlarm { pod: u8 },
    /// The operator dies in the middle of what it does.
    OperatorCrash,
    /// A second operator does not know that it lost its lease.
    TwoOperators { ms: u32 },
    /// Between looking and acting the operator takes up to so long.
    SlowOperator { delay_ms: u32, ms: u32 },
    /// Somebody edits the register away.
    ForgetRegister,
    /// The pods' template changes: all of them are to be restarted in order.
    Roll,
    /// The applier stands still for a while.
    SlowApplier { pod: u8, ms: u32 },
}

/// In place of a pod: all of them.
pub const WHOLE: u8 = u8::MAX;

impl Kind {
    /// Its name, for the coverage.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::PowerCut { .. } => "power cut",
            Self::PowerCutAll => "power cut of all",
            Self::Fuse { power: false, .. } => "kill at a write",
            Self::Fuse { power: true, .. } => "power cut at a write",
            Self::FuseAtStart { .. } => "end at a write of the start",
            Self::TornWrites { .. } => "torn writes",
            Self::Wipe { .. } => "wiped volume",
            Self::Pause { .. } => "pause",
            Self::Partition { .. } => "partition",
            Self::OneWay { .. } => "one-way loss",
            Self::Lossy { .. } => "lossy network",
            Self::SlowNetwork { .. } => "slow network",
            Self::SlowDisk { .. } => "slow disk",
            Self::FullDisk { .. } => "full disk",
            Self::FailedSync { .. } => "failed sync",
            Self::FailedRead { .. } => "failed read",
            Self::Rot { .. } => "bit rot",
            Self::MisplacedWrite { .. } => "misplaced write",
            Self::Transfer { .. } => "transfer",
            Self::Scale { .. } => "scale",
            Self::Snapshot { .. } => "snapshot",
            Self::ClockDrift { .. } => "clock drift",
            Self::Move { .. } => "address change",
            Self::FalseAlarm { .. } => "false alarm",
            Self::OperatorCrash => "operator crash",
            Self::TwoOperators { .. } => "two operators",
            Self::SlowOperator { .. } => "slow operator",
            Self::ForgetRegister => "register forgotten",
            Self::Roll => "roll",
            Self::SlowApplier { .. } => "slow applier",
        }
    }

    /// Whose it is to be felt, if that is not at once: it counts only then. A slow disk that nothing is written to, or a loss
    /// of messages where none is sent, has tested nothing. [`WHOLE`]: nobody's in particular.
    #[must_use]
    pub const fn felt_by(&self) -> Option<u8> {
        match self {
            Self::Fuse { pod, .. }
            | Self::FuseAtStart { pod, .. }
            | Self::TornWrites { pod, .. }
            | Self::SlowDisk { pod, .. }
            | Self::FullDisk { pod, .. }
            | Self::FailedSync { pod }
            | Self::FailedRead { pod }
            | Self::ClockDrift { pod, .. }
            | Self::SlowApplier { pod, .. } => Some(*pod),
            Self::Partition { .. }
            | Self::OneWay { .. }
            | Self::Lossy { .. }
            | Self::SlowNetwork { .. }
            | Self::Transfer { .. }
            | Self::TwoOperators { .. }
            | Self::SlowOperator { .. } => Some(WHOLE),
            Self::Kill { .. }
            | Self::PowerCut { .. }
            | Self::PowerCutAll
            | Self::Wipe { .. }
            | Self::Pause { .. }
            | Self::Rot { .. }
            | Self::MisplacedWrite { .. }
            | Self::Scale { .. }
            | Self::Snapshot { .. }
            | Self::Move { .. }
            | Self::FalseAlarm { .. }
            | Self::OperatorCrash
            | Self::ForgetRegister
            | Self::Roll => None,
        }
    }

    /// All names, for the test that none is never met.
    pub const NAMES: [&'static str; 31] = [
        "kill",
        "power cut",
        "power cut of all",
        "kill at a write",
        "power cut at a write",
        "wiped volume",
        "pause",
        "partition",
        "one-way loss",
        "lossy network",
        "slow network",
        "slow disk",
        "full disk",
        "failed sync",
        "bit rot",
        "transfer",
        "scale",
        "snapshot",
        "clock drift",
        "address change",
        "false alarm",
        "operator crash",
        "two operators",
        "slow operator",
        "register forgotten",
        "roll",
        "slow applier",
        "end at a write of the start",
        "torn writes",
        "failed read",
        "misplaced write",
    ];
}
