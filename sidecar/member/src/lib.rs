//! A member between its disk and its node: how it founds, joins and recovers, its snapshot files, and who may speak to it.
//!
//! Synchronous, over storage's `FileSystem`, so that a simulator runs the very code that ships. Deliberately absent: threads,
//! async, clocks, randomness (ids are handed in), the network, and every decision of consensus (core's).

pub mod admission;
pub mod founding;
pub mod recovery;
pub mod snapshots;
