//! The table of settings: the only place where a flag's name, default and help stand.
//!
//! May import: clap. Deliberately absent: what a value means (`resolve`).

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The flag without its dashes; also the key in the file.
    pub flag: &'static str,
    /// What its value is called in the help; empty for a switch.
    pub value_name: &'static str,
    /// The default, if there is a fixed one.
    pub default: Option<&'static str>,
    /// For people: meaning, unit, range.
    pub help: &'static str,
}

impl Setting {
    /// The environment variable's name.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.flag)
    }
}

/// `listen-client` → `OUTRIGGER_LISTEN_CLIENT`.
pub(super) fn variable(flag: &str) -> String {
    format!("OUTRIGGER_{}", flag.to_uppercase().replace('-', "_"))
}

const fn setting(
    flag: &'static str,
    value_name: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting { flag, value_name, default, help }
}

/// Every setting, in the order of the help.
pub static SETTINGS: [Setting; 25] = [
    setting("name", "NAME", None, "This member's name: the pod's, as in the roster"),
    setting(
        "data-dir",
        "DIR",
        None,
        "Directory of the log, the snapshots and the identity; locked while it is used",
    ),
    setting("listen-client", "IP:PORT", Some("0.0.0.0:2379"), "Where clients (etcd v3 gRPC) are served"),
    setting("listen-peer", "IP:PORT", Some("0.0.0.0:2380"), "Where peers and the admin service are served"),
    setting(
        "listen-http",
        "IP:PORT",
        Some("0.0.0.0:2381"),
        "Where probes, metrics and the JSON status are served",
    ),
    setting(
        "advertise-peer",
        "HOST:PORT",
        None,
        "How peers reach this member: a DNS name and port [default: --listen-peer if its IP is a fixed one, else the name \
         and the port of --listen-peer]",
    ),
    setting(
        "advertise-client",
        "URL",
        None,
        "How clients reach this member [default: http, the host of --advertise-peer, the port of --listen-client]",
    ),
    setting(
        "peers-dns",
        "NAME[:PORT]",
        None,
        "DNS name that resolves to every pod of the cluster: a headless service with publishNotReadyAddresses [default \
         port: --listen-peer's]",
    ),
    setting(
        "peer-tls-dir",
        "DIR",
        None,
        "Directory of this member's certificate for the peer and admin port: NAME.crt, NAME.key and ca.crt, as a Secret is \
         mounted; it is looked at again every few seconds. Without it that port is plain [default: plain]",
    ),
    setting(
        "peer-tls-name",
        "NAME",
        None,
        "With --peer-tls-dir: the files' name, where one directory serves several members [default: tls]",
    ),
    setting("dns-server", "IP[:PORT]", None, "DNS server to ask [default: the system's; default port: 53]"),
    setting("cluster-size", "N", Some("1"), "Pods that the founding expects, 1 to 99; shown in the status"),
    setting(
        "found",
        "",
        None,
        "Found the cluster by hand: on an empty disk, once all seeds that DNS names answer empty, and --initial-members are there; \
         on a founded disk a no-op",
    ),
    setting(
        "initial-members",
        "N",
        None,
        "With --found: members to wait for, this one included [default: --cluster-size]",
    ),
    setting(
        "heartbeat-interval",
        "DURATION",
        Some("100ms"),
        "One tick, 10ms to 10s; the same on every member",
    ),
    setting(
        "election-timeout",
        "DURATION",
        Some("1s"),
        "Silence of the leader's machine until an election, at least 3 heartbeats, at most 60s (a leader whose process dies \
         is replaced faster)",
    ),
    setting(
        "request-timeout",
        "DURATION",
        Some("5s"),
        "How long a request may wait for its answer, at least --election-timeout, at most 10m",
    ),
    setting(
        "snapshot-every-bytes",
        "BYTES",
        Some("64MiB"),
        "Take a snapshot when the entries since the last one outgrow this and that one's size, 1MiB to 64GiB",
    ),
    setting(
        "wal-segment-bytes",
        "BYTES",
        Some("64MiB"),
        "Size of a log segment, a multiple of 4KiB from 1MiB to 1GiB, at least 4 times the largest --max-request-bytes of any \
         member",
    ),
    setting(
        "max-request-bytes",
        "BYTES",
        Some("1536KiB"),
        "Largest client request, 4KiB to 16MiB; the same on every member",
    ),
    setting(
        "quota-bytes",
        "BYTES",
        Some("0"),
        "How large the key space may grow, with its history, 16MiB to 64GiB: beyond it only reads, deletes and compactions \
         are served; 0 for 2GiB",
    ),
    setting(
        "log-level",
        "LEVEL",
        Some("info"),
        "error, warn, info, debug, trace (the last two of this program's own lines), or directives as `info,h2=debug`",
    ),
    setting("log-format", "FORMAT", Some("text"), "text or json, on standard error"),
    setting(
        "worker-threads",
        "N",
        None,
        "Threads that serve, 1 to 64; the log and the applier have their own [default: 1]",
    ),
    setting(
        "exit-with-stdin",
        "",
        None,
        "Stop as on SIGTERM when standard input ends, so that a runner that dies leaves no process behind",
    ),
];

/// The settings as the command line gave them, and the file's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunArgs {
    /// What was given, by flag.
    pub flags: BTreeMap<&'static str, String>,
    /// `--config`.
    pub file: Option<String>,
}

impl Args for RunArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config").long("config").value_name("FILE").help(
            "YAML file of settings, keys as the flags without their dashes; flags win over the environment, the \
             environment over the file [env: OUTRIGGER_CONFIG]",
        );
        let args = SETTINGS.iter().map(|setting| {
            let default = setting.default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
            let help = format!("{}{default} [env: {}]", setting.help, setting.variable());
            let arg = Arg::new(setting.flag).long(setting.flag).help(help).action(ArgAction::Set);
            if setting.value_name.is_empty() {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
            } else {
                arg.value_name(setting.value_name)
            }
        });
        command.arg(file).args(args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in &SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.flag) {
                self.flags.insert(setting.flag, value.clone());
            }
        }
        if let Some(path) = matches.get_one::<String>("config") {
            self.file = Some(path.clone());
        }
        Ok(())
    }
}
