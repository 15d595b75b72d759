//! Bytes that nobody should have written or sent, into the code that reads them: no panic, no end of a member that no peer
//! may bring about, and no memory without bound.
//!
//! A target takes any bytes. `libfuzzer` runs them under cargo-fuzz; [`drive`] runs them on a stable toolchain, with inputs that
//! are drawn. May import: everything that reads. Deliberately absent: what an input means; a target only must not fall over.

mod clients;
mod content;
mod draw;
mod log;
mod manifests;
mod peers;
mod receipt;

use anyhow::{Result, bail, ensure};
use outrigger_sim::random::Random;

pub use clients::{client_requests, command};
pub use content::{snapshot_content, snapshot_header};
pub use draw::edited;
pub use log::wal_recovery;
pub use manifests::manifest;
pub use peers::peer_message;
pub use receipt::snapshot;

/// What takes any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Takes an input.
    pub run: fn(&[u8]),
    /// Good inputs, to begin with. None where an input is a script that says what becomes of something good.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target { name: "wal-recovery", run: wal_recovery, seeds: Vec::new },
    Target { name: "peer-message", run: peer_message, seeds: Vec::new },
    Target { name: "snapshot", run: snapshot, seeds: Vec::new },
    Target { name: "snapshot-header", run: snapshot_header, seeds: content::header_seeds },
    Target { name: "snapshot-content", run: snapshot_content, seeds: content::content_seeds },
    Target { name: "command", run: command, seeds: clients::command_seeds },
    Target { name: "client-requests", run: client_requests, seeds: Vec::new },
    Target { name: "manifest", run: manifest, seeds: Vec::new },
];

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

/// Gives a target inputs from a seed, as long as `goes_on` says so of the number given: where there are good ones, mostly those
/// with a few things wrong, else random bytes.
///
/// # Errors
/// The input that it panicked on, or too much memory taken.
pub fn drive(target: Target, seed: u64, mut goes_on: impl FnMut(u64) -> bool) -> Result<Driven> {
    let Target { name, run, seeds } = target;
    let seeds = seeds();
    let mut random = Random::new(seed, 0xf022);
    let mut inputs = 0;
    while goes_on(inputs) {
        let is_noise = seeds.is_empty() || random.below(8) == 0;
        let input = if is_noise { draw::noise(&mut random) } else { draw::mutated(&seeds, &mut random) };
        if std::panic::catch_unwind(|| run(&input)).is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed that is refused at once would be no better than noise.
    #[test]
    fn what_inputs_are_drawn_from_is_good() {
        content::header_seeds().iter().for_each(|seed| assert!(content::is_header(seed)));
        content::content_seeds().iter().for_each(|seed| assert!(content::is_content(seed)));
        // The first; the others are two of its commands each, which may want what stood before them.
        assert!(clients::command_seeds().first().is_some_and(|seed| clients::are_commands(seed)));
    }
}
