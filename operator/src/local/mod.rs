//! A manifest, run as processes on this machine: one sidecar a replica on a loopback address of its own, with a DNS zone as a
//! headless service would give it, and data that outlives the run.
//!
//! It plays the kubelet (starts, restarts, stops), the API server (checks the manifest, keeps the status) and the operator
//! (the same [`crate::cluster::plan`] over the same admin API). There is no container here: the template's containers are not
//! run, and limits are not enforced; the status says so.

mod certificates;
pub mod control;
pub mod dns;
pub mod errors;
pub mod follow;
pub mod layout;
mod log;
pub mod loopback;
pub mod manifest;
pub mod member;
pub mod observe;
mod pass;
pub mod record;
pub mod runner;
pub mod setup;
pub mod speak;
pub mod stopped;
pub mod view;
pub mod volumes;

pub use errors::LocalError;
pub use runner::{Options, run};
