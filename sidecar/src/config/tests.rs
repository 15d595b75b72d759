//! Precedence, defaults, and every bad value.

use std::collections::BTreeMap;

use clap::{Args, Command, FromArgMatches};

use super::*;

fn parse(flags: &[&str]) -> RunArgs {
    let command = RunArgs::augment_args(Command::new("run"));
    let matches = command.try_get_matches_from(std::iter::once(&"run").chain(flags)).unwrap();
    RunArgs::from_arg_matches(&matches).unwrap()
}

fn load_with(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    let layers = Layers::read(&parse(flags), |name| environment.get(name).map(|value| (*value).to_owned()))?;
    Config::from_layers(&layers)
}

/// The settings without defaults, and what a test adds.
fn load(flags: &[&str]) -> Result<Config, ConfigErrors> {
    let mut all = vec!["--name", "orders-0", "--data-dir", "/data"];
    all.extend(flags);
    load_with(&all, &[])
}

#[test]
fn the_command_line_is_well_formed() {
    RunArgs::augment_args(Command::new("run")).debug_assert();
}

#[test]
fn the_help_names_every_setting_with_its_variable_and_default() {
    let help = RunArgs::augment_args(Command::new("run")).render_long_help().to_string();
    let flat: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in &SETTINGS {
        assert!(flat.contains(&format!("--{}", setting.flag)), "{}", setting.flag);
        assert!(flat.contains(&format!("[env: {}]", setting.variable())), "{}", setting.flag);
        if let Some(default) = setting.default {
            assert!(flat.contains(&format!("[default: {default}]")), "{}", setting.flag);
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let config = load(&[]).unwrap();
    assert_eq!(config.name, "orders-0");
    assert_eq!(config.data_dir, PathBuf::from("/data"));
    assert_eq!(config.listen_client.to_string(), "0.0.0.0:2379");
    assert_eq!(config.listen_peer.to_string(), "0.0.0.0:2380");
    assert_eq!(config.listen_http.to_string(), "0.0.0.0:2381");
    assert_eq!(config.advertise_peer, "orders-0:2380");
    assert_eq!(config.advertise_client, "http://orders-0:2379");
    assert_eq!((config.peers_dns.clone(), config.dns_server, config.found), (None, None, None));
    assert_eq!((config.cluster_size, config.election_ticks, config.request_ticks()), (1, 10, 50));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(100));
    assert_eq!((config.snapshot_every_bytes, config.wal_segment_bytes), (64 << 20, 64 << 20));
    assert_eq!((config.max_request_bytes, config.quota_bytes), (1_572_864, 2 << 30));
    assert_eq!((config.log_level.as_str(), config.log_format), ("info", LogFormat::Text));
    assert!((1..=4).contains(&config.worker_threads) && !config.exit_with_stdin);
}

#[test]
fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "name: from-file\ndata-dir: /file\ncluster-size: 5\nexit-with-stdin: true\nelection-timeout: 2s\ndns-server: ~\n",
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let environment = [
        ("OUTRIGGER_NAME", "from-env"),
        ("OUTRIGGER_DATA_DIR", "/env"),
        ("OUTRIGGER_ELECTION_TIMEOUT", ""),
        ("OUTRIGGER_CONFIG", path),
    ];
    let config = load_with(&["--name", "from-flag"], &environment).unwrap();
    assert_eq!(config.name, "from-flag");
    assert_eq!(config.data_dir, PathBuf::from("/env"));
    assert_eq!((config.cluster_size, config.exit_with_stdin), (5, true));
    // An empty variable counts as not set.
    assert_eq!(config.election_ticks, 20);
    assert_eq!(config.dns_server, None);
    // A flag for the file wins over the variable.
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), "cluster-size: 7\n").unwrap();
    let flags = ["--config", other.path().to_str().unwrap()];
    assert_eq!(load_with(&flags, &environment).unwrap().cluster_size, 7);
}

#[test]
fn addresses_are_derived_from_each_other() {
    let config = load(&["--listen-peer", "127.0.1.1:7380", "--listen-client", "127.0.1.1:7379"]).unwrap();
    assert_eq!(config.advertise_peer, "127.0.1.1:7380");
    assert_eq!(config.advertise_client, "http://127.0.1.1:7379");
    let config = load(&["--advertise-peer", "orders-0.peers:2380", "--peers-dns", "peers.local"]).unwrap();
    assert_eq!(config.advertise_client, "http://orders-0.peers:2379");
    assert_eq!(config.peers_dns, Some(PeersDns { name: "peers.local".into(), port: 2380 }));
    let config = load(&["--peers-dns", "peers.local:9", "--dns-server", "127.0.0.1:5353"]).unwrap();
    assert_eq!(config.peers_dns.unwrap().port, 9);
    assert_eq!(config.dns_server.unwrap().to_string(), "127.0.0.1:5353");
    assert_eq!(load(&["--dns-server", "10.0.0.10"]).unwrap().dns_server.unwrap().port(), 53);
    let config = load(&["--listen-peer", "[::1]:2380"]).unwrap();
    assert_eq!(config.advertise_peer, "[::1]:2380");
}

#[test]
fn certificates_are_tls_crt_unless_another_name_is_given() {
    assert_eq!(load(&[]).unwrap().peer_tls, None);
    let source = load(&["--peer-tls-dir", "/tls"]).unwrap().peer_tls.unwrap();
    assert_eq!((source.directory, source.name.as_str()), (PathBuf::from("/tls"), "tls"));
    let flags = ["--name", "orders-0", "--data-dir", "/data"];
    let environment = [("OUTRIGGER_PEER_TLS_DIR", "/tls"), ("OUTRIGGER_PEER_TLS_NAME", "orders-0")];
    let source = load_with(&flags, &environment).unwrap().peer_tls.unwrap();
    assert_eq!((source.directory, source.name.as_str()), (PathBuf::from("/tls"), "orders-0"));
}

#[test]
fn founding_by_hand_waits_for_the_members_that_it_is_told() {
    assert_eq!(load(&["--found", "--initial-members", "3"]).unwrap().found, Some(3));
    assert_eq!(load(&["--found", "--cluster-size", "5"]).unwrap().found, Some(5));
    assert_eq!(load(&["--found=false"]).unwrap().found, None);
}

#[test]
fn every_bad_value_is_named_with_its_flag_its_source_and_a_fix() {
    let table: &[(&[&str], &str, &str)] = &[
        (&["--name", "Orders_0!"], "--name \"Orders_0!\"", "write a DNS name"),
        (&["--name", ""], "--name \"\"", "1 to 253"),
        (&["--data-dir", ""], "--data-dir \"\"", "write a path"),
        (&["--listen-client", "localhost:2379"], "--listen-client \"localhost:2379\"", "write IP:PORT"),
        (&["--listen-client", "0.0.0.0:0"], "port 0", "write IP:PORT"),
        (&["--listen-peer", "0.0.0.0"], "--listen-peer \"0.0.0.0\"", "write IP:PORT"),
        (&["--listen-http", "0.0.0.0:70000"], "--listen-http", "write IP:PORT"),
        (&["--listen-peer", "0.0.0.0:2379"], "its port is --listen-client's", "its own port"),
        (&["--listen-http", "127.0.0.1:2380"], "its port is --listen-peer's", "its own port"),
        (&["--advertise-peer", "orders-0"], "it has no port", "write HOST:PORT"),
        (&["--advertise-peer", "0.0.0.0:2380"], "nobody can reach 0.0.0.0", "write HOST:PORT"),
        (&["--advertise-peer", "-x:2380"], "is not one of DNS", "write HOST:PORT"),
        (&["--advertise-peer", "orders-0:x"], "its port \"x\" is no port", "write HOST:PORT"),
        (&["--advertise-client", "orders-0:2379"], "it has no scheme", "write http://HOST:PORT"),
        (&["--advertise-client", "ftp://a:1"], "neither http nor https", "write http://HOST:PORT"),
        (&["--advertise-client", "http://a"], "it has no port", "write http://HOST:PORT"),
        (&["--peers-dns", "a..b"], "its label \"\" is not one of DNS", "write NAME or NAME:PORT"),
        (&["--peers-dns", "10.0.0.1:0"], "port 0", "write NAME or NAME:PORT"),
        (&["--dns-server", "dns.local"], "it is no IP address", "write IP or IP:PORT"),
        (&["--cluster-size", "0"], "--cluster-size \"0\"", "1 to 99"),
        (&["--cluster-size", "three"], "it is no whole number", "write digits alone"),
        (&["--found=perhaps"], "neither true nor false", "write true or false"),
        (&["--found", "--initial-members", "100"], "--initial-members \"100\"", "1 to 99"),
        (&["--initial-members", "3"], "without --found", "add --found"),
        (&["--heartbeat-interval", "100"], "it has no unit", "as 100ms"),
        (&["--heartbeat-interval", "5ms"], "out of range", "10ms to 10s"),
        (&["--heartbeat-interval", "1d"], "its unit \"d\" is not known", "as 100ms"),
        (&["--heartbeat-interval", "..ms"], "it is no duration", "as 100ms"),
        (&["--election-timeout", "200ms"], "out of range", "at least 3 times --heartbeat-interval (300 ms)"),
        (&["--election-timeout", "61s"], "out of range", "at most 60s"),
        (&["--request-timeout", "500ms"], "out of range", "at least --election-timeout (1000 ms)"),
        (&["--snapshot-every-bytes", "10"], "out of range", "1MiB to 64GiB"),
        (&["--snapshot-every-bytes", "1TB"], "its unit \"TB\" is not known", "as 64MiB"),
        (&["--wal-segment-bytes", "1000001"], "no multiple of 4KiB", "whole MiB"),
        (
            &["--wal-segment-bytes", "4MiB"],
            "--wal-segment-bytes \"4MiB\" (from the command line): a segment holds at least 4 requests, and \
             --max-request-bytes is 1572864 bytes",
            "write at least 6291456 bytes here, or at most 1048576 there",
        ),
        (&["--wal-segment-bytes", "2GiB"], "out of range", "1MiB to 1GiB"),
        (&["--quota-bytes", "1MiB"], "--quota-bytes \"1MiB\"", "write 16MiB to 64GiB, or 0 for 2GiB"),
        (&["--quota-bytes", "-1"], "--quota-bytes", "as 64MiB"),
        (&["--wal-segment-bytes", "99999999999GiB"], "beyond 64 bits", "as 64MiB"),
        (&["--max-request-bytes", "17MiB"], "out of range", "4KiB to 16MiB"),
        (&["--max-request-bytes", "-1"], "--max-request-bytes", "as 64MiB"),
        (&["--log-level", "info,=="], "--log-level", "write error, warn"),
        (&["--log-format", "xml"], "it is no log format", "write text or json"),
        (&["--worker-threads", "0"], "out of range", "1 to 64"),
        (&["--exit-with-stdin=2"], "neither true nor false", "write true or false"),
    ];
    each_is_named(table);
}

#[test]
fn bad_values_about_certificates_are_named_too() {
    each_is_named(&[
        (&["--peer-tls-dir", ""], "--peer-tls-dir \"\"", "write a path"),
        (&["--peer-tls-dir", "/tls", "--peer-tls-name", "a/b"], "--peer-tls-name \"a/b\"", "without .crt"),
        (&["--peer-tls-name", "a"], "without --peer-tls-dir", "add --peer-tls-dir"),
    ]);
}

/// Each of the flags is refused with this problem and this fix.
fn each_is_named(table: &[(&[&str], &str, &str)]) {
    for (flags, problem, fix) in table {
        let mut all: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        // A value that begins with a dash is bound to its flag.
        if let [flag, value] = flags
            && value.starts_with('-')
        {
            all = vec![format!("{flag}={value}")];
        }
        for (flag, value) in [("--name", "orders-0"), ("--data-dir", "/data")] {
            if !flags.contains(&flag) {
                all.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let errors = load_with(&all, &[]).expect_err(&format!("{flags:?} was accepted")).to_string();
        assert!(errors.contains(problem), "{flags:?}: {errors}");
        assert!(errors.contains(fix), "{flags:?}: {errors}");
        assert!(errors.contains("(from the command line)"), "{flags:?}: {errors}");
    }
}

#[test]
fn the_quota_is_read_from_everywhere_and_zero_means_the_default() {
    assert_eq!(load(&["--quota-bytes", "512Mi"]).unwrap().quota_bytes, 512 << 20);
    assert_eq!(load(&["--quota-bytes", "0"]).unwrap().quota_bytes, 2 << 30);
    let flags = ["--name", "orders-0", "--data-dir", "/data"];
    assert_eq!(load_with(&flags, &[("OUTRIGGER_QUOTA_BYTES", "16MiB")]).unwrap().quota_bytes, 16 << 20);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "quota-bytes: 1073741824\n").unwrap();
    assert_eq!(load(&["--config", file.path().to_str().unwrap()]).unwrap().quota_bytes, 1 << 30);
}

#[test]
fn all_errors_are_told_at_once_with_their_sources() {
    let errors = load_with(&["--cluster-size", "0"], &[("OUTRIGGER_LOG_FORMAT", "xml")]).unwrap_err();
    let text = errors.to_string();
    assert_eq!(errors.0.len(), 4, "{text}");
    for part in [
        "--name is not given: set the flag, OUTRIGGER_NAME, or `name:` in the file",
        "--data-dir is not given",
        "--cluster-size \"0\" (from the command line)",
        "--log-format \"xml\" (from $OUTRIGGER_LOG_FORMAT)",
    ] {
        assert!(text.contains(part), "{part} is missing from:\n{text}");
    }
}

#[test]
fn a_bad_file_is_named_with_the_key_that_was_meant() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let table = [
        ("listen-cleint: 0.0.0.0:1\n", "`listen-cleint` is no setting; the nearest is `listen-client`"),
        ("- name\n", "it is not a map of settings"),
        ("name: [a]\n", "`name` is a list or a map"),
        ("1: a\n", "is not a text"),
        ("name: 'a\n", "--config"),
    ];
    for (text, problem) in table {
        std::fs::write(&path, text).unwrap();
        let errors = load(&["--config", &path]).unwrap_err().to_string();
        assert!(errors.contains(problem) && errors.contains(&path), "{text:?}: {errors}");
    }
    std::fs::write(&path, "").unwrap();
    assert!(load(&["--config", &path]).is_ok());
    std::fs::write(&path, "cluster-size: 0\n").unwrap();
    let errors = load(&["--config", &path]).unwrap_err().to_string();
    assert!(errors.contains(&format!("(from {path})")), "{errors}");
    let errors = load(&["--config", "/nowhere/outrigger.yaml"]).unwrap_err().to_string();
    assert!(errors.contains("/nowhere/outrigger.yaml") && errors.contains("No such file"), "{errors}");
}
