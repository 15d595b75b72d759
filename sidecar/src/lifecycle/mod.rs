//! From an empty disk to a serving member and back: the phases, and what moves between them.
//!
//! `Empty` asks the seeds of the headless service and is asked; it mints nothing by itself, whatever DNS says. `Joining`
//! is `Empty` with a cluster found that does not let it in yet. `Member` runs a node. `Removed` moves its data aside and
//! is `Empty` again under a new id. `Faulted` keeps the process up to say what is broken, without vote or service.
//!
//! May import: every room below. Deliberately absent: consensus; the node decides, this only starts and stops it.

mod by_hand;
mod empty;
pub mod faulted;
mod member;
#[cfg(test)]
mod recovery_tests;
mod seeds;
mod upkeep;

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use outrigger_core::membership::Route;
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_storage::fs::FileSystem;
use outrigger_storage::identity::{DataDir, Identity, IdentityError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::discovery::Discovery;
use crate::disk::SharedDir;
use crate::inbox::NodeHandle;
use crate::lifecycle_commands::{LifecycleCommand, LifecycleRefusal};
use crate::member::{Phase, Standing};
use crate::metrics::Metrics;
use crate::transport::dial::Dialer;
use crate::transport::receiver::PeerService;

/// Why the process cannot go on. What a person must repair on the disk is the phase `Faulted` instead.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The data directory.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A founding or a joining could not be written.
    #[error("the first frame of the log cannot be written")]
    FirstFrame(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk failed while the log was read back.
    #[error("the disk failed while the log was read back: check the volume; nothing was changed")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system gives no threads.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The runtime ends.
    #[error("the runtime ends")]
    Stopping(#[from] tokio::task::JoinError),
}

/// What comes after a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Look at the disk again: it is another member's, or another cluster's, now.
    Again,
    /// The same member goes on, as another boot of it: what its node counted from is in no memory any more.
    Anew,
    /// The process was told to stop.
    Stop,
}

/// What the doors ask of the process.
pub type Commands = mpsc::Receiver<LifecycleCommand>;

/// The process's life. One owner, one task.
#[derive(Debug)]
pub struct Lifecycle {
    /// The settings.
    pub config: Arc<Config>,
    /// The disk.
    pub fs: Arc<dyn FileSystem>,
    /// The data directory.
    pub dir: SharedDir,
    /// Asks DNS.
    pub discovery: Arc<Discovery>,
    /// Dials seeds and peers.
    pub dialer: Dialer,
    /// Where peers' streams come in.
    pub peers: PeerService,
    /// Where the doors find the node.
    pub node: Arc<ArcSwapOption<NodeHandle>>,
    /// What the doors are told of the process.
    pub standing: watch::Sender<Standing>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// This boot's nonce.
    pub boot_nonce: u64,
    /// Told to stop.
    pub stop: CancellationToken,
}

/// A new id or nonce: 63 bits, never 0.
#[must_use]
pub fn draw() -> u64 {
    (rand::random::<u64>() >> 1).max(1)
}

/// What a disk says before anything else is known of it.
#[must_use]
pub fn standing_of(identity: &Identity, boot_nonce: u64) -> Standing {
    Standing {
        phase: if identity.cluster.is_some() { Phase::Member } else { Phase::Empty },
        cluster: identity.cluster.unwrap_or_default(),
        member: identity.member,
        waiting_for: "starting".to_string(),
        fault: String::new(),
        abandoned: identity.abandoned.clone(),
        boot_nonce,
    }
}

impl Lifecycle {
    /// Runs until the process is told to stop. `commands` is what the doors ask of it.
    ///
    /// # Errors
    /// [`LifecycleError`]: the process ends with it.
    pub async fn run(mut self, mut commands: Commands) -> Result<(), LifecycleError> {
        loop {
            let next = match self.identity().cluster {
                None => self.empty(&mut commands).await?,
                Some(cluster) => self.member(cluster, &mut commands).await?,
            };
            match next {
                Next::Again => {}
                Next::Anew => {
                    self.dir().count_boot()?;
                    self.boot_nonce = draw();
                }
                Next::Stop => return Ok(()),
            }
        }
    }

    fn dir(&self) -> MutexGuard<'_, DataDir> {
        self.dir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn identity(&self) -> Identity {
        self.dir().identity().clone()
    }

    fn path(&self) -> PathBuf {
        self.dir().path().to_path_buf()
    }

    /// This member as others reach it. The version grows durably with each change of the address.
    fn own_route(&self) -> Result<Route, LifecycleError> {
        let (name, address) = (self.config.name.clone(), self.config.advertise_peer.clone());
        let mut dir = self.dir();
        let address_version = dir.set_address(&name, &address, 0)?;
        let id = dir.identity().member;
        let version = env!("CARGO_PKG_VERSION").to_string();
        let client_url = self.config.advertise_client.clone();
        Ok(Route { id, name, address, address_version, version, client_url })
    }

    /// Tells the doors where the process stands.
    fn stand(&self, phase: Phase, waiting_for: String, fault: String) {
        let standing =
            Standing { phase, waiting_for, fault, ..standing_of(&self.identity(), self.boot_nonce) };
        self.standing.send_if_modified(|last| {
            let is_changed = *last != standing;
            if is_changed {
                tracing::info!(phase = ?standing.phase, waiting_for = standing.waiting_for, "standing");
                *last = standing;
            }
            is_changed
        });
    }

    /// Gives up a cluster for ever. A disk that was its own is empty under a new id then; its log must be closed.
    fn abandon(&self, cluster: ClusterId) -> Result<(), LifecycleRefusal> {
        let was_ours = self.identity().cluster == Some(cluster);
        self.dir().abandon(cluster, MemberId(draw())).map_err(refusal)?;
        // Before the caller hears of it: whoever asks next must see it.
        let fresh = standing_of(&self.identity(), self.boot_nonce);
        self.standing.send_modify(|last| {
            if was_ours {
                *last = fresh;
            } else {
                last.abandoned = fresh.abandoned;
            }
        });
        tracing::warn!(cluster = format!("{:016x}", cluster.0), was_ours, "cluster abandoned");
        Ok(())
    }
}

/// A refusal with the disk's error as its cause.
fn refusal(error: impl std::error::Error + Send + Sync + 'static) -> LifecycleRefusal {
    LifecycleRefusal::Disk(std::io::Error::other(error))
}
