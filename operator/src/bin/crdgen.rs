//! Writes `crds/raftclusters.outrigger.dev.yaml`, and the chart's copy of it, from the Rust types, or checks that the files
//! are what they say.
//!
//! They are generated, so that the schema that users install and the types that the operator reads cannot drift apart.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;

/// Writes the CustomResourceDefinition.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:\n  crdgen            writes crds/raftclusters.outrigger.dev.yaml and the chart's copy\n  crdgen --check    fails when a file is not what the types say\n  crdgen --out -    writes to standard output"
)]
struct Args {
    /// Where a file stands; `-` is standard output. May be given several times.
    #[arg(long, default_values = ["crds/raftclusters.outrigger.dev.yaml", "charts/outrigger/files/raftclusters.outrigger.dev.yaml"])]
    out: Vec<PathBuf>,
    /// Change nothing; exit 1 when a file differs.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A failed write to standard error leaves nobody to tell.
            drop(writeln!(std::io::stderr(), "crdgen: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let yaml = outrigger_operator::crd::schema::definition_yaml().context("serializing the definition")?;
    args.out.iter().try_for_each(|out| one(out, &yaml, args.check))
}

fn one(out: &Path, yaml: &str, check: bool) -> anyhow::Result<()> {
    if out.as_os_str() == "-" {
        return std::io::stdout().write_all(yaml.as_bytes()).context("writing to standard output");
    }
    let path = out.display();
    if !check {
        return std::fs::write(out, yaml).with_context(|| format!("writing {path}"));
    }
    let found = std::fs::read_to_string(out).with_context(|| format!("reading {path}"))?;
    if found != yaml {
        bail!("{path} is not what the types say: run `make generate` and commit the result");
    }
    Ok(())
}
