//! The built-in state machine: a revisioned key space.

pub mod command;

pub use command::*;
