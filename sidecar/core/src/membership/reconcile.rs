//! The leader's next step towards the roster: promote what caught up, swap what was replaced, drop what is no longer
//! admitted. One step at a time, and none before the last one is settled. Pure: facts in, step out.
//!
//! May import: `membership`, `log`. Deliberately absent: raft; the caller turns a step into a conf change.

use crate::log::ConfState;
use crate::membership::Membership;
use crate::membership::decide::Liveness;
use crate::types::MemberId;

/// What the leader knows when it looks.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) membership: &'a Membership,
    pub(crate) conf_state: &'a ConfState,
    pub(crate) liveness: &'a Liveness,
    pub(crate) own: MemberId,
    /// An entry that changes the membership is in the log and not yet applied.
    pub(crate) change_pending: bool,
    /// A majority of the voters has the newest configuration applied and its commit durable.
    pub(crate) settled: bool,
    /// Learners that were caught up for long enough.
    pub(crate) caught_up: &'a [MemberId],
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Leave the joint configuration.
    Leave,
    /// This leader will not be a voter any more: hand over first, the successor goes on.
    HandOver,
    /// One joint change: these become voters, these leave. Also for a single one: an even-sized configuration never
    /// stands in between.
    Joint {
        /// Learners to promote.
        add: Vec<MemberId>,
        /// Voters to drop.
        remove: Vec<MemberId>,
    },
    /// Drop a learner.
    RemoveLearner(MemberId),
}

/// The next step, or none for now.
pub(crate) fn next_step(facts: &Facts<'_>) -> Option<Step> {
    let Facts { membership, conf_state, own, change_pending, settled, .. } = facts;
    if *change_pending {
        return None;
    }
    if conf_state.is_joint() {
        // The leave needs no settling: it is what ends the change that is under way.
        let stays = conf_state.voters.contains(own);
        return Some(if stays { Step::Leave } else { Step::HandOver });
    }
    if !settled {
        return None;
    }
    if let Some(learner) = stray_learner(facts) {
        return Some(Step::RemoveLearner(learner));
    }
    let dropped: Vec<MemberId> = conf_state
        .voters
        .iter()
        .copied()
        .filter(|id| membership.name_of(*id).is_none_or(|name| membership.roster.get(name) != Some(&false)))
        .collect();
    let (add, replaced) = promotions(facts, &dropped);
    let mut remove = dropped;
    remove.extend(replaced);
    if add.is_empty() && remove.is_empty() {
        return None;
    }
    if remove.contains(own) {
        return Some(Step::HandOver);
    }
    enough_alive(facts, &add, &remove).then_some(Step::Joint { add, remove })
}

/// A learner whose name is no longer admitted, or that is gone while another one of its name is alive: a newer learner, or a
/// voter.
fn stray_learner(facts: &Facts<'_>) -> Option<MemberId> {
    let Facts { membership, conf_state, liveness, .. } = facts;
    conf_state.learners.iter().copied().find(|id| {
        let Some(name) = membership.name_of(*id) else { return true };
        if !membership.roster.contains_key(name) {
            return true;
        }
        let rivals = || membership.holders(name).filter(|other| other != id);
        // Nobody is superseded by who has not been heard yet: of two that are silent nothing says which one is the newer.
        let is_member =
            |other: &MemberId| conf_state.learners.contains(other) || conf_state.voters.contains(other);
        liveness.is_gone(*id) && rivals().any(|other| is_member(&other) && liveness.is_alive(other))
    })
}

/// Learners to promote and the dead voters whose names they take over. All that the roster adds are promoted together:
/// as long as one admitted name has no caught-up learner, the new names wait; replacements do not.
fn promotions(facts: &Facts<'_>, dropped: &[MemberId]) -> (Vec<MemberId>, Vec<MemberId>) {
    let Facts { membership, conf_state, liveness, caught_up, .. } = facts;
    let mut swaps = Vec::new();
    let mut replaced = Vec::new();
    let mut fresh = Vec::new();
    let mut complete = true;
    for (name, learner_for_ever) in &membership.roster {
        if *learner_for_ever {
            continue;
        }
        let voter =
            membership.holders(name).find(|id| conf_state.voters.contains(id) && !dropped.contains(id));
        let ready = membership
            .holders(name)
            .find(|id| conf_state.learners.contains(id) && caught_up.contains(id) && liveness.is_alive(*id));
        match (voter, ready) {
            (Some(old), Some(new)) if liveness.is_gone(old) => {
                swaps.push(new);
                replaced.push(old);
            }
            (Some(_), _) => {}
            (None, Some(new)) => fresh.push(new),
            (None, None) => complete = false,
        }
    }
    // The founding promotes all in one change: before that nothing may be decided by a part of them.
    if complete || (membership.formed && !odd_gap(facts, dropped, fresh.len())) {
        swaps.append(&mut fresh);
    }
    (swaps, replaced)
}

/// Whether promoting what is ready would leave an even number of voters.
fn odd_gap(facts: &Facts<'_>, dropped: &[MemberId], fresh: usize) -> bool {
    (facts.conf_state.voters.len() - dropped.len() + fresh).is_multiple_of(2)
}

/// Nobody is dropped if the rest could not decide anything any more.
fn enough_alive(facts: &Facts<'_>, add: &[MemberId], remove: &[MemberId]) -> bool {
    let Facts { conf_state, liveness, own, .. } = facts;
    let after: Vec<MemberId> =
        conf_state.voters.iter().chain(add).copied().filter(|id| !remove.contains(id)).collect();
    let alive = |ids: &[MemberId]| ids.iter().filter(|id| **id == *own || liveness.is_alive(**id)).count();
    !after.is_empty()
        && alive(&after) > after.len() / 2
        && alive(&conf_state.voters) > conf_state.voters.len() / 2
}
