//! The command line of `kubectl outrigger`.
//!
//! May import: clap. Deliberately absent: doing it.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  kubectl outrigger status orders -n shop             everything on one screen
  kubectl outrigger status orders -n shop --watch     again whenever something changes
  kubectl outrigger status orders -o json             for programs
  kubectl outrigger transfer orders --to orders-1     move the leadership

Exit codes: 0 done, 1 failed, 2 the command line is wrong.";

/// Look at RaftClusters, and move their leaders.
#[derive(Parser, Debug)]
#[command(name = "kubectl outrigger", bin_name = "kubectl outrigger", version, max_term_width = 120, after_help = EXAMPLES)]
pub struct Args {
    /// Which cluster of Kubernetes.
    #[command(flatten)]
    pub(super) place: Place,
    /// What to do.
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Which cluster of Kubernetes, and where in it; named as kubectl names them.
#[derive(ClapArgs, Clone, Debug, Default)]
pub(super) struct Place {
    /// The namespace [default: the context's].
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// The kubeconfig's context [default: the current one].
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, or ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Show who leads, how each member is, how many more may be lost, and what is wrong.
    Status(Status),
    /// Move the leadership to a member: runs `outrigger member transfer` in its pod.
    Transfer {
        /// The RaftCluster.
        #[arg(value_parser = name)]
        name: String,
        /// The pod that shall lead.
        #[arg(long, value_name = "POD")]
        to: String,
    },
}

/// `kubectl outrigger status`.
#[derive(ClapArgs, Debug)]
pub(super) struct Status {
    /// The RaftCluster.
    #[arg(value_parser = name)]
    pub(super) name: String,
    /// In which form.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    pub(super) output: Form,
    /// Show it again whenever it changes, until Ctrl-C.
    #[arg(short, long)]
    pub(super) watch: bool,
    /// Run nothing in a pod: no MATCH, LAG in steps, no CONTACT. For who has no right to pods/exec.
    #[arg(long)]
    pub(super) no_exec: bool,
}

/// A name alone, or with its kind before it, as kubectl itself prints it.
fn name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        None => Ok(text.to_owned()),
        Some(("rcl" | "raftcluster" | "raftclusters" | "raftcluster.outrigger.dev", name)) => {
            Ok(name.to_owned())
        }
        Some((kind, _)) => Err(format!("{kind} is no RaftCluster: give its name alone, or rcl/NAME")),
    }
}

/// In which form something is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Table,
    /// For programs; with --watch, one object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_its_examples_parse() {
        Args::command().debug_assert();
        for line in EXAMPLES.lines().filter(|line| line.starts_with("  kubectl outrigger")) {
            let command = line.trim().split("   ").next().unwrap();
            // kubectl takes its own name away.
            let parsed = Args::try_parse_from(command.split_whitespace().skip(1));
            assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn a_cluster_may_be_named_as_kubectl_prints_it() {
        for (given, wanted) in
            [("orders", "orders"), ("rcl/orders", "orders"), ("raftcluster.outrigger.dev/orders", "orders")]
        {
            assert_eq!(name(given).as_deref(), Ok(wanted));
        }
        assert!(name("pod/orders-0").unwrap_err().contains("rcl/NAME"));
    }

    #[test]
    fn where_to_look_may_be_said_before_or_after_the_verb() {
        for line in ["x -n shop status orders", "x status orders -n shop", "x status -n shop orders"] {
            let args = Args::try_parse_from(line.split_whitespace()).unwrap();
            assert_eq!(args.place.namespace.as_deref(), Some("shop"), "{line}");
        }
    }
}
