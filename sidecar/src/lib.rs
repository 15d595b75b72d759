//! The sidecar: a raft member beside every pod of a RaftCluster.

pub mod apply_task;
pub mod discovery;
pub mod driver;
pub mod fatal;
pub mod inbox;
pub mod log_thread;
pub mod member;
pub mod snapshots;
pub mod transport;
pub mod waiters;
