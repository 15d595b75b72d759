//! Planted bugs: where the field's real ones were, each to be found by the simulator within 500 seeds.
//!
//! The code that ships asks [`is_alive`] at these places only where the feature `mutants` is on, which no release has: without
//! debug assertions this crate does not compile.
//!
//! Deliberately absent: the bugs themselves; each stands where it would have been made.

use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(not(debug_assertions))]
compile_error!("planted bugs are for simulations, never for a release: turn the feature `mutants` off");

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $mutant:ident = $name:literal),* $(,)?) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mutant {
            $($(#[doc = $doc])* $mutant),*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$mutant),*];

            /// Its name on the command line and in schedules.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$mutant => $name),*
                }
            }

            /// What is wrong with it.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$mutant => concat!($($doc),*)),*
                }
            }
        }
    };
}

mutants! {
    /// clients are served before the cluster is formed
    ServedBeforeFormed = "served-before-formed",
    /// that a cluster is abandoned is kept in memory only
    AbandonNotDurable = "abandon-not-durable",
    /// tombstones come when a joint configuration is entered, not when it is left
    TombstoneAtEnterJoint = "tombstone-at-enter-joint",
    /// pods are deleted before the new majority knows that their members left
    PodsDeletedEarly = "pods-deleted-early",
    /// an entry of an earlier boot acknowledges a proposal of the same number
    OldBootAccepted = "old-boot-accepted",
    /// a frame begins in the block in which the one before it ends
    SharedBlock = "shared-block",
    /// a new segment does not repeat term and vote
    ForgottenVote = "forgotten-vote",
    /// after a torn tail the log goes on behind the cut
    AppendBehindCut = "append-behind-cut",
    /// messages of a Ready with nothing to persist leave before the one before it is durable
    EarlyMessages = "early-messages",
    /// the log is not synced
    SkippedSync = "skipped-sync",
    /// a follower acknowledges what it has not on its disk
    EarlyAcknowledgement = "early-acknowledgement",
    /// a leader answers reads without asking whether it still leads
    StaleReads = "stale-reads",
    /// a proposal that arrives twice is applied twice
    AppliedTwice = "applied-twice",
    /// a snapshot's file is not synced before it is named
    SnapshotNotSynced = "snapshot-not-synced",
    /// a vote is not written down
    VoteNotDurable = "vote-not-durable",
    /// a log that is damaged in its middle is cut there
    CutInTheMiddle = "cut-in-the-middle",
    /// a snapshot does not carry which proposals were applied
    WindowsNotInSnapshot = "windows-not-in-snapshot",
    /// an empty disk takes the id that its pod had before
    OldIdOnEmptyDisk = "old-id-on-empty-disk",
    /// a change of the configuration is put into the log while another one is in flight
    ChangeNotAwaited = "change-not-awaited",
    /// entries that a leader overwrites stay in memory
    OverwrittenKept = "overwritten-kept",
    /// a vote is given to whoever asks for it, whatever its log has
    VoteUnchecked = "vote-unchecked",
    /// the log is let go of up to what is applied, not to what a snapshot holds
    ReleasedTooFar = "released-too-far",
    /// recovery forgets the last entry if it is not known to be committed
    LastEntryForgotten = "last-entry-forgotten",
    /// entries are taken in behind whatever entry is there
    AppendUnchecked = "append-unchecked",
    /// a restored key hangs on no lease
    LeasesNotRestored = "leases-not-restored",
    /// each write of a transaction has a revision of its own
    SplitTransaction = "split-transaction",
    /// a cluster is permitted to an empty disk, whatever the others hold
    PermittedUnasked = "permitted-unasked",
}

static ALIVE: AtomicU8 = AtomicU8::new(u8::MAX);

/// From now on this bug is alive in this process, and no other; `None`: none is.
pub fn plant(mutant: Option<Mutant>) {
    ALIVE.store(mutant.map_or(u8::MAX, |mutant| mutant as u8), Ordering::Relaxed);
}

/// Whether this bug is alive.
#[must_use]
pub fn is_alive(mutant: Mutant) -> bool {
    ALIVE.load(Ordering::Relaxed) == mutant as u8
}

/// The bug of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<Mutant> {
    Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name)
}
