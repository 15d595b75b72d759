//! What a snapshot says of itself before its state machine's chunks: the header of the file, and what travels in
//! raft's own snapshot message.
//!
//! May import: `types`, `log`, `membership`, `applier`'s windows. Deliberately absent: the file (storage), the stream.

use bytes::Bytes;

use crate::log::ConfState;
use crate::types::{ClusterId, Index, Term};

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
    /// Roster, address map, tombstones, metadata, encoded ([`crate::membership::Membership`]).
    pub membership: Bytes,
    /// The deduplication windows, encoded ([`crate::applier`]).
    pub windows: Bytes,
}

#[allow(missing_docs, clippy::all, clippy::unimplemented, unused_variables, reason = "contract sketch")]
impl SnapshotHeader {
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
    pub fn decode(bytes: &[u8]) -> Result<Self, crate::error::Fatal> {
        unimplemented!()
    }
}
