//! A peer that no member is: what it says at the peer port is well framed, and wrong in one thing each time.
//!
//! raft's message is written out here by its public names and field numbers, since core's encoder would not make a wrong
//! one. May import: the generated `outrigger.v1`. Deliberately absent: anything of core, and every opinion on what is wrong.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use outrigger_proto::v1::peer_client::PeerClient;
use outrigger_proto::v1::{ExchangeRequest, Frame, Hello, exchange_request, exchange_response};
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::etcd_wire::lazy_channel;

/// Far beyond what an answer takes.
const WITHIN: Duration = Duration::from_secs(20);

/// The first byte of a peer's message that holds raft's own.
const RAFT: u8 = 3;
/// The first byte of one that holds what members say beside raft.
const CORE: u8 = 4;
/// The first byte of an entry that holds a command.
const COMMAND: u8 = 1;

/// Which boot of the sender speaks, to which boot of the receiver: both are around every message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boots {
    /// How often the sender has started.
    pub count: u64,
    /// The sender's nonce.
    pub nonce: u64,
    /// The receiver's nonce.
    pub to_nonce: u64,
}

/// `eraftpb.MessageType`, as far as anything here is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// A member's word to itself: campaign.
    Hup = 0,
    /// A proposal.
    Propose = 2,
    /// Entries of the leader.
    Append = 3,
    /// The answer.
    AppendResponse = 4,
    /// A candidate's request.
    RequestVote = 5,
    /// The leader announces a snapshot.
    Snapshot = 7,
    /// The leader lives.
    Heartbeat = 8,
    /// The answer.
    HeartbeatResponse = 9,
    /// The leader hands over: campaign at once.
    TimeoutNow = 14,
    /// A read's index is asked for.
    ReadIndex = 15,
    /// Would you vote for me?
    RequestPreVote = 17,
}

/// `eraftpb.Entry`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Entry {
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Its index.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// What it carries.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// `eraftpb.Message`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RaftMessage {
    /// What it is.
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    /// The receiver.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// The sender.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// The sender's term.
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// The term at `index`.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// The index before the entries.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// What follows it.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    /// The sender's commit index.
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    /// Whether an append did not fit.
    #[prost(bool, tag = "10")]
    pub reject: bool,
    /// Where it might fit.
    #[prost(uint64, tag = "11")]
    pub reject_hint: u64,
    /// From which index a snapshot is wanted.
    #[prost(uint64, tag = "13")]
    pub request_snapshot: u64,
}

impl RaftMessage {
    /// As a frame carries it.
    #[must_use]
    pub fn framed(&self, boots: Boots) -> Bytes {
        framed(RAFT, boots, &self.encode_to_vec())
    }
}

/// Bytes where raft's message (`true`) or another one of members should be.
#[must_use]
pub fn garbage(is_raft: bool, boots: Boots, bytes: &[u8]) -> Bytes {
    framed(if is_raft { RAFT } else { CORE }, boots, bytes)
}

/// A proposal that is forwarded to a leader of `term` in the name of `member`: a command as the client API would make it.
#[must_use]
pub fn forwarded(term: u64, member: u64, boots: Boots, command: &[u8]) -> Bytes {
    // Id of the proposal: member, boot, nonce, sequence.
    let id = [member, 1, 1, 1].map(u64::to_le_bytes).concat();
    let entry = [&[COMMAND][..], &id, command].concat();
    let forward = Forward { term, entries: vec![entry.into()], attempt: 1 };
    framed(CORE, boots, &PeerMessage { forward: Some(forward) }.encode_to_vec())
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Forward {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    entries: Vec<Bytes>,
    #[prost(uint64, tag = "3")]
    attempt: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct PeerMessage {
    #[prost(message, optional, tag = "1")]
    forward: Option<Forward>,
}

fn framed(kind: u8, boots: Boots, message: &[u8]) -> Bytes {
    let boots = [boots.count, boots.nonce, boots.to_nonce].map(u64::to_le_bytes).concat();
    [&[kind][..], &boots, message].concat().into()
}

/// A stream's first message.
#[must_use]
pub fn hello(hello: Hello) -> ExchangeRequest {
    ExchangeRequest { kind: Some(exchange_request::Kind::Hello(hello)) }
}

/// A later one.
#[must_use]
pub fn frame(messages: Vec<Bytes>) -> ExchangeRequest {
    ExchangeRequest { kind: Some(exchange_request::Kind::Frame(Frame { messages })) }
}

/// A client of the peer service at `address`.
///
/// # Errors
/// Never for an address of this form.
pub fn client(address: SocketAddr) -> Result<PeerClient<Channel>> {
    Ok(PeerClient::new(lazy_channel(address).context("making a channel")?))
}

/// Says all this on one stream, and waits until the member has taken it in. Gives the member's own hello.
///
/// # Errors
/// The member's refusal.
pub async fn speak(address: SocketAddr, requests: Vec<ExchangeRequest>) -> Result<Hello, Status> {
    let spoken = async {
        let mut client = client(address).map_err(|error| Status::internal(error.to_string()))?;
        let mut request = Request::new(futures::stream::iter(requests));
        request.set_timeout(WITHIN);
        let mut answers = client.exchange(request).await?.into_inner();
        let mut theirs = None;
        // The member ends the stream once it has read ours to its end.
        while let Some(answer) = answers.message().await? {
            let exchange_response::Kind::Hello(hello) =
                answer.kind.ok_or_else(|| Status::internal("an answer of no kind"))?;
            theirs = Some(hello);
        }
        theirs.ok_or_else(|| Status::internal("a stream without a hello"))
    };
    tokio::time::timeout(WITHIN, spoken).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
}
