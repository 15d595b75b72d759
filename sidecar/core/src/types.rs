//! The newtypes that every room shares. No `u64` crosses a module boundary bare.
//!
//! May import: nothing of ours. Deliberately absent: behaviour beyond ordering and arithmetic by one.

use std::fmt;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        newtype!($(#[$doc])* $name($inner), "{}");
    };
    ($(#[$doc:meta])* $name:ident($inner:ty), $shown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $shown, self.0)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

newtype!(
    /// A member's id, shown in hexadecimal as everywhere: random, 63 bits, never 0, bound to one data directory for ever.
    MemberId(u64),
    "{:016x}"
);
newtype!(
    /// A cluster's id: minted once at founding, never 0 in a founded cluster.
    ClusterId(u64),
    "{:016x}"
);
newtype!(
    /// A raft term.
    Term(u64)
);
newtype!(
    /// An index into the raft log; the first entry that a client can see is above the founding snapshot's.
    Index(u64)
);
newtype!(
    /// A revision of the key space: an empty store is at 1, every writing transaction adds one.
    Revision(i64)
);
newtype!(
    /// A lease's id; 0 means "none" on the wire.
    LeaseId(i64)
);
newtype!(
    /// The number of a batch handed to the log, counted from 1 within a boot.
    BatchNumber(u64)
);
newtype!(
    /// The number of a linearizable read, unique within a boot of one member.
    ReadId(u64)
);
newtype!(
    /// The number of a membership or metadata request, unique within a boot of one member.
    AdminId(u64)
);
newtype!(
    /// The number of an asynchronous fetch of old log entries, unique within a boot.
    FetchId(u64)
);
newtype!(
    /// Counts installed snapshots within a boot, so that results of an earlier state are recognised.
    InstallEpoch(u64)
);

impl Index {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; 0 stays 0.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Names a proposal for ever: a restarted sequence would let an old entry acknowledge a new proposal.
///
/// `boot` is counted durably by the member, `nonce` is drawn outside core at start, `sequence` counts from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId {
    /// The member that took the proposal from its client.
    pub member: MemberId,
    /// That member's boot counter.
    pub boot: u64,
    /// That boot's nonce.
    pub nonce: u64,
    /// The proposal's number within the boot.
    pub sequence: u64,
}

/// One start of a member's process. The durable counter orders them; the nonce tells two copies of one directory apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Boot {
    /// Grows with every start of the member, durably.
    pub count: u64,
    /// Drawn at the start, never 0.
    pub nonce: u64,
}
