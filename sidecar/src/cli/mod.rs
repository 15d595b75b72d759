//! The command line: `outrigger run`, and everything that a person asks of a running member.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage. Answers go to standard output, errors with their fix to standard error.
//! May import: clap, `config`, `output`, the wire's clients. Deliberately absent: the node; a command is a client.

mod args;
mod connect;
mod error;
mod kv;
mod member;
mod run;
mod snapshot;
mod status;
mod txn;
mod txn_syntax;
mod wal_dump;

use std::process::ExitCode;

pub use args::Cli;
use args::{AskVerb, MemberVerb, SnapshotVerb, Verb, WalVerb};
use connect::Endpoints;
use error::CliError;

use crate::output::{Output, complain};

/// Does what the command line says.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let Cli { endpoints, format, verb } = cli;
    let done = match verb {
        Verb::Run(args) => run::run(&args),
        Verb::Ask(verb) => {
            let mut output = Output::stdout(format);
            Endpoints::new(&endpoints).and_then(|endpoints| ask(&endpoints, verb, &mut output))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `outrigger get … | head` is no failure.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// A command against a running member, on a runtime of one thread.
fn ask(endpoints: &Endpoints, verb: AskVerb, output: &mut Output) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(dispatch(endpoints, verb, output))
}

async fn dispatch(endpoints: &Endpoints, verb: AskVerb, output: &mut Output) -> Result<(), CliError> {
    match verb {
        AskVerb::Status => status::show(endpoints, output).await,
        AskVerb::Get(args) => kv::get(endpoints, args, output).await,
        AskVerb::Put(args) => kv::put(endpoints, args, output).await,
        AskVerb::Del(args) => kv::del(endpoints, args, output).await,
        AskVerb::Txn(args) => txn::run(endpoints, args, output).await,
        AskVerb::Compaction { revision } => kv::compact(endpoints, revision, output).await,
        AskVerb::Member(MemberVerb::List) => member::list(endpoints, output).await,
        AskVerb::Member(MemberVerb::Remove { member }) => member::remove(endpoints, &member, output).await,
        AskVerb::Member(MemberVerb::Transfer { to }) => {
            member::transfer(endpoints, to.as_deref(), output).await
        }
        AskVerb::Snapshot(SnapshotVerb::Save { file }) => snapshot::save(endpoints, &file, output).await,
        AskVerb::Drain => member::drain(endpoints, output).await,
        AskVerb::Wal(WalVerb::Dump { dir }) => wal_dump::dump(&dir, output),
    }
}

#[cfg(test)]
mod tests;
