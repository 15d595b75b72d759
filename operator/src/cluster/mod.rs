//! What is decided about a cluster: facts in, at most one step out.
//!
//! Everything here is pure: no client, no file, no clock, no randomness. The operator on Kubernetes and the local runner
//! gather [`facts::Facts`] in their own ways, ask [`plan::plan`], and carry the one step out; only that differs between
//! them.

pub mod budget;
pub mod build;
pub mod quantity;
pub mod register;
pub mod report;
pub mod status;
pub mod validate;
pub mod volumes;

pub use outrigger_plan::{decide as plan, facts, founding, ids, standing};
