//! `fuzz`: drives the targets on a stable toolchain.

use std::process::ExitCode;
use std::time::{Duration, Instant};

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
}

fn main() -> ExitCode {
    let command = Command::parse();
    let chosen = TARGETS
        .iter()
        .filter(|(name, _)| command.only.is_empty() || command.only.iter().any(|it| it == name));
    for (name, target) in chosen {
        let done = match &command.input {
            Some(hex) => one(*target, hex),
            None => many(name, *target, &command),
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

fn one(target: Target, hex: &str) -> anyhow::Result<()> {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).map_err(anyhow::Error::from));
    target(&digits.collect::<anyhow::Result<Vec<u8>>>()?);
    Ok(())
}

fn many(name: &str, target: Target, command: &Command) -> anyhow::Result<()> {
    let (begun, budget) = (Instant::now(), Duration::from_secs(command.seconds));
    let driven = drive(name, target, command.seed, |_| begun.elapsed() < budget)?;
    say(&format!("fuzz: {name}: {} inputs, peak {} MiB", driven.inputs, driven.peak_bytes >> 20));
    Ok(())
}
