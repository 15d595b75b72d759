//! What a member hears from its peers.

use std::cell::RefCell;

use bytes::Bytes;
use outrigger_sim::schedule::Schedule;
use outrigger_sim::world::{Forged, MS, SECOND, World};

use crate::edited;

/// A message between members is changed on its way. A member may end by what a leader has committed, never by what anybody
/// says.
pub fn peer_message(script: &[u8]) {
    thread_local! {
        static CLUSTER_AT_WORK: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    let Some((which, script)) = script.split_first_chunk::<2>() else { return };
    CLUSTER_AT_WORK.with(|kept| {
        // Out of its place, so that after a panic the next input begins anew.
        let mut world = kept.take().unwrap_or_else(|| {
            let (replicas, clients, seconds, faults) = (3, 2, 60, Vec::new());
            let schedule = Schedule { seed: 1, replicas, clients, seconds, mutant: None, faults };
            World::to_be_forged(schedule, 30 * SECOND)
        });
        let which = usize::from(u16::from_be_bytes(*which));
        let forged = world.forge(which, |bytes| Bytes::from(edited(bytes, script)), 20 * MS);
        assert!(!matches!(forged, Forged::Harmed(_)), "by a peer's word alone: {forged:?}");
        if forged == Forged::GoesOn {
            kept.replace(Some(world));
        }
    });
}
