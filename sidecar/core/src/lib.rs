//! The consensus core of Outrigger: pure, synchronous, deterministic.
//!
//! Everything in comes as an [`event::Event`], everything out leaves as [`effects::Effects`]; core never reads a
//! clock, a file, a socket or a random number, so a simulator can own all of them.

pub mod lease;
pub mod log;
pub mod mvcc;
pub mod state_machine;
pub mod types;
pub mod watch;
