//! The built-in state machine: a revisioned key space with etcd v3's semantics.
//!
//! [`KeySpace`] applies commands one after another; [`View`] is the state as it stood after one of them, shared and
//! immutable, that reads, watchers and snapshots use while applying goes on. The rooms: `command` (what goes in and
//! comes out), `check` (what can be refused without looking at the state), `span` (what a range of keys means),
//! `row` (a version of a key in one allocation), `tree` (the persistent map), `view` and `range` (reading), `write`
//! (the one place that changes rows), `txn`, `compaction`, `key_space` (which command goes where), `snapshot`.
//!
//! May import: `types`, `lease`, `state_machine`. Deliberately absent: time, IO, quotas, authorisation.

mod check;
pub mod command;
mod compaction;
mod key_space;
mod range;
mod row;
mod snapshot;
mod span;
pub(crate) mod tree;
mod txn;
mod view;
mod write;

pub use check::{MAX_TXN_OPS, validate, validate_range};
pub use command::*;
pub use key_space::KeySpace;
pub(crate) use row::{Mark, Row};
pub(crate) use span::Span;
pub use view::View;

#[cfg(test)]
mod tests;
