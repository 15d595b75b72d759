//! What a snapshot says of itself before its state machine's chunks: the header of the file, and what travels in
//! raft's own snapshot message.
//!
//! May import: `types`, `log`, `membership`. Deliberately absent: the file (storage), the stream (transport).

use bytes::Bytes;
use prost::Message as _;

use crate::log::ConfState;
use crate::membership::{Membership, RosterEntry, Route};
use crate::types::{ClusterId, Index, MemberId, Term};
use crate::windows::Windows;

/// A snapshot's place and everything that is not the state machine's own, all *at that index*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// The applied index.
    pub index: Index,
    /// The term of the entry there.
    pub term: Term,
    /// The configuration at that index.
    pub conf_state: ConfState,
    /// Roster, address map, tombstones, metadata, encoded ([`Membership`]).
    pub membership: Bytes,
    /// The deduplication windows, encoded.
    pub windows: Bytes,
}

/// The header does not decode: another version's, or rot that the file's checksum did not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot's header does not decode: {reason}")]
pub struct HeaderError {
    /// What did not fit.
    pub reason: &'static str,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderWire {
    #[prost(fixed64, tag = "1")]
    cluster: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(uint64, tag = "3")]
    term: u64,
    #[prost(fixed64, repeated, tag = "4")]
    voters: Vec<u64>,
    #[prost(fixed64, repeated, tag = "5")]
    learners: Vec<u64>,
    #[prost(fixed64, repeated, tag = "6")]
    voters_outgoing: Vec<u64>,
    #[prost(fixed64, repeated, tag = "7")]
    learners_next: Vec<u64>,
    #[prost(bool, tag = "8")]
    auto_leave: bool,
    #[prost(bytes = "bytes", tag = "9")]
    membership: Bytes,
    #[prost(bytes = "bytes", tag = "10")]
    windows: Bytes,
}

impl SnapshotHeader {
    /// The header's bytes, as the file begins with them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let raw = |ids: &[MemberId]| ids.iter().map(|id| id.0).collect();
        let wire = HeaderWire {
            cluster: self.cluster.0,
            index: self.index.0,
            term: self.term.0,
            voters: raw(&self.conf_state.voters),
            learners: raw(&self.conf_state.learners),
            voters_outgoing: raw(&self.conf_state.voters_outgoing),
            learners_next: raw(&self.conf_state.learners_next),
            auto_leave: self.conf_state.auto_leave,
            membership: self.membership.clone(),
            windows: self.windows.clone(),
        };
        Bytes::from(wire.encode_to_vec())
    }

    /// Whether the cluster was formed at that index.
    #[must_use]
    pub fn is_formed(&self) -> bool {
        Membership::decode(&self.membership).is_some_and(|membership| membership.formed)
    }

    /// Decodes, and checks that the configuration can be restored and the parts decode.
    ///
    /// # Errors
    /// [`HeaderError`] with what did not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let wire = HeaderWire::decode(bytes).map_err(|_| HeaderError { reason: "not a header" })?;
        let ids = |ids: Vec<u64>| ids.into_iter().map(MemberId).collect();
        let header = Self {
            cluster: ClusterId(wire.cluster),
            index: Index(wire.index),
            term: Term(wire.term),
            conf_state: ConfState {
                voters: ids(wire.voters),
                learners: ids(wire.learners),
                voters_outgoing: ids(wire.voters_outgoing),
                learners_next: ids(wire.learners_next),
                auto_leave: wire.auto_leave,
            },
            membership: Bytes::copy_from_slice(&wire.membership),
            windows: Bytes::copy_from_slice(&wire.windows),
        };
        if header.index == Index(0) || header.cluster == ClusterId(0) {
            return Err(HeaderError { reason: "no index or no cluster" });
        }
        if !crate::configuration::is_valid(&header.conf_state) {
            return Err(HeaderError { reason: "its configuration contradicts itself" });
        }
        if Membership::decode(&header.membership).is_none() {
            return Err(HeaderError { reason: "its membership" });
        }
        if Windows::decode(&header.windows).is_none() {
            return Err(HeaderError { reason: "its deduplication windows" });
        }
        Ok(header)
    }
}

/// The snapshot with which a founder's log begins: index 1, term 1, its own configuration, the seed map. A log that
/// started without one would give joiners "removed all voters".
#[must_use]
pub fn founding_header(cluster: ClusterId, founder: &Route, roster: &[RosterEntry]) -> SnapshotHeader {
    let mut membership = Membership { cluster, ..Membership::default() };
    membership.roster = roster.iter().map(|entry| (entry.name.clone(), entry.learner)).collect();
    membership.routes.insert(founder.id, founder.clone());
    membership.configuration_index = Index(1);
    SnapshotHeader {
        cluster,
        index: Index(1),
        term: Term(1),
        conf_state: ConfState { voters: vec![founder.id], ..ConfState::default() },
        membership: membership.encode(),
        windows: Windows::default().encode(),
    }
}
