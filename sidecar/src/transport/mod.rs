//! Members among themselves: one stream from each member to each peer, and snapshots beside it.
//!
//! May import: `inbox`, `discovery`, core's types, tonic. Deliberately absent: what a message says; core encodes and
//! decodes it. Who may speak is checked in `receiver`, before anything is stepped.

pub mod backoff;
pub mod dial;
pub mod outbox;
pub mod receiver;
pub mod routes;
pub mod sender;
pub mod snapshot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_core::effects::Outgoing;
use outrigger_core::membership::Route;
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_proto::v1::Hello;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::inbox::NodeHandle;
use crate::metrics::Metrics;
use dial::Dialer;
use outbox::{Outbox, Pushed};

/// The running node as its transport sees it: what is said in handshakes, and where messages go.
#[derive(Clone, Debug)]
pub struct Local {
    /// Every handshake carries it, and is refused without it.
    pub cluster: ClusterId,
    /// This member: id, name, address and its version.
    pub own: Route,
    /// Tells this process from the one before it.
    pub boot_nonce: u64,
    /// The node.
    pub node: NodeHandle,
    /// Set once a peer refused this member as removed.
    pub tombstoned: watch::Sender<bool>,
    /// Wakes the dialling of a peer that has just dialled here: it is back.
    pub pokes: Pokes,
    /// Where send failures are counted, with the last one's text.
    pub metrics: Arc<Metrics>,
}

impl Local {
    /// What this member says of itself to `to`.
    #[must_use]
    pub fn hello(&self, to: MemberId) -> Hello {
        Hello {
            cluster_id: self.cluster.0,
            from: self.own.id.0,
            to: to.0,
            name: self.own.name.clone(),
            address: self.own.address.clone(),
            address_version: self.own.address_version,
            boot_nonce: self.boot_nonce,
            version: self.own.version.clone(),
            client_url: self.own.client_url.clone(),
        }
    }
}

/// The route that a verified handshake tells.
#[must_use]
pub fn route_of(hello: &Hello) -> Route {
    Route {
        id: MemberId(hello.from),
        name: hello.name.clone(),
        address: hello.address.clone(),
        address_version: hello.address_version,
        version: hello.version.clone(),
        client_url: hello.client_url.clone(),
    }
}

/// One waker a peer, shared by those who accept streams and those who dial.
#[derive(Clone, Debug, Default)]
pub struct Pokes(Arc<Mutex<HashMap<MemberId, Arc<Notify>>>>);

impl Pokes {
    /// The peer's waker.
    #[must_use]
    pub fn of(&self, peer: MemberId) -> Arc<Notify> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(peer).or_default())
    }

    /// Wakes the peer's dialling, if somebody dials it.
    pub fn poke(&self, peer: MemberId) {
        if let Some(notify) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&peer) {
            notify.notify_one();
        }
    }

    fn drop_peer(&self, peer: MemberId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }
}

/// The streams to all peers. Owned by the driver; dropping it ends them.
#[derive(Debug)]
pub struct Transport {
    local: Local,
    dialer: Dialer,
    peers: HashMap<MemberId, Peer>,
    snapshots: snapshot::SnapshotSender,
}

#[derive(Debug)]
struct Peer {
    route: Route,
    outbox: Arc<Outbox>,
    task: AbortHandle,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
        self.outbox.close();
    }
}

impl Transport {
    /// No peers yet: [`Transport::set_routes`] dials them.
    #[must_use]
    pub fn new(local: Local, dialer: Dialer, snapshots: snapshot::SnapshotSender) -> Self {
        Self { local, dialer, peers: HashMap::new(), snapshots }
    }

    /// Dials who is new or has moved, and hangs up on who is gone.
    pub fn set_routes(&mut self, wanted: &[Route]) {
        let plan = routes::plan(self.local.own.id, self.peers.values().map(|peer| &peer.route), wanted);
        for id in plan.hang_up {
            self.peers.remove(&id);
            self.local.pokes.drop_peer(id);
        }
        for route in plan.dial {
            let outbox = Arc::new(Outbox::default());
            let sender = sender::Sender {
                route: route.clone(),
                outbox: Arc::clone(&outbox),
                local: self.local.clone(),
                dialer: self.dialer.clone(),
            };
            let task = tokio::spawn(sender.run()).abort_handle();
            self.peers.insert(route.id, Peer { route, outbox, task });
        }
    }

    /// Queues a message. `false`: it was dropped, and raft is to be told that the peer is unreachable.
    pub fn send(&mut self, message: Outgoing) -> bool {
        let Some(peer) = self.peers.get(&message.to) else {
            return false;
        };
        match peer.outbox.push(message.class, message.bytes) {
            Pushed::Queued => true,
            Pushed::Full => {
                let error = "the queue to the peer is full: it is slower than the messages";
                self.local.metrics.send_failed(message.to, &error);
                false
            }
            // The sender counts its own failures, one a dial; one more a message would say nothing new.
            Pushed::Closed => false,
        }
    }

    /// Streams a snapshot; its end is reported to the node whatever becomes of it.
    pub fn send_snapshot(&mut self, snapshot: outrigger_core::effects::SendSnapshot) {
        let route = self.peers.get(&snapshot.to).map(|peer| peer.route.clone());
        self.snapshots.start(&self.local, &self.dialer, route, snapshot);
    }
}

#[cfg(test)]
mod tests;
