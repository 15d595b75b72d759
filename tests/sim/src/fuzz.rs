//! Bytes that nobody should have written or sent, into the code that reads them: no panic, and no memory without bound.
//!
//! A target takes any bytes. `tests/fuzz` runs them under libFuzzer; [`drive`] runs them on a stable toolchain, with inputs that
//! are drawn. May import: the simulator. Deliberately absent: what an input means; a target only must not fall over.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use outrigger_core::log::{Batch, Entry, EntryKind, HardState};
use outrigger_core::mvcc::KeySpace;
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_core::state_machine::StateMachine as _;
use outrigger_core::types::{BatchNumber, ClusterId, Index, MemberId, Term};
use outrigger_storage::fs::FileSystem as _;
use outrigger_storage::segment::{file_name, wal_dir};
use outrigger_storage::snapshot_store::{SnapshotId, SnapshotStore, Transfer};
use outrigger_storage::{Wal, WalOptions};

use crate::disk::SimDisk;
use crate::random::Random;
use crate::schedule::Schedule;
use crate::world::{MS, SECOND, World};

/// A target: takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 5] = [
    ("wal-recovery", wal_recovery),
    ("peer-message", peer_message),
    ("snapshot", snapshot),
    ("snapshot-header", snapshot_header),
    ("command", command),
];

const CLUSTER: ClusterId = ClusterId(0xc1);
const MEMBER: MemberId = MemberId(0xa1);
const SEGMENT_BYTES: u64 = 64 << 10;

fn dir() -> PathBuf {
    PathBuf::from("/data")
}

fn options() -> WalOptions {
    WalOptions { segment_size_bytes: SEGMENT_BYTES, ..WalOptions::new(CLUSTER, MEMBER) }
}

/// Changes bytes as a script says: four bytes a step, which replaces, inserts, deletes or cuts.
#[must_use]
pub fn edited(original: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for step in script.chunks_exact(4) {
        let [what, high, low, value] = step else { continue };
        let at = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len().max(1);
        match what % 4 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *value;
                }
            }
            1 => bytes.insert(at, *value),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 if *value < 32 => bytes.truncate(at),
            _ => {}
        }
    }
    bytes
}

/// The segment that a member has written in a few frames.
fn segment() -> &'static [u8] {
    static SEGMENT: OnceLock<Vec<u8>> = OnceLock::new();
    SEGMENT.get_or_init(|| {
        let disk = SimDisk::default();
        let Ok(mut log) = Wal::open(disk.shared(), &dir(), options()) else { return Vec::new() };
        for number in 1..=8 {
            let entry = Entry {
                index: Index(number),
                term: Term(1),
                kind: EntryKind::Normal,
                data: Bytes::from(vec![number as u8; 100 * number as usize]),
                context: Bytes::new(),
            };
            let hard_state = Some(HardState { term: Term(1), vote: MEMBER, commit: Index(number - 1) });
            let batch =
                Batch { number: BatchNumber(number), entries: vec![entry], hard_state, ..Batch::default() };
            // A log on an empty disk takes what follows what it has.
            drop(log.writer.append(&[batch]));
        }
        disk.content(&wal_dir(&dir()).join(file_name(MEMBER, 1))).unwrap_or_default()
    })
}

/// A log whose segment was changed is opened, and read as far as it says that it goes.
pub fn wal_recovery(script: &[u8]) {
    let disk = SimDisk::default();
    let path = wal_dir(&dir()).join(file_name(MEMBER, 1));
    let written = disk.create_dir(&wal_dir(&dir())).and_then(|()| disk.create(&path)).and_then(|file| {
        let bytes = if script.first() == Some(&0xff) { script.to_vec() } else { edited(segment(), script) };
        file.write_at(&bytes, 0)?;
        file.sync_all()
    });
    if written.is_err() {
        return;
    }
    if let Ok(opened) = Wal::open(disk.shared(), &dir(), options()) {
        let (first, end) = (opened.recovered.first_index, opened.recovered.last_index.next());
        if first < end {
            // Whatever it says, it is an answer.
            drop(opened.reader.read(first..end, 1 << 20));
        }
    }
}

/// A message between members is changed on its way.
pub fn peer_message(script: &[u8]) {
    thread_local! {
        static CLUSTER_AT_WORK: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    let Some((which, script)) = script.split_first_chunk::<2>() else { return };
    CLUSTER_AT_WORK.with(|kept| {
        let mut kept = kept.borrow_mut();
        let world = kept.get_or_insert_with(|| {
            let (replicas, clients, seconds, faults) = (3, 2, 60, Vec::new());
            let schedule = Schedule { seed: 1, replicas, clients, seconds, mutant: None, faults };
            World::to_be_forged(schedule, 30 * SECOND)
        });
        let which = usize::from(u16::from_be_bytes(*which));
        if !world.forge(which, |bytes| Bytes::from(edited(bytes, script)), 20 * MS) {
            *kept = None;
        }
    });
}

/// A snapshot's file, changed on its way or made up, is received and read.
pub fn snapshot(script: &[u8]) {
    let disk = SimDisk::default();
    let store = SnapshotStore::new(disk.shared(), &dir(), CLUSTER);
    let id = SnapshotId { index: Index(7), term: Term(2) };
    let original = || {
        let mut writer = store.begin(id, b"header").ok()?;
        writer.chunk(&[7; 300]).ok()?;
        writer.chunk(&[8; 5]).ok()?;
        writer.finish().ok()?;
        store.open(id).ok()?.read_range(0, 1 << 20).ok()
    };
    let Some(original) = original() else { return };
    let bytes = edited(&original, script);
    let transfer = Transfer { id, crc: crc32c::crc32c(&bytes), len: bytes.len() as u64 };
    let Ok(mut incoming) = store.incoming(transfer) else { return };
    let arrived = incoming.write_at(0, &bytes, transfer.crc).is_ok() && incoming.finish().is_ok();
    if let Some(reader) = arrived.then(|| store.open(id).ok()).flatten() {
        let chunks: usize = reader.chunks().take_while(Result::is_ok).count();
        assert!(chunks <= bytes.len(), "more chunks than bytes");
    }
}

/// What travels in raft's snapshot message, and begins a snapshot's file.
pub fn snapshot_header(bytes: &[u8]) {
    if let Ok(header) = SnapshotHeader::decode(bytes) {
        let again = SnapshotHeader::decode(&header.encode());
        assert_eq!(again.as_ref(), Ok(&header), "a header survives its bytes");
    }
}

/// A committed command of any bytes is applied: every member must come to the same, and none may fall over.
pub fn command(bytes: &[u8]) {
    let (mut one, mut two) = (KeySpace::default(), KeySpace::default());
    for (index, part) in (1..).zip(bytes.chunks(64)) {
        let (first, second) = (one.apply(Index(index), part), two.apply(Index(index), part));
        assert_eq!(first, second, "one command, two answers");
    }
    assert_eq!(KeySpace::digest(&one.view()), KeySpace::digest(&two.view()), "one history, two states");
}

/// What a run on a stable toolchain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driven {
    /// Inputs given.
    pub inputs: u64,
    /// The most memory that the process ever had, in bytes, where the system says so.
    pub peak_bytes: Option<u64>,
}

/// Gives a target inputs from a seed for so long: random bytes, mostly few. A panic is the caller's to see; the input that did
/// it is told by `before`.
pub fn drive(target: Target, seed: u64, budget: Duration, mut before: impl FnMut(&[u8])) -> Driven {
    let (begun, mut inputs) = (Instant::now(), 0);
    let mut random = Random::new(seed, 0xf022);
    while begun.elapsed() < budget {
        let len = match random.below(8) {
            0 => random.below(2_000),
            1..=3 => random.below(200),
            _ => random.below(24),
        };
        let input: Vec<u8> = (0..len).map(|_| random.bits() as u8).collect();
        before(&input);
        target(&input);
        inputs += 1;
    }
    Driven { inputs, peak_bytes: peak_bytes() }
}

fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
