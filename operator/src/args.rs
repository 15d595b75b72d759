//! The command line of `outrigger-operator`.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};

use k8s_openapi::jiff::SignedDuration;

use crate::certificates::Lifetimes;
use crate::local::Options;
use crate::local::loopback::Loopback;

/// Runs and looks after RaftClusters.
#[derive(Parser, Debug)]
#[command(name = "outrigger-operator", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a RaftCluster's manifest as processes on this machine.
    Local(Local),
    /// Look after the RaftClusters of a Kubernetes cluster.
    Run(Operate),
}

/// `outrigger-operator run`.
#[derive(ClapArgs, Debug)]
pub struct Operate {
    /// A namespace to look after; several by commas, or by giving it several times [default: all].
    #[arg(
        long = "namespace",
        env = "OUTRIGGER_NAMESPACE",
        value_delimiter = ',',
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        value_name = "NAMESPACE"
    )]
    pub namespaces: Vec<String>,
    /// In which form the log is written, on standard error. How much: RUST_LOG, for example outrigger_operator=debug.
    #[arg(long, env = "OUTRIGGER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// The sidecar's image where a RaftCluster names none.
    #[arg(long, env = "OUTRIGGER_SIDECAR_IMAGE", value_name = "IMAGE")]
    pub sidecar_image: String,
    /// The DNS domain of the Kubernetes cluster.
    #[arg(long, env = "OUTRIGGER_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// The namespace that the operator runs in: its pods may reach the members' peer port.
    #[arg(
        long,
        env = "OUTRIGGER_OPERATOR_NAMESPACE",
        default_value = "outrigger-system",
        value_name = "NAMESPACE"
    )]
    pub operator_namespace: String,
    /// How long a member's certificate is good; it is renewed when two thirds of that are over.
    #[arg(long, env = "OUTRIGGER_CERTIFICATE_LIFETIME", default_value = "2160h", value_parser = seconds, value_name = "DURATION")]
    pub certificate_lifetime: i64,
    /// How long a cluster's certificate authority is good; it is replaced when two thirds of that are over.
    #[arg(long, env = "OUTRIGGER_AUTHORITY_LIFETIME", default_value = "87600h", value_parser = seconds, value_name = "DURATION")]
    pub authority_lifetime: i64,
    /// How long a new authority is believed before it signs, and an old one after: longer than any kubelet takes to bring a changed
    /// Secret into a pod.
    #[arg(long, env = "OUTRIGGER_AUTHORITY_OVERLAP", default_value = "1h", value_parser = seconds, value_name = "DURATION")]
    pub authority_overlap: i64,
    /// How many clusters restart outdated pods at once, one pod each: after an upgrade of the operator, all of them have some. One whose roll
    /// does not come forward for ten minutes is no longer counted.
    #[arg(long, env = "OUTRIGGER_ROLLS_AT_ONCE", default_value = "5", value_name = "NUMBER")]
    pub rolls_at_once: NonZeroU16,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "OUTRIGGER_HTTP_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub http_listen: SocketAddr,
    /// Whether a Lease in the operator's namespace says which of several operators acts.
    #[arg(long, env = "OUTRIGGER_LEADER_ELECTION", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub leader_election: bool,
    /// The Lease's name.
    #[arg(long, env = "OUTRIGGER_LEASE_NAME", default_value = "outrigger-operator", value_name = "NAME")]
    pub lease_name: String,
    /// This process among several, as the Lease and the Events name it: the pod's name [default: the host's name].
    #[arg(long, env = "OUTRIGGER_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
}

impl Operate {
    /// How long certificates are believed.
    ///
    /// # Errors
    /// They would end before they are renewed everywhere; the text says what to change.
    pub fn lifetimes(&self) -> Result<Lifetimes, String> {
        let (authority, leaf, overlap) =
            (self.authority_lifetime, self.certificate_lifetime, self.authority_overlap);
        // A third of a lifetime is left when it is renewed.
        if overlap * 3 >= leaf {
            return Err(format!(
                "--certificate-lifetime ({leaf} s) must be more than three times --authority-overlap ({overlap} s), or certificates \
                 would end before new ones are believed"
            ));
        }
        if leaf * 3 >= authority {
            return Err(format!(
                "--authority-lifetime ({authority} s) must be more than three times --certificate-lifetime ({leaf} s), or it would end \
                 before the certificates that it signed"
            ));
        }
        Ok(Lifetimes { authority, leaf, overlap })
    }
}

/// A duration in whole seconds, at least one.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no duration: write hours, minutes or seconds, as 2160h or 90m");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    if duration.as_secs() < 1 || duration.as_secs() > 100 * 8766 * 3600 {
        return Err(format!("{text:?} must be from 1s to 876600h"));
    }
    Ok(duration.as_secs())
}

/// In which form a log is written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// An object a line, for machines.
    Json,
    /// For people.
    Text,
}

const EXAMPLES: &str = "\
Examples:
  outrigger-operator local -f examples/orders.yaml              three members on 127.0.1.1 to .3
  outrigger-operator local -f orders.yaml --loopback 127.0.2.0/24   beside another run
  outrigger-operator local scale orders --replicas 5            as kubectl scale would
  outrigger-operator local status orders -o json
  outrigger-operator local wipe orders 2                        orders-2 loses its volume
  outrigger-operator local stop orders                          the data stays

Data is kept in .outrigger/NAME; DNS answers on the range's .254, port 5353. An edit of the manifest is followed
while it runs.

Exit codes: 0 stopped as asked, 1 failed, 2 the manifest or the command line is wrong.";

const VERB_EXITS: &str = "\
Exit codes: 0 done, 1 failed or no such run, 2 what was asked for is wrong.";

/// `outrigger-operator local`.
#[derive(ClapArgs, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub struct Local {
    /// Speak to a run instead of starting one.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// How to run.
    #[command(flatten)]
    pub run: Run,
}

/// How to run a manifest.
#[derive(ClapArgs, Debug)]
pub struct Run {
    /// The manifest: one RaftCluster.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub filename: Option<PathBuf>,
    /// Where the data is kept, across runs [default: .outrigger/NAME].
    #[arg(long, env = "OUTRIGGER_LOCAL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The loopback addresses to take: member N gets the range's address N+1, DNS gets .254. Locked for the run.
    #[arg(long, env = "OUTRIGGER_LOCAL_LOOPBACK", default_value_t = Loopback::default(), value_name = "RANGE")]
    pub loopback: Loopback,
    /// The DNS server's port, UDP and TCP.
    #[arg(long, env = "OUTRIGGER_LOCAL_DNS_PORT", default_value_t = 5353, value_name = "PORT")]
    pub dns_port: u16,
    /// Start no DNS server: what members do while DNS is down.
    #[arg(long)]
    pub no_dns: bool,
    /// The headless service's name [default: NAME-peers]. Another one changes every member's address and no member's name.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// The sidecar's program [default: outrigger, beside this program].
    #[arg(long, env = "OUTRIGGER_LOCAL_SIDECAR", value_name = "PATH")]
    pub sidecar: Option<PathBuf>,
    /// Stop again as soon as the cluster is as the manifest says; exit 1 if it is not in time (--within).
    #[arg(long)]
    pub once: bool,
    /// Seconds that --once waits.
    #[arg(long, default_value_t = 60, requires = "once", value_name = "SECONDS")]
    pub within: u64,
    /// Print a block when something changed instead of redrawing the screen. Always so when the output is no terminal.
    #[arg(long)]
    pub plain: bool,
}

/// What to ask of a run.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Change the number of voters, as `kubectl scale` would: it stands until the manifest's replicas are edited.
    #[command(after_help = VERB_EXITS)]
    Scale {
        /// Which run.
        #[command(flatten)]
        target: Target,
        /// 1, 3, 5, 7 or 9.
        #[arg(long, allow_negative_numbers = true)]
        replicas: i32,
    },
    /// Show what stands.
    #[command(after_help = VERB_EXITS)]
    Status {
        /// Which run.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[arg(short, long, value_enum, default_value_t = Form::Table)]
        output: Form,
    },
    /// Stop the members and the run, and wait for its end; the data stays.
    #[command(after_help = VERB_EXITS)]
    Stop {
        /// Which run.
        #[command(flatten)]
        target: Target,
    },
    /// Stop, then do with the volumes what spec.deletionPolicy says; a run that is stopped already, too.
    #[command(after_help = VERB_EXITS)]
    Delete {
        /// Which run.
        #[command(flatten)]
        target: Target,
    },
    /// Take a member's volume away: it is killed, its data is moved aside, and it starts on an empty volume.
    #[command(after_help = VERB_EXITS)]
    Wipe {
        /// Which run.
        #[command(flatten)]
        target: Target,
        /// Which member: 2 for orders-2.
        #[arg(value_parser = ordinal)]
        ordinal: u8,
        /// Even if the members that are left are no quorum: then nothing is written any more, until the data is put back.
        #[arg(long)]
        force: bool,
    },
}

fn ordinal(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| "write the member's number alone: 2 for orders-2".to_owned())
}

/// Which run is spoken to.
#[derive(ClapArgs, Debug)]
pub struct Target {
    /// The RaftCluster's name.
    pub name: String,
    /// The run's data directory [default: .outrigger/NAME].
    #[arg(long, env = "OUTRIGGER_LOCAL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// In which form something is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Run {
    /// As options of a run; `terminal` says whether the output is one.
    #[must_use]
    pub fn options(self, terminal: bool) -> Options {
        Options {
            manifest: self.filename.unwrap_or_default(),
            data_dir: self.data_dir,
            loopback: self.loopback,
            dns_port: self.dns_port,
            dns: !self.no_dns,
            service: self.service,
            sidecar: self.sidecar,
            once_within_seconds: self.once.then_some(self.within),
            plain: self.plain || !terminal,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_line_of_the_examples_parses() {
        for line in EXAMPLES.lines().filter(|line| line.starts_with("  outrigger-operator")) {
            let command = line.trim().split("   ").next().unwrap();
            assert!(parse(command).is_ok(), "{command}: {}", parse(command).unwrap_err());
        }
    }

    #[test]
    fn a_run_needs_a_manifest_and_a_verb_does_not() {
        assert!(parse("outrigger-operator local").is_err());
        assert!(parse("outrigger-operator local stop orders").is_ok());
        assert!(parse("outrigger-operator local -f x stop orders").is_err());
    }

    #[test]
    fn a_negative_number_of_replicas_reaches_the_rule_that_refuses_it() {
        assert!(parse("outrigger-operator local scale orders --replicas -1").is_ok());
    }

    #[test]
    fn every_verb_says_its_exit_codes() {
        let local = Args::command().find_subcommand("local").unwrap().clone();
        for mut verb in local.get_subcommands().filter(|verb| verb.get_name() != "help").cloned() {
            let help = verb.render_help().to_string();
            assert!(help.contains("2 what was asked for is wrong"), "{help}");
        }
    }

    #[test]
    fn namespaces_are_given_one_by_one_or_in_a_list() {
        for given in ["--namespace=a --namespace=b", "--namespace a,b"] {
            let line = format!("outrigger-operator run --sidecar-image=x {given}");
            let Command::Run(how) = parse(&line).unwrap().command else { unreachable!("{given}") };
            assert_eq!(how.namespaces, ["a", "b"], "{given}");
        }
        // An empty one would mean all of them.
        assert!(parse("outrigger-operator run --sidecar-image=x --namespace=").is_err());
    }

    #[test]
    fn a_bad_range_is_refused_with_the_fix() {
        let error = parse("outrigger-operator local -f x --loopback 10.0.0.0/24").unwrap_err();
        assert!(error.to_string().contains("127.0.2.0/24"), "{error}");
    }
}
