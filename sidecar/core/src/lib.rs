//! The consensus core of Outrigger: pure, synchronous, deterministic.
//!
//! Everything in comes as an [`event::Event`], everything out leaves as [`effects::Effects`]; core never reads a
//! clock, a file, a socket or a random number, so a simulator can own all of them.

pub mod applier;
pub mod effects;
pub mod error;
pub mod event;
pub mod log;
pub mod membership;
pub mod mvcc;
pub mod node;
pub mod snapshot;
pub mod state_machine;
pub mod status;
pub mod types;
