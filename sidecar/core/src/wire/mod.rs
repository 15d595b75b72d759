//! The encodings of core: what an entry carries, what a conf change's context carries, and what members say to each
//! other. Field numbers are a disk and wire format: never reused.
//!
//! An entry's data begins with one byte: [`COMMAND`] (a fixed id, then the state machine's bytes) or [`MEMBERSHIP`]
//! (a [`MembershipCommand`]). A peer message has an envelope: `envelope`.
//!
//! May import: `types`, `error`, `event`, `membership`'s plain types. Deliberately absent: decisions.

use bytes::Bytes;
use prost::Message as _;

use crate::membership::{RosterEntry, Route};
use crate::types::{MemberId, ProposalId};

mod envelope;
mod refusals;
mod requests;

pub(crate) use envelope::{Envelope, FromPeer, decode_peer, encode_core, encode_raft};
pub(crate) use refusals::{refusal_from_wire, refusal_to_wire};
pub(crate) use requests::{admin_from_wire, admin_result_from_wire, admin_result_to_wire, admin_to_wire};

const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;
/// The byte, then member, boot, nonce, sequence in eight little-endian bytes each.
pub(crate) const COMMAND_HEADER: usize = 33;

/// What an entry of kind `Normal` carries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Payload {
    /// A leader's first entry, or a conf change that raft-rs refused.
    Empty,
    Command {
        id: ProposalId,
        command: Bytes,
    },
    Membership(MembershipCommand),
}

pub(crate) fn encode_command(id: ProposalId, command: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(COMMAND_HEADER + command.len());
    data.push(COMMAND);
    for part in [id.member.0, id.boot, id.nonce, id.sequence] {
        data.extend_from_slice(&part.to_le_bytes());
    }
    data.extend_from_slice(command);
    data
}

pub(crate) fn encode_membership(command: &MembershipCommand) -> Vec<u8> {
    let mut data = Vec::with_capacity(1 + command.encoded_len());
    data.push(MEMBERSHIP);
    data.extend_from_slice(&command.encode_to_vec());
    data
}

/// Decodes an entry's data; `None` if it is not what core writes.
pub(crate) fn decode_payload(data: &Bytes) -> Option<Payload> {
    let Some(first) = data.first() else { return Some(Payload::Empty) };
    match *first {
        COMMAND => {
            let number = |at: usize| {
                data.get(at..at + 8).and_then(|part| part.try_into().ok()).map(u64::from_le_bytes)
            };
            let id = ProposalId {
                member: MemberId(number(1)?),
                boot: number(9)?,
                nonce: number(17)?,
                sequence: number(25)?,
            };
            Some(Payload::Command { id, command: data.slice(COMMAND_HEADER..) })
        }
        MEMBERSHIP => MembershipCommand::decode(data.get(1..)?).ok().map(Payload::Membership),
        _ => None,
    }
}

/// A member's name and place.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RouteWire {
    #[prost(fixed64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) address: String,
    #[prost(uint64, tag = "4")]
    pub(crate) address_version: u64,
    #[prost(string, tag = "5")]
    pub(crate) version: String,
    #[prost(string, tag = "6")]
    pub(crate) client_url: String,
}

impl From<&Route> for RouteWire {
    fn from(route: &Route) -> Self {
        let Route { id, name, address, address_version, version, client_url } = route.clone();
        Self { id: id.0, name, address, address_version, version, client_url }
    }
}

impl From<RouteWire> for Route {
    fn from(wire: RouteWire) -> Self {
        let RouteWire { id, name, address, address_version, version, client_url } = wire;
        Self { id: MemberId(id), name, address, address_version, version, client_url }
    }
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RosterWire {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bool, tag = "2")]
    pub(crate) learner: bool,
}

impl From<&RosterEntry> for RosterWire {
    fn from(entry: &RosterEntry) -> Self {
        Self { name: entry.name.clone(), learner: entry.learner }
    }
}

impl From<RosterWire> for RosterEntry {
    fn from(wire: RosterWire) -> Self {
        Self { name: wire.name, learner: wire.learner }
    }
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct AdmitWire {
    #[prost(message, repeated, tag = "1")]
    pub(crate) roster: Vec<RosterWire>,
    /// Compare-and-set; absent: whatever stands.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) expected: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MetadataWire {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FormWire {}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum MembershipOp {
    #[prost(message, tag = "2")]
    Admit(AdmitWire),
    #[prost(message, tag = "3")]
    Form(FormWire),
    #[prost(message, tag = "4")]
    Announce(RouteWire),
    #[prost(message, tag = "5")]
    Metadata(MetadataWire),
    /// The context of the conf change that lets a learner in.
    #[prost(message, tag = "6")]
    Learner(RouteWire),
}

/// What a membership entry carries, and the context of a conf change. `origin` and `request` correlate it with its
/// caller: never by order, for raft-rs turns a second conf change in flight into an empty entry and returns `Ok`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MembershipCommand {
    #[prost(fixed64, tag = "1")]
    pub(crate) origin: u64,
    #[prost(fixed64, tag = "7")]
    pub(crate) request: u64,
    #[prost(oneof = "MembershipOp", tags = "2, 3, 4, 5, 6")]
    pub(crate) op: Option<MembershipOp>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardWire {
    /// The term in which the sender takes the receiver for the leader; another term refuses.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// Encoded entries' data, several proposals at once.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) entries: Vec<Bytes>,
    /// Counted from 1 within the sender's boot: a repeat is dropped, and a refusal names what it refuses.
    #[prost(uint64, tag = "3")]
    pub(crate) attempt: u64,
}

/// A leader's word that it did *not* propose these. A definite failure, so it counts for the very attempt that it
/// names and for no other: the same sequences may have been forwarded again since, or be another boot's.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardRefusedWire {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) sequences: Vec<u64>,
    #[prost(message, required, tag = "2")]
    pub(crate) refusal: RefusalWire,
    /// The term under which they were forwarded.
    #[prost(uint64, tag = "3")]
    pub(crate) term: u64,
    /// The nonce of the boot that forwarded them, from the proposals' own ids.
    #[prost(fixed64, tag = "4")]
    pub(crate) nonce: u64,
    /// The forward's own number.
    #[prost(uint64, tag = "5")]
    pub(crate) attempt: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReadWire {
    #[prost(uint64, tag = "1")]
    pub(crate) batch: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReadResultWire {
    #[prost(uint64, tag = "1")]
    pub(crate) batch: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
    #[prost(message, optional, tag = "3")]
    pub(crate) refusal: Option<RefusalWire>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct AdminWire {
    #[prost(fixed64, tag = "1")]
    pub(crate) request: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    #[prost(fixed64, tag = "3")]
    pub(crate) cluster: u64,
    #[prost(uint64, optional, tag = "4")]
    pub(crate) expected: Option<u64>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) roster: Vec<RosterWire>,
    #[prost(message, optional, tag = "6")]
    pub(crate) route: Option<RouteWire>,
    #[prost(fixed64, repeated, tag = "7")]
    pub(crate) abandoned: Vec<u64>,
    #[prost(fixed64, optional, tag = "8")]
    pub(crate) id: Option<u64>,
    #[prost(string, optional, tag = "9")]
    pub(crate) name: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub(crate) metadata: Option<MetadataWire>,
    #[prost(uint32, tag = "11")]
    pub(crate) deadline_ticks: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct AdminResultWire {
    #[prost(fixed64, tag = "1")]
    pub(crate) request: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) refusal: Option<RefusalWire>,
    #[prost(uint32, tag = "3")]
    pub(crate) kind: u32,
    #[prost(uint64, tag = "4")]
    pub(crate) number: u64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) members: Vec<RouteWire>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReportWire {
    #[prost(uint64, tag = "1")]
    pub(crate) durable_configuration_index: u64,
    #[prost(bool, tag = "2")]
    pub(crate) disk_full: bool,
    #[prost(bool, tag = "3")]
    pub(crate) draining: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RemovedWire {
    #[prost(fixed64, tag = "1")]
    pub(crate) id: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum PeerOp {
    #[prost(message, tag = "1")]
    Forward(ForwardWire),
    #[prost(message, tag = "2")]
    ForwardRefused(ForwardRefusedWire),
    #[prost(message, tag = "3")]
    Read(ReadWire),
    #[prost(message, tag = "4")]
    ReadResult(ReadResultWire),
    #[prost(message, tag = "5")]
    Admin(AdminWire),
    #[prost(message, tag = "6")]
    AdminResult(AdminResultWire),
    #[prost(message, tag = "7")]
    Report(ReportWire),
    #[prost(message, tag = "8")]
    Removed(RemovedWire),
    #[prost(message, tag = "9")]
    Announce(RouteWire),
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PeerMessage {
    #[prost(oneof = "PeerOp", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(crate) op: Option<PeerOp>,
}

/// A refusal on the wire: a code, up to three numbers and a text, as [`refusal_to_wire`] lays them out.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RefusalWire {
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    #[prost(fixed64, repeated, tag = "2")]
    pub(crate) numbers: Vec<u64>,
    #[prost(string, tag = "3")]
    pub(crate) text: String,
}
