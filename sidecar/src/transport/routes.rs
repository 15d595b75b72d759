//! Which peers to dial and which to hang up on, given whom the node wants to reach.
//!
//! May import: core's types. Deliberately absent: the dialling. The routes themselves (the log's map overlaid by newer
//! handshakes) are the node's.

use std::collections::HashMap;

use outrigger_core::membership::Route;
use outrigger_core::types::MemberId;

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Streams to end: members that are gone, or that moved.
    pub hang_up: Vec<MemberId>,
    /// Streams to begin.
    pub dial: Vec<Route>,
}

/// Compares the peers that are dialled with those that are wanted. A peer that moved is hung up on and dialled anew;
/// another software version is no reason to.
#[must_use]
pub fn plan<'a>(own: MemberId, dialled: impl Iterator<Item = &'a Route>, wanted: &[Route]) -> Plan {
    let mut dialled: HashMap<MemberId, &Route> = dialled.map(|route| (route.id, route)).collect();
    let mut plan = Plan::default();
    for route in wanted {
        if route.id == own || route.id == MemberId(0) || route.address.is_empty() {
            continue;
        }
        match dialled.remove(&route.id) {
            Some(current) if current.address == route.address => {}
            Some(_) => {
                plan.hang_up.push(route.id);
                plan.dial.push(route.clone());
            }
            None => plan.dial.push(route.clone()),
        }
    }
    plan.hang_up.extend(dialled.into_keys());
    plan.hang_up.sort_unstable();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(id: u64, address: &str) -> Route {
        Route { id: MemberId(id), address: address.to_string(), ..Route::default() }
    }

    #[test]
    fn only_what_changed_is_dialled_or_hung_up_on() {
        let stays = route(2, "b:1");
        let gone = route(3, "c:1");
        let moved = route(4, "d:1");
        let wanted = [route(1, "a:1"), stays.clone(), route(4, "d:2"), route(5, "e:1"), route(6, "")];
        let plan = plan(MemberId(1), [&stays, &gone, &moved].into_iter(), &wanted);
        assert_eq!(plan.hang_up, vec![MemberId(3), MemberId(4)]);
        assert_eq!(plan.dial, vec![route(4, "d:2"), route(5, "e:1")]);
    }

    #[test]
    fn a_new_software_version_keeps_the_stream() {
        let old = route(2, "b:1");
        let new = Route { version: "2".to_string(), address_version: 9, ..old.clone() };
        assert_eq!(plan(MemberId(1), [&old].into_iter(), &[new]), Plan::default());
    }
}
