//! The only file that knows every room: it ties them together, and takes them apart in order.
//!
//! Up: the data directory's lock, then the ports, then the doors, then the life. Down (SIGTERM, SIGINT, or the end of
//! standard input where that is asked for): the life first, which hands the leadership over while clients are still
//! served, then the doors.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use outrigger_core::types::MemberId;
use outrigger_proto::v1::peer_server::PeerServer;
use outrigger_storage::fs::{FileSystem, RealFs};
use outrigger_storage::identity::DataDir;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::api::admin::AdminDoor;
use crate::api::{ClientDoor, HttpDoor, admin, serve_clients, serve_http};
use crate::config::{Config, MAX_REQUEST_BYTES};
use crate::discovery::Discovery;
use crate::disk::RememberOnDisk;
use crate::lifecycle::{Lifecycle, LifecycleError, draw, faulted, standing_of};
use crate::lifecycle_commands::{LIFECYCLE_CAPACITY, LifecycleCommand};
use crate::listener::{self, Limits};
use crate::member::{MemberHandle, Standing};
use crate::metrics::Metrics;
use crate::tls::{self, GateLayer, PeerTls};
use crate::transport::dial::Dialer;
use crate::transport::outbox::FRAME_BYTES;
use crate::transport::receiver::PeerService;

/// The peer port of a seed that DNS names without one.
const DEFAULT_PEER_PORT: u16 = 2380;
/// What the doors may take to answer what is under way, once the member has stopped.
const DOORS_TIMEOUT: Duration = Duration::from_secs(1);
/// A member may start before its certificate is brought into its pod; it looks for it this long and this often.
const CERTIFICATES_WITHIN: Duration = Duration::from_secs(30);
const CERTIFICATES_ASKED_EACH: Duration = Duration::from_millis(250);
/// One raft message beside a full frame: an append holds 1 MiB, or one entry that is larger, up to what any member may have
/// as its `--max-request-bytes`; the end of a snapshot carries its header.
const MESSAGE_BYTES: usize = MAX_REQUEST_BYTES + (8 << 20);
/// What a peer may send ahead. Frames are large and few.
const PEER_STREAM_WINDOW_BYTES: u32 = 8 << 20;
const PEER_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Calls in flight on one connection: a peer has a stream and a snapshot under way, the operator a call or two.
const PEER_STREAMS_PER_CONNECTION: u32 = 64;
const PEER_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What all doors share.
struct Doors {
    config: Arc<Config>,
    member: MemberHandle,
    metrics: Arc<Metrics>,
    peers: PeerService,
    commands: mpsc::Sender<LifecycleCommand>,
    tls: Option<Arc<PeerTls>>,
    stop: CancellationToken,
}

/// The doors once they are open.
struct OpenDoors {
    servers: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

/// A directory that another member's name is written in is not this one's, whatever else fits.
fn check_owner(dir: &DataDir, config: &Config) -> anyhow::Result<()> {
    let identity = dir.identity();
    anyhow::ensure!(
        identity.name.is_empty() || identity.name == config.name,
        "{}: the data directory belongs to {} (member {:016x}), this process is {}: give each member a directory \
         of its own (--data-dir), or start it as {} (--name)",
        config.data_dir.display(),
        identity.name,
        identity.member.0,
        config.name,
        identity.name,
    );
    Ok(())
}

/// The peer port's certificates, if there are any, and their watch.
async fn peer_tls(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Arc<PeerTls>>> {
    let Some(source) = config.peer_tls.clone() else {
        tracing::warn!(
            "peers and the admin service are plain: whoever reaches {} may change the cluster; give certificates with --peer-tls-dir",
            config.listen_peer
        );
        return Ok(None);
    };
    let directory = source.directory.display().to_string();
    let deadline = Instant::now() + CERTIFICATES_WITHIN;
    let mut told = false;
    let loaded = loop {
        match PeerTls::load(source.clone(), &config.name, Arc::clone(metrics)) {
            Err(error) if error.is_absent() && Instant::now() < deadline => {
                if !told {
                    tracing::info!(directory, %error, "waiting for this member's certificate");
                }
                told = true;
                tokio::time::sleep(CERTIFICATES_ASKED_EACH).await;
            }
            outcome => break outcome,
        }
    };
    let (tls, pem) =
        loaded.with_context(|| format!("--peer-tls-dir {directory}: the certificates cannot be used"))?;
    tokio::spawn(Arc::clone(&tls).watch(pem, tls::LOOK_INTERVAL));
    Ok(Some(tls))
}

/// Runs a member until it is told to stop.
///
/// # Errors
/// When the data directory is in use or damaged, a port is taken, or the disk fails.
pub async fn run(config: Config) -> anyhow::Result<()> {
    crate::fatal::end_on_panic();
    let config = Arc::new(config);
    let metrics = Arc::new(Metrics::new());
    let tls = peer_tls(&config, &metrics).await?;
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let (fresh, boot_nonce) = (MemberId(draw()), draw());
    let dir = match DataDir::open(Arc::clone(&fs), &config.data_dir, fresh) {
        Ok(dir) => dir,
        Err(error) => match faulted::standing_of_damage(&error, fresh, boot_nonce) {
            Some(standing) => return run_faulted((config, metrics, tls), standing).await,
            None => return Err(error.into()),
        },
    };
    check_owner(&dir, &config)?;
    // Before a door opens: whoever asks first must not be told of member 0.
    let (standing, standings) = watch::channel(standing_of(dir.identity(), boot_nonce));
    let dir = Arc::new(Mutex::new(dir));
    let node = Arc::new(ArcSwapOption::empty());
    let (commands, queue) = mpsc::channel(LIFECYCLE_CAPACITY);
    let peers = PeerService::default();
    let stop = CancellationToken::new();
    let discovery = Arc::new(Discovery::new(
        config.peers_dns.as_ref().map(|dns| dns.name.clone()),
        config.dns_server,
        config.peers_dns.as_ref().map_or(DEFAULT_PEER_PORT, |dns| dns.port),
        Box::new(RememberOnDisk(Arc::clone(&dir))),
    ));
    let doors = Doors {
        config: Arc::clone(&config),
        member: MemberHandle::new(Arc::clone(&node), standings),
        metrics: Arc::clone(&metrics),
        peers: peers.clone(),
        commands,
        tls: tls.clone(),
        stop: CancellationToken::new(),
    };
    let open = doors.open().await?;
    let life = Lifecycle {
        dialer: Dialer::new(Arc::clone(&discovery), tls),
        config: Arc::clone(&config),
        fs,
        dir,
        discovery,
        peers,
        node,
        standing,
        metrics,
        boot_nonce,
        stop: stop.clone(),
    };
    let life = tokio::spawn(life.run(queue));
    live(open, life, &stop, config.exit_with_stdin).await
}

/// A disk whose identity cannot be read: the doors say so until the process is told to stop.
async fn run_faulted(
    (config, metrics, tls): (Arc<Config>, Arc<Metrics>, Option<Arc<PeerTls>>),
    standing: Standing,
) -> anyhow::Result<()> {
    tracing::error!(fault = standing.fault, "this member's disk cannot be used; it neither votes nor serves");
    let (_standing, standings) = watch::channel(standing);
    let (commands, mut queue) = mpsc::channel(LIFECYCLE_CAPACITY);
    let exit_with_stdin = config.exit_with_stdin;
    let doors = Doors {
        config,
        member: MemberHandle::new(Arc::default(), standings),
        metrics,
        peers: PeerService::default(),
        commands,
        tls,
        stop: CancellationToken::new(),
    };
    let open = doors.open().await?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    let life = tokio::spawn(async move {
        faulted::stay(&told, &mut queue).await;
        Ok(())
    });
    live(open, life, &stop, exit_with_stdin).await
}

/// Lives until the life ends, or the process is told to stop (which `stop` tells the life); then closes the doors.
async fn live(
    open: OpenDoors,
    mut life: JoinHandle<Result<(), LifecycleError>>,
    stop: &CancellationToken,
    exit_with_stdin: bool,
) -> anyhow::Result<()> {
    let OpenDoors { mut servers, stop: doors_stop } = open;
    let lived = tokio::select! {
        lived = &mut life => lived?,
        failed = servers.join_next() => {
            let failed = failed.unwrap_or(Ok(Ok(())));
            failed.context("a door's task failed")?.context("a door closed by itself")?;
            anyhow::bail!("a door closed by itself")
        }
        told = told_to_stop(exit_with_stdin) => {
            told?;
            stop.cancel();
            life.await?
        }
    };
    doors_stop.cancel();
    let closed = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DOORS_TIMEOUT, closed).await.is_err() {
        tracing::debug!("some calls were still under way");
    }
    lived?;
    tracing::info!("stopped");
    Ok(())
}

/// Resolves when a person, a kubelet or a parent process wants the end.
async fn told_to_stop(exit_with_stdin: bool) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    let input_ends =
        async { if exit_with_stdin { end_of_input().await } else { std::future::pending().await } };
    let why = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = input_ends => "the end of standard input",
    };
    tracing::info!(why, "stopping");
    Ok(())
}

/// Waits until standard input ends. On a plain thread: the runtime would wait for a blocking read at its end.
async fn end_of_input() {
    let (ended, end) = oneshot::channel();
    let read = move || {
        let _ended: oneshot::Sender<()> = ended;
        let (mut input, mut buffer) = (std::io::stdin(), [0; 256]);
        while input.read(&mut buffer).is_ok_and(|read| read > 0) {}
    };
    match std::thread::Builder::new().name("stdin".to_string()).spawn(read) {
        Ok(_) => drop(end.await),
        Err(error) => {
            tracing::error!(%error, "standard input cannot be watched");
            std::future::pending().await
        }
    }
}

impl Doors {
    /// Binds all ports first, so that a taken one is told before anything else happens, then serves.
    async fn open(self) -> anyhow::Result<OpenDoors> {
        let clients = bind("listen-client", self.config.listen_client).await?;
        let peers = bind("listen-peer", self.config.listen_peer).await?;
        let http = bind("listen-http", self.config.listen_http).await?;
        let identity = Arc::new(self.config.identity());
        let client_door = ClientDoor {
            member: self.member.clone(),
            identity: Arc::clone(&identity),
            metrics: Arc::clone(&self.metrics),
            max_request_bytes: self.config.max_request_bytes,
        };
        let http_door = HttpDoor {
            member: self.member.clone(),
            identity: Arc::clone(&identity),
            metrics: Arc::clone(&self.metrics),
        };
        let admin_door = AdminDoor {
            member: self.member.clone(),
            identity,
            metrics: Arc::clone(&self.metrics),
            lifecycle: self.commands.clone(),
        };
        let peer_service =
            PeerServer::new(self.peers.clone()).max_decoding_message_size(FRAME_BYTES + MESSAGE_BYTES);
        let gate = match &self.tls {
            Some(tls) => GateLayer::guarded(tls.own().clone(), Arc::clone(&self.metrics)),
            None => GateLayer::open(),
        };
        let peer_server = Server::builder()
            .layer(gate)
            .max_concurrent_streams(PEER_STREAMS_PER_CONNECTION)
            .initial_stream_window_size(PEER_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(PEER_CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(PEER_KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(PEER_KEEPALIVE_INTERVAL))
            .add_service(peer_service)
            .add_service(admin::service(admin_door));
        let mut servers = JoinSet::new();
        let limits = Limits::of_process();
        let stop = self.stop.clone();
        servers.spawn(async move {
            Ok(serve_clients(clients, limits, client_door, stop.cancelled_owned()).await?)
        });
        let stop = self.stop.clone();
        servers.spawn(async move {
            serve_http(http, limits, http_door, stop.cancelled_owned()).await;
            Ok(())
        });
        let doors_stop = self.stop.clone();
        let stop = self.stop;
        let tls = self.tls;
        servers.spawn(async move {
            let stopped = stop.cancelled_owned();
            match tls {
                Some(tls) => {
                    let incoming = tls::incoming(peers, limits, tls);
                    Ok(peer_server.serve_with_incoming_shutdown(incoming, stopped).await?)
                }
                None => {
                    let incoming = listener::grpc(peers, limits);
                    Ok(peer_server.serve_with_incoming_shutdown(incoming, stopped).await?)
                }
            }
        });
        Ok(OpenDoors { servers, stop: doors_stop })
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("--{flag} {address} cannot be listened on: free the port, or give another address")
    })
}
