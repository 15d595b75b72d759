//! From options and a manifest to a run that can begin: locks, directories, record, zone, and how each member is started.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;

use super::certificates;
use super::dns::service_name;
use super::errors::LocalError;
use super::layout::{FileLock, Layout};
use super::loopback::{CLIENT_PORT, HTTP_PORT, Loopback, PEER_PORT};
use super::manifest::Manifest;
use super::member::Launch;
use super::record::{Content, Record};
use super::stopped;
use crate::cluster::ids::{ClusterName, Ordinal};

/// What a local run is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The manifest.
    pub manifest: PathBuf,
    /// The cluster's data directory; `.outrigger/NAME` when absent.
    pub data_dir: Option<PathBuf>,
    /// The addresses.
    pub loopback: Loopback,
    /// The DNS server's port.
    pub dns_port: u16,
    /// Whether there is a DNS server at all.
    pub dns: bool,
    /// The headless service's name; `NAME-peers` when absent.
    pub service: Option<String>,
    /// The sidecar; the one beside this program when absent.
    pub sidecar: Option<PathBuf>,
    /// End, with all members stopped, once the cluster is as the manifest says; after this many seconds, fail.
    pub once_within_seconds: Option<u64>,
    /// Print a new block when something changed, instead of redrawing a screen.
    pub plain: bool,
}

/// What stays the same for a whole run.
#[derive(Debug)]
pub struct Ground {
    /// Paths.
    pub layout: Layout,
    /// Addresses.
    pub loopback: Loopback,
    /// Where DNS is asked, whether or not somebody answers there.
    pub dns_server: std::net::SocketAddr,
    /// The headless service's full name.
    pub service: String,
    /// The sidecar.
    pub sidecar: PathBuf,
    /// The size that members are told of as the initial one; constant, or scaling would restart everybody.
    pub initial_size: u8,
    _locks: [FileLock; 2],
}

/// Takes the locks, makes the directories and opens the record.
///
/// # Errors
/// Something is in use, missing, or cannot be read.
pub fn prepare(options: &Options, manifest: &Manifest) -> Result<(Ground, Record), LocalError> {
    let name = &manifest.wanted.name;
    let root = options.data_dir.clone().unwrap_or_else(|| Layout::default_root(&name.0));
    if !options.dns && pods_on_disk(&Layout::new(root.clone()), name) == 0 {
        return Err(LocalError::FreshWithoutDns { root });
    }
    let sidecar = sidecar(options.sidecar.as_deref())?;
    // Before the directory: a run that is refused leaves nothing behind.
    let shown = std::path::absolute(&root).unwrap_or_else(|_| root.clone());
    let holder = format!("process {} (cluster {name}, data in {})", std::process::id(), shown.display());
    let range_lock = options.loopback.lock(&std::env::temp_dir(), &holder)?;
    let layout = Layout::create(&root)?;
    let directory_lock = layout.lock(&name.0)?;
    let initial = Content {
        name: name.0.clone(),
        created_unix_seconds: Timestamp::now().as_second(),
        pods: pods_on_disk(&layout, name),
        initial_size: manifest.wanted.replicas,
        ..Content::default()
    };
    stopped::check_name(&layout, &name.0)?;
    let record = Record::open(layout.record(), initial)?;
    record.founding()?;
    let service = options.service.clone().unwrap_or_else(|| format!("{name}-peers"));
    let ground = Ground {
        layout,
        loopback: options.loopback,
        dns_server: options.loopback.dns(options.dns_port),
        service: service_name(&service, &manifest.wanted.namespace),
        sidecar,
        initial_size: record.content().initial_size,
        _locks: [directory_lock, range_lock],
    };
    Ok((ground, record))
}

impl Ground {
    /// How one member is started.
    #[must_use]
    pub fn launch(&self, manifest: &Manifest, ordinal: Ordinal) -> Launch {
        let wanted = &manifest.wanted;
        let pod = wanted.name.pod(ordinal);
        let listen = |port| self.loopback.socket(ordinal, port).to_string();
        let volume = self.layout.volume(&pod);
        let flags: [(&str, OsString); 16] = [
            ("--name", pod.clone().into()),
            ("--data-dir", volume.clone().into()),
            ("--listen-client", listen(CLIENT_PORT).into()),
            ("--listen-peer", listen(PEER_PORT).into()),
            ("--listen-http", listen(HTTP_PORT).into()),
            ("--advertise-peer", format!("{pod}.{}:{PEER_PORT}", self.service).into()),
            ("--advertise-client", format!("http://{}", listen(CLIENT_PORT)).into()),
            ("--peers-dns", self.service.clone().into()),
            ("--dns-server", self.dns_server.to_string().into()),
            ("--peer-tls-dir", certificates::directory(&self.layout).into()),
            ("--peer-tls-name", pod.clone().into()),
            ("--cluster-size", self.initial_size.to_string().into()),
            ("--heartbeat-interval", format!("{}ms", wanted.heartbeat_interval.as_millis()).into()),
            ("--election-timeout", format!("{}ms", wanted.election_timeout.as_millis()).into()),
            ("--quota-bytes", wanted.quota_bytes.to_string().into()),
            ("--log-level", wanted.log_level.to_string().into()),
        ];
        let mut arguments: Vec<OsString> = vec!["run".into()];
        arguments.extend(flags.into_iter().flat_map(|(flag, value)| [flag.into(), value]));
        arguments.push("--exit-with-stdin".into());
        Launch {
            address: self.loopback.member(ordinal),
            program: self.sidecar.clone(),
            log: self.layout.log(&pod),
            arguments,
            pod,
            volume,
        }
    }

    /// Whether a member's ports can be listened on. Asked before the first start only: later it is the member's own to say.
    ///
    /// # Errors
    /// Another process has one of them.
    pub fn check_ports(&self, ordinal: Ordinal) -> Result<(), LocalError> {
        for port in [CLIENT_PORT, PEER_PORT, HTTP_PORT] {
            let address = self.loopback.socket(ordinal, port);
            TcpListener::bind(address).map(drop).map_err(|source| LocalError::PortTaken {
                address,
                other: self.loopback.other().to_string(),
                source,
            })?;
        }
        Ok(())
    }
}

/// A record that was lost is begun anew with as many pods as there are volumes: a volume that nobody runs cannot report
/// the cluster that it belongs to.
fn pods_on_disk(layout: &Layout, name: &ClusterName) -> u8 {
    let entries = std::fs::read_dir(layout.volumes()).into_iter().flatten().flatten();
    let ordinals = entries.filter_map(|entry| name.ordinal_of(entry.file_name().to_str()?));
    ordinals.map(|ordinal| ordinal.0.saturating_add(1)).max().unwrap_or(0)
}

fn sidecar(given: Option<&Path>) -> Result<PathBuf, LocalError> {
    let beside = || std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("outrigger")));
    let path = given.map(Path::to_owned).or_else(beside).unwrap_or_else(|| PathBuf::from("outrigger"));
    if !path.is_file() {
        return Err(LocalError::NoSidecar { path });
    }
    // Members are started with another working directory's names in mind: keep the path absolute.
    Ok(std::fs::canonicalize(&path).unwrap_or(path))
}

#[cfg(test)]
mod tests;
