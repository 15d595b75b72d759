//! The sidecar: a raft member beside every pod of a RaftCluster.

pub mod api;
pub mod apply_task;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod disk;
pub mod driver;
pub mod fatal;
#[cfg(test)]
mod faulty_fs;
pub mod inbox;
pub mod lifecycle;
pub mod lifecycle_commands;
pub mod listener;
pub mod log_thread;
pub mod member;
pub mod metrics;
pub mod output;
pub mod publication;
mod snapshot_taker;
pub mod snapshots;
pub mod space;
pub mod telemetry;
pub mod tls;
pub mod transport;
pub mod volume;
pub mod waiters;
pub mod wiring;
