//! From texts to a [`Config`]: kinds, ranges, and what settings mean to each other.
//!
//! May import: its siblings. Deliberately absent: IO of any kind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_tls::Source;

use super::parse::{self, Problem, problem};
use super::settings::variable;
use super::{Config, ConfigError, ConfigErrors, Layers, MAX_REQUEST_BYTES, PeersDns};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The log's frames lie on boundaries of this many bytes.
const BLOCK: u64 = 4 * KIB;
/// A segment holds at least so many of the largest requests: no frame spans segments, and a batch has more than one.
const REQUESTS_A_SEGMENT: u64 = 4;
/// etcd's default quota, which it writes as 0, too.
const DEFAULT_QUOTA: u64 = 2 * GIB;

/// A duration in ticks, rounded up, at least one.
pub(super) fn ticks(duration: Duration, tick: Duration) -> u32 {
    let ticks = duration.as_nanos().div_ceil(tick.as_nanos().max(1));
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// The reading of the layers, with everything that is found wrong on the way.
struct Reader<'a> {
    layers: &'a Layers,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    /// The value, if it is given and right.
    fn optional<T>(
        &mut self,
        flag: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let (text, _) = self.layers.get(flag)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(found) => {
                self.wrong(flag, found);
                None
            }
        }
    }

    /// The value; a fallback takes its place so that the other checks can go on.
    fn with<T>(
        &mut self,
        flag: &'static str,
        fallback: T,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> T {
        self.optional(flag, parse).unwrap_or(fallback)
    }

    fn required<T>(
        &mut self,
        flag: &'static str,
        fix: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        if self.layers.get(flag).is_none() {
            self.errors.push(ConfigError::Missing { flag, variable: variable(flag), fix });
        }
        self.optional(flag, parse)
    }

    fn wrong(&mut self, flag: &'static str, found: Problem) {
        let (value, origin) = match self.layers.get(flag) {
            Some((value, source)) => (value.to_owned(), source.to_string()),
            None => (String::new(), "the default".to_owned()),
        };
        let Problem { problem, fix } = found;
        self.errors.push(ConfigError::Invalid { flag, origin, value, problem, fix });
    }
}

fn within<T: PartialOrd>(value: T, low: T, high: T, range: &str) -> Result<T, Problem> {
    if value < low || value > high {
        return Err(problem("it is out of range", format!("write {range}")));
    }
    Ok(value)
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_layers(layers: &Layers) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { layers, errors: Vec::new() };
        let name = reader.required("name", "the pod's name, as the roster has it", parse::dns_name);
        let data_dir = reader.required("data-dir", "a directory on the member's own volume", data_dir);
        let ports = Ports::read(&mut reader);
        let times = Times::read(&mut reader);
        let sizes = Sizes::read(&mut reader);
        let founding = Founding::read(&mut reader);
        let addresses = Addresses::read(&mut reader, name.as_deref().unwrap_or("unnamed"), &ports);
        let peers_dns = reader.optional("peers-dns", |text| peers_dns(text, ports.peer.port()));
        let dns_server = reader.optional("dns-server", |text| parse::server(text, 53));
        let peer_tls = peer_tls(&mut reader);
        let log_level = reader.with("log-level", String::new(), parse::log_level);
        let log_format = reader.with("log-format", parse::LogFormat::Text, parse::log_format);
        let worker_threads =
            reader.with("worker-threads", 1, |text| within(parse::number(text)?, 1, 64, "1 to 64"));
        let exit_with_stdin = reader.with("exit-with-stdin", false, parse::switch);
        let (Some(name), Some(data_dir), true) = (name, data_dir, reader.errors.is_empty()) else {
            return Err(ConfigErrors(reader.errors));
        };
        Ok(Self {
            name,
            data_dir,
            listen_client: ports.client,
            listen_peer: ports.peer,
            listen_http: ports.http,
            advertise_peer: addresses.peer,
            advertise_client: addresses.client,
            peers_dns,
            dns_server,
            peer_tls,
            cluster_size: founding.cluster_size,
            found: founding.found,
            heartbeat_interval: times.heartbeat,
            election_ticks: times.election_ticks,
            request_timeout: times.request,
            snapshot_every_bytes: sizes.snapshot_every,
            wal_segment_bytes: sizes.segment,
            max_request_bytes: usize::try_from(sizes.request).unwrap_or(usize::MAX),
            quota_bytes: sizes.quota,
            log_level,
            log_format,
            worker_threads: usize::try_from(worker_threads).unwrap_or(1),
            exit_with_stdin,
        })
    }
}

fn data_dir(text: &str) -> Result<PathBuf, Problem> {
    if text.is_empty() {
        return Err(problem("it is empty", "write a path, as /var/lib/outrigger"));
    }
    Ok(PathBuf::from(text))
}

/// The directory's being there is not asked: it may be mounted later than this is read.
fn peer_tls(reader: &mut Reader<'_>) -> Option<Source> {
    let directory = reader.optional("peer-tls-dir", |text| {
        if text.is_empty() {
            return Err(problem("it is empty", "write a path, as /etc/outrigger/peer-tls"));
        }
        Ok(PathBuf::from(text))
    });
    let name = reader.optional("peer-tls-name", |text| {
        parse::dns_name(text).map_err(|found| problem(found.problem, "write the files' name without .crt"))
    });
    if name.is_some() && reader.layers.get("peer-tls-dir").is_none() {
        let text = "it is given without --peer-tls-dir, and names files there";
        reader.wrong("peer-tls-name", problem(text, "add --peer-tls-dir, or leave it out"));
    }
    Some(Source { directory: directory?, name: name.unwrap_or_else(|| "tls".to_owned()) })
}

fn peers_dns(text: &str, default_port: u16) -> Result<PeersDns, Problem> {
    const FIX: &str = "write NAME or NAME:PORT, as orders-peers.shop.svc";
    let (name, port) = parse::host_port(text, FIX)?;
    let name = parse::dns_name(&name).map_err(|found| problem(found.problem, FIX))?;
    Ok(PeersDns { name, port: port.unwrap_or(default_port) })
}

/// A sidecar leaves the cores to the application: beyond four threads it only pays for waking them.
struct Ports {
    client: SocketAddr,
    peer: SocketAddr,
    http: SocketAddr,
}

impl Ports {
    fn read(reader: &mut Reader<'_>) -> Self {
        let fallback = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let client = reader.with("listen-client", fallback(2379), parse::listen);
        let peer = reader.with("listen-peer", fallback(2380), parse::listen);
        let http = reader.with("listen-http", fallback(2381), parse::listen);
        let clashes = [
            ("listen-peer", peer, "listen-client", client),
            ("listen-http", http, "listen-client", client),
            ("listen-http", http, "listen-peer", peer),
        ];
        for (flag, address, other, taken) in clashes {
            let same_ip =
                address.ip() == taken.ip() || address.ip().is_unspecified() || taken.ip().is_unspecified();
            if same_ip && address.port() == taken.port() {
                let text = format!("its port is --{other}'s, too ({taken})");
                reader.wrong(flag, problem(text, "give each listener its own port"));
            }
        }
        Self { client, peer, http }
    }
}

struct Addresses {
    peer: String,
    client: String,
}

impl Addresses {
    fn read(reader: &mut Reader<'_>, name: &str, ports: &Ports) -> Self {
        const PEER_FIX: &str = "write HOST:PORT, as orders-0.orders-peers.shop.svc:2380";
        let own = if ports.peer.ip().is_unspecified() {
            (name.to_owned(), ports.peer.port())
        } else if ports.peer.is_ipv6() {
            (format!("[{}]", ports.peer.ip()), ports.peer.port())
        } else {
            (ports.peer.ip().to_string(), ports.peer.port())
        };
        let (host, port) = reader.with("advertise-peer", own, |text| {
            let (host, port) = parse::host_port(text, PEER_FIX)?;
            Ok((host, port.ok_or_else(|| problem("it has no port", PEER_FIX))?))
        });
        let own = format!("http://{host}:{}", ports.client.port());
        let client = reader.with("advertise-client", own, client_url);
        Self { peer: format!("{host}:{port}"), client }
    }
}

fn client_url(text: &str) -> Result<String, Problem> {
    const FIX: &str = "write http://HOST:PORT, as http://orders-0.orders-peers.shop.svc:2379";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| problem("it has no scheme", FIX))?;
    if !matches!(scheme, "http" | "https") {
        return Err(problem(format!("its scheme {scheme:?} is neither http nor https"), FIX));
    }
    let (host, port) = parse::host_port(rest.trim_end_matches('/'), FIX)?;
    let port = port.ok_or_else(|| problem("it has no port", FIX))?;
    Ok(format!("{scheme}://{host}:{port}"))
}

struct Founding {
    cluster_size: u32,
    found: Option<u32>,
}

impl Founding {
    fn read(reader: &mut Reader<'_>) -> Self {
        const RANGE: &str = "1 to 99; clusters of 3 or 5 voters are usual";
        let members = |text: &str| within(parse::number(text)?, 1, 99, RANGE);
        let cluster_size = reader.with("cluster-size", 1, members);
        let found = reader.with("found", false, parse::switch);
        let initial = reader.optional("initial-members", members);
        if let (Some(_), false) = (initial, found) {
            let text = "it is given without --found, and only a founding by hand counts members";
            reader.wrong("initial-members", problem(text, "add --found, or leave it out"));
        }
        Self { cluster_size, found: found.then_some(initial.unwrap_or(cluster_size)) }
    }
}

struct Times {
    heartbeat: Duration,
    election_ticks: u32,
    request: Duration,
}

impl Times {
    fn read(reader: &mut Reader<'_>) -> Self {
        let ms = Duration::from_millis;
        let seconds = Duration::from_secs;
        let heartbeat = reader.with("heartbeat-interval", ms(100), |text| {
            within(parse::duration(text)?, ms(10), seconds(10), "10ms to 10s")
        });
        let election = reader.with("election-timeout", seconds(1).max(heartbeat * 3), |text| {
            let range = format!(
                "at least 3 times --heartbeat-interval ({} ms) and at most 60s",
                (heartbeat * 3).as_millis()
            );
            within(parse::duration(text)?, heartbeat * 3, seconds(60), &range)
        });
        let request = reader.with("request-timeout", seconds(5).max(election), |text| {
            let range = format!("at least --election-timeout ({} ms) and at most 10m", election.as_millis());
            within(parse::duration(text)?, election, seconds(600), &range)
        });
        Self { heartbeat, election_ticks: ticks(election, heartbeat), request }
    }
}

struct Sizes {
    snapshot_every: u64,
    segment: u64,
    request: u64,
    quota: u64,
}

impl Sizes {
    fn read(reader: &mut Reader<'_>) -> Self {
        let snapshot_every = reader.with("snapshot-every-bytes", 64 * MIB, |text| {
            within(parse::bytes(text)?, MIB, 64 * GIB, "1MiB to 64GiB")
        });
        let request = reader.with("max-request-bytes", 1536 * KIB, |text| {
            within(
                parse::bytes(text)?,
                4 * KIB,
                MAX_REQUEST_BYTES as u64,
                "4KiB to 16MiB; larger values belong elsewhere",
            )
        });
        let least = MIB.max(REQUESTS_A_SEGMENT * request);
        let segment = reader.with("wal-segment-bytes", (64 * MIB).max(least), |text| {
            let segment = parse::bytes(text)?;
            if segment % BLOCK != 0 {
                return Err(problem("it is no multiple of 4KiB", "write whole MiB, as 64MiB"));
            }
            if segment < REQUESTS_A_SEGMENT * request {
                // No frame spans segments: the largest request would end the member that writes it.
                let problem = format!(
                    "a segment holds at least 4 requests, and --max-request-bytes is {request} bytes"
                );
                let fix = format!(
                    "write at least {least} bytes here, or at most {} there",
                    segment / REQUESTS_A_SEGMENT
                );
                return Err(parse::problem(problem, fix));
            }
            within(segment, MIB, GIB, "1MiB to 1GiB")
        });
        let quota = reader.with("quota-bytes", DEFAULT_QUOTA, |text| match parse::bytes(text)? {
            0 => Ok(DEFAULT_QUOTA),
            quota => within(quota, 16 * MIB, 64 * GIB, "16MiB to 64GiB, or 0 for 2GiB"),
        });
        Self { snapshot_every, segment, request, quota }
    }
}
