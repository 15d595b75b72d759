//! Writing the beginning of a log: a founder's, and a joiner's.
//!
//! The cluster id is what is written **last**: a crash anywhere before leaves what counts as an empty disk, whatever else
//! lies on it.
//!
//! May import: storage, core's founding header. Deliberately absent: who may found.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use outrigger_core::log::{Batch, HardState, Seed, SnapshotKind, SnapshotMark};
use outrigger_core::membership::{RosterEntry, Route};
use outrigger_core::mvcc::KeySpace;
use outrigger_core::snapshot::founding_header;
use outrigger_core::state_machine::StateMachine;
use outrigger_core::types::{BatchNumber, ClusterId, MemberId};
use outrigger_storage::fs::FileSystem;
use outrigger_storage::snapshot_store::SnapshotStore;
use outrigger_storage::{Wal, WalOptions};

use crate::snapshots::Snapshots;

/// What the disk said.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The word to found a cluster on an empty disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Minted by the caller, never 0.
    pub cluster: ClusterId,
    /// Must be this disk's.
    pub member: MemberId,
    /// The initial roster, the founder included.
    pub roster: Vec<RosterEntry>,
    /// How the others are reached.
    pub seeds: Vec<Route>,
}

/// Why a disk does not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoundingRefusal {
    /// The founding names another disk.
    #[error(
        "this disk is member {disk:016x}, the request names {given:016x}: read the status again and found with the id that it tells",
        disk = .disk.0, given = .given.0
    )]
    WrongMember {
        /// This disk's id.
        disk: MemberId,
        /// The one named.
        given: MemberId,
    },
    /// The disk abandoned that cluster and never comes back to it.
    #[error("this disk abandoned cluster {cluster:016x}: mint a new cluster id", cluster = .cluster.0)]
    Abandoned {
        /// Which.
        cluster: ClusterId,
    },
    /// The roster or the seeds are not usable.
    #[error("the founding is invalid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: &'static str,
    },
}

/// Where and whose the log is.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The disk.
    pub fs: &'a Arc<dyn FileSystem>,
    /// The data directory.
    pub dir: &'a Path,
    /// The cluster that the log is to be of.
    pub cluster: ClusterId,
    /// The disk's member.
    pub member: MemberId,
    /// Of the log's segments.
    pub segment_size_bytes: u64,
}

/// The snapshot at index 1 that holds the founder's own configuration, and the log that stands on it.
///
/// # Errors
/// The disk's.
pub fn found(
    ground: Ground<'_>,
    founder: &Route,
    roster: &[RosterEntry],
    seeds: &[Route],
) -> Result<(), Failure> {
    let header = founding_header(ground.cluster, founder, roster);
    let snapshots = SnapshotStore::new(Arc::clone(ground.fs), ground.dir, ground.cluster);
    let view = KeySpace::default().view();
    Snapshots::new(snapshots).write(&header, || KeySpace::snapshot_chunks(&view))?;
    let mark = SnapshotMark { kind: SnapshotKind::Installed, index: header.index, term: header.term };
    let hard_state = HardState { term: header.term, vote: MemberId(0), commit: header.index };
    begin(
        ground,
        Batch {
            mark: Some(mark),
            conf_state: Some((header.index, header.conf_state)),
            seeds: Some(seeds_of(seeds)),
            hard_state: Some(hard_state),
            ..Batch::default()
        },
    )
}

/// A log that knows nothing but whom to reach: the leader's snapshot or entries follow.
///
/// # Errors
/// The disk's.
pub fn join(ground: Ground<'_>, members: &[Route]) -> Result<(), Failure> {
    begin(ground, Batch { seeds: Some(seeds_of(members)), ..Batch::default() })
}

fn begin(ground: Ground<'_>, first: Batch) -> Result<(), Failure> {
    let options = WalOptions {
        segment_size_bytes: ground.segment_size_bytes,
        ..WalOptions::new(ground.cluster, ground.member)
    };
    let mut log = Wal::open(Arc::clone(ground.fs), ground.dir, options)?;
    log.writer.append(&[Batch { number: BatchNumber(1), ..first }])?;
    Ok(())
}

fn seeds_of(routes: &[Route]) -> Vec<Seed> {
    let seed =
        |route: &Route| Seed { id: route.id, name: route.name.clone(), address: route.address.clone() };
    routes.iter().map(seed).collect()
}

/// Whether this disk may found so.
///
/// # Errors
/// The refusal that says why not.
pub fn check(founding: &Founding, own: &Route, abandoned: &[ClusterId]) -> Result<(), FoundingRefusal> {
    if founding.member != own.id {
        return Err(FoundingRefusal::WrongMember { disk: own.id, given: founding.member });
    }
    if abandoned.contains(&founding.cluster) {
        return Err(FoundingRefusal::Abandoned { cluster: founding.cluster });
    }
    if founding.cluster == ClusterId(0) {
        return Err(FoundingRefusal::Invalid { reason: "the cluster id is 0" });
    }
    let mut names: Vec<&str> = founding.roster.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(FoundingRefusal::Invalid { reason: "the roster has a name twice" });
    }
    if !founding.roster.iter().any(|entry| entry.name == own.name && !entry.learner) {
        let reason = "the roster does not have the founder as a voter";
        return Err(FoundingRefusal::Invalid { reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Route {
        Route { id: MemberId(5), name: "orders-0".to_string(), ..Route::default() }
    }

    fn entry(name: &str, learner: bool) -> RosterEntry {
        RosterEntry { name: name.to_string(), learner }
    }

    fn founding(roster: Vec<RosterEntry>) -> Founding {
        Founding { cluster: ClusterId(9), member: MemberId(5), roster, seeds: Vec::new() }
    }

    #[test]
    fn only_its_own_disk_with_itself_as_a_voter_is_founded() {
        let good = founding(vec![entry("orders-0", false), entry("orders-1", false)]);
        assert!(check(&good, &own(), &[]).is_ok());
        let refused = [
            (Founding { member: MemberId(6), ..good.clone() }, "this disk is member"),
            (Founding { cluster: ClusterId(0), ..good.clone() }, "cluster id is 0"),
            (founding(vec![entry("orders-1", false)]), "founder as a voter"),
            (founding(vec![entry("orders-0", true)]), "founder as a voter"),
            (founding(vec![entry("orders-0", false), entry("orders-0", false)]), "name twice"),
        ];
        for (founding, text) in refused {
            let refusal = check(&founding, &own(), &[]).unwrap_err().to_string();
            assert!(refusal.contains(text), "{refusal}");
        }
        let refusal = check(&good, &own(), &[ClusterId(9)]).unwrap_err();
        assert!(matches!(refusal, FoundingRefusal::Abandoned { .. }));
    }
}
