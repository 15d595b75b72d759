//! What a person gives `sim`: its flags and schedule files, and what is wrong with them, in one line.
//!
//! May import: clap, serde_json, `generate`, `schedule`. Deliberately absent: doing what was asked for (`command`).

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::generate::{self, Shape};
use crate::runs::is_known;
use crate::schedule::{REPLICAS, SECONDS, Schedule};

/// Runs that shrinking a schedule may take.
pub(crate) const SHRINKING_RUNS: usize = 600;

/// Something that was given and cannot be used: no rule is broken, nothing was run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

/// Simulates clusters under faults, from seeds or schedule files.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Runs many seeds, and fails if one breaks a rule; with --all-met, if something was never met, too
    Run(Many),
    /// Runs one seed or one schedule file, and says in a line how it ended; with --log, all that happens before that
    Replay(One),
    /// Plants one bug after the other, and fails if one survives all seeds
    #[cfg(feature = "mutants")]
    Mutants {
        /// Only these, by name; more than one with commas
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// How many seeds each may survive at the most
        #[arg(long, default_value_t = 500, value_parser = at_least_one)]
        seeds: u64,
        /// Threads, 64 at the most
        #[arg(long, default_value_t = 2, value_parser = threads())]
        threads: usize,
        #[command(flatten)]
        shape: ShapeArgs,
    },
    /// Makes a failing seed or schedule small and writes it to a file
    Shrink {
        #[command(flatten)]
        one: One,
        /// Where the small schedule goes
        #[arg(long, default_value = "target/sim/schedule.json")]
        out: PathBuf,
        /// Runs that it may take
        #[arg(long, default_value_t = SHRINKING_RUNS)]
        max_runs: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Many {
    /// The first seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(crate) first: u64,
    /// How many seeds at the most
    #[arg(long, default_value_t = u64::MAX, value_parser = at_least_one)]
    pub(crate) seeds: u64,
    /// Begin no seed after so many seconds
    #[arg(long, default_value_t = 120, value_parser = at_least_one)]
    pub(crate) budget_seconds: u64,
    /// Fail if fewer seeds were run
    #[arg(long, default_value_t = 1)]
    pub(crate) at_least: u64,
    /// Threads, 64 at the most
    #[arg(long, default_value_t = 2, value_parser = threads())]
    pub(crate) threads: usize,
    /// Fail if a kind of fault, a step or a boundary was never met
    #[arg(long)]
    pub(crate) all_met: bool,
    /// Runs that shrinking the first failure may take; 0: it is left as it is
    #[arg(long, default_value_t = SHRINKING_RUNS)]
    pub(crate) shrinking_runs: usize,
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ShapeArgs {
    /// Simulated seconds of a seed's safety phase
    #[arg(long, default_value_t = 860, value_parser = seconds())]
    pub(crate) seconds: u32,
    /// Replicas of every seed: 1, 3, 5 or 7; drawn if not given
    #[arg(long, value_parser = replicas)]
    pub(crate) replicas: Option<u8>,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The seed
    #[arg(long, conflicts_with = "schedule")]
    seed: Option<u64>,
    /// A schedule file, which has a size and a length of its own, and may name a planted bug
    #[arg(long, conflicts_with_all = ["seconds", "replicas", "mutant"])]
    schedule: Option<PathBuf>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// A planted bug, for a seed
    #[arg(long)]
    mutant: Option<String>,
    /// Print all that happens
    #[arg(long)]
    pub(crate) log: bool,
}

fn at_least_one(text: &str) -> Result<u64, String> {
    let given = text.parse().ok().filter(|number| *number > 0);
    given.ok_or_else(|| "a whole number, at least 1, is due".to_owned())
}

fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=64)
}

fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(*SECONDS.start())..=i64::from(*SECONDS.end()))
}

fn replicas(text: &str) -> Result<u8, String> {
    let given = text.parse().ok().filter(|replicas| REPLICAS.contains(replicas));
    given.ok_or_else(|| "1, 3, 5 or 7 is allowed".to_owned())
}

/// What is asked for. Help is printed, and ends the process.
pub(crate) fn asked() -> Result<What, BadInput> {
    let is_help = |kind| {
        use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
        matches!(kind, DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
    };
    match Command::try_parse() {
        Ok(command) => Ok(command.what),
        Err(error) if is_help(error.kind()) => error.exit(),
        Err(error) => Err(BadInput(in_a_line(&error.to_string()))),
    }
}

/// Clap's complaint without the usage that follows it.
fn in_a_line(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

impl From<ShapeArgs> for Shape {
    fn from(args: ShapeArgs) -> Self {
        Self { seconds: args.seconds, replicas: args.replicas }
    }
}

impl One {
    /// The schedule that is asked for, which a world can run.
    pub(crate) fn schedule(&self) -> anyhow::Result<Schedule> {
        let Some(path) = &self.schedule else {
            is_known(self.mutant.as_deref()).map_err(BadInput)?;
            let seed = self.seed.ok_or_else(|| BadInput("--seed or --schedule is due".to_owned()))?;
            let schedule = generate::schedule(seed, self.shape.into());
            return Ok(Schedule { mutant: self.mutant.clone(), ..schedule });
        };
        let schedule = read(path)?;
        let checked = schedule.validate().and_then(|()| is_known(schedule.mutant.as_deref()));
        checked.map_err(|what| BadInput(format!("the schedule {}: {what}", path.display())))?;
        Ok(schedule)
    }
}

fn read(path: &Path) -> Result<Schedule, BadInput> {
    let of_it = |what: &dyn std::fmt::Display| BadInput(format!("the schedule {}: {what}", path.display()));
    // Of a pipe or a device there may be no end.
    let is_file = std::fs::metadata(path).map_err(|error| of_it(&error))?.is_file();
    let text =
        if is_file { std::fs::read_to_string(path) } else { return Err(of_it(&"not a regular file")) };
    serde_json::from_str(&text.map_err(|error| of_it(&error))?).map_err(|error| of_it(&error))
}

/// Makes the folder of a file that is going to be written.
pub(crate) fn make_room(out: &Path) -> anyhow::Result<()> {
    if out.is_dir() {
        return Err(BadInput(format!("{} is a folder: a file's name is due", out.display())).into());
    }
    let folder = out.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))
}

/// The planted bugs of these names; of none: all.
#[cfg(feature = "mutants")]
pub(crate) fn chosen(only: &[String]) -> Result<Vec<outrigger_mutants::Mutant>, BadInput> {
    if only.is_empty() {
        return Ok(outrigger_mutants::Mutant::ALL.to_vec());
    }
    only.iter().try_for_each(|name| is_known(Some(name))).map_err(BadInput)?;
    let all = outrigger_mutants::Mutant::ALL.iter().copied();
    Ok(all.filter(|mutant| only.iter().any(|name| name == mutant.name())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, clap::Error> {
        Command::try_parse_from([&["sim"], args].concat())
    }

    #[test]
    fn numbers_have_bounds() {
        for given in [
            &["run", "--threads", "64", "--seeds", "1", "--budget-seconds", "1"][..],
            &["run", "--replicas", "7", "--seconds", "100000", "--first", "0"],
            &["replay", "--seed", "18446744073709551615", "--seconds", "1"],
            &["shrink", "--schedule", "file.json"],
        ] {
            assert!(parsed(given).is_ok(), "{given:?}");
        }
        for (given, kind) in [
            (&["run", "--threads", "0"][..], ErrorKind::ValueValidation),
            (&["run", "--threads", "65"], ErrorKind::ValueValidation),
            (&["run", "--seeds", "0"], ErrorKind::ValueValidation),
            (&["run", "--first", "18446744073709551615"], ErrorKind::ValueValidation),
            (&["run", "--budget-seconds", "0"], ErrorKind::ValueValidation),
            (&["run", "--replicas", "4"], ErrorKind::ValueValidation),
            (&["replay", "--seed", "1", "--seconds", "0"], ErrorKind::ValueValidation),
            (&["replay", "--seed", "1", "--seconds", "100001"], ErrorKind::ValueValidation),
            (&["replay", "--seed", "1", "--schedule", "file.json"], ErrorKind::ArgumentConflict),
            (&["replay", "--schedule", "file.json", "--mutant", "a"], ErrorKind::ArgumentConflict),
            (&["replay", "--schedule", "file.json", "--seconds", "5"], ErrorKind::ArgumentConflict),
        ] {
            assert_eq!(parsed(given).unwrap_err().kind(), kind, "{given:?}");
        }
    }

    #[test]
    fn a_planted_bug_that_is_not_there_is_bad_input_and_so_is_no_seed() {
        for (given, says) in [
            (&["replay", "--seed", "1", "--mutant", "nosuch"][..], "nosuch"),
            (&["replay"], "--seed or --schedule is due"),
        ] {
            let What::Replay(one) = parsed(given).unwrap().what else { panic!("a replay was asked for") };
            let error = one.schedule().unwrap_err();
            assert!(error.is::<BadInput>() && error.to_string().contains(says), "{error:#}");
        }
    }

    #[test]
    fn what_is_no_file_is_no_schedule() {
        for path in ["/dev/zero", "/no/such/file", "/"] {
            let error = read(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(path) && !error.contains('\n'), "{error}");
        }
    }
}
