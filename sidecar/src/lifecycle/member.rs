//! The phases with a log: recover, run the node, stop it.
//!
//! May import: every part of a running node. Deliberately absent: consensus, and what an empty disk does.

use std::sync::Arc;
use std::time::Duration;

use outrigger_core::error::Fatal;
use outrigger_core::event::{AdminRequest, Event};
use outrigger_core::log::Seed;
use outrigger_core::membership::Route;
use outrigger_core::node::{Node, NodeConfig};
use outrigger_core::status::NodeStatus;
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_member::recovery::{self, Recovered, RecoveryError};
use outrigger_storage::{TornTail, WalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::empty::answer;
use super::{Commands, Lifecycle, LifecycleError, Next, by_hand, draw, faulted, upkeep};
use crate::apply_task::{ApplyThread, ApplyWiring, SnapshotRequests};
use crate::disk::{SyncMetrics, WalLog};
use crate::driver::{Driver, Exit};
use crate::inbox::{INBOX_CAPACITY, NodeHandle};
use crate::lifecycle_commands::{LifecycleCommand, LifecycleRefusal};
use crate::log_thread::LogThread;
use crate::member::Phase;
use crate::publication::Publication;
use crate::snapshots::{Snapshots, id_of};
use crate::space::{Space, SpaceWatch};
use crate::transport::dial::chain;
use crate::transport::receiver::Acceptor;
use crate::transport::snapshot::{SnapshotReceiver, SnapshotSender};
use crate::transport::{Local, Pokes, Transport};
use crate::volume::VolumeWatch;
use crate::waiters::{Deadlines, Waiters};

/// Proposals, and reads, that may be pending: as many as the inbox holds.
const MAX_PENDING: usize = INBOX_CAPACITY;
/// What a command's encoding may add to the client's request.
const COMMAND_OVERHEAD_BYTES: usize = 64 << 10;
/// Entries kept below a snapshot: a follower that was away for seconds needs no snapshot.
const TRAILING_BYTES: usize = 16 << 20;
/// How often a member without a leader looks whether it must ask DNS.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// Moving the leadership away before the end; a cluster without a successor stops without.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);

/// A node and everything that runs for it.
struct Running {
    handle: Arc<NodeHandle>,
    driver: JoinHandle<Exit>,
    stop: CancellationToken,
    log: LogThread,
    applier: ApplyThread,
    requests: SnapshotRequests,
    snapshots: Snapshots,
    tombstoned: watch::Receiver<bool>,
    volume: VolumeWatch,
}

/// What a member waits for whose history is another than the leader's.
const DIVERGED: &str = "its data to be looked at, and its volume to be replaced";

/// Why a running node is stopped.
#[derive(Debug)]
enum End {
    Told,
    Removed,
    /// What is committed here and what the leader has differ: nothing of it may be served, or be lost.
    Diverged(Fatal),
    /// Whoever asked is answered once the log is closed, and either moved aside or found to be forming.
    Abandoned(oneshot::Sender<Result<(), LifecycleRefusal>>),
}

impl Lifecycle {
    /// Runs this disk's member until it is told to stop, is removed, or abandons its cluster.
    pub(super) async fn member(
        &self,
        cluster: ClusterId,
        commands: &mut Commands,
    ) -> Result<Next, LifecycleError> {
        let own = self.own_route()?;
        self.stand(Phase::Member, "replaying the log".to_string(), String::new());
        let recovered = match self.recover(cluster, &own).await? {
            Ok(recovered) => recovered,
            // What the disk holds is unknown: the next start reads it again.
            Err(error) if error.is_of_the_disk() => return Err(LifecycleError::Disk(Box::new(error))),
            Err(error) => return Ok(self.faulted(chain(&error), faulted::WAITS_FOR, commands).await),
        };
        // It votes again, with a log that an earlier start wrote: what it was before is of no use any more.
        let is_settled =
            recovered.node.status().conf_state.is_voter(own.id) && recovered.node.status().formed;
        self.reclaim_removed(if is_settled { 0 } else { upkeep::KEPT_ASIDE }).await?;
        let mut running = self.start(cluster, own, recovered)?;
        self.stand(Phase::Member, String::new(), String::new());
        let end = self.watch(&mut running, cluster, commands).await;
        self.node.store(None);
        self.peers.set(None);
        running.stop.cancel();
        if !running.driver.is_finished() {
            // Its exit is known already, or does not matter any more: it was told to stop.
            drop((&mut running.driver).await);
        }
        let (log, applier, volume) = (running.log, running.applier, running.volume);
        tokio::task::spawn_blocking(move || {
            // Before anything is moved aside: that is no loss.
            volume.stop();
            log.stop();
            applier.stop();
        })
        .await?;
        match end {
            End::Told => Ok(Next::Stop),
            End::Diverged(fatal) => Ok(self.faulted(chain(&fatal), DIVERGED, commands).await),
            End::Abandoned(reply) => {
                let outcome = self.abandon_unformed(cluster).await?;
                let next = if outcome.is_ok() { Next::Again } else { Next::Anew };
                answer(reply, outcome);
                Ok(next)
            }
            End::Removed => {
                let aside = self.dir().move_aside(MemberId(draw()))?;
                tracing::warn!(aside = %aside.display(), "removed from the cluster: the old data is kept aside");
                self.stand(Phase::Removed, "removed; asking to join anew".to_string(), String::new());
                Ok(Next::Again)
            }
        }
    }

    async fn recover(
        &self,
        cluster: ClusterId,
        own: &Route,
    ) -> Result<Result<Recovered, RecoveryError>, LifecycleError> {
        let options = self.wal_options(cluster, own.id);
        let config = NodeConfig {
            cluster,
            own: own.clone(),
            nonce: self.boot_nonce,
            boot: self.identity().boot,
            election_ticks: self.config.election_ticks,
            max_pending: MAX_PENDING,
            max_command_bytes: self.config.max_request_bytes + COMMAND_OVERHEAD_BYTES,
            snapshot_every_bytes: self.config.snapshot_every_bytes,
            trailing_bytes: TRAILING_BYTES,
        };
        let (fs, path) = (Arc::clone(&self.fs), self.path());
        Ok(tokio::task::spawn_blocking(move || recovery::recover(fs, &path, options, config)).await?)
    }

    fn wal_options(&self, cluster: ClusterId, member: MemberId) -> WalOptions {
        let segment_size_bytes = self.config.wal_segment_bytes;
        WalOptions { segment_size_bytes, must_exist: true, ..WalOptions::new(cluster, member) }
    }

    /// Gives the cluster up, unless its log is forming. Only now, with node and log closed: what the node has *applied*
    /// says nothing of an entry that is on its way, and while it runs another may come.
    async fn abandon_unformed(
        &self,
        cluster: ClusterId,
    ) -> Result<Result<(), LifecycleRefusal>, LifecycleError> {
        let options = self.wal_options(cluster, self.identity().member);
        let (fs, path) = (Arc::clone(&self.fs), self.path());
        let forming = tokio::task::spawn_blocking(move || recovery::is_forming(fs, &path, options)).await?;
        Ok(match forming {
            Ok(false) => self.abandon(cluster),
            Ok(true) => Err(LifecycleRefusal::Formed { cluster }),
            Err(error) => Err(super::refusal(error)),
        })
    }

    fn start(&self, cluster: ClusterId, own: Route, recovered: Recovered) -> Result<Running, LifecycleError> {
        let Recovered { mut node, applier, writer, reader, store, seeds, report, log: _ } = recovered;
        report.torn.iter().for_each(tell_of_a_tear);
        meet_seeds(&mut node, &own, seeds);
        let (inputs, inbox) = mpsc::channel(INBOX_CAPACITY);
        let (answers, events) = mpsc::unbounded_channel();
        let (status, statuses) = watch::channel(Arc::new(node.status()));
        let published = Arc::new(Publication::default());
        let handle = NodeHandle::new(inputs, Arc::clone(&published), statuses);
        let snapshots = Snapshots::new(store.clone());
        let space = Arc::new(Space::new(self.config.quota_bytes));
        let (metrics, segment_bytes) = (Arc::clone(&self.metrics), self.config.wal_segment_bytes);
        let log = WalLog::new(writer, store, segment_bytes, metrics, Arc::clone(&space));
        let (log_thread, log) =
            LogThread::start(log, answers.clone(), SyncMetrics(Arc::clone(&self.metrics)))
                .map_err(LifecycleError::Thread)?;
        let wiring = ApplyWiring {
            answers: answers.clone(),
            published,
            snapshots: snapshots.clone(),
            metrics: Arc::clone(&self.metrics),
            space: Arc::clone(&space),
        };
        let (apply_thread, applier) = ApplyThread::start(applier, wiring).map_err(LifecycleError::Thread)?;
        let (tombstone, tombstoned) = watch::channel(false);
        let member = own.id;
        let local = Local {
            cluster,
            own,
            boot_nonce: self.boot_nonce,
            node: handle.clone(),
            tombstoned: tombstone,
            pokes: Pokes::default(),
            metrics: Arc::clone(&self.metrics),
        };
        let transport =
            Transport::new(local.clone(), self.dialer.clone(), SnapshotSender::new(snapshots.clone()));
        let stop = CancellationToken::new();
        let driver = Driver {
            node,
            inputs: inbox,
            events,
            answers,
            log,
            old_entries: Arc::new(reader),
            applier,
            transport,
            waiters: Waiters::new(member, self.identity().boot, self.boot_nonce, self.deadlines()),
            status,
            heartbeat_interval: self.config.heartbeat_interval,
            stop: stop.clone(),
            space: SpaceWatch::new(space),
            last_glance: None,
        };
        let handle = Arc::new(handle);
        self.peers
            .set(Some(Arc::new(Acceptor { local, snapshots: SnapshotReceiver::new(snapshots.clone()) })));
        self.node.store(Some(Arc::clone(&handle)));
        Ok(Running {
            handle,
            driver: tokio::spawn(driver.run()),
            stop,
            log: log_thread,
            requests: apply_thread.snapshot_requests(),
            applier: apply_thread,
            snapshots,
            tombstoned,
            volume: self.watch_volume()?,
        })
    }

    /// Without a leader for long, asks DNS who is there: when all names change at once the log's map leads nowhere. What
    /// it learns is only where to dial; whom it meets there, the handshake decides.
    fn search(&self, node: &NodeHandle, cluster: ClusterId) {
        let status = node.status();
        if status.leaderless_ticks < 2 * u64::from(self.config.election_ticks) {
            return;
        }
        let (node, own) = (node.clone(), status.member);
        let (discovery, dialer) = (Arc::clone(&self.discovery), self.dialer.clone());
        tokio::spawn(async move {
            let Ok((seeds, _)) = super::seeds::ask(&discovery, &dialer).await else { return };
            for seed in seeds.into_iter().filter(|seed| seed.cluster == cluster && seed.member != own) {
                let (id, name, address) = (seed.member, seed.name, seed.address);
                // Above whatever the log says, until the member's own handshake replaces it.
                let route = Route { id, name, address, address_version: u64::MAX, ..Route::default() };
                // The driver may have ended; then nobody needs the route.
                drop(node.notify(Event::Handshake(route)).await);
            }
        });
    }

    fn deadlines(&self) -> Deadlines {
        let request_ticks = self.config.request_ticks();
        Deadlines { request_ticks, admin_ticks: request_ticks.saturating_mul(2) }
    }

    /// Waits for the end of the node, and meanwhile does what the process is asked for.
    async fn watch(&self, running: &mut Running, cluster: ClusterId, commands: &mut Commands) -> End {
        let mut statuses = running.handle.status_changes();
        let mut tombstoned = running.tombstoned.clone();
        let stop = self.stop.clone();
        let mut searches = tokio::time::interval(SEARCH_INTERVAL);
        let node = Arc::clone(&running.handle);
        let mut forming = std::pin::pin!(async {
            if let Some(voters) = self.config.found {
                by_hand::form(node, cluster, voters).await;
            }
            std::future::pending::<()>().await;
        });
        loop {
            tokio::select! {
                () = &mut forming => {}
                _ = searches.tick() => self.search(&running.handle, cluster),
                () = stop.cancelled() => {
                    hand_over(&running.handle).await;
                    return End::Told;
                }
                exit = &mut running.driver => return ended(exit),
                () = told(&mut tombstoned) => return End::Removed,
                Ok(()) = statuses.changed() => {
                    let waiting_for = waits_for(&statuses.borrow_and_update());
                    self.stand(Phase::Member, waiting_for, String::new());
                }
                command = commands.recv() => {
                    let Some(command) = command else { return End::Told };
                    if let Some(end) = self.obey_as_member(command, running, cluster) {
                        return end;
                    }
                }
            }
        }
    }

    /// Does what a member can be told.
    fn obey_as_member(
        &self,
        command: LifecycleCommand,
        running: &Running,
        cluster: ClusterId,
    ) -> Option<End> {
        match command {
            LifecycleCommand::Found { founding, reply } => {
                let is_same = founding.cluster == cluster;
                answer(
                    reply,
                    if is_same { Ok(()) } else { Err(LifecycleRefusal::AlreadyFounded { cluster }) },
                );
                None
            }
            LifecycleCommand::Abandon { cluster: given, reply } if given != cluster => {
                answer(reply, self.abandon(given));
                None
            }
            LifecycleCommand::Abandon { reply, .. } => {
                // Without stopping anything, where it is plain. What is not plain is looked at once all is closed.
                if running.handle.status().formed {
                    answer(reply, Err(LifecycleRefusal::Formed { cluster }));
                    return None;
                }
                Some(End::Abandoned(reply))
            }
            LifecycleCommand::Snapshot { reply } => {
                let (requests, snapshots) = (running.requests.clone(), running.snapshots.clone());
                tokio::spawn(async move {
                    let file = match requests.take().await {
                        Some(header) => crate::snapshots::hand_out(&snapshots, id_of(&header))
                            .await
                            .map_err(super::refusal),
                        None => Err(LifecycleRefusal::Busy),
                    };
                    answer(reply, file);
                });
                None
            }
        }
    }
}

/// Whom to dial before the log says more; whatever it says is newer.
fn meet_seeds(node: &mut Node, own: &Route, seeds: Vec<Seed>) {
    for seed in seeds.into_iter().filter(|seed| seed.id != MemberId(0) && seed.id != own.id) {
        let (id, name, address) = (seed.id, seed.name, seed.address);
        node.handle(Event::Handshake(Route { id, name, address, ..Route::default() }));
    }
}

fn tell_of_a_tear(torn: &TornTail) {
    tracing::warn!(
        file = %torn.path.display(), offset = torn.offset, bytes = torn.bytes, copy = %torn.copy.display(),
        "the log's last frame does not validate and is left out; a copy is kept. A crash tears a frame that nobody was told \
         of; a disk that lost what it had synced may take an acknowledged one"
    );
}

/// Resolves once a peer has refused this member as removed.
async fn told(tombstoned: &mut watch::Receiver<bool>) {
    if tombstoned.wait_for(|told| *told).await.is_err() {
        // Nobody is left who could tell: the node is ending for another reason.
        std::future::pending().await
    }
}

/// A driver that ends by itself was removed, or must end the process.
fn ended(exit: Result<Exit, tokio::task::JoinError>) -> End {
    match exit {
        Ok(Exit::Removed) => End::Removed,
        Ok(Exit::Stopped) => End::Told,
        Ok(Exit::Fatal(fatal @ Fatal::Diverged { .. })) => End::Diverged(fatal),
        Ok(Exit::Fatal(fatal)) => crate::fatal::exit("consensus cannot go on", &fatal),
        Err(error) => crate::fatal::exit("the driver ended", &error),
    }
}

/// For people: what the member waits for; empty if for nothing.
fn waits_for(status: &NodeStatus) -> String {
    if status.formed && status.leader.is_some() {
        String::new()
    } else if status.leader.is_none() {
        "waiting for a leader".to_string()
    } else {
        "waiting for the cluster to be formed".to_string()
    }
}

/// Moves the leadership away, if it is here and somebody can take it: nobody then waits for an election.
async fn hand_over(node: &NodeHandle) {
    let own = node.status().member;
    if node.status().leader != Some(own) {
        return;
    }
    let mut statuses = node.status_changes();
    let moved = async {
        if let Err(refusal) = node.admin(AdminRequest::Transfer { to: None }).await {
            tracing::info!(%refusal, "stopping without a successor");
            return;
        }
        // The successor's word may come before this member's own status says so.
        drop(statuses.wait_for(|status| status.leader != Some(own)).await);
    };
    if tokio::time::timeout(TRANSFER_TIMEOUT, moved).await.is_err() {
        tracing::warn!("the leadership could not be moved in time; stopping with it");
    }
}
