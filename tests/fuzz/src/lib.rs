//! Bytes that nobody should have written or sent, into the code that reads them: no panic, and no memory without bound.
//!
//! A target takes any bytes. `libfuzzer` runs them under cargo-fuzz; [`drive`] runs them on a stable toolchain, with inputs that
//! are drawn. May import: everything that reads. Deliberately absent: what an input means; a target only must not fall over.

mod clients;
mod disk;
mod manifests;
mod peers;

use anyhow::{Result, bail, ensure};
use outrigger_sim::random::Random;

pub use clients::{client_requests, command};
pub use disk::{snapshot, snapshot_header, wal_recovery};
pub use manifests::manifest;
pub use peers::peer_message;

/// A target: takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("wal-recovery", wal_recovery),
    ("peer-message", peer_message),
    ("snapshot", snapshot),
    ("snapshot-header", snapshot_header),
    ("command", command),
    ("client-requests", client_requests),
    ("manifest", manifest),
];

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

/// The most memory that a process may ever have taken in which targets were driven.
const PEAK_BYTES: u64 = 1 << 30;

/// What a run on a stable toolchain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driven {
    /// Inputs given.
    pub inputs: u64,
    /// The most memory that the process ever had, in bytes, where the system says so.
    pub peak_bytes: u64,
}

/// Gives a target inputs from a seed, as long as `goes_on` says so of the number given: random bytes, mostly few.
///
/// # Errors
/// The input that it panicked on, or too much memory taken.
pub fn drive(name: &str, target: Target, seed: u64, mut goes_on: impl FnMut(u64) -> bool) -> Result<Driven> {
    let mut random = Random::new(seed, 0xf022);
    let mut inputs = 0;
    while goes_on(inputs) {
        let len = match random.below(8) {
            0 => random.below(2_000),
            1..=3 => random.below(200),
            _ => random.below(24),
        };
        let input: Vec<u8> = (0..len).map(|_| random.bits() as u8).collect();
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            bail!("{name} panicked; again with: cargo run -p outrigger-fuzz -- --only {name} --input {hex}");
        }
        inputs += 1;
    }
    let peak_bytes = peak_bytes().unwrap_or(0);
    ensure!(peak_bytes <= PEAK_BYTES, "{name} took {} MiB", peak_bytes >> 20);
    Ok(Driven { inputs, peak_bytes })
}

fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
