//! A member whose node is a scripted task: what the doors' tests talk to.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use outrigger_core::membership::Route;
use outrigger_core::mvcc::View;
use outrigger_core::status::{MemberStatus, NodeStatus, ProgressStatus, Role};
use outrigger_core::types::{ClusterId, Index, MemberId, Term};
use tokio::sync::{mpsc, watch};

use super::Identity;
use crate::inbox::{Input, NodeHandle};
use crate::member::{MemberHandle, Phase, Standing};
use crate::publication::{Publication, Published};

/// The cluster of every test.
pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);

/// A key space without keys, at revision 1.
pub(crate) fn empty_view() -> View {
    View::default()
}

/// orders-0 on port 2380 of its own name.
pub(crate) fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        name: "orders-0".into(),
        peer_address: "orders-0.orders-peers:2380".into(),
        peer_scheme: "http",
        client_url: "http://orders-0.orders-peers:2379".into(),
        version: "0.1.0".into(),
        heartbeat_interval: std::time::Duration::from_millis(100),
        election_ticks: 10,
        cluster_size: 3,
        quota_bytes: 2 << 30,
    })
}

/// A formed leader of three, member 1, at term 7.
pub(crate) fn leader_status() -> NodeStatus {
    let member = |id: u64| MemberStatus {
        route: Route {
            id: MemberId(id),
            name: format!("orders-{}", id - 1),
            address: format!("orders-{}.orders-peers:2380", id - 1),
            address_version: 1,
            version: "0.1.0".into(),
            client_url: String::new(),
        },
        voter: true,
        learner: false,
        progress: (id != 1).then_some(ProgressStatus {
            matched: Index(90),
            committed: Index(89),
            last_contact_ticks: Some(2),
            configuration_index: Index(5),
            disk_full: false,
            draining: false,
        }),
    };
    let mut status = NodeStatus {
        cluster: CLUSTER,
        member: MemberId(1),
        role: Role::Leader,
        term: Term(7),
        leader: Some(MemberId(1)),
        commit: Index(100),
        applied: Index(100),
        last: Index(100),
        formed: true,
        configuration_index: Index(5),
        members: vec![member(1), member(2), member(3)],
        ..NodeStatus::default()
    };
    status.conf_state.voters = vec![MemberId(1), MemberId(2), MemberId(3)];
    status
}

/// A process that runs a node.
pub(crate) fn member_standing() -> Standing {
    Standing {
        phase: Phase::Member,
        cluster: CLUSTER,
        member: MemberId(1),
        boot_nonce: 77,
        ..Standing::default()
    }
}

/// A member whose node shows `status` and answers as `script` says, one input after the other.
pub(crate) fn scripted(status: NodeStatus, mut script: impl FnMut(Input) + Send + 'static) -> MemberHandle {
    let (inputs, mut received) = mpsc::channel(16);
    let (statuses, seen) = watch::channel(Arc::new(status));
    let published = Arc::new(Publication::default());
    published.publish(Published { applied: Index(100), kv: empty_view() });
    tokio::spawn(async move {
        while let Some(input) = received.recv().await {
            script(input);
        }
        drop(statuses);
    });
    let node = NodeHandle::new(inputs, published, seen);
    handle(Some(node), member_standing())
}

/// A process without a node.
pub(crate) fn nodeless(standing: Standing) -> MemberHandle {
    handle(None, standing)
}

fn handle(node: Option<NodeHandle>, standing: Standing) -> MemberHandle {
    let (_, standing) = watch::channel(standing);
    MemberHandle::new(Arc::new(ArcSwapOption::from(node.map(Arc::new))), standing)
}
