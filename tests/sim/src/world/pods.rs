//! Pods, their volumes, and the kubelet that starts their processes again.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;

use outrigger_core::membership::Route;
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_storage::dump::{self, Item};
use outrigger_storage::identity::{DataDir, IDENTITY, IdentityError};
use outrigger_storage::segment::{BLOCK_BYTES, FIRST_FRAME_OFFSET};
use outrigger_storage::snapshot_store::snapshot_dir;

use super::event::{At, Happening, Input};
use super::process::{Life, Process};
use super::{MS, SECOND, TICK, Time, World};
use crate::disk::{Counts, SimDisk};
use crate::observation::Observation;
use crate::random::Random;

const BLOCK: usize = BLOCK_BYTES as usize;

/// A pod's place: its ordinal. The volume may outlive the pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) volume: Volume,
    pub(super) process: Option<Box<Process>>,
    /// Asked for by the set.
    pub(super) wanted: bool,
    /// Counts what makes a scheduled start void.
    pub(super) life: u32,
    /// The number of its address, as DNS has it at present.
    pub(super) address: u32,
    /// It runs, but its directory cannot be read: whom it says to be, and what it says is broken.
    pub(super) unreadable: Option<(MemberId, String)>,
    /// Runs another template than the set's.
    pub(super) outdated: bool,
    pub(super) paused_until: Time,
    /// So many writes of its log are yet to be torn.
    pub(super) to_tear: u8,
    pub(super) slow_disk: (Time, Time),
    pub(super) slow_applier: Time,
    pub(super) drift: (Time, u64),
}

/// A volume: a disk, and the mark on its claim.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) disk: SimDisk,
    pub(super) number: u64,
    pub(super) marked: Option<ClusterId>,
    /// What its disk had seen when its faults were last looked for.
    pub(super) counted: Counts,
}

/// The addresses that pods have: one that is free again goes to the next who asks, as in a real network of pods.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    given: u32,
    freed: VecDeque<u32>,
}

impl Addresses {
    fn fresh(&mut self) -> u32 {
        self.given += 1;
        self.given
    }

    fn next(&mut self, reuses: bool) -> u32 {
        let freed = if reuses { self.freed.pop_front() } else { None };
        freed.unwrap_or_else(|| self.fresh())
    }
}

/// Where the data directory is on every disk.
pub(super) fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

/// An address by its number.
pub(super) fn address(number: u32) -> String {
    format!("10.0.0.{number}:2380")
}

/// The pod's name.
pub(super) fn name(pod: u8) -> String {
    format!("orders-{pod}")
}

impl World {
    pub(super) fn pod(&self, pod: u8) -> Option<&Pod> {
        self.pods.get(usize::from(pod))
    }

    pub(super) fn pod_mut(&mut self, pod: u8) -> Option<&mut Pod> {
        self.pods.get_mut(usize::from(pod))
    }

    pub(super) fn process(&self, pod: u8) -> Option<&Process> {
        self.pod(pod)?.process.as_deref()
    }

    pub(super) fn is_live(&self, at: At) -> bool {
        self.process(at.pod).is_some_and(|process| process.at == at)
    }

    /// Which pod answers at an address, if any does.
    pub(super) fn resolve(&self, wanted: &str) -> Option<u8> {
        (0_u8..)
            .zip(&self.pods)
            .find(|(_, there)| there.wanted && address(there.address) == wanted)
            .map(|(pod, _)| pod)
    }

    pub(super) fn address_of(&self, pod: u8) -> String {
        address(self.pod(pod).map_or(0, |pod| pod.address))
    }

    /// The pod gets another address: one that somebody had before, if one is free and chance wants it so.
    pub(super) fn moves(&mut self, pod: u8) {
        let reuses = self.chance.chance(500);
        let new = self.addresses.next(reuses);
        if let Some(there) = self.pod_mut(pod) {
            let old = std::mem::replace(&mut there.address, new);
            self.addresses.freed.push_back(old);
        }
    }

    /// A new volume, empty.
    pub(super) fn new_volume(&mut self) -> Volume {
        self.known.disks += 1;
        Volume {
            disk: SimDisk::default(),
            number: self.known.disks,
            marked: None,
            counted: Counts::default(),
        }
    }

    /// The set asks for so many pods.
    pub(super) fn set_pods(&mut self, count: u8) {
        while self.pods.len() < usize::from(count) {
            let volume = self.new_volume();
            let address = self.addresses.fresh();
            self.pods.push(Pod {
                volume,
                process: None,
                wanted: false,
                life: 0,
                address,
                unreadable: None,
                outdated: false,
                paused_until: 0,
                to_tear: 0,
                slow_disk: (0, 0),
                slow_applier: 0,
                drift: (0, 1_000),
            });
        }
        let all: Vec<u8> = (0_u8..).zip(&self.pods).map(|(pod, _)| pod).collect();
        for pod in all {
            let wanted = pod < count;
            let Some(there) = self.pod_mut(pod) else { continue };
            if there.wanted == wanted {
                continue;
            }
            there.wanted = wanted;
            if wanted {
                there.outdated = false;
                self.start_pod_after(pod, 300 * MS, 3 * SECOND);
            } else {
                self.stop_pod(pod);
            }
        }
    }

    pub(super) fn start_pod_after(&mut self, pod: u8, low: Time, high: Time) {
        let delay = self.chance.within(low, high);
        let Some(there) = self.pod_mut(pod) else { return };
        there.life += 1;
        let life = there.life;
        self.after(delay, Happening::PodStarts(pod, life));
    }

    pub(super) fn pod_starts(&mut self, pod: u8, life: u32) {
        let is_due = self.pod(pod).is_some_and(|pod| pod.life == life && pod.wanted && pod.process.is_none());
        if !is_due {
            return;
        }
        if let Some(there) = self.pod_mut(pod) {
            there.unreadable = None;
        }
        self.known.incarnations += 1;
        let at = At { pod, incarnation: self.known.incarnations };
        let mut random = Random::new(self.schedule.seed, 0xb007 ^ u64::from(at.incarnation) << 16);
        let (nonce, fresh) = (random.id(), MemberId(random.id()));
        let Some(there) = self.pod(pod) else { return };
        let (disk, number) = (there.volume.disk.clone(), there.volume.number);
        self.tell(Some(at), || format!("starts on disk {number}"), number);
        let before = disk.counts();
        match DataDir::open(disk.shared(), &data_dir(), fresh) {
            Ok(dir) => {
                let member = dir.identity().member;
                let abandoned = dir.identity().abandoned.clone();
                let mut process = Box::new(Process::new(at, disk, dir, nonce, random));
                let seen = Observation::Opened { member, disk: number, abandoned };
                self.observe(ClusterId(0), &seen);
                process.life = Life::Opening;
                let ending = self.live(&mut process);
                let tick = self.tick_of(pod);
                self.after(tick, Happening::Process(at, Input::Tick));
                self.put_back(process, ending);
            }
            Err(IdentityError::Io(error)) => {
                if self.pod(pod).is_some_and(|pod| !pod.volume.disk.counts().has_failed_since(&before)) {
                    self.broken("a process ends for a reason", format!("orders-{pod}: {error}"));
                }
                self.coverage.note("ended in opening the directory");
                self.tell(Some(at), || format!("cannot open its directory: {error}"), 0);
                let is_burnt = self.pod(pod).is_some_and(|pod| pod.volume.disk.is_burnt());
                self.feel_fuse(pod, is_burnt);
                self.crash_disk(pod);
                self.start_pod_after(pod, 500 * MS, 2 * SECOND);
            }
            Err(error) => {
                if !self.has_rotten(pod) {
                    self.broken("a crash leaves a directory that opens", format!("orders-{pod}: {error}"));
                }
                self.coverage.note("unreadable directory");
                self.tell(Some(at), || format!("cannot read its directory: {error}"), 1);
                if let Some(there) = self.pod_mut(pod) {
                    there.unreadable = Some((fresh, error.to_string()));
                }
            }
        }
    }

    /// A tick by this pod's clock.
    pub(super) fn tick_of(&mut self, pod: u8) -> Time {
        match self.pod(pod).map(|there| there.drift) {
            Some((until, per_mille)) if until > self.now => {
                self.feel("clock drift", pod);
                TICK * 1_000 / per_mille.max(1)
            }
            Some(_) | None => TICK,
        }
    }

    /// The pod goes, at once: what its process was doing is cut off.
    pub(super) fn stop_pod(&mut self, pod: u8) {
        self.end_process(pod, false);
        if let Some(there) = self.pod_mut(pod) {
            there.life += 1;
            there.unreadable = None;
        }
    }

    /// The volume is deleted with all that is on it, and the pod with it; both come back.
    pub(super) fn replace_volume(&mut self, pod: u8) {
        self.end_process(pod, false);
        let volume = self.new_volume();
        if let Some(there) = self.pod_mut(pod) {
            there.volume = volume;
            there.unreadable = None;
        }
        self.start_pod_after(pod, 500 * MS, 3 * SECOND);
    }

    /// How this process is known and reached.
    pub(super) fn own_route(&self, dir: &mut DataDir, pod: u8) -> Result<Route, IdentityError> {
        let (name, address) = (name(pod), self.address_of(pod));
        let address_version = dir.set_address(&name, &address, 0)?;
        let id = dir.identity().member;
        Ok(Route { id, name, address, address_version, ..Route::default() })
    }

    /// After a process is gone: the disk as it finds it when it comes back.
    pub(super) fn crash_disk(&mut self, pod: u8) {
        self.feel_disk(pod);
        let power = self.nemesis.loses_power(pod);
        let Some(disk) = self.pod(pod).map(|pod| pod.volume.disk.clone()) else { return };
        if power {
            disk.lose_power(&mut self.chance);
        } else {
            disk.kill();
        }
    }
}

/// A byte that is known to have been durable: of the identity, of a snapshot, or of the log.
pub(super) fn durable_byte(disk: &SimDisk, random: &mut Random) -> Option<(PathBuf, usize)> {
    if random.chance(100) {
        let path = data_dir().join(IDENTITY);
        let length = disk.content(&path)?.len();
        return Some((path, random.below(length)));
    }
    if random.chance(250) {
        let dir = snapshot_dir(&data_dir());
        let files: Vec<PathBuf> = disk.files(&dir).into_iter().map(|name| dir.join(name)).collect();
        let path = random.pick(&files)?.clone();
        let length = disk.content(&path)?.len();
        return Some((path, random.below(length)));
    }
    byte_of_log(disk, random)
}

/// A block of the log that holds what belongs elsewhere, and what it holds: another block, of this segment or another one, as
/// after a write that was misdirected; or nothing, as after one that the disk lost.
pub(super) fn misplaced_block(disk: &SimDisk, random: &mut Random) -> Option<(PathBuf, usize, Vec<u8>)> {
    let (path, offset) = byte_of_log(disk, random)?;
    let (other, elsewhere) = byte_of_log(disk, random)?;
    let begin = offset / BLOCK * BLOCK;
    let found = if random.chance(300) {
        vec![0; BLOCK]
    } else {
        let begin = elsewhere / BLOCK * BLOCK;
        disk.content(&other)?.get(begin..begin + BLOCK)?.to_vec()
    };
    let content = disk.content(&path)?;
    // Elsewhere than behind the bytes of its frame: what is filled up there says nothing.
    let differs = found.get(offset - begin) != content.get(offset);
    (differs && begin + BLOCK <= content.len()).then_some((path, begin, found))
}

/// A byte of the log, of any frame but the last one, which cannot be told from a torn one (the format says so, and promises
/// nothing), or of the header before such a frame. Half of them are of the newest segment, where the proof is a frame.
fn byte_of_log(disk: &SimDisk, random: &mut Random) -> Option<(PathBuf, usize)> {
    let mut frames = Vec::new();
    let mut path = PathBuf::new();
    let visited = dump::visit(disk, &data_dir(), &mut |item| {
        match item {
            Item::Segment(segment) => path = segment.path,
            Item::Frame(frame) if !frame.is_sealed_off => {
                let end = (frame.offset + frame.bytes) as usize;
                let begin = if frame.offset == FIRST_FRAME_OFFSET { 0 } else { frame.offset as usize };
                frames.push((path.clone(), begin..end));
            }
            Item::Frame(_) | Item::Identity(_) | Item::Damage(_) => {}
        }
        ControlFlow::Continue(())
    });
    visited.ok()?;
    frames.pop()?;
    let newest = frames.last()?.0.clone();
    if random.chance(500) {
        frames.retain(|(path, _)| *path == newest);
    }
    let (path, frame) = random.pick(&frames)?.clone();
    let content = disk.content(&path)?;
    let written: Vec<usize> = frame.filter(|at| content.get(*at).is_some_and(|byte| *byte != 0)).collect();
    Some((path, *random.pick(&written)?))
}
