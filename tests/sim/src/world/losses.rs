//! Volumes that are wiped, and data that is damaged where it lies.
//!
//! What would break a promise that nobody made is not done: either takes acknowledged data from its disk, so that a majority of
//! the disks that count always stays. All other faults may come together.

use std::path::PathBuf;

use outrigger_core::types::{ClusterId, MemberId};
use outrigger_plan::founding::Founding;
use outrigger_storage::identity::DataDir;

use super::{SECOND, Time, World, pods};
use crate::disk::{Damage, SimDisk};
use crate::random::Random;

/// Before the register says that there is a cluster, volumes go one at a time.
const BETWEEN_LOSSES: Time = 40 * SECOND;

impl World {
    pub(super) fn wipe(&mut self, pod: u8) -> bool {
        if !self.may_lose(pod) {
            return false;
        }
        self.nemesis.last_loss = Some(self.now);
        self.replace_volume(pod);
        if self.chance.chance(250) {
            // Its first start ends somewhere in making the directory.
            let changes = self.chance.within(0, 8) as u32;
            self.light_fuse(pod, changes, false);
        }
        true
    }

    /// Whether this pod's data may go: a majority of every set that decides keeps its disks, or may decide soon; or there is
    /// no cluster yet, and the last loss was a while ago.
    fn may_lose(&self, pod: u8) -> bool {
        if self.pod(pod).is_none_or(|pod| !pod.wanted) {
            return false;
        }
        let latched = match self.operator.register {
            Founding::Latched(cluster) => Some(ClusterId(cluster.get())),
            Founding::None | Founding::Permitted(_) | Founding::Abandoning(_) => self.known.formed,
        };
        let Some(cluster) = latched else {
            // A voter who is the only one has settled at once. The operator that has seen that records a cluster whose only
            // disk may be gone by then: as of any single disk, only a person can help.
            if let Founding::Permitted(permit) = &self.operator.register
                && permit.size == 1
                && self.disk_of(pod, ClusterId(permit.cluster.get())).is_some()
            {
                return false;
            }
            return self.nemesis.last_loss.is_none_or(|last| last + BETWEEN_LOSSES <= self.now);
        };
        let Some((index, conf)) = self.known.configurations.get(&cluster) else { return false };
        let stays = |other: &u8| *other != pod && !self.has_rotten(*other);
        let (kept, named): (Vec<MemberId>, Vec<bool>) = (0..self.pods.len() as u8)
            .filter(stays)
            .filter_map(|other| self.disk_of(other, cluster).map(|id| (id, other < self.operator.replicas)))
            .unzip();
        let is_kept = |of: &[MemberId]| {
            of.is_empty() || of.iter().filter(|id| kept.contains(id)).count() > of.len() / 2
        };
        // Until a majority knows from its own disk that a change is over, those who left may still be needed to end it.
        let knows = |id: &&MemberId| self.known.durable.get(id).is_some_and(|durable| durable >= index);
        let is_settled =
            conf.voters.iter().filter(knows).filter(|id| kept.contains(id)).count() > conf.voters.len() / 2;
        // Whom the spec names decides after the next change, whichever is under way.
        let named = named.into_iter().filter(|is_named| *is_named).count();
        is_settled
            && is_kept(&conf.voters)
            && is_kept(&conf.voters_outgoing)
            && named > usize::from(self.operator.replicas) / 2
    }

    /// Who a pod's disk belongs to, if to a member of this cluster; whether its process runs or not.
    fn disk_of(&self, pod: u8, cluster: ClusterId) -> Option<MemberId> {
        let disk = &self.pod(pod)?.volume.disk;
        let identity = disk.undisturbed(|disk| DataDir::load(disk, &pods::data_dir())).ok().flatten()?;
        (identity.cluster == Some(cluster)).then_some(identity.member)
    }

    /// Something that was durable is not what it was, before the last frame of the log; then the process is killed, and finds out.
    pub(super) fn damage(
        &mut self,
        pod: u8,
        choose: impl FnOnce(&SimDisk, &mut Random) -> Option<(PathBuf, usize, Damage)>,
    ) -> bool {
        if !matches!(self.operator.register, Founding::Latched(_)) || !self.may_lose(pod) {
            return false;
        }
        let Some(disk) = self.process(pod).map(|process| process.disk.clone()) else { return false };
        let chance = &mut self.chance;
        let Some((path, offset, damage)) = disk.undisturbed(|disk| choose(disk, chance)) else {
            return false;
        };
        let Some(volume) = self.pod(pod).map(|pod| pod.volume.number) else { return false };
        if !disk.damage(&path, offset, &damage) {
            return false;
        }
        self.nemesis.rotten.entry(volume).or_default().insert(path);
        self.nemesis.last_loss = Some(self.now);
        self.crash(pod, false)
    }
}
