//! What a member hears from its peers.

use std::cell::RefCell;

use bytes::Bytes;
use outrigger_sim::schedule::Schedule;
use outrigger_sim::world::{MS, SECOND, World};

use crate::edited;

/// A message between members is changed on its way.
pub fn peer_message(script: &[u8]) {
    thread_local! {
        static CLUSTER_AT_WORK: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    let Some((which, script)) = script.split_first_chunk::<2>() else { return };
    CLUSTER_AT_WORK.with(|kept| {
        let mut kept = kept.borrow_mut();
        let world = kept.get_or_insert_with(|| {
            let (replicas, clients, seconds, faults) = (3, 2, 60, Vec::new());
            let schedule = Schedule { seed: 1, replicas, clients, seconds, mutant: None, faults };
            World::to_be_forged(schedule, 30 * SECOND)
        });
        let which = usize::from(u16::from_be_bytes(*which));
        if !world.forge(which, |bytes| Bytes::from(edited(bytes, script)), 20 * MS) {
            *kept = None;
        }
    });
}
