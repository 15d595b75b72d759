//! One operator at a time: a Lease says which.
//!
//! A Lease gates, it does not fence: an operator that lost it may not know for a moment. So every write that matters is
//! compared and set (the register by the resource's version, membership by the configuration's index, deletions by uid),
//! and an operator that learns of the loss ends itself; its pod starts again as a stand-by.
//!
//! May import: kube-lease-manager. Deliberately absent: what the leader does.

use std::future::Future;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Seconds after its last renewal that the Lease is free for others, as Kubernetes' own components have it.
const DURATION_SECONDS: u64 = 15;
/// Seconds before its end that it is renewed.
const GRACE_SECONDS: u64 = 5;

/// Where the Lease is, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Its namespace: the operator's own.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// This process among its like: the pod's name.
    pub identity: String,
}

/// A Lease that is held, while the value lives.
#[derive(Debug)]
pub(super) struct Leadership {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Leadership {
    /// Waits until this process leads.
    pub(super) async fn won(client: Client, election: &Election) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, election.lease.as_str())
            .with_namespace(election.namespace.as_str())
            .with_identity(election.identity.as_str())
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await?;
        let (mut held, task) = manager.watch().await;
        tracing::info!(lease = election.lease, identity = election.identity, "waiting to lead");
        // A closed channel is seen by whoever waits for the loss.
        held.wait_for(|held| *held).await.ok();
        tracing::info!(identity = election.identity, "leading");
        Ok(Self { held, task })
    }

    /// Resolves when the Lease is lost, or is not looked after any more.
    pub(super) fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut held = self.held.clone();
        async move {
            held.wait_for(|held| !*held).await.ok();
        }
    }

    /// Gives the Lease back, so that the next one need not wait for its end.
    pub(super) async fn give_back(self) {
        let Self { held, task } = self;
        drop(held);
        match task.await {
            Ok(Ok(manager)) => {
                if let Err(error) = manager.release().await {
                    tracing::warn!(%error, "the Lease was not given back; it ends by itself");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not looked after"),
            Err(error) => tracing::warn!(%error, "the Lease's task ended"),
        }
    }
}
