//! The key space's commands and answers: what a proposal carries for it, and what applying it gives back.
//!
//! The types are plain; the derived codec (prost) is the log's format, so a field number is never reused.
//! Deliberately absent: etcd's wire types. The API translates, so that the log does not depend on a client's wire.

use bytes::Bytes;

/// A range of keys, read or deleted: `end` empty means the one key, `[0]` means every key ≥ `key`.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct KeyRange {
    /// First key, never empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End, exclusive.
    #[prost(bytes = "bytes", tag = "2")]
    pub end: Bytes,
}

/// By what a range's answer is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum SortTarget {
    /// The key.
    Key = 0,
    /// The version.
    Version = 1,
    /// The create revision.
    Create = 2,
    /// The mod revision.
    Mod = 3,
    /// The value.
    Value = 4,
}

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum SortOrder {
    /// As etcd has it: none for the key, ascending for any other target.
    None = 0,
    /// Ascending.
    Ascend = 1,
    /// Descending.
    Descend = 2,
}

/// A read of a range; also an operation of a transaction.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Range {
    /// Which keys.
    #[prost(message, required, tag = "1")]
    pub range: KeyRange,
    /// At most so many pairs, after sort and filter; 0 for all.
    #[prost(int64, tag = "2")]
    pub limit: i64,
    /// At which revision; 0 for now.
    #[prost(int64, tag = "3")]
    pub revision: i64,
    /// Sort direction.
    #[prost(enumeration = "SortOrder", tag = "4")]
    pub order: i32,
    /// Sort target.
    #[prost(enumeration = "SortTarget", tag = "5")]
    pub target: i32,
    /// Without values.
    #[prost(bool, tag = "6")]
    pub keys_only: bool,
    /// Only the count.
    #[prost(bool, tag = "7")]
    pub count_only: bool,
    /// Filters; 0 for none.
    #[prost(int64, tag = "8")]
    pub min_mod_revision: i64,
    /// Upper bound on the mod revision.
    #[prost(int64, tag = "9")]
    pub max_mod_revision: i64,
    /// Lower bound on the create revision.
    #[prost(int64, tag = "10")]
    pub min_create_revision: i64,
    /// Upper bound on the create revision.
    #[prost(int64, tag = "11")]
    pub max_create_revision: i64,
}

/// A put.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Put {
    /// The key, never empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The lease that the key is attached to; 0 for none.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Answer with the pair that stood before.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Keep the value, change the rest.
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Keep the lease.
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
}

/// A delete of a range.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct DeleteRange {
    /// Which keys.
    #[prost(message, required, tag = "1")]
    pub range: KeyRange,
    /// Answer with the pairs that stood before.
    #[prost(bool, tag = "2")]
    pub prev_kv: bool,
}

/// How a compare relates what stands to what is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    /// Equal.
    Equal = 0,
    /// What stands is greater.
    Greater = 1,
    /// What stands is less.
    Less = 2,
    /// Not equal.
    NotEqual = 3,
}

/// What a compare looks at, and the value it is held against.
#[derive(Clone, PartialEq, Eq, ::prost::Oneof)]
pub enum CompareTarget {
    /// The version.
    #[prost(int64, tag = "4")]
    Version(i64),
    /// The create revision.
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    /// The mod revision.
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    /// The value.
    #[prost(bytes = "bytes", tag = "7")]
    Value(Bytes),
    /// The lease.
    #[prost(int64, tag = "8")]
    Lease(i64),
}

/// One guard of a transaction.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Compare {
    /// Which keys; over a range all must match.
    #[prost(message, required, tag = "1")]
    pub range: KeyRange,
    /// The relation.
    #[prost(enumeration = "CompareResult", tag = "2")]
    pub result: i32,
    /// What is compared.
    #[prost(oneof = "CompareTarget", tags = "4, 5, 6, 7, 8")]
    pub target: Option<CompareTarget>,
}

/// One operation of a transaction's branch.
#[derive(Clone, PartialEq, Eq, ::prost::Oneof)]
pub enum TxnOp {
    /// A read.
    #[prost(message, tag = "1")]
    Range(Range),
    /// A put.
    #[prost(message, tag = "2")]
    Put(Put),
    /// A delete.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRange),
    /// A nested transaction.
    #[prost(message, tag = "4")]
    Txn(Txn),
}

/// A [`TxnOp`] as a list can hold it.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct TxnOperation {
    /// The operation.
    #[prost(oneof = "TxnOp", tags = "1, 2, 3, 4")]
    pub op: Option<TxnOp>,
}

/// A transaction: if all compares hold, `success` runs, else `failure`; one revision for all of its writes.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Txn {
    /// The guards; none means success.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// What runs if all hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<TxnOperation>,
    /// What runs if one does not.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<TxnOperation>,
}

/// Drops history below a revision.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Compact {
    /// Reading at it stays legal, below it does not.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// Grants a lease. The id is drawn and the floor of the TTL applied before it is proposed: applying draws nothing.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct LeaseGrant {
    /// The lease's id, not 0 and not in use.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// How long it lives without a keepalive, in seconds.
    #[prost(int64, tag = "2")]
    pub ttl_seconds: i64,
}

/// Revokes a lease and deletes the keys attached to it, in one revision.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct LeaseRevoke {
    /// The lease's id.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// A command for the key space.
#[derive(Clone, PartialEq, Eq, ::prost::Oneof)]
pub enum KvOp {
    /// A put.
    #[prost(message, tag = "1")]
    Put(Put),
    /// A delete.
    #[prost(message, tag = "2")]
    DeleteRange(DeleteRange),
    /// A transaction.
    #[prost(message, tag = "3")]
    Txn(Txn),
    /// A compaction.
    #[prost(message, tag = "4")]
    Compact(Compact),
    /// A lease granted.
    #[prost(message, tag = "5")]
    LeaseGrant(LeaseGrant),
    /// A lease revoked.
    #[prost(message, tag = "6")]
    LeaseRevoke(LeaseRevoke),
}

/// What a proposal carries for the key space.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Command {
    /// The operation; `None` only if a newer version wrote what this one does not know.
    #[prost(oneof = "KvOp", tags = "1, 2, 3, 4, 5, 6")]
    pub op: Option<KvOp>,
}

impl Command {
    /// The command's bytes, as [`crate::state_machine::StateMachine::apply`] takes them.
    #[must_use]
    pub fn encode_to_bytes(&self) -> Bytes {
        Bytes::from(prost::Message::encode_to_vec(self))
    }

    /// Whether it may put something in: what is refused while there is no space. A transaction counts with both of its
    /// branches, as in etcd. A delete writes a tombstone, but it is the way out: it, a compaction and a revoke never
    /// count. What a newer version wrote might.
    #[must_use]
    pub fn grows(&self) -> bool {
        match &self.op {
            None | Some(KvOp::Put(_) | KvOp::LeaseGrant(_)) => true,
            Some(KvOp::Txn(txn)) => txn.grows(),
            Some(KvOp::DeleteRange(_) | KvOp::Compact(_) | KvOp::LeaseRevoke(_)) => false,
        }
    }
}

impl Txn {
    /// Whether neither branch writes: then a view can answer it ([`super::View::txn`]). What a newer version wrote might.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|operation| match &operation.op {
            Some(TxnOp::Range(_)) => true,
            Some(TxnOp::Txn(inner)) => inner.is_read_only(),
            Some(TxnOp::Put(_) | TxnOp::DeleteRange(_)) | None => false,
        })
    }

    fn grows(&self) -> bool {
        self.success.iter().chain(&self.failure).any(|operation| match &operation.op {
            None | Some(TxnOp::Put(_)) => true,
            Some(TxnOp::Txn(inner)) => inner.grows(),
            Some(TxnOp::Range(_) | TxnOp::DeleteRange(_)) => false,
        })
    }
}

/// A pair as it stood at a revision.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct KeyValue {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The revision of its creation.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// The revision of its last change.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// 1 at creation, one more with every put since.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// The lease; 0 for none.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

/// A range's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResponse {
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut some off.
    pub more: bool,
    /// All keys in the range, whatever limit and filters say.
    pub count: i64,
}

/// One operation's answer within a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResponse {
    /// A read's.
    Range(RangeResponse),
    /// A put's.
    Put {
        /// The pair that stood before, when asked for.
        prev_kv: Option<KeyValue>,
    },
    /// A delete's.
    DeleteRange {
        /// How many keys it deleted.
        deleted: i64,
        /// The pairs that stood before, when asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// A nested transaction's.
    Txn {
        /// Whether its compares held.
        succeeded: bool,
        /// Its operations' answers.
        responses: Vec<OpResponse>,
    },
}

/// Why the key space refuses. The texts are etcd's, without its prefix (`client-api`: the API adds code and prefix).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvRefusal {
    /// An empty key.
    #[error("key is not provided")]
    EmptyKey,
    /// ignore_value or ignore_lease on a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// ignore_value together with a value.
    #[error("value is provided")]
    ValueProvided,
    /// ignore_lease together with a lease.
    #[error("lease is provided")]
    LeaseProvided,
    /// More operations in one list than the limit.
    #[error("too many operations in txn request")]
    TooManyOps,
    /// Two writes of one key in one transaction.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// Below the compacted revision.
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    /// Above the current revision.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// A put attached to a lease that does not exist.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// A grant of a lease that exists.
    #[error("lease already exists")]
    LeaseExists,
    /// A grant for longer than the longest TTL.
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    /// A sort order or target that is not one.
    #[error("invalid sort option")]
    InvalidSortOption,
    /// The quota is used up.
    #[error("mvcc: database space exceeded")]
    NoSpace,
    /// The command was written by a newer version.
    #[error("the command is unknown to this version")]
    UnknownCommand,
}

/// What one command answers, with the revision that the store had after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The store's revision after the command.
    pub revision: i64,
    /// The answer or the refusal. A compaction, a grant and a revoke answer an empty `Range`.
    pub result: Result<OpResponse, KvRefusal>,
}
