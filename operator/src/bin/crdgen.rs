//! Writes `crds/raftclusters.outrigger.dev.yaml` from the Rust types, or checks that the file is what they say.
//!
//! The file is generated, so that the schema that users install and the types that the operator reads cannot drift apart.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;

/// Writes the CustomResourceDefinition.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:\n  crdgen            writes crds/raftclusters.outrigger.dev.yaml\n  crdgen --check    fails when the file is not what the types say\n  crdgen --out -    writes to standard output"
)]
struct Args {
    /// Where the file stands; `-` is standard output.
    #[arg(long, default_value = "crds/raftclusters.outrigger.dev.yaml")]
    out: PathBuf,
    /// Change nothing; exit 1 when the file differs.
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
    if args.out.as_os_str() == "-" {
        return std::io::stdout().write_all(yaml.as_bytes()).context("writing to standard output");
    }
    let path = args.out.display();
    if args.check {
        let found = std::fs::read_to_string(&args.out).with_context(|| format!("reading {path}"))?;
        if found != yaml {
            bail!("{path} is not what the types say: run `make generate` and commit the result");
        }
        return Ok(());
    }
    std::fs::write(&args.out, yaml).with_context(|| format!("writing {path}"))
}
