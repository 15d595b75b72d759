//! Who belongs: roster, address map, tombstones, cluster metadata.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::types::{ClusterId, Index, MemberId};

/// How a member is known and reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The member's id.
    pub id: MemberId,
    /// The pod's name.
    pub name: String,
    /// `host:port` of the peer port; the host is a DNS name.
    pub address: String,
    /// Counted durably by the member with each change of its address: newer wins.
    pub address_version: u64,
    /// The member's software version.
    pub version: String,
}

/// An admitted name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RosterEntry {
    /// The pod's name.
    pub name: String,
    /// Admitted as a learner that is never promoted; else as a voter.
    pub learner: bool,
}

/// The replicated membership, as of an applied index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The cluster.
    pub cluster: ClusterId,
    /// Admitted names; the value says whether as a learner.
    pub roster: BTreeMap<String, bool>,
    /// The address map.
    pub routes: BTreeMap<MemberId, Route>,
    /// Ids that never count again.
    pub tombstones: BTreeSet<MemberId>,
    /// The cluster's metadata keys.
    pub metadata: BTreeMap<String, Bytes>,
    /// Whether the `Formed` entry is applied.
    pub formed: bool,
    /// Index of the last applied membership entry.
    pub configuration_index: Index,
}
