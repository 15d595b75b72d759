//! `fuzz`: drives the targets on a stable toolchain.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use outrigger_fuzz::{TARGETS, Target, drive};

/// Gives bytes that nobody should have written or sent to the code that reads them.
#[derive(Debug, Parser)]
#[command(name = "fuzz", version)]
struct Command {
    /// Only these targets
    #[arg(long)]
    only: Vec<String>,
    /// Seconds a target
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Of the inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Gives one input, in hexadecimal, to the targets, and nothing else
    #[arg(long)]
    input: Option<String>,
    /// Writes the good inputs to begin with into a folder for each target, and does nothing else
    #[arg(long)]
    write_seeds: Option<PathBuf>,
}

fn main() -> ExitCode {
    let command = Command::parse();
    let is_chosen = |name: &str| command.only.is_empty() || command.only.iter().any(|it| it == name);
    for target in TARGETS.into_iter().filter(|target| is_chosen(target.name)) {
        let done = match (&command.write_seeds, &command.input) {
            (Some(dir), _) => write_seeds(target, dir),
            (None, Some(hex)) => one(target, hex),
            (None, None) => many(target, &command),
        };
        if let Err(error) = done {
            say(&format!("fuzz: {error:#}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "the one place that prints")]
fn say(text: &str) {
    println!("{text}");
}

fn write_seeds(target: Target, dir: &Path) -> anyhow::Result<()> {
    let dir = dir.join(target.name);
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        let path = dir.join(format!("seed-{number}"));
        std::fs::write(&path, seed).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

fn one(target: Target, hex: &str) -> anyhow::Result<()> {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).map_err(anyhow::Error::from));
    (target.run)(&digits.collect::<anyhow::Result<Vec<u8>>>()?);
    Ok(())
}

fn many(target: Target, command: &Command) -> anyhow::Result<()> {
    let (begun, budget) = (Instant::now(), Duration::from_secs(command.seconds));
    let driven = drive(target, command.seed, |_| begun.elapsed() < budget)?;
    say(&format!("fuzz: {}: {} inputs, peak {} MiB", target.name, driven.inputs, driven.peak_bytes >> 20));
    Ok(())
}
