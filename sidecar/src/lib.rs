//! The sidecar: a raft member beside every pod of a RaftCluster.

pub mod api;
pub mod cli;
pub mod config;
pub mod inbox;
pub mod lifecycle_commands;
pub mod member;
pub mod metrics;
pub mod output;
pub mod telemetry;
pub mod wiring;
