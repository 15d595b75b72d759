//! The `RaftCluster` resource, the decisions about it, and the local runner.
//!
//! `crd` holds the types, `cluster` the pure decisions (facts in, at most one step out), `admin_client` the calls to
//! members, `local` runs a manifest as processes, and `plugin` is `kubectl outrigger`. Nothing here knows raft's log or a disk's format: members are seen
//! through `outrigger.v1.Admin` alone.

pub mod admin_client;
pub mod args;
pub mod certificates;
pub mod cluster;
pub mod commands;
pub mod controller;
pub mod crd;
pub mod local;
pub mod members;
pub mod output;
pub mod plugin;
