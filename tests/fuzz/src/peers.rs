//! What a member hears from its peers.

use std::cell::RefCell;

use bytes::Bytes;
use outrigger_sim::schedule::Schedule;
use outrigger_sim::world::{Forged, MS, SECOND, World};

use crate::edited;

/// Messages that one cluster hears: a simulated world keeps all that ever happened in it, 1 KiB a message.
const MOST_HEARD: u64 = 20_000;

/// A message between members is changed on its way. A member may end by what a leader has committed, never by what anybody
/// says.
pub fn peer_message(script: &[u8]) {
    thread_local! {
        static CLUSTER_AT_WORK: RefCell<Option<(World, u64)>> = const { RefCell::new(None) };
    }
    let Some((which, script)) = script.split_first_chunk::<2>() else { return };
    CLUSTER_AT_WORK.with(|kept| {
        // Out of its place, so that after a panic the next input begins anew.
        let (mut world, heard) = kept.take().unwrap_or_else(|| {
            let (replicas, clients, seconds, faults) = (3, 2, 60, Vec::new());
            let schedule = Schedule { seed: 1, replicas, clients, seconds, mutant: None, faults };
            (World::to_be_forged(schedule, 30 * SECOND), 0)
        });
        let which = usize::from(u16::from_be_bytes(*which));
        let forged = world.forge(which, |bytes| Bytes::from(edited(bytes, script)), 20 * MS);
        assert!(!matches!(forged, Forged::Harmed(_)), "by a peer's word alone: {forged:?}");
        if forged == Forged::GoesOn && heard < MOST_HEARD {
            kept.replace(Some((world, heard + 1)));
        }
    });
}
