//! The operator on Kubernetes: the same facts, plan and status as everywhere, gathered from and carried out through an API
//! server.
//!
//! One pass is `observe → validate → plan → apply → execute → status` (`pass`). What it does is decided on live objects,
//! never on a cache: a watch only says *when* to look. Nothing here knows raft: members are seen through
//! `outrigger.v1.Admin`.

mod apply;
mod certificates;
mod covers;
mod errors;
mod events;
mod execute;
mod fail_point;
mod hints;
mod http;
mod leadership;
mod metrics;
mod observe;
mod pace;
mod pass;
mod rolls;
mod run;
mod seen;
mod status;
mod volumes;

pub use self::errors::ControllerError;
pub use self::leadership::Election;
pub use self::run::{Options, run};
