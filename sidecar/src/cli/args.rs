//! What the command line can say.
//!
//! May import: clap, `config`'s settings, `output`'s formats. Deliberately absent: doing it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::RunArgs;
use crate::output::Format;

/// The consensus sidecar, and the commands that ask a running one.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, max_term_width = 120)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage.")]
pub struct Cli {
    /// Whom to ask.
    #[command(flatten)]
    pub(super) endpoints: EndpointArgs,

    /// How to answer
    #[arg(short = 'o', long = "output", value_name = "FORMAT", global = true, help_heading = ASKING, default_value = "table")]
    pub(super) format: Format,

    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// The help's heading for what every command but `run` heeds.
const ASKING: &str = "Asking a member";

#[derive(Clone, Debug, Args)]
pub(super) struct EndpointArgs {
    /// The member's client port, for keys: HOST:PORT [default: port 2379 of --admin-endpoint's host, or of 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT", global = true, help_heading = ASKING, env = "OUTRIGGER_ENDPOINT")]
    pub(super) endpoint: Option<String>,

    /// The member's admin port, for members, status and snapshots: HOST:PORT [default: port 2380 of --endpoint's host,
    /// or of 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT", global = true, help_heading = ASKING, env = "OUTRIGGER_ADMIN_ENDPOINT")]
    pub(super) admin_endpoint: Option<String>,

    /// Directory of the certificate to show on the admin port: NAME.crt, NAME.key and ca.crt; without it that port is asked
    /// plainly
    #[arg(long, value_name = "DIR", global = true, help_heading = ASKING, env = "OUTRIGGER_PEER_TLS_DIR")]
    pub(super) tls_dir: Option<PathBuf>,

    /// With --tls-dir: the files' name
    #[arg(long, value_name = "NAME", global = true, help_heading = ASKING, env = "OUTRIGGER_PEER_TLS_NAME")]
    #[arg(default_value = "tls")]
    pub(super) tls_name: String,

    /// How long to wait for an answer, as 500ms or 10s
    #[arg(long, value_name = "DURATION", global = true, help_heading = ASKING, default_value = "10s")]
    pub(super) timeout: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a member until it is told to stop
    #[command(after_help = "Precedence: flags, then environment variables, then the file, then defaults.")]
    Run(RunArgs),
    #[command(flatten)]
    Ask(AskVerb),
}

/// What is asked of a running member, or of its files.
#[derive(Debug, Subcommand)]
pub(super) enum AskVerb {
    /// Show the member's and its cluster's state
    Status,
    /// Read keys
    #[command(after_help = GET_HELP)]
    Get(GetArgs),
    /// Write a key
    Put(PutArgs),
    /// Delete keys
    Del(DelArgs),
    /// Compare, then do one of two lists of operations, in one revision
    #[command(after_long_help = TXN_HELP)]
    Txn(TxnArgs),
    /// Drop history below a revision
    Compaction {
        /// Reading at it stays legal, below it does not
        revision: i64,
    },
    /// Members: list, remove, transfer
    #[command(subcommand)]
    Member(MemberVerb),
    /// Snapshots: save
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Hand the leadership over, never campaign again in this run, keep serving: for a pod's preStop hook
    Drain,
    /// The log on disk, offline: dump
    #[command(subcommand)]
    Wal(WalVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum MemberVerb {
    /// Everyone that the member knows
    List,
    /// Drop a member from roster and configuration
    Remove {
        /// The pod's name, or the id in hexadecimal
        member: String,
    },
    /// Move the leadership
    Transfer {
        /// The pod's name, or the id in hexadecimal; the best voter if left out
        to: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotVerb {
    /// Write a fresh snapshot of the member into a file; no command restores one yet
    Save {
        /// The file; it is replaced once the snapshot is whole
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum WalVerb {
    /// Show what is in a member's log
    ///
    /// Changes nothing, and may be used beside a running member. In the order of the files: the identity (cluster, member,
    /// boot), each segment with its size and the index that it begins at, each frame (one write to the disk) with its
    /// offset, its entries by index and term, snapshot marks, hard state and configuration, and each damaged place with
    /// what it means: a torn write, its remains sealed off, or corruption. Of entries only numbers and sizes are shown,
    /// never a key or a value. With `-o json` the same as one array.
    Dump {
        /// The data directory
        dir: PathBuf,
    },
}

/// Which keys.
#[derive(Clone, Debug, Args)]
pub(super) struct KeyArgs {
    /// The key, or the first one of a range
    pub(super) key: String,
    /// The end of the range, exclusive
    #[arg(conflicts_with_all = ["prefix", "from_key"])]
    pub(super) range_end: Option<String>,
    /// Every key that begins with KEY
    #[arg(long, conflicts_with = "from_key")]
    pub(super) prefix: bool,
    /// Every key from KEY on
    #[arg(long)]
    pub(super) from_key: bool,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// At most so many keys; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) limit: i64,
    /// As of this revision; 0 for now
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    pub(super) rev: i64,
    /// Answer from the asked member alone, without its leader: it may be behind
    #[arg(long)]
    pub(super) serializable: bool,
    /// Keys without values
    #[arg(long)]
    pub(super) keys_only: bool,
    /// The number of keys alone
    #[arg(long)]
    pub(super) count_only: bool,
    /// Values without keys
    #[arg(long, conflicts_with = "keys_only")]
    pub(super) print_value_only: bool,
    /// Sort by
    #[arg(long, value_enum, default_value = "key")]
    pub(super) sort_by: SortBy,
    /// Sort from the greatest down
    #[arg(long)]
    pub(super) descending: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum SortBy {
    Key,
    Version,
    Create,
    Mod,
    Value,
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    /// The key
    pub(super) key: String,
    /// The value; read from standard input if left out
    pub(super) value: Option<String>,
    /// Attach the key to this lease, in hexadecimal; hidden until leases are served
    #[arg(long, value_name = "ID", hide = true)]
    pub(super) lease: Option<String>,
    /// Answer with the pair that stood before
    #[arg(long)]
    pub(super) prev_kv: bool,
}

#[derive(Debug, Args)]
pub(super) struct DelArgs {
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// Answer with the pairs that stood before
    #[arg(long)]
    pub(super) prev_kv: bool,
}

#[derive(Debug, Args)]
pub(super) struct TxnArgs {
    /// One line each, an empty one between the sections; read from standard input if left out
    pub(super) lines: Vec<String>,
}

const GET_HELP: &str = "\
With -o json: {header, kvs, more, count}. Each of kvs has `key` and `value` as texts where they are valid UTF-8, and else
`key_base64` and `value_base64` in their stead; create_revision, mod_revision, version and lease are numbers.";

const TXN_HELP: &str = r#"Three sections with an empty line between them: compares, what to do if all hold, what to do else.
  compare:   value("KEY") = "VALUE" | version, create, mod, lease ("KEY") = NUMBER; operators = != < >
  operation: put KEY VALUE [--lease=ID] | get KEY [END] [--prefix] [--from-key] [--keys-only]
             | del KEY [END] [--prefix] [--from-key]
Words are quoted where they hold spaces or escapes (\n \t \" \\ \xNN). As arguments:
  outrigger txn 'value("color") = "blue"' '' 'put color red' 'get color' '' 'get color'"#;
