//! Carries faults out, ends them, heals everything; and judges what is left when all is healed.
//!
//! What would break a promise that nobody made is not done: a wiped volume or a rotten log takes acknowledged data from its
//! disk, so that no second one goes before the first is replaced. All else may come together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use outrigger_core::event::Event;
use outrigger_core::types::{Index, MemberId};
use outrigger_plan::founding::Founding;

use super::event::{Happening, Input};
use super::process::Life;
use super::streams::Lossy;
use super::{ELECTION_TICKS, MS, SECOND, Time, World, pods};
use crate::history::{KeyId, Stored};
use crate::linearizability::{self, DEFAULT_BUDGET_STEPS, acknowledged, once};
use crate::schedule::Kind;

/// Before the register says that there is a cluster, volumes go one at a time.
const BETWEEN_LOSSES: Time = 40 * SECOND;
/// After everything is healed a cluster serves within this.
const LIVENESS_WITHIN: Time = 30 * SECOND;
const LIVENESS_CALLS: u64 = 20;

#[derive(Debug, Default)]
pub(super) struct Nemesis {
    /// Volumes whose data was damaged behind their process's back.
    rotten: BTreeSet<u64>,
    volumes: BTreeMap<u8, u64>,
    power: BTreeMap<u8, bool>,
    last_loss: Option<Time>,
    /// The newest voters that any member knows, for the coverage.
    pub(super) voters: Vec<MemberId>,
    pub(super) voters_at: Index,
}

impl Nemesis {
    /// Whether this pod's disk was damaged.
    pub(super) fn has_rotten(&self, pod: u8) -> bool {
        self.volumes.get(&pod).is_some_and(|volume| self.rotten.contains(volume))
    }

    /// Whether the pod's next end is a power cut.
    pub(super) fn loses_power(&mut self, pod: u8) -> bool {
        self.power.remove(&pod).unwrap_or(false)
    }

    pub(super) fn next_loss(&mut self, pod: u8, power: bool) {
        self.power.insert(pod, power);
    }
}

impl World {
    pub(super) fn fault(&mut self, fault: usize) {
        let Some(kind) = self.schedule.faults.get(fault).map(|fault| fault.kind.clone()) else { return };
        let name = kind.name();
        if self.carry_out(fault, kind) {
            self.coverage.note(name);
            self.tell(None, || format!("fault: {name}"), fault as u64);
        }
    }

    /// `false`: there was nothing that it could have happened to.
    fn carry_out(&mut self, fault: usize, kind: Kind) -> bool {
        match kind {
            Kind::Kill { pod } => self.crash(pod, false),
            Kind::PowerCut { pod } => self.crash(pod, true),
            Kind::PowerCutAll => {
                let crashed = (0..self.pods.len() as u8).filter(|pod| self.crash(*pod, true)).count();
                crashed > 0
            }
            Kind::TornWrites { pod, times } => self.change_pod(pod, |pod| pod.to_tear = times),
            Kind::Wipe { pod } => self.wipe(pod),
            Kind::Rot { pod } => self.rot(pod),
            Kind::FuseAtStart { pod, changes, power } => {
                self.crash(pod, power) && self.light_fuse(pod, changes, power)
            }
            Kind::Move { pod } => {
                let is_up = self.process(pod).is_some();
                if let Some(there) = self.pod_mut(pod).filter(|_| is_up) {
                    there.address += 1;
                }
                self.crash(pod, false)
            }
            Kind::Transfer { to } => self.transfer_to(to),
            Kind::Snapshot { pod } => self.tell_node(pod, |_| Event::SnapshotDue),
            Kind::FalseAlarm { pod } => self.tell_node(pod, |term| Event::LeaderGone { term }),
            Kind::Fuse { .. } | Kind::FullDisk { .. } | Kind::FailedSync { .. } => {
                self.of_a_disk(fault, &kind)
            }
            Kind::Pause { .. }
            | Kind::Partition { .. }
            | Kind::OneWay { .. }
            | Kind::Lossy { .. }
            | Kind::SlowNetwork { .. }
            | Kind::SlowDisk { .. }
            | Kind::ClockDrift { .. }
            | Kind::SlowApplier { .. } => self.for_a_while(&kind),
            Kind::Scale { .. }
            | Kind::OperatorCrash
            | Kind::TwoOperators { .. }
            | Kind::SlowOperator { .. }
            | Kind::ForgetRegister
            | Kind::Roll => self.of_the_cluster(&kind),
        }
    }

    fn wipe(&mut self, pod: u8) -> bool {
        if !self.may_lose(pod) {
            return false;
        }
        self.nemesis.last_loss = Some(self.now);
        self.replace_volume(pod);
        true
    }

    fn light_fuse(&mut self, pod: u8, changes: u32, power: bool) -> bool {
        let Some(there) = self.pod(pod) else { return false };
        there.volume.disk.with_faults(|faults| faults.fuse = Some(u64::from(changes)));
        self.nemesis.next_loss(pod, power);
        true
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "its caller has named the kinds that come here")]
    fn of_a_disk(&mut self, fault: usize, kind: &Kind) -> bool {
        let pod = match kind {
            Kind::Fuse { pod, .. } | Kind::FullDisk { pod, .. } | Kind::FailedSync { pod } => *pod,
            _ => return false,
        };
        let Some(disk) = self.process(pod).map(|process| process.disk.clone()) else { return false };
        match kind {
            Kind::Fuse { changes, power, .. } => {
                self.light_fuse(pod, *changes, *power);
            }
            Kind::FullDisk { ms, .. } => {
                let used = disk.used_bytes();
                disk.with_faults(|faults| faults.capacity_bytes = Some(used));
                self.after(u64::from(*ms) * MS, Happening::FaultEnds(fault));
            }
            _ => disk.with_faults(|faults| faults.failing_sync = true),
        }
        true
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "its caller has named the kinds that come here")]
    fn of_the_cluster(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::Scale { replicas } => self.operator.replicas = *replicas,
            Kind::OperatorCrash => self.operator_crashes(0),
            Kind::TwoOperators { ms } => self.second_operator(self.now + u64::from(*ms) * MS),
            Kind::SlowOperator { delay_ms, ms } => {
                self.operator.slow = (self.now + u64::from(*ms) * MS, u64::from(*delay_ms) * MS);
            }
            Kind::Roll => self.pods.iter_mut().for_each(|pod| pod.outdated = pod.wanted),
            // Somebody who edits the status of a cluster that was never formed has to tidy up by hand, and is told so.
            Kind::ForgetRegister
                if matches!(self.operator.register, Founding::Latched(_)) && self.known.formed.is_some() =>
            {
                self.operator.register = Founding::None;
                self.operator.version += 1;
            }
            _ => return false,
        }
        true
    }

    /// What has an end of its own in what it changes.
    #[allow(clippy::wildcard_enum_match_arm, reason = "its caller has named the kinds that come here")]
    fn for_a_while(&mut self, kind: &Kind) -> bool {
        let now = self.now;
        let until = |ms: &u32| now + u64::from(*ms) * MS;
        match kind {
            Kind::Partition { side, ms } => {
                let all = 0..9_u8;
                for (from, to) in all.clone().flat_map(|from| all.clone().map(move |to| (from, to))) {
                    if side.contains(&from) != side.contains(&to) {
                        self.links.cut.insert((from, to), until(ms));
                    }
                }
                !side.is_empty()
            }
            Kind::OneWay { from, to, ms } => {
                self.links.cut.insert((*from, *to), until(ms));
                from != to
            }
            Kind::Lossy { drop, duplicate, late, ms } => {
                let of = |per_mille: &u16| u32::from(*per_mille);
                self.links.lossy =
                    Lossy { until: until(ms), drop: of(drop), duplicate: of(duplicate), late: of(late) };
                true
            }
            Kind::SlowNetwork { extra_ms, ms } => {
                self.links.slow = (until(ms), u64::from(*extra_ms) * MS);
                true
            }
            Kind::Pause { pod, ms } => self.change_pod(*pod, |pod| pod.paused_until = until(ms)),
            Kind::SlowDisk { pod, sync_ms, ms } => {
                self.change_pod(*pod, |pod| pod.slow_disk = (until(ms), u64::from(*sync_ms) * MS))
            }
            Kind::ClockDrift { pod, per_mille, ms } => {
                self.change_pod(*pod, |pod| pod.drift = (until(ms), u64::from(*per_mille)))
            }
            Kind::SlowApplier { pod, ms } => self.change_pod(*pod, |pod| pod.slow_applier = until(ms)),
            _ => false,
        }
    }

    fn change_pod(&mut self, pod: u8, change: impl FnOnce(&mut pods::Pod)) -> bool {
        match self.pod_mut(pod).filter(|pod| pod.process.is_some()) {
            Some(there) => {
                change(there);
                true
            }
            None => false,
        }
    }

    pub(super) fn fault_ends(&mut self, fault: usize) {
        if let Some(Kind::FullDisk { pod, .. }) = self.schedule.faults.get(fault).map(|fault| &fault.kind)
            && let Some(there) = self.pod(*pod)
        {
            there.volume.disk.with_faults(|faults| faults.capacity_bytes = None);
        }
    }

    fn crash(&mut self, pod: u8, power: bool) -> bool {
        let is_up = self.process(pod).is_some();
        if is_up {
            self.end_process(pod, power);
            self.start_pod_after(pod, 100 * MS, 3 * SECOND);
        }
        is_up
    }

    fn transfer_to(&mut self, to: u8) -> bool {
        let leader = (0..self.pods.len() as u8).find(|pod| {
            self.process(*pod).and_then(|process| process.running()).is_some_and(|it| it.told.leads.is_some())
        });
        let Some(leader) = leader else { return false };
        self.with_process(leader, |world, process| world.transfer(process, Some(pods::name(to))));
        true
    }

    fn tell_node(&mut self, pod: u8, event: impl FnOnce(outrigger_core::types::Term) -> Event) -> bool {
        let Some(term) =
            self.process(pod).and_then(|process| process.running()).map(|it| it.node.glance().term)
        else {
            return false;
        };
        self.with_process(pod, |world, process| world.node_event(process, event(term)));
        true
    }

    /// Whether this pod's data may go: all voters run, agree on who they are, and it is one of more than two; or there is no
    /// cluster yet, and the last loss was a while ago.
    fn may_lose(&self, pod: u8) -> bool {
        let Some(there) = self.pod(pod).filter(|pod| pod.wanted) else { return false };
        if !matches!(self.operator.register, Founding::Latched(_)) && self.known.formed.is_none() {
            return self.nemesis.last_loss.is_none_or(|last| last + BETWEEN_LOSSES <= self.now);
        }
        let nodes: Vec<_> = self
            .pods
            .iter()
            .filter(|pod| pod.wanted)
            .filter_map(|pod| pod.process.as_ref())
            .filter_map(|process| process.running())
            .collect();
        let Some(newest) = nodes.iter().max_by_key(|node| node.node.glance().configuration_index) else {
            return false;
        };
        let (conf, index) = (newest.node.conf_state(), newest.node.glance().configuration_index);
        let runs = |id: &MemberId| {
            nodes.iter().any(|node| node.own.id == *id && node.node.glance().configuration_index == index)
        };
        let is_whole = conf.voters.len() >= 3 && !conf.is_joint() && conf.voters.iter().all(runs);
        is_whole && there.process.as_ref().is_some_and(|process| process.running().is_some())
    }

    /// A bit of the log flips, before its last frame; then the process is killed, and finds out.
    fn rot(&mut self, pod: u8) -> bool {
        if !matches!(self.operator.register, Founding::Latched(_)) || !self.may_lose(pod) {
            return false;
        }
        let Some(disk) = self.process(pod).map(|process| process.disk.clone()) else { return false };
        let Some((path, offset)) = pods::durable_byte(&disk, &mut self.chance) else { return false };
        let bit = self.chance.below(8) as u8;
        let Some(volume) = self.pod(pod).map(|pod| pod.volume.number) else { return false };
        if !disk.rot(&path, offset as u64, bit) {
            return false;
        }
        self.nemesis.rotten.insert(volume);
        self.nemesis.volumes.insert(pod, volume);
        self.nemesis.last_loss = Some(self.now);
        self.crash(pod, false)
    }

    /// All faults end.
    pub(super) fn heal(&mut self) {
        self.tell(None, || "everything is healed".to_owned(), 11);
        self.links.cut.clear();
        self.links.lossy = Lossy::default();
        self.links.slow = (0, 0);
        self.operator.second_until = 0;
        self.operator.slow = (0, 0);
        for pod in 0..self.pods.len() as u8 {
            let now = self.now;
            let Some(there) = self.pod_mut(pod) else { continue };
            let was_paused = there.paused_until > now;
            there.paused_until = 0;
            there.slow_disk = (0, 0);
            there.slow_applier = 0;
            there.drift = (0, 1_000);
            there.to_tear = 0;
            there.volume.disk.with_faults(|faults| {
                faults.fuse = None;
                faults.failing_sync = false;
                faults.capacity_bytes = None;
            });
            let at = there.process.as_ref().map(|process| process.at);
            if let Some(at) = at.filter(|_| was_paused) {
                self.after(0, Happening::Process(at, Input::Resumes));
            }
        }
    }

    /// With everything healed there is a leader, and calls are answered.
    pub(super) fn check_liveness(&mut self) {
        // What was under way when all was healed has its time first: an operator that is slow, a pod that starts.
        self.run_until(self.now + 10 * SECOND);
        self.clients.hurry();
        let (start, done) = (self.now, self.clients.done);
        self.run_until(start + LIVENESS_WITHIN);
        if self.violation.is_some() {
            return;
        }
        let answered = self.clients.done - done;
        if answered < LIVENESS_CALLS {
            let waits = format!("{:?}", self.operator.last);
            let lives: Vec<String> = (0..self.pods.len() as u8).map(|pod| self.shown(pod)).collect();
            let what = format!(
                "{answered} calls were answered in {} s after all was healed, {LIVENESS_CALLS} are due; the operator: {waits}; {}",
                LIVENESS_WITHIN / SECOND,
                lives.join("; ")
            );
            self.broken("a healed cluster serves", what);
        }
        self.clients.stop();
        self.run_until(self.now + 10 * SECOND);
    }

    fn shown(&self, pod: u8) -> String {
        let Some(process) = self.process(pod) else { return format!("orders-{pod} is down") };
        match &process.life {
            Life::Opening => format!("orders-{pod} opens its disk"),
            Life::Empty { joining } => format!("orders-{pod} is empty, joining {joining:?}"),
            Life::Faulted { fault } => format!("orders-{pod} is faulted: {fault}"),
            Life::Member(running) => {
                let status = running.node.status();
                format!(
                    "orders-{pod} is {:016x}, {:?} in term {}, leader {:?}, commit {}, voters {:?}, joint {}, leaderless {} of {ELECTION_TICKS}",
                    status.member.0,
                    status.role,
                    status.term,
                    status.leader,
                    status.commit,
                    status.conf_state.voters,
                    status.conf_state.is_joint(),
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
        let final_state: HashMap<KeyId, Stored> = super::clients::stored(&newest.view).collect();
        if let Err(lost) = acknowledged::check(&self.clients.history, &final_state) {
            self.broken("every acknowledged write is there", lost.to_string());
        }
    }
}
