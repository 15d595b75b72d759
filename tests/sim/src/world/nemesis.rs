//! Carries faults out, ends them, heals everything. What is left then, `liveness` judges.
//!
//! What takes acknowledged data from a disk is in `losses`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use outrigger_core::event::Event;
use outrigger_core::types::{Index, MemberId};
use outrigger_plan::founding::Founding;

use super::event::{Happening, Input};
use super::process::AdminCaller;
use super::streams::{HOSTS, Lossy};
use super::{MS, SECOND, Time, World, pods};
use crate::disk::Damage;
use crate::schedule::Kind;

#[derive(Debug, Default)]
pub(super) struct Nemesis {
    /// Volumes whose data was damaged behind their process's back, by number, and which files.
    pub(super) rotten: BTreeMap<u64, BTreeSet<PathBuf>>,
    /// Faults that nobody has felt yet, by name and pod.
    armed: BTreeSet<(&'static str, u8)>,
    /// All faults have ended: what the schedule still holds comes too late.
    is_over: bool,
    power: BTreeMap<u8, bool>,
    pub(super) last_loss: Option<Time>,
    /// The newest voters that any member knows, for the coverage.
    pub(super) voters: Vec<MemberId>,
    pub(super) voters_at: Index,
}

impl Nemesis {
    /// Whether the pod's next end is a power cut.
    pub(super) fn loses_power(&mut self, pod: u8) -> bool {
        self.power.remove(&pod).unwrap_or(false)
    }

    pub(super) fn next_loss(&mut self, pod: u8, power: bool) {
        self.power.insert(pod, power);
    }
}

impl World {
    /// Whether the disk that this pod has now was damaged, and what was is still there: what is gone excuses nothing.
    pub(super) fn has_rotten(&self, pod: u8) -> bool {
        let Some(volume) = self.pod(pod).map(|pod| &pod.volume) else { return false };
        let damaged = self.nemesis.rotten.get(&volume.number);
        damaged.is_some_and(|files| files.iter().any(|path| volume.disk.content(path).is_some()))
    }

    pub(super) fn fault(&mut self, fault: usize) {
        let Some(kind) = self.schedule.faults.get(fault).map(|fault| fault.kind.clone()) else { return };
        if self.nemesis.is_over {
            return;
        }
        let (name, felt_by) = (kind.name(), kind.felt_by());
        if self.carry_out(fault, kind) {
            self.tell(None, || format!("fault: {name}"), fault as u64);
            match felt_by {
                Some(pod) => drop(self.nemesis.armed.insert((name, pod))),
                None => self.coverage.note(name),
            }
        }
    }

    /// A fault that waited for somebody to feel it was felt; further times do not count.
    pub(super) fn feel(&mut self, name: &'static str, pod: u8) {
        if !self.nemesis.armed.is_empty() && self.nemesis.armed.remove(&(name, pod)) {
            self.coverage.note(name);
        }
    }

    /// Which of its disk's faults a pod has felt since this was asked last.
    pub(super) fn feel_disk(&mut self, pod: u8) {
        let Some(there) = self.pod_mut(pod) else { return };
        let now = there.volume.disk.counts();
        let before = std::mem::replace(&mut there.volume.counted, now);
        for (name, is_felt) in [
            ("full disk", now.full > before.full),
            ("failed sync", now.failed_syncs > before.failed_syncs),
            ("failed read", now.failed_reads > before.failed_reads),
        ] {
            if is_felt {
                self.feel(name, pod);
            }
        }
    }

    /// The pod's process ends: the fuse that was to end it has, or goes out.
    pub(super) fn feel_fuse(&mut self, pod: u8, is_burnt: bool) {
        for name in ["kill at a write", "power cut at a write", "end at a write of the start"] {
            if is_burnt {
                self.feel(name, pod);
            }
            self.nemesis.armed.remove(&(name, pod));
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
            Kind::Rot { pod } => self.damage(pod, |disk, chance| {
                let (path, offset) = pods::durable_byte(disk, chance)?;
                let bit = chance.below(8) as u8;
                Some((path, offset, Damage::Flip(bit)))
            }),
            Kind::MisplacedWrite { pod } => self.damage(pod, |disk, chance| {
                let (path, offset, found) = pods::misplaced_block(disk, chance)?;
                Some((path, offset, Damage::Holds(found)))
            }),
            Kind::FuseAtStart { pod, changes, power } => {
                // What a killed process left unsynced is there; the next one must not take it for durable.
                let first = power && self.chance.chance(300);
                self.crash(pod, first) && self.light_fuse(pod, changes, power)
            }
            Kind::Move { pod } => {
                if self.process(pod).is_some() {
                    self.moves(pod);
                }
                self.crash(pod, false)
            }
            Kind::Transfer { to } => self.transfer_to(to),
            Kind::Snapshot { pod } => self.tell_node(pod, |_| Event::SnapshotDue),
            Kind::FalseAlarm { pod } => self.tell_node(pod, |term| Event::LeaderGone { term }),
            Kind::Fuse { .. } | Kind::FullDisk { .. } | Kind::FailedSync { .. } | Kind::FailedRead { .. } => {
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

    pub(super) fn light_fuse(&mut self, pod: u8, changes: u32, power: bool) -> bool {
        let Some(there) = self.pod(pod) else { return false };
        there.volume.disk.with_faults(|faults| faults.fuse = Some(u64::from(changes)));
        self.nemesis.next_loss(pod, power);
        true
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "its caller has named the kinds that come here")]
    fn of_a_disk(&mut self, fault: usize, kind: &Kind) -> bool {
        let pod = match kind {
            Kind::Fuse { pod, .. }
            | Kind::FullDisk { pod, .. }
            | Kind::FailedSync { pod }
            | Kind::FailedRead { pod } => *pod,
            _ => return false,
        };
        let Some(disk) = self.process(pod).map(|process| process.disk.clone()) else { return false };
        self.feel_disk(pod);
        match kind {
            Kind::Fuse { changes, power, .. } => {
                self.light_fuse(pod, *changes, *power);
            }
            Kind::FullDisk { ms, .. } => {
                let used = disk.used_bytes();
                disk.with_faults(|faults| faults.capacity_bytes = Some(used));
                self.after(u64::from(*ms) * MS, Happening::FaultEnds(fault));
            }
            Kind::FailedRead { .. } => disk.with_faults(|faults| faults.failing_read = true),
            _ => disk.with_faults(|faults| faults.failing_sync = true),
        }
        true
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "its caller has named the kinds that come here")]
    fn of_the_cluster(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::Scale { replicas } => {
                return std::mem::replace(&mut self.operator.replicas, *replicas) != *replicas;
            }
            Kind::OperatorCrash => self.operator_crashes(0),
            Kind::TwoOperators { ms } => self.second_operator(self.now + u64::from(*ms) * MS),
            Kind::SlowOperator { delay_ms, ms } => {
                self.operator.slow = (self.now + u64::from(*ms) * MS, u64::from(*delay_ms) * MS);
            }
            Kind::Roll => {
                self.pods.iter_mut().for_each(|pod| pod.outdated = pod.wanted);
                return self.pods.iter().any(|pod| pod.wanted);
            }
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
                let all = 0..HOSTS;
                for (from, to) in all.clone().flat_map(|from| all.clone().map(move |to| (from, to))) {
                    if side.contains(&from) != side.contains(&to) {
                        self.links.cut.insert((from, to), (until(ms), kind.name()));
                    }
                }
                !side.is_empty()
            }
            Kind::OneWay { from, to, ms } => {
                self.links.cut.insert((*from, *to), (until(ms), kind.name()));
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
        let Some(&Kind::FullDisk { pod, .. }) = self.schedule.faults.get(fault).map(|fault| &fault.kind)
        else {
            return;
        };
        self.feel_disk(pod);
        if let Some(there) = self.pod(pod) {
            there.volume.disk.with_faults(|faults| faults.capacity_bytes = None);
        }
    }

    pub(super) fn crash(&mut self, pod: u8, power: bool) -> bool {
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
        self.with_process(leader, |world, process| {
            world.transfer(process, Some(pods::name(to)), AdminCaller::Person)
        });
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

    /// All faults end.
    pub(super) fn heal(&mut self) {
        self.tell(None, || "everything is healed".to_owned(), 11);
        self.nemesis.is_over = true;
        self.links.cut.clear();
        self.links.lossy = Lossy::default();
        self.links.slow = (0, 0);
        self.operator.second_until = 0;
        self.operator.slow = (0, 0);
        for pod in 0..self.pods.len() as u8 {
            self.feel_disk(pod);
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
                faults.failing_read = false;
                faults.capacity_bytes = None;
            });
            let at = there.process.as_ref().map(|process| process.at);
            if let Some(at) = at.filter(|_| was_paused) {
                self.after(0, Happening::Process(at, Input::Resumes));
            }
        }
    }
}
