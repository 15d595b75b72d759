//! Message types of the public etcd v3 protocol, by its own names and field numbers; only what a test here sends.
//!
//! Deliberately absent: `outrigger_proto`, which has the same ones generated. A wrong number there would agree with itself;
//! these were written a second time so that it would not agree with them.

use bytes::Bytes;

/// Precedes every answer.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ResponseHeader {
    /// The cluster that answered.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The member that answered.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// The store's revision when the answer was made.
    #[prost(int64, tag = "3")]
    pub revision: i64,
    /// The member's raft term.
    #[prost(uint64, tag = "4")]
    pub raft_term: u64,
}

/// One pair (`mvccpb.KeyValue`).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KeyValue {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Revision that created it.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// Revision of its last change.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// Changes since its creation, counted from 1.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// The lease it hangs on, or 0.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

/// `KV/Range`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RangeRequest {
    /// First key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End, exclusive; empty for one key.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// At most so many pairs; 0 for all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// At which revision; 0 for now.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// Read from the answering member's own state, without asking the leader.
    #[prost(bool, tag = "7")]
    pub serializable: bool,
    /// Leave the values out.
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
    /// Only count.
    #[prost(bool, tag = "9")]
    pub count_only: bool,
}

/// Answer to `KV/Range`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RangeResponse {
    /// Header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The pairs.
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut some off.
    #[prost(bool, tag = "3")]
    pub more: bool,
    /// Pairs in the range, without the limit.
    #[prost(int64, tag = "4")]
    pub count: i64,
}

/// `KV/Put`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PutRequest {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// A lease, or 0.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Answer with the pair before.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
}

/// Answer to `KV/Put`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PutResponse {
    /// Header; its revision is the put's own.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The pair before, if asked for.
    #[prost(message, optional, tag = "2")]
    pub prev_kv: Option<KeyValue>,
}

/// `KV/DeleteRange`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeleteRangeRequest {
    /// First key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End, exclusive; empty for one key.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
}

/// Answer to `KV/DeleteRange`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeleteRangeResponse {
    /// Header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// How many pairs went.
    #[prost(int64, tag = "2")]
    pub deleted: i64,
}

/// How a comparison's two sides must relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    /// Equal.
    Equal = 0,
    /// Greater.
    Greater = 1,
    /// Less.
    Less = 2,
    /// Not equal.
    NotEqual = 3,
}

/// What of a pair is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    /// The version.
    Version = 0,
    /// The create revision.
    Create = 1,
    /// The mod revision.
    Mod = 2,
    /// The value.
    Value = 3,
    /// The lease.
    Lease = 4,
}

/// One comparison of a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Compare {
    /// Which relation must hold.
    #[prost(enumeration = "CompareResult", tag = "1")]
    pub result: i32,
    /// Of what.
    #[prost(enumeration = "CompareTarget", tag = "2")]
    pub target: i32,
    /// Of which key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// With what; the variant must match the target.
    #[prost(oneof = "TargetUnion", tags = "4, 6, 7")]
    pub target_union: Option<TargetUnion>,
}

/// The right side of a comparison.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum TargetUnion {
    /// A version; 0 for a key that is not there.
    #[prost(int64, tag = "4")]
    Version(i64),
    /// A mod revision.
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    /// A value.
    #[prost(bytes = "bytes", tag = "7")]
    Value(Bytes),
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RequestOp {
    /// The operation.
    #[prost(oneof = "RequestUnion", tags = "1, 2, 3")]
    pub request: Option<RequestUnion>,
}

/// Which operation.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum RequestUnion {
    /// A range.
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    /// A put.
    #[prost(message, tag = "2")]
    Put(PutRequest),
    /// A deletion.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeRequest),
}

/// `KV/Txn`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TxnRequest {
    /// All of these must hold …
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// … for these to be done, …
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
    /// … else these.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<RequestOp>,
}

/// One answer of a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ResponseOp {
    /// The answer.
    #[prost(oneof = "ResponseUnion", tags = "1, 2, 3")]
    pub response: Option<ResponseUnion>,
}

/// Which answer.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum ResponseUnion {
    /// A range's.
    #[prost(message, tag = "1")]
    Range(RangeResponse),
    /// A put's.
    #[prost(message, tag = "2")]
    Put(PutResponse),
    /// A deletion's.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeResponse),
}

/// Answer to `KV/Txn`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TxnResponse {
    /// Header.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Whether the comparisons held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    /// The answers of the branch that was taken.
    #[prost(message, repeated, tag = "3")]
    pub responses: Vec<ResponseOp>,
}

/// `Maintenance/Status`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct StatusRequest {}

/// Answer to `Maintenance/Status`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusResponse {
    /// Header; its member id is the answering member's.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The server's version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Size of the database, in bytes.
    #[prost(int64, tag = "3")]
    pub db_size: i64,
    /// The leader's id, or 0.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// The member's last committed index.
    #[prost(uint64, tag = "5")]
    pub raft_index: u64,
    /// The member's term.
    #[prost(uint64, tag = "6")]
    pub raft_term: u64,
    /// The member's applied index.
    #[prost(uint64, tag = "7")]
    pub raft_applied_index: u64,
}

impl StatusResponse {
    /// Whether the member that answered is the leader.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader != 0 && self.header.is_some_and(|header| header.member_id == self.leader)
    }
}
