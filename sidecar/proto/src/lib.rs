//! The wire of Outrigger: `outrigger.v1` and the etcd v3 packages, generated from `proto/`.
//!
//! May import: prost and tonic. Deliberately absent: anything of ours; translating is the API's work.

/// The trait of every generated message: its encoded length, for one, is what request limits are held against.
pub use prost::Message;

/// `outrigger.v1`: members among themselves and with the operator.
#[allow(
    missing_docs,
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "generated code; the .proto files are the documentation"
)]
pub mod v1 {
    tonic::include_proto!("outrigger.v1");
}

/// `mvccpb`: the stored pair and its events.
#[allow(
    missing_docs,
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "generated code; the .proto files are the documentation"
)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// `etcdserverpb`: what etcd's clients speak.
#[allow(
    missing_docs,
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "generated code; the .proto files are the documentation"
)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
