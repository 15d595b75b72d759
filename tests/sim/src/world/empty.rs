//! A disk without a cluster: it asks who is there, and is told to found, or is let in. It never founds by itself.

use outrigger_core::error::{MembershipRefusal, Refusal};
use outrigger_core::event::{AdminReply, AdminRequest, Event};
use outrigger_core::log::HardState;
use outrigger_core::membership::Route;
use outrigger_core::types::{AdminId, ClusterId, Index, MemberId, Term};
use outrigger_member::founding::{self, Founding, Ground};

use super::end::{Ending, boundary};
use super::event::{At, Happening, Input};
use super::process::{AdminCaller, Life, Process, SEGMENT_BYTES};
use super::{MS, SECOND, World, pods};
use crate::observation::{LogChange, Observation};

/// Between two rounds of asking.
const ROUND: u64 = 500 * MS;
/// Ticks that a membership request may take.
const ADMIN_TICKS: u32 = 100;
/// An answer that does not come within this is not waited for.
const JOIN_TIMEOUT: u64 = 12 * SECOND;

/// Who answers at a name.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) pod: u8,
    pub(super) cluster: Option<ClusterId>,
    pub(super) route: Route,
}

impl World {
    /// Who answers when the names of the headless service are asked; DNS may leave some out.
    pub(super) fn seeds(&mut self, from: At) -> Vec<Seed> {
        let mut seeds = Vec::new();
        for name in 0..self.pods.len() as u8 {
            // An old answer of DNS leads to whoever has the address now.
            let is_stale = self.network.chance(20);
            let pod = if is_stale { self.network.below(self.pods.len()) as u8 } else { name };
            let passes = self.passes(from.pod, pod) && self.passes(pod, from.pod);
            let missing = self.network.chance(50);
            let paused = self.pod(pod).is_none_or(|pod| pod.paused_until > self.now);
            let Some(process) = self.process(pod).filter(|_| passes && !missing && !paused) else { continue };
            let route = Route {
                id: process.member(),
                name: pods::name(pod),
                address: self.address_of(pod),
                ..Route::default()
            };
            let cluster = process.running().map(|running| running.cluster);
            seeds.push(Seed { pod, cluster, route });
        }
        seeds
    }

    /// Asks everyone, and a member among them to be let in. What comes of that begins the next round, else time does.
    pub(super) fn round(&mut self, process: &mut Process) -> Ending {
        let Life::Empty { joining: None } = &process.life else { return Ending::GoesOn };
        let jitter = process.random.within(0, 100 * MS);
        let Some((seed, cluster)) = self.whom_to_join(process) else {
            self.after(ROUND + jitter, Happening::Process(process.at, Input::Round));
            return Ending::GoesOn;
        };
        let Ok(own) = self.own_route(&mut process.dir, process.at.pod) else {
            return Ending::Crash(boundary::OPENING);
        };
        process.life = Life::Empty { joining: Some(cluster) };
        let abandoned = process.dir.identity().abandoned.clone();
        let request = AdminRequest::Join { cluster, route: own, abandoned };
        let caller = AdminCaller::Joiner { at: process.at, cluster };
        let late = Input::JoinAnswered { cluster, outcome: Err(Refusal::Timeout) };
        self.after(JOIN_TIMEOUT, Happening::Process(process.at, late));
        self.admin_call(process.at.pod, seed, request, caller);
        Ending::GoesOn
    }

    /// A member among those who answer, if all members are of one cluster, and not of one that this disk has abandoned.
    fn whom_to_join(&mut self, process: &mut Process) -> Option<(u8, ClusterId)> {
        let abandoned = process.dir.identity().abandoned.clone();
        let members: Vec<Seed> = self
            .seeds(process.at)
            .into_iter()
            .filter(|seed| seed.cluster.is_some_and(|cluster| !abandoned.contains(&cluster)))
            .collect();
        let first = members.first()?.cluster?;
        if members.iter().any(|seed| seed.cluster != Some(first)) {
            return None;
        }
        process.random.pick(&members).map(|seed| (seed.pod, first))
    }

    /// Calls a member's admin service; nobody is told of a member that is not there, or cannot be reached.
    pub(super) fn admin_call(&mut self, from: u8, pod: u8, request: AdminRequest, caller: AdminCaller) {
        if !self.call_passes(from, pod) {
            return;
        }
        let Some(mut process) = self.pod_mut(pod).and_then(|pod| pod.process.take()) else { return };
        let paused = self.pod(pod).is_some_and(|pod| pod.paused_until > self.now);
        let ending = match &mut process.life {
            Life::Member(running) if !paused => {
                running.last_admin += 1;
                let id = AdminId(running.last_admin);
                running.admins.insert(id, caller);
                self.node_event(&mut process, Event::Admin { id, request, deadline_ticks: ADMIN_TICKS })
            }
            Life::Member(_) | Life::Opening | Life::Empty { .. } | Life::Faulted { .. } => Ending::GoesOn,
        };
        self.put_back(process, ending);
    }

    pub(super) fn join_answered(
        &mut self,
        process: &mut Process,
        cluster: ClusterId,
        outcome: Result<AdminReply, Refusal>,
    ) -> Ending {
        match &mut process.life {
            Life::Empty { joining } if *joining == Some(cluster) => *joining = None,
            Life::Empty { .. } | Life::Opening | Life::Member(_) | Life::Faulted { .. } => {
                return Ending::GoesOn;
            }
        }
        if let Err(Refusal::Membership(MembershipRefusal::Tombstoned(id))) = outcome
            && id == process.member()
        {
            return self.begin_anew(process);
        }
        let Ok(AdminReply::Joined { members, .. }) = outcome else {
            self.after(ROUND, Happening::Process(process.at, Input::Round));
            return Ending::GoesOn;
        };
        match self.begin_log(process, cluster, |ground, _| founding::join(ground, &members)) {
            Ok(()) => {
                self.coverage.note("joined");
                self.tell(Some(process.at), || format!("joins {cluster}"), cluster.0);
                self.live(process)
            }
            Err(()) => Ending::Crash(boundary::JOINING),
        }
    }

    /// It was let in and removed again, and no answer came through: it takes another id.
    fn begin_anew(&mut self, process: &mut Process) -> Ending {
        let (old, disk) = (process.member(), self.disk_number(process.at.pod));
        let fresh = MemberId(process.random.id());
        self.observe(ClusterId(0), &Observation::GivesUp { member: old, disk });
        if process.dir.begin_anew(fresh).is_err() {
            return Ending::Crash(boundary::ASIDE);
        }
        let abandoned = process.dir.identity().abandoned.clone();
        self.tell(
            Some(process.at),
            || format!("was removed before it joined: {old} is {fresh} now"),
            fresh.0,
        );
        self.observe(ClusterId(0), &Observation::Closed { member: old });
        self.observe(ClusterId(0), &Observation::Opened { member: fresh, disk, abandoned });
        self.after(ROUND, Happening::Process(process.at, Input::Round));
        Ending::GoesOn
    }

    /// The operator's word to found.
    pub(super) fn found(&mut self, process: &mut Process, founding: &Founding) -> Ending {
        let Ok(own) = self.own_route(&mut process.dir, process.at.pod) else {
            return Ending::Crash(boundary::OPENING);
        };
        let is_empty = matches!(process.life, Life::Empty { .. });
        if !is_empty || founding::check(founding, &own, &process.dir.identity().abandoned).is_err() {
            return Ending::GoesOn;
        }
        let Founding { cluster, roster, seeds, .. } = founding;
        // Founding writes the snapshot at 1 and term 1; joining, nothing but whom to reach.
        let hard_state = HardState { term: Term(1), vote: MemberId(0), commit: Index(1) };
        let change = LogChange {
            installed: Some((Index(1), Term(1))),
            hard_state: Some(hard_state),
            ..LogChange::default()
        };
        let member = own.id;
        self.observe(founding.cluster, &Observation::Interrupted { member, changes: vec![change.clone()] });
        match self.begin_log(process, *cluster, |ground, own| founding::found(ground, own, roster, seeds)) {
            Ok(()) => {
                self.coverage.note("founded");
                self.observe(founding.cluster, &Observation::Persisted { member, change });
                self.tell(Some(process.at), || format!("founds {cluster}"), cluster.0);
                self.live(process)
            }
            Err(()) => Ending::Crash(boundary::FOUNDING),
        }
    }

    /// The first frame of a log, and then, last, the cluster's id.
    fn begin_log(
        &mut self,
        process: &mut Process,
        cluster: ClusterId,
        begin: impl FnOnce(Ground<'_>, &Route) -> Result<(), founding::Failure>,
    ) -> Result<(), ()> {
        let own = self.own_route(&mut process.dir, process.at.pod).map_err(drop)?;
        process.dir.clear_unfounded().map_err(drop)?;
        let (fs, dir) = (process.disk.shared(), pods::data_dir());
        let member: MemberId = own.id;
        begin(Ground { fs: &fs, dir: &dir, cluster, member, segment_size_bytes: SEGMENT_BYTES }, &own)
            .map_err(drop)?;
        process.dir.set_cluster(cluster).map_err(drop)
    }

    /// Moves the leadership away from a process, or to somebody.
    pub(super) fn transfer(
        &mut self,
        process: &mut Process,
        to: Option<String>,
        caller: AdminCaller,
    ) -> Ending {
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        running.last_admin += 1;
        let id = AdminId(running.last_admin);
        running.admins.insert(id, caller);
        let request = AdminRequest::Transfer { to: to.map(outrigger_core::event::MemberSelector::Name) };
        self.node_event(process, Event::Admin { id, request, deadline_ticks: ADMIN_TICKS })
    }
}
