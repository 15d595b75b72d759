//! The consensus core of Outrigger: pure, synchronous, deterministic.
//!
//! Everything in comes as an [`event::Event`], everything out leaves as [`effects::Effects`]; core never reads a
//! clock, a file, a socket or a random number, so a simulator can own all of them.

pub mod applier;
mod configuration;
mod convert;
pub mod effects;
pub mod error;
pub mod event;
pub mod lease;
pub mod log;
mod log_view;
pub mod membership;
pub mod mvcc;
pub mod node;
pub mod replay;
pub mod snapshot;
pub mod state_machine;
pub mod status;
pub mod types;
pub mod watch;
mod windows;
mod wire;
