//! From a seed to a schedule.
//!
//! A run has a temper: a few kinds of faults, drawn for it, at a rate of its own. Over many seeds everything meets
//! everything; within one, enough of the same happens to get somewhere.

use crate::random::Random;
use crate::schedule::{Fault, Kind, Schedule};

/// How long a generated run is, and how large at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Simulated seconds of the safety phase.
    pub seconds: u32,
    /// `spec.replicas`; `None`: drawn, mostly 3.
    pub replicas: Option<u8>,
}

const PURPOSE: u64 = 0x5c4e_d01e;

/// The schedule of a seed.
#[must_use]
pub fn schedule(seed: u64, shape: Shape) -> Schedule {
    let mut random = Random::new(seed, PURPOSE);
    let drawn = match random.below(20) {
        0 => 1,
        1..=14 => 3,
        15..=18 => 5,
        _ => 7,
    };
    let replicas = shape.replicas.unwrap_or(drawn);
    let clients = 1 + random.below(4) as u8;
    let temper = temper(&mut random);
    let every_ms = [1_500, 4_000, 10_000, 25_000].get(random.below(4)).copied().unwrap_or(4_000);
    let end_ms = u64::from(shape.seconds) * 1_000;
    let mut faults = Vec::new();
    // Half of the runs are disturbed from the very first moment, founding included.
    let mut at_ms = if random.chance(500) { random.within(0, 2_000) } else { random.within(5_000, 15_000) };
    if random.chance(100) {
        // The founder's disk goes while the cluster is being founded.
        let early = random.within(2_500, 4_500);
        faults.push(Fault { at_ms: early, kind: Kind::Wipe { pod: 0 } });
        at_ms = at_ms.max(early + 1);
    }
    if random.chance(150) {
        // The founder ends somewhere in founding.
        let changes = random.within(0, 24) as u32;
        let kind = Kind::Fuse { pod: 0, changes, power: random.chance(500) };
        faults.push(Fault { at_ms: random.within(1_500, 4_000), kind });
    }
    if random.chance(60) {
        at_ms = at_ms.max(founding_in_the_dark(&mut faults, &mut random));
    }
    while at_ms < end_ms {
        let kind = random.pick(&temper).copied().unwrap_or(0);
        // A scale makes pods beyond the first ones: where there may be one, they are hit as often as those.
        let more = temper.contains(&SCALE) && random.chance(500);
        let pods = if more { MOST_PODS } else { replicas.max(3) };
        faults.push(Fault { at_ms, kind: fault(kind, pods, &mut random) });
        if kind == KILL && random.chance(500) {
            at_ms = crash_loop(at_ms, &mut faults, &mut random);
        }
        if kind == SCALE && random.chance(400) {
            // Who comes back to a volume of an earlier life ends in moving that aside.
            let kind = Kind::Fuse {
                pod: random.within(2, 5) as u8,
                changes: random.within(4, 40) as u32,
                power: random.chance(500),
            };
            faults.push(Fault { at_ms: at_ms + random.within(500, 8_000), kind });
        }
        at_ms += random.within(every_ms / 4, every_ms * 2);
    }
    faults.sort_by_key(|fault| fault.at_ms);
    Schedule { seed, replicas, clients, seconds: shape.seconds, mutant: None, faults }
}

/// As many as a scale asks for at the most.
const MOST_PODS: u8 = 7;
/// Hosts that a partition divides: those of the pods, the clients' and the operator's.
const HOSTS: u8 = 9;

/// The operator's.
const OPERATOR: u8 = HOSTS - 1;

/// [`Kind::Kill`] and [`Kind::Scale`] by their numbers.
const KILL: usize = 0;
const SCALE: usize = 16;

/// The founder's disk goes when the cluster has just been formed; of the others one cannot have heard of that, and the one that
/// has cannot tell the operator.
fn founding_in_the_dark(faults: &mut Vec<Fault>, random: &mut Random) -> u64 {
    let at_ms = random.within(2_000, 16_000);
    // Messages that take long make a moment long in which some have heard and others have not.
    let extra_ms = random.within(200, 1_500) as u16;
    faults.push(Fault { at_ms: 1_000, kind: Kind::SlowNetwork { extra_ms, ms: at_ms as u32 + 5_000 } });
    let ms = random.within(5_000, 25_000) as u32;
    let (deaf, mute) = if random.chance(500) { (1, 2) } else { (2, 1) };
    for (from, to) in [(deaf, 0), (0, deaf), (deaf, mute), (mute, deaf), (mute, OPERATOR)] {
        faults.push(Fault { at_ms, kind: Kind::OneWay { from, to, ms } });
    }
    let lost_ms = at_ms + random.within(200, 4_000);
    faults.push(Fault { at_ms: lost_ms, kind: Kind::Wipe { pod: 0 } });
    lost_ms + 1
}

/// The last fault's process ends again and again before it has done much, and applies late: what an earlier boot left
/// meets what the next one begins with.
fn crash_loop(begin_ms: u64, faults: &mut Vec<Fault>, random: &mut Random) -> u64 {
    let Some(Kind::Kill { pod }) = faults.last().map(|fault| fault.kind.clone()) else { return begin_ms };
    let mut at_ms = begin_ms;
    let ends = random.within(3, 8);
    let slow = Kind::SlowApplier { pod, ms: (ends * 3_000) as u32 };
    if random.chance(600) {
        faults.push(Fault { at_ms, kind: slow });
    }
    for _ in 0..ends {
        at_ms += random.within(1_000, 4_500);
        let kind = if random.chance(300) { Kind::PowerCut { pod } } else { Kind::Kill { pod } };
        faults.push(Fault { at_ms, kind });
    }
    at_ms
}

/// Four to ten kinds.
fn temper(random: &mut Random) -> Vec<usize> {
    let kinds = random.within(4, 11);
    (0..kinds).map(|_| random.below(Kind::NAMES.len())).collect()
}

/// A fault of one of so many pods. Of one that is not there it does nothing.
fn fault(kind: usize, pods: u8, random: &mut Random) -> Kind {
    let pod = random.below(usize::from(pods)) as u8;
    let ms = match random.below(4) {
        0 => random.within(50, 500) as u32,
        1 | 2 => random.within(500, 5_000) as u32,
        _ => random.within(5_000, 25_000) as u32,
    };
    match kind {
        KILL => Kind::Kill { pod },
        1 => Kind::PowerCut { pod },
        2 => Kind::PowerCutAll,
        3 | 4 => Kind::Fuse { pod, changes: random.within(0, 60) as u32, power: kind == 4 },
        5 => Kind::Wipe { pod },
        6 => Kind::Pause { pod, ms },
        7 => {
            let side = (0..HOSTS).filter(|_| random.chance(450)).collect();
            Kind::Partition { side, ms }
        }
        8 => {
            let from = random.below(usize::from(pods)) as u8;
            Kind::OneWay { from, to: pod, ms }
        }
        9 => Kind::Lossy {
            drop: random.within(0, 200) as u16,
            duplicate: random.within(0, 200) as u16,
            late: random.within(0, 300) as u16,
            ms,
        },
        10 => Kind::SlowNetwork { extra_ms: random.within(5, 300) as u16, ms },
        11 => Kind::SlowDisk { pod, sync_ms: random.within(10, 800) as u16, ms },
        12 => Kind::FullDisk { pod, ms },
        13 => Kind::FailedSync { pod },
        14 => Kind::Rot { pod },
        15 => Kind::Transfer { to: pod },
        SCALE => Kind::Scale { replicas: [1, 3, 3, 5, 5, 7].get(random.below(6)).copied().unwrap_or(3) },
        17 => Kind::Snapshot { pod },
        18 => Kind::ClockDrift { pod, per_mille: random.within(500, 2_000) as u16, ms },
        19 => Kind::Move { pod },
        20 => Kind::FalseAlarm { pod },
        21 => Kind::OperatorCrash,
        22 => Kind::TwoOperators { ms },
        23 => Kind::SlowOperator { delay_ms: random.within(100, 8_000) as u32, ms },
        24 => Kind::ForgetRegister,
        25 => Kind::Roll,
        26 => Kind::SlowApplier { pod, ms },
        29 => Kind::FailedRead { pod },
        30 => Kind::MisplacedWrite { pod },
        28 => Kind::TornWrites { pod, times: random.within(1, 5) as u8 },
        _ => Kind::FuseAtStart { pod, changes: random.within(0, 40) as u32, power: random.chance(500) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule_and_a_file_keeps_it() {
        let shape = Shape { seconds: 600, replicas: None };
        let first = schedule(7, shape);
        assert_eq!(first, schedule(7, shape));
        assert_ne!(first.faults, schedule(8, shape).faults);
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), first);
    }

    #[test]
    fn every_kind_is_drawn_under_its_own_name() {
        let mut random = Random::new(1, 0);
        for (kind, name) in Kind::NAMES.iter().enumerate() {
            assert_eq!(fault(kind, 3, &mut random).name(), *name);
        }
    }
}
