//! The process as its doors see it: which phase it is in, and the node once there is one.
//!
//! May import: `inbox`, core's types. Deliberately absent: how phases change (that is `lifecycle`).

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use outrigger_core::types::{ClusterId, MemberId};
use tokio::sync::watch;

use crate::inbox::NodeHandle;

/// Where a process stands between an empty disk and a serving member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The disk is empty.
    #[default]
    Empty,
    /// It asked to join and waits.
    Joining,
    /// It runs a node.
    Member,
    /// It was removed and waits to be admitted again.
    Removed,
    /// Its log is damaged: the volume must be replaced.
    Faulted,
}

/// What the process tells of itself besides the node's own status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The phase.
    pub phase: Phase,
    /// The cluster; 0 on an empty disk.
    pub cluster: ClusterId,
    /// The member's id: its disk's.
    pub member: MemberId,
    /// For people: what it waits for; empty if for nothing.
    pub waiting_for: String,
    /// For people: which file and offset is damaged; empty if none is.
    pub fault: String,
    /// Clusters that this disk abandoned.
    pub abandoned: Vec<ClusterId>,
    /// This boot's nonce.
    pub boot_nonce: u64,
}

impl Standing {
    /// Why no node runs here, for people: the fault, or what is waited for.
    #[must_use]
    pub fn why_no_node(&self) -> &str {
        if self.fault.is_empty() { &self.waiting_for } else { &self.fault }
    }
}

/// The process, for its doors (etcd API, admin, HTTP). Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemberHandle {
    node: Arc<ArcSwapOption<NodeHandle>>,
    standing: watch::Receiver<Standing>,
}

impl MemberHandle {
    /// Ties the ends together; wiring does.
    #[must_use]
    pub fn new(node: Arc<ArcSwapOption<NodeHandle>>, standing: watch::Receiver<Standing>) -> Self {
        Self { node, standing }
    }

    /// The running node, if there is one. Clients may be served only if its status says `formed`.
    #[must_use]
    pub fn node(&self) -> Option<Arc<NodeHandle>> {
        self.node.load_full()
    }

    /// Resolves each time that a member ceases to be one: it was removed, or its disk failed it. Never, once the process ends.
    pub async fn leaves(&self) {
        let mut standing = self.standing.clone();
        let was_member = standing.wait_for(|standing| standing.phase == Phase::Member).await.is_ok();
        if !was_member || standing.wait_for(|standing| standing.phase != Phase::Member).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What the process says of itself.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }
}
