//! The write-ahead log, the snapshots and the identity of an Outrigger member on disk.
//!
//! Synchronous, over a [`fs::FileSystem`] trait, so that a simulated disk runs the very code that ships. Where to
//! start: [`segment`] and [`record`] give the log's format, [`writer`] and the recovery (see [`Wal::open`]) its rules,
//! [`identity`] the data directory.
//!
//! Deliberately absent: threads, async, clocks, randomness (ids are handed in), the network, and raft itself.

mod codec;
mod compaction;
pub mod dump;
pub mod fail_point;
pub mod fs;
pub mod identity;
mod index;
pub mod reader;
pub mod record;
mod recovery;
pub mod segment;
pub mod snapshot_store;
mod spare;
mod state;
#[cfg(test)]
mod testing;
pub mod wal;
pub mod writer;

pub use compaction::{LogUsage, Preparation, Released};
pub use reader::{LogReader, ReadError};
pub use state::Contradiction;
pub use wal::{OpenError, OpenReport, Opened, TornTail, Wal, WalOptions};
pub use writer::{Appended, WriteError, Writer};
