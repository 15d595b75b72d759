//! One operator at a time: a Lease says which.
//!
//! A Lease gates, it does not fence: an operator that lost it may not know for a moment. So every write that matters is
//! compared and set (the register by the resource's version, objects by theirs, membership by the configuration's index, deletions by
//! uid), and an operator that learns of the loss, or that has not seen for nearly as long as the Lease lasts that it still holds it, ends
//! itself; its pod starts again as a stand-by.
//!
//! May import: kube-lease-manager. Deliberately absent: what the leader does.

use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Seconds after its last renewal that the Lease is free for others, as Kubernetes' own components have it.
const DURATION_SECONDS: u64 = 15;
/// Seconds before its end that it is renewed.
const GRACE_SECONDS: u64 = 5;

/// How often it is looked whether the Lease is still held: the renewal itself may hang, and says nothing then.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// What one look may take.
const LOOK: Duration = Duration::from_secs(3);
/// Without having seen it for this long, the Lease counts as lost: with the two looks that may pass until this is noticed, that is before
/// anybody else can have it.
const UNSEEN: Duration = Duration::from_secs(8);

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
    api: Api<Lease>,
    election: Election,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Leadership {
    /// Waits until this process leads.
    pub(super) async fn won(client: Client, election: &Election) -> Result<Self, LeaseManagerError> {
        let api = Api::namespaced(client.clone(), &election.namespace);
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
        Ok(Self { held, api, election: election.clone(), task })
    }

    /// Resolves when the Lease is lost, is not looked after any more, or cannot be seen to be held.
    pub(super) fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut held = self.held.clone();
        let unseen = unseen(self.api.clone(), self.election.clone());
        async move {
            tokio::select! {
                _ = held.wait_for(|held| !*held) => {}
                () = unseen => {}
            }
        }
    }

    /// Gives the Lease back, so that the next one need not wait for its end.
    pub(super) async fn give_back(self) {
        let Self { held, task, .. } = self;
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

/// Resolves when the Lease is seen to be another's or to have run out, or was not seen to be held for too long.
async fn unseen(api: Api<Lease>, election: Election) {
    let mut seen = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let began = Instant::now();
        match timeout(LOOK, api.get(&election.lease)).await {
            Ok(Ok(lease)) if holds(&lease, &election.identity, Timestamp::now()) => seen = began,
            Ok(Ok(_)) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the Lease cannot be looked at"),
            Err(_) => tracing::warn!(within = ?LOOK, "the API server does not say who holds the Lease"),
        }
        if seen.elapsed() >= UNSEEN {
            return;
        }
    }
}

/// Whether it is this process' and has not run out, by the clock that wrote it: this process' own.
fn holds(lease: &Lease, identity: &str, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let lasts = SignedDuration::from_secs(DURATION_SECONDS.cast_signed());
    let is_fresh = spec.renew_time.as_ref().is_some_and(|renewed| now.duration_since(renewed.0) < lasts);
    spec.holder_identity.as_deref() == Some(identity) && is_fresh
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_is_held_by_who_stands_in_it_and_while_it_lasts() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let lease = |holder: Option<&str>, renewed: Option<&str>| -> Lease {
            let spec = json!({"holderIdentity": holder, "renewTime": renewed});
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
        };
        let renewed = Some("1970-01-01T00:01:40.000000Z");
        assert!(holds(&lease(Some("a"), renewed), "a", at(114)));
        assert!(!holds(&lease(Some("a"), renewed), "a", at(115)), "it has run out");
        assert!(!holds(&lease(Some("b"), renewed), "a", at(101)), "it is another's");
        assert!(!holds(&lease(None, renewed), "a", at(101)), "it was given back");
        assert!(!holds(&lease(Some("a"), None), "a", at(101)));
        assert!(!holds(&Lease::default(), "a", at(101)));
    }

    #[test]
    fn a_lease_that_is_not_seen_is_given_up_before_another_can_have_it() {
        assert!(UNSEEN + LOOK_EVERY + LOOK < Duration::from_secs(DURATION_SECONDS));
    }
}
