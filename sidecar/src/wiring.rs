//! The only file that knows every room: it ties them together, and takes them apart in order.
//!
//! Up: the data directory's lock, then the ports, then the doors, then the life. Down (SIGTERM, SIGINT, or the end of
//! standard input where that is asked for): the life first, which hands the leadership over while clients are still
//! served, then the doors.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use outrigger_core::types::MemberId;
use outrigger_proto::v1::peer_server::PeerServer;
use outrigger_storage::fs::{FileSystem, RealFs};
use outrigger_storage::identity::DataDir;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::api::admin::AdminDoor;
use crate::api::{ClientDoor, HttpDoor, admin, serve_clients, serve_http};
use crate::config::Config;
use crate::discovery::Discovery;
use crate::disk::RememberOnDisk;
use crate::lifecycle::{Lifecycle, draw, standing_of};
use crate::lifecycle_commands::{LIFECYCLE_CAPACITY, LifecycleCommand};
use crate::member::MemberHandle;
use crate::metrics::Metrics;
use crate::transport::dial::Dialer;
use crate::transport::outbox::FRAME_BYTES;
use crate::transport::receiver::PeerService;

/// The peer port of a seed that DNS names without one.
const DEFAULT_PEER_PORT: u16 = 2380;
/// What the doors may take to answer what is under way, once the member has stopped.
const DOORS_TIMEOUT: Duration = Duration::from_secs(1);
/// One raft message beside a full frame: an append holds 1 MiB, or one entry that is larger.
const MESSAGE_SLACK_BYTES: usize = 8 << 20;
/// What a peer may send ahead. Frames are large and few.
const PEER_STREAM_WINDOW_BYTES: u32 = 8 << 20;
const PEER_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const PEER_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What all doors share.
struct Doors {
    config: Arc<Config>,
    member: MemberHandle,
    metrics: Arc<Metrics>,
    peers: PeerService,
    commands: mpsc::Sender<LifecycleCommand>,
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

/// Runs a member until it is told to stop.
///
/// # Errors
/// When the data directory is in use or damaged, a port is taken, or the disk fails.
pub async fn run(config: Config) -> anyhow::Result<()> {
    crate::fatal::end_on_panic();
    let config = Arc::new(config);
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let dir = DataDir::open(Arc::clone(&fs), &config.data_dir, MemberId(draw()))?;
    check_owner(&dir, &config)?;
    let boot_nonce = draw();
    // Before a door opens: whoever asks first must not be told of member 0.
    let (standing, standings) = watch::channel(standing_of(dir.identity(), boot_nonce));
    let dir = Arc::new(Mutex::new(dir));
    let metrics = Arc::new(Metrics::new());
    let node = Arc::new(ArcSwapOption::empty());
    let (commands, queue) = mpsc::channel(LIFECYCLE_CAPACITY);
    let peers = PeerService::default();
    let stop = CancellationToken::new();
    let doors_stop = CancellationToken::new();
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
        stop: doors_stop.clone(),
    };
    let mut servers = doors.open().await?;
    let life = Lifecycle {
        dialer: Dialer::new(Arc::clone(&discovery)),
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
    let mut life = tokio::spawn(life.run(queue));
    let lived = tokio::select! {
        lived = &mut life => lived?,
        failed = servers.join_next() => {
            let failed = failed.unwrap_or(Ok(Ok(())));
            failed.context("a door's task failed")?.context("a door closed by itself")?;
            anyhow::bail!("a door closed by itself")
        }
        told = told_to_stop(config.exit_with_stdin) => {
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
    async fn open(self) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
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
        let peer_service = PeerServer::new(self.peers.clone())
            .max_decoding_message_size(FRAME_BYTES + self.config.max_request_bytes + MESSAGE_SLACK_BYTES);
        let peer_server = Server::builder()
            .initial_stream_window_size(PEER_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(PEER_CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(PEER_KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(PEER_KEEPALIVE_INTERVAL))
            .add_service(peer_service)
            .add_service(admin::service(admin_door));
        let mut servers = JoinSet::new();
        let stop = self.stop.clone();
        servers.spawn(async move { Ok(serve_clients(clients, client_door, stop.cancelled_owned()).await?) });
        let stop = self.stop.clone();
        servers.spawn(async move { Ok(serve_http(http, http_door, stop.cancelled_owned()).await?) });
        let stop = self.stop;
        servers.spawn(async move {
            let incoming = TcpIncoming::from(peers).with_nodelay(Some(true));
            Ok(peer_server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await?)
        });
        Ok(servers)
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("--{flag} {address} cannot be listened on: free the port, or give another address")
    })
}
