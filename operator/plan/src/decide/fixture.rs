//! Facts for tests: a cluster named `orders` in some usual states, to be changed by each test.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a fixture of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::facts::{
    Answer, Configuration, Facts, MemberPhase, Peer, Pod, Progress, RaftRole, Repair, Report, Roster,
    RosterRole,
};
use crate::founding::{Founding, Permit};
use crate::ids::{ClusterId, ClusterName, ConfigurationIndex, Index, MemberId, Ordinal, Term};

pub fn cluster(id: u64) -> ClusterId {
    ClusterId::from_wire(id).unwrap()
}

/// The member that is on pod `ordinal`'s first disk.
pub fn member(ordinal: u8) -> MemberId {
    MemberId::from_wire(100 + u64::from(ordinal)).unwrap()
}

pub const A: u64 = 0xa;
pub const B: u64 = 0xb;

pub fn permit(size: u8) -> Permit {
    Permit { cluster: cluster(A), founder: "orders-0".to_owned(), founder_member: member(0), size }
}

pub fn roster(size: u8) -> Roster {
    (0..size).map(|ordinal| (format!("orders-{ordinal}"), RosterRole::Voter)).collect()
}

pub fn empty(ordinal: u8) -> Report {
    Report {
        phase: MemberPhase::Empty,
        cluster: None,
        member: member(ordinal),
        address: format!("orders-{ordinal}.peers:2380"),
        version: "0.1.0".to_owned(),
        role: RaftRole::None,
        term: Term(0),
        leader: None,
        commit: Index(0),
        applied: Index(0),
        formed: false,
        configuration_index: ConfigurationIndex(0),
        durable_configuration_index: ConfigurationIndex(0),
        configuration: Configuration::default(),
        peers: Vec::new(),
        roster: Roster::new(),
        abandoned: BTreeSet::new(),
        draining: false,
        waiting_for: String::new(),
        fault: String::new(),
    }
}

/// What a leader says of a member that has everything.
pub fn in_step() -> Progress {
    Progress { matched: Index(10_000), lag: 0, last_contact: Some(Duration::ZERO), active: true }
}

/// A member of A in a configuration of the first `size` pods, formed; pod 1 leads, or pod 0 where it is alone.
pub fn serving(ordinal: u8, size: u8) -> Report {
    let leads = ordinal == u8::from(size > 1);
    let peers = (0..size).map(|peer| Peer {
        id: member(peer),
        name: format!("orders-{peer}"),
        address: format!("orders-{peer}.peers:2380"),
        progress: leads.then(in_step),
    });
    Report {
        phase: MemberPhase::Member,
        cluster: Some(cluster(A)),
        role: if leads { RaftRole::Leader } else { RaftRole::Follower },
        term: Term(4),
        commit: Index(10_000),
        applied: Index(10_000),
        formed: true,
        configuration_index: ConfigurationIndex(20),
        durable_configuration_index: ConfigurationIndex(20),
        configuration: Configuration { voters: (0..size).map(member).collect(), ..Configuration::default() },
        peers: peers.collect(),
        roster: roster(size),
        ..empty(ordinal)
    }
}

pub fn pod(report: Report) -> Pod {
    Pod {
        answer: Answer::Report(Box::new(report)),
        outdated: false,
        unhealthy_for: Duration::ZERO,
        stuck_for: Duration::ZERO,
        serves: true,
        lost_node: None,
    }
}

pub fn facts(size: u8, founding: Founding, report: impl Fn(u8) -> Report) -> Facts {
    Facts {
        name: ClusterName("orders".to_owned()),
        replicas: size,
        paused: false,
        repair: Repair::After(Duration::from_secs(300)),
        restart_outdated: true,
        may_roll: true,
        founding,
        pods_wanted: size,
        pods: (0..size).map(|ordinal| (Ordinal(ordinal), pod(report(ordinal)))).collect(),
        volume_clusters: BTreeMap::new(),
        fresh_cluster: cluster(0xf),
    }
}

/// A healthy cluster of `size` that the spec wants to have `size` voters.
pub fn healthy(size: u8) -> Facts {
    facts(size, Founding::Latched(cluster(A)), |ordinal| serving(ordinal, size))
}

pub fn edit(facts: &mut Facts, ordinal: u8, change: impl FnOnce(&mut Report)) {
    match &mut facts.pods.get_mut(&Ordinal(ordinal)).unwrap().answer {
        Answer::Report(report) => change(report),
        Answer::Silent(_) => panic!("orders-{ordinal} is silent"),
    }
}

pub fn edit_all(facts: &mut Facts, change: impl Fn(&mut Report)) {
    for pod in facts.pods.values_mut() {
        if let Answer::Report(report) = &mut pod.answer {
            change(report);
        }
    }
}

/// Changes what the leader, pod 1, says of a pod's member.
pub fn seen_by_the_leader(facts: &mut Facts, ordinal: u8, change: impl FnOnce(&mut Progress)) {
    edit(facts, 1, |leader| {
        let peer = leader.peers.iter_mut().find(|peer| peer.id == member(ordinal)).unwrap();
        change(peer.progress.as_mut().unwrap());
    });
}

pub fn silence(facts: &mut Facts, ordinal: u8) {
    let pod = facts.pods.get_mut(&Ordinal(ordinal)).unwrap();
    (pod.answer, pod.serves) = (Answer::Silent("timed out".to_owned()), false);
}
