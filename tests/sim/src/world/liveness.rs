//! What is left when all faults have ended: a cluster that serves, becomes what was asked for, and agrees; and a history
//! that can be explained.
//!
//! Answers alone prove little: a cluster that refuses every write answers, and so does one that waits for ever with a member
//! that never catches up. So first some writes and reads must go through; then the operator has to come to rest over members
//! that are what the spec says; from there on no call may fail; and at the end all members hold the same.

use std::collections::HashMap;

use outrigger_core::types::Index;
use outrigger_plan::decide::Decision;
use outrigger_plan::founding::Founding;

use super::process::{Life, Running};
use super::{ELECTION_TICKS, MS, SECOND, Time, World};
use crate::history::{KeyId, Stored};
use crate::linearizability::{self, DEFAULT_BUDGET_STEPS, acknowledged, once};

/// What was under way when all was healed has its time first: an operator that is slow, a pod that starts.
const GRACE: Time = 10 * SECOND;
/// After everything is healed a cluster serves within this.
const SERVES_WITHIN: Time = 30 * SECOND;
/// And is what its spec says within this: volumes to be replaced, members to be added one after the other, a roll.
const SETTLES_WITHIN: Time = 300 * SECOND;
/// Between two looks at whether it is.
const LOOK_EVERY: Time = 500 * MS;
/// So many writes, and so many reads, have to go through.
const ANSWERS: u64 = 10;

impl World {
    /// With everything healed the cluster serves, settles, answers all, and its members hold the same.
    pub(super) fn check_liveness(&mut self) {
        let committed = self.known.formed.map_or(Index(0), |cluster| self.committed(cluster).0);
        self.run_until(self.now + GRACE);
        self.clients.hurry(self.operator.replicas);
        self.wait_for_answers("a healed cluster serves", 0);
        self.wait_until_settled(committed);
        self.clients.expect_answers(self.now);
        self.wait_for_answers("a settled cluster answers every call", self.operator.replicas);
        self.clients.stop();
        self.run_until(self.now + GRACE);
        self.check_states();
    }

    /// Waits for enough answers, and for one through each of the first `pods`.
    fn wait_for_answers(&mut self, rule: &str, pods: u8) {
        let end = self.now + SERVES_WITHIN;
        while self.violation.is_none() && self.now < end {
            self.run_until(self.now + LOOK_EVERY);
            let answered = &self.clients.answered;
            let through_all = (0..pods).all(|pod| answered.through.contains(&pod));
            if answered.written >= ANSWERS && answered.read >= ANSWERS && through_all {
                return;
            }
        }
        let answered = &self.clients.answered;
        let what = format!(
            "{} writes and {} reads went through, by pods {:?}, in {} s, {ANSWERS} of each are due; {}",
            answered.written,
            answered.read,
            answered.through,
            SERVES_WITHIN / SECOND,
            self.all_shown()
        );
        self.broken(rule, what);
    }

    fn wait_until_settled(&mut self, committed: Index) {
        let end = self.now + SETTLES_WITHIN;
        let mut missing = None;
        while self.violation.is_none() && self.now < end {
            self.run_until(self.now + LOOK_EVERY);
            missing = self.unsettled(committed);
            if missing.is_none() {
                return;
            }
        }
        let what = format!(
            "{} s after all was healed {}; {}",
            SETTLES_WITHIN / SECOND,
            missing.unwrap_or_default(),
            self.all_shown()
        );
        self.broken("a healed cluster settles", what);
    }

    /// What is not yet as the spec says.
    fn unsettled(&self, committed: Index) -> Option<String> {
        if !matches!(self.operator.register, Founding::Latched(_)) {
            return Some(format!("the register says {:?}", self.operator.register));
        }
        if self.operator.last != Some(Decision::Settled) {
            return Some("the operator is not at rest".to_owned());
        }
        let replicas = self.operator.replicas;
        for pod in 0..self.pods.len() as u8 {
            if self.pod(pod).is_some_and(|pod| pod.wanted) != (pod < replicas) {
                return Some(format!("orders-{pod} is not as asked for"));
            }
        }
        if let Some(pod) = (0..replicas).find(|pod| self.process(*pod).is_some_and(|it| it.is_stopping)) {
            return Some(format!("orders-{pod} is being stopped"));
        }
        (0..replicas).find_map(|pod| match self.process(pod).and_then(|process| process.running()) {
            Some(running) => {
                self.unlike_the_spec(running, committed).map(|what| format!("orders-{pod} {what}"))
            }
            None => Some(format!("orders-{pod} is no member")),
        })
    }

    fn unlike_the_spec(&self, running: &Running, committed: Index) -> Option<&'static str> {
        let status = running.node.status();
        match () {
            () if status.conf_state.is_joint() => Some("is in a joint configuration"),
            () if status.conf_state.voters.len() != usize::from(self.operator.replicas) => {
                Some("knows another number of voters")
            }
            () if !status.conf_state.voters.contains(&status.member) => Some("is no voter"),
            () if status.leader.is_none() => Some("knows no leader"),
            () if running.view_index < committed => Some("has not caught up"),
            () if status.shortage.any() || running.space.told.any() => Some("is short of space"),
            () => None,
        }
    }

    /// With nobody calling any more, everyone has applied the same and holds the same.
    fn check_states(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let states: Vec<_> = (0..self.operator.replicas)
            .filter_map(|pod| Some((pod, self.process(pod)?.running()?)))
            .map(|(pod, running)| (pod, running.view_index, super::sight::digest_of_state(running)))
            .collect();
        let is_one = states
            .windows(2)
            .all(|two| matches!(two, [(_, at, is), (_, other_at, other)] if at == other_at && is == other));
        if !is_one || states.len() != usize::from(self.operator.replicas) {
            let what =
                format!("pods, what they have applied, and what they hold: {states:?}; {}", self.all_shown());
            self.broken("a settled cluster agrees", what);
        }
    }

    fn all_shown(&self) -> String {
        let lives: Vec<String> = (0..self.pods.len() as u8).map(|pod| self.shown(pod)).collect();
        format!("the operator: {:?}; {}", self.operator.last, lives.join("; "))
    }

    fn shown(&self, pod: u8) -> String {
        if let Some((_, fault)) = self.pod(pod).and_then(|pod| pod.unreadable.as_ref()) {
            return format!("orders-{pod} cannot read its disk: {fault}");
        }
        let Some(process) = self.process(pod) else { return format!("orders-{pod} is down") };
        match &process.life {
            Life::Opening => format!("orders-{pod} opens its disk"),
            Life::Empty { joining } => format!("orders-{pod} is empty, joining {joining:?}"),
            Life::Faulted { fault } => format!("orders-{pod} is faulted: {fault}"),
            Life::Member(running) => {
                let status = running.node.status();
                format!(
                    "orders-{pod} is {:016x}, {:?} in term {}, leader {:?}, commit {}, applied {}, voters {:?}, joint {}, {:?}, leaderless {} of {ELECTION_TICKS}",
                    status.member.0,
                    status.role,
                    status.term,
                    status.leader,
                    status.commit,
                    running.view_index,
                    status.conf_state.voters,
                    status.conf_state.is_joint(),
                    status.shortage,
                    status.leaderless_ticks
                )
            }
        }
    }

    /// Is there an order that explains everything that clients were told, and is everything there that was acknowledged?
    pub(super) fn judge(&mut self) {
        if self.violation.is_some() {
            return;
        }
        if let Err(violation) = linearizability::check(&self.clients.history, DEFAULT_BUDGET_STEPS) {
            self.broken("the history is linearizable", violation.to_string());
            return;
        }
        if let Err(twice) = once::check(&self.clients.history) {
            self.broken("a write happens once, where it was said to", twice.to_string());
            return;
        }
        // Read where most is applied: everything that was acknowledged must be there, or have been overwritten.
        let nodes =
            self.pods.iter().filter_map(|pod| pod.process.as_ref()).filter_map(|process| process.running());
        let Some(newest) = nodes.max_by_key(|running| running.view_index) else { return };
        let final_state: HashMap<KeyId, Stored> = super::calls::stored(&newest.view).collect();
        if let Err(lost) = acknowledged::check(&self.clients.history, &final_state) {
            self.broken("every acknowledged write is there", lost.to_string());
        }
    }
}
