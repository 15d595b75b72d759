//! The leader's own steps: towards the roster, and a member's new address into the log.
//!
//! May import: `membership`'s reconciliation, raft's conf changes, `node`. Deliberately absent: what is asked for from
//! outside (`admin`).

use raft::eraftpb::{ConfChangeTransition, ConfChangeV2};

use super::Node;
use crate::configuration::{add_voter, remove};
use crate::membership::Route;
use crate::membership::decide::Liveness;
use crate::membership::reconcile::{self, Facts, Step};
use crate::types::{Index, MemberId};
use crate::wire::{self, MembershipCommand, MembershipOp, RouteWire};

impl Node {
    pub(super) fn change_pending(&self) -> bool {
        #[cfg(feature = "mutants")]
        if outrigger_mutants::is_alive(outrigger_mutants::Mutant::ChangeNotAwaited) {
            return false;
        }
        self.change_index > self.applying.handed || self.raw.raft.has_pending_conf()
    }

    pub(super) fn liveness(&self) -> Liveness {
        let now = self.leadership.ticks;
        let heard = self.leadership.last_heard.iter().map(|(id, at)| (*id, now - at));
        Liveness {
            // A member never hears itself, and is alive all the same.
            silent_ticks: heard.chain([(self.config.own.id, 0)]).collect(),
            leading_ticks: if self.is_leader() { now - self.leadership.leading_since } else { 0 },
            election_ticks: u64::from(self.config.election_ticks),
        }
    }

    /// The leader's next step towards the roster.
    pub(super) fn reconcile(&mut self) {
        let liveness = self.liveness();
        let caught_up = self.caught_up();
        let settled = self.is_settled();
        let facts = Facts {
            membership: &self.membership,
            conf_state: &self.conf_state,
            liveness: &liveness,
            own: self.config.own.id,
            change_pending: self.change_pending(),
            settled,
            caught_up: &caught_up,
        };
        match reconcile::next_step(&facts) {
            Some(Step::Leave) => self.change_configuration(ConfChangeV2::default()),
            Some(Step::HandOver) if self.raw.raft.lead_transferee.is_none() => self.transfer_to_best(),
            Some(Step::Joint { add, remove: drop }) => {
                let changes: Vec<_> =
                    add.into_iter().map(add_voter).chain(drop.into_iter().map(remove)).collect();
                let mut change = ConfChangeV2 { changes, ..ConfChangeV2::default() };
                // Explicit: raft-rs's own leave carries no context, and is forgotten when the leader steps down before
                // the entering is applied.
                change.set_transition(ConfChangeTransition::Explicit);
                self.change_configuration(change);
            }
            Some(Step::RemoveLearner(id)) => {
                let change = ConfChangeV2 { changes: vec![remove(id)], ..ConfChangeV2::default() };
                self.change_configuration(change);
            }
            Some(Step::HandOver) | None => {}
        }
    }

    fn change_configuration(&mut self, change: ConfChangeV2) {
        let context = MembershipCommand { origin: 0, request: 0, op: None };
        if self.propose_change(context, &change).is_ok() {
            self.change_index = Index(self.raw.raft.raft_log.last_index());
        }
    }

    pub(super) fn propose_announce(&mut self, route: RouteWire) {
        let known = self.membership.routes.get(&MemberId(route.id));
        let newer = known.is_some_and(|known| Route::from(route.clone()) != *known);
        if newer {
            let command =
                MembershipCommand { origin: 0, request: 0, op: Some(MembershipOp::Announce(route)) };
            // Dropped during a transfer: the member announces itself again.
            let _proposed = self.raw.propose(Vec::new(), wire::encode_membership(&command));
        }
    }
}
