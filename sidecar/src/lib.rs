//! The sidecar: a raft member beside every pod of a RaftCluster.

pub mod inbox;
pub mod member;
