//! The command line of one member's sidecar: what the pod's container arguments are in Kubernetes.
//!
//! Pure but for `find_sidecar`, which looks beside the running executable. Starting the process is `supervisor`'s.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::addresses::{CLIENT_PORT, HTTP_PORT, PEER_PORT};
use super::zone::ServiceName;

/// What all members of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `outrigger` executable.
    pub sidecar: PathBuf,
    /// The headless service through which members find each other.
    pub service: ServiceName,
    /// The run's DNS server.
    pub dns: SocketAddr,
    /// `spec.consensus.heartbeatInterval`, as written.
    pub heartbeat_interval: String,
    /// `spec.consensus.electionTimeout`, as written.
    pub election_timeout: String,
    /// `spec.sidecar.logLevel`.
    pub log_level: String,
}

/// One member to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The pod's name, `<cluster>-<ordinal>`.
    pub name: String,
    /// The member's own loopback address.
    pub ip: Ipv4Addr,
    /// The stand-in of the pod's volume.
    pub data_dir: PathBuf,
    /// Where its output goes; appended to.
    pub log_file: PathBuf,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// The sidecar binary is nowhere to be found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the sidecar binary {} does not exist; build it (cargo build -p outrigger-sidecar) or name it with --sidecar PATH", .0.display())]
pub struct NoSidecar(PathBuf);

/// The sidecar to run: the one given, or `outrigger` beside this executable.
///
/// # Errors
/// When there is no such file.
pub fn find_sidecar(given: Option<&Path>) -> Result<PathBuf, NoSidecar> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe().unwrap_or_default().with_file_name("outrigger"),
    };
    if path.is_file() { Ok(path) } else { Err(NoSidecar(path)) }
}

impl Launch {
    /// The launch of the member `name` in a cluster of `cluster_size` voters, with its files under `directory`.
    #[must_use]
    pub fn new(settings: &Settings, name: &str, ip: Ipv4Addr, cluster_size: u32, directory: &Path) -> Self {
        let data_dir = directory.join(name);
        let mut arguments: Vec<OsString> = vec!["run".into()];
        let mut flag = |key: &str, value: OsString| arguments.extend([OsString::from(key), value]);
        flag("--name", name.into());
        flag("--data-dir", data_dir.clone().into());
        flag("--listen-client", format!("{ip}:{CLIENT_PORT}").into());
        flag("--listen-peer", format!("{ip}:{PEER_PORT}").into());
        flag("--listen-http", format!("{ip}:{HTTP_PORT}").into());
        flag("--advertise-peer", settings.service.peer_address(name).into());
        flag("--advertise-client", format!("http://{ip}:{CLIENT_PORT}").into());
        flag("--peers-dns", settings.service.fqdn().into());
        flag("--dns-server", settings.dns.to_string().into());
        flag("--cluster-size", cluster_size.to_string().into());
        flag("--heartbeat-interval", settings.heartbeat_interval.clone().into());
        flag("--election-timeout", settings.election_timeout.clone().into());
        flag("--log-level", settings.log_level.clone().into());
        // The member's stdin is a pipe from the runner: when the runner dies, by whatever signal, the pipe closes and
        // the member ends, so that no run leaves processes behind that hold ports and directories.
        arguments.push("--exit-with-stdin".into());
        let log_file = directory.join("logs").join(format!("{name}.log"));
        Self { name: name.to_owned(), ip, data_dir, log_file, program: settings.sidecar.clone(), arguments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_that_of_a_pod() {
        let settings = Settings {
            sidecar: "/bin/outrigger".into(),
            service: ServiceName::new("orders-peers", "default"),
            dns: "127.0.1.254:5353".parse().unwrap(),
            heartbeat_interval: "100ms".into(),
            election_timeout: "1s".into(),
            log_level: "info".into(),
        };
        let launch = Launch::new(&settings, "orders-0", Ipv4Addr::new(127, 0, 1, 1), 3, Path::new("/d"));
        let line: Vec<_> = launch.arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        assert_eq!(
            line.join(" "),
            "run --name orders-0 --data-dir /d/orders-0 --listen-client 127.0.1.1:2379 --listen-peer 127.0.1.1:2380 \
             --listen-http 127.0.1.1:2381 --advertise-peer orders-0.orders-peers.default.svc.cluster.local:2380 \
             --advertise-client http://127.0.1.1:2379 --peers-dns orders-peers.default.svc.cluster.local \
             --dns-server 127.0.1.254:5353 --cluster-size 3 --heartbeat-interval 100ms --election-timeout 1s \
             --log-level info --exit-with-stdin"
        );
        assert_eq!(launch.log_file, Path::new("/d/logs/orders-0.log"));
    }

    #[test]
    fn a_missing_sidecar_is_named_with_the_flag_that_sets_it() {
        let text = find_sidecar(Some(Path::new("/nowhere/outrigger"))).unwrap_err().to_string();
        assert!(text.contains("/nowhere/outrigger") && text.contains("--sidecar PATH"), "{text}");
    }
}
