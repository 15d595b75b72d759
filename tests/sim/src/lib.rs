//! Whole clusters in one thread: the code that ships, over a clock, disks, a network and chance that a seed owns.
//!
//! [`world`] runs a [`schedule`], [`generate`] makes one from a seed, [`invariants`] are checked as it runs, [`linearizability`]
//! judges what clients were told, [`shrink`] makes a failing schedule small, [`runs`] drives many.
//!
//! May import: core, storage, the member's and the operator's pure crates. Deliberately absent: tokio, real clocks, real
//! files, real randomness.

pub mod command;
pub mod coverage;
pub mod disk;
pub mod generate;
pub mod history;
mod input;
pub mod invariants;
pub mod linearizability;
pub mod observation;
pub mod random;
pub mod runs;
pub mod schedule;
pub mod shrink;
pub mod world;
