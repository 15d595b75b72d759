//! The wire of Outrigger: `outrigger.v1` and the etcd v3 packages, generated from `proto/`.
#![allow(
    missing_docs,
    clippy::all,
    unreachable_pub,
    reason = "generated code; the .proto files are the documentation"
)]

/// `outrigger.v1`: members among themselves and with the operator.
pub mod v1 {
    tonic::include_proto!("outrigger.v1");
}
