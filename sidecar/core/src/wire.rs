//! The encodings of core: what an entry carries, what a conf change's context carries, and what members say to each
//! other. Field numbers are a disk and wire format: never reused.
//!
//! An entry's data begins with one byte: [`COMMAND`] (a fixed id, then the state machine's bytes) or [`MEMBERSHIP`]
//! (a [`MembershipCommand`]). A peer message begins with one byte too: [`RAFT`] (raft-rs's own message) or [`CORE`]
//! (a [`PeerMessage`]).
//!
//! May import: `types`, `error`, `event`, `membership`'s plain types. Deliberately absent: decisions.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

use crate::error::{MembershipRefusal, Refusal};
use crate::event::{AdminReply, AdminRequest, MemberSelector};
use crate::membership::{RosterEntry, Route};
use crate::types::{ClusterId, Index, MemberId, ProposalId};

const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;
const RAFT: u8 = 1;
const CORE: u8 = 2;
/// The byte, then member, boot, nonce, sequence in eight little-endian bytes each.
const COMMAND_HEADER: usize = 33;

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
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardRefusedWire {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) sequences: Vec<u64>,
    #[prost(message, required, tag = "2")]
    pub(crate) refusal: RefusalWire,
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

/// A decoded message of a peer.
#[derive(Debug)]
pub(crate) enum FromPeer {
    Raft(Box<raft::eraftpb::Message>),
    Core(Box<PeerOp>),
}

pub(crate) fn encode_raft(message: &raft::eraftpb::Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(RAFT);
    // BytesMut grows as needed, so encoding cannot run out of room.
    let encoded = message.encode(&mut bytes);
    debug_assert!(encoded.is_ok());
    bytes.freeze()
}

pub(crate) fn encode_core(op: PeerOp) -> Bytes {
    let message = PeerMessage { op: Some(op) };
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(CORE);
    let encoded = message.encode(&mut bytes);
    debug_assert!(encoded.is_ok());
    bytes.freeze()
}

/// Decodes what a peer sent; `None` for garbage.
pub(crate) fn decode_peer(bytes: &Bytes) -> Option<FromPeer> {
    let rest = bytes.slice(1.min(bytes.len())..);
    match *bytes.first()? {
        RAFT => raft::eraftpb::Message::decode(rest).ok().map(|message| FromPeer::Raft(Box::new(message))),
        CORE => PeerMessage::decode(rest).ok()?.op.map(|op| FromPeer::Core(Box::new(op))),
        _ => None,
    }
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

pub(crate) fn refusal_to_wire(refusal: &Refusal) -> RefusalWire {
    use MembershipRefusal as M;
    let plain = |code| RefusalWire { code, ..RefusalWire::default() };
    let full = |code, numbers: &[u64], text: &str| RefusalWire {
        code,
        numbers: numbers.to_vec(),
        text: text.to_string(),
    };
    match refusal {
        Refusal::NoLeader => plain(1),
        Refusal::LeaderChanged => plain(2),
        Refusal::TooManyRequests => plain(3),
        Refusal::TooLarge { size_bytes, limit_bytes } => {
            full(4, &[*size_bytes as u64, *limit_bytes as u64], "")
        }
        Refusal::Timeout => plain(5),
        Refusal::OutcomeUnknown => plain(6),
        Refusal::NotFormed => plain(7),
        Refusal::Stopped => plain(8),
        Refusal::Membership(refusal) => match refusal {
            M::ConfChangeInProgress => plain(20),
            M::StaleConfiguration { expected, actual } => full(21, &[expected.0, actual.0], ""),
            M::WrongCluster { actual, given } => full(22, &[actual.0, given.0], ""),
            M::NotAdmitted { name } => full(23, &[], name),
            M::AlreadyExists { name, id } => full(24, &[id.0], name),
            M::HolderUndecided { name, id } => full(25, &[id.0], name),
            M::Tombstoned(id) => full(26, &[id.0], ""),
            M::MemberNotFound => plain(27),
            M::QuorumAtRisk { live, voters, quorum, silent } => {
                full(28, &[*live as u64, *voters as u64, *quorum as u64], silent)
            }
            M::InvalidRoster { reason } => full(29, &[], reason),
            M::NotReadyToForm { joined, expected } => full(30, &[*joined as u64, *expected as u64], ""),
            M::AlreadyFormed => plain(31),
            M::NoTransferee => plain(32),
            M::InvalidMetadata { reason } => full(33, &[], reason),
        },
    }
}

pub(crate) fn refusal_from_wire(wire: &RefusalWire) -> Refusal {
    use MembershipRefusal as M;
    let number = |at: usize| wire.numbers.get(at).copied().unwrap_or_default();
    let size = |at: usize| usize::try_from(number(at)).unwrap_or(usize::MAX);
    let name = || wire.text.clone();
    let membership = match wire.code {
        1 => return Refusal::NoLeader,
        2 => return Refusal::LeaderChanged,
        3 => return Refusal::TooManyRequests,
        4 => return Refusal::TooLarge { size_bytes: size(0), limit_bytes: size(1) },
        5 => return Refusal::Timeout,
        7 => return Refusal::NotFormed,
        8 => return Refusal::Stopped,
        20 => M::ConfChangeInProgress,
        21 => M::StaleConfiguration { expected: Index(number(0)), actual: Index(number(1)) },
        22 => M::WrongCluster { actual: ClusterId(number(0)), given: ClusterId(number(1)) },
        23 => M::NotAdmitted { name: name() },
        24 => M::AlreadyExists { name: name(), id: MemberId(number(0)) },
        25 => M::HolderUndecided { name: name(), id: MemberId(number(0)) },
        26 => M::Tombstoned(MemberId(number(0))),
        27 => M::MemberNotFound,
        28 => M::QuorumAtRisk { live: size(0), voters: size(1), quorum: size(2), silent: name() },
        29 => M::InvalidRoster { reason: name().into() },
        30 => M::NotReadyToForm { joined: size(0), expected: size(1) },
        31 => M::AlreadyFormed,
        32 => M::NoTransferee,
        33 => M::InvalidMetadata { reason: name().into() },
        // 6, and whatever a newer version says: it may or may not have been done.
        _ => return Refusal::OutcomeUnknown,
    };
    Refusal::Membership(membership)
}

pub(crate) fn admin_to_wire(request: u64, what: &AdminRequest, deadline_ticks: u32) -> AdminWire {
    let mut wire = AdminWire { request, deadline_ticks, ..AdminWire::default() };
    let select = |wire: &mut AdminWire, target: &MemberSelector| match target {
        MemberSelector::Id(id) => wire.id = Some(id.0),
        MemberSelector::Name(name) => wire.name = Some(name.clone()),
    };
    match what {
        AdminRequest::Admit { cluster, expected, roster } => {
            wire.kind = 1;
            wire.cluster = cluster.0;
            wire.expected = expected.map(|index| index.0);
            wire.roster = roster.iter().map(RosterWire::from).collect();
        }
        AdminRequest::Join { cluster, route, abandoned } => {
            wire.kind = 2;
            wire.cluster = cluster.0;
            wire.route = Some(route.into());
            wire.abandoned = abandoned.iter().map(|id| id.0).collect();
        }
        AdminRequest::Remove { cluster, target, expected } => {
            wire.kind = 3;
            wire.cluster = cluster.0;
            wire.expected = expected.map(|index| index.0);
            select(&mut wire, target);
        }
        AdminRequest::Form { cluster } => {
            wire.kind = 4;
            wire.cluster = cluster.0;
        }
        AdminRequest::Transfer { to } => {
            wire.kind = 5;
            if let Some(target) = to {
                select(&mut wire, target);
            }
        }
        AdminRequest::SetMetadata { key, value } => {
            wire.kind = 6;
            wire.metadata = Some(MetadataWire { key: key.clone(), value: value.clone() });
        }
    }
    wire
}

pub(crate) fn admin_from_wire(wire: AdminWire) -> Option<AdminRequest> {
    let cluster = ClusterId(wire.cluster);
    let expected = wire.expected.map(Index);
    let selector = match (wire.id, wire.name) {
        (Some(id), _) => Some(MemberSelector::Id(MemberId(id))),
        (None, Some(name)) => Some(MemberSelector::Name(name)),
        (None, None) => None,
    };
    match wire.kind {
        1 => {
            let roster = wire.roster.into_iter().map(RosterEntry::from).collect();
            Some(AdminRequest::Admit { cluster, expected, roster })
        }
        2 => {
            let abandoned = wire.abandoned.into_iter().map(ClusterId).collect();
            Some(AdminRequest::Join { cluster, route: wire.route?.into(), abandoned })
        }
        3 => Some(AdminRequest::Remove { cluster, target: selector?, expected }),
        4 => Some(AdminRequest::Form { cluster }),
        5 => Some(AdminRequest::Transfer { to: selector }),
        6 => wire.metadata.map(|MetadataWire { key, value }| AdminRequest::SetMetadata { key, value }),
        _ => None,
    }
}

pub(crate) fn admin_result_to_wire(request: u64, outcome: &Result<AdminReply, Refusal>) -> AdminResultWire {
    let mut wire = AdminResultWire { request, ..AdminResultWire::default() };
    match outcome {
        Err(refusal) => wire.refusal = Some(refusal_to_wire(refusal)),
        Ok(AdminReply::Done) => wire.kind = 1,
        Ok(AdminReply::Configuration { index }) => {
            wire.kind = 2;
            wire.number = index.0;
        }
        Ok(AdminReply::Joined { cluster, members }) => {
            wire.kind = 3;
            wire.number = cluster.0;
            wire.members = members.iter().map(RouteWire::from).collect();
        }
        Ok(AdminReply::Leader { id }) => {
            wire.kind = 4;
            wire.number = id.0;
        }
    }
    wire
}

pub(crate) fn admin_result_from_wire(wire: AdminResultWire) -> Result<AdminReply, Refusal> {
    if let Some(refusal) = &wire.refusal {
        return Err(refusal_from_wire(refusal));
    }
    match wire.kind {
        1 => Ok(AdminReply::Done),
        2 => Ok(AdminReply::Configuration { index: Index(wire.number) }),
        3 => {
            let members = wire.members.into_iter().map(Route::from).collect();
            Ok(AdminReply::Joined { cluster: ClusterId(wire.number), members })
        }
        4 => Ok(AdminReply::Leader { id: MemberId(wire.number) }),
        _ => Err(Refusal::OutcomeUnknown),
    }
}
