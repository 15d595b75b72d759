//! Send failures by peer: a count, the last error, when it was.
//!
//! May import: core's ids. Deliberately absent: Prometheus; `refresh` copies the counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_core::types::MemberId;

/// What went wrong on the way to one peer since this process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerFailures {
    /// How often.
    pub count: u64,
    /// The last error's text and its age; `None` if there was none.
    pub last: Option<(String, Duration)>,
}

#[derive(Debug)]
struct Failures {
    count: u64,
    last_error: String,
    at: Instant,
}

/// One entry a peer id that was ever dialled: ids are few, since each stands for a data directory.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<BTreeMap<MemberId, Failures>>);

impl Peers {
    pub(super) fn failed(&self, peer: MemberId, error: String) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match peers.get_mut(&peer) {
            Some(known) => {
                known.count += 1;
                known.last_error = error;
                known.at = Instant::now();
            }
            None => {
                peers.insert(peer, Failures { count: 1, last_error: error, at: Instant::now() });
            }
        }
    }

    pub(super) fn of(&self, peer: MemberId) -> PeerFailures {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&peer).map_or_else(PeerFailures::default, |known| PeerFailures {
            count: known.count,
            last: Some((known.last_error.clone(), known.at.elapsed())),
        })
    }
}
