//! What happened to names since their directories were synced, in order.
//!
//! A file system that keeps a journal makes names durable in the order in which they changed, now and then and without being
//! asked. So a power cut leaves a prefix of what happened: a segment may have its new name, and nothing of its header.

use super::inodes::Number;

/// A name that came or went.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) dir: Number,
    pub(super) name: String,
    /// What it leads to since then; `None`: it is gone.
    pub(super) to: Option<Number>,
}

/// Operations that no sync of a directory has made durable. Each happens as a whole.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Vec<Vec<Change>>);

impl Unsynced {
    pub(super) fn note(&mut self, operation: Vec<Change>) {
        self.0.push(operation);
    }

    /// The directory is durable as it is now.
    pub(super) fn synced(&mut self, dir: Number) {
        for operation in &mut self.0 {
            operation.retain(|change| change.dir != dir);
        }
        self.0.retain(|operation| !operation.is_empty());
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first so many, which survive; the rest never happened.
    pub(super) fn take_first(&mut self, count: usize) -> impl Iterator<Item = Change> {
        std::mem::take(&mut self.0).into_iter().take(count).flatten()
    }
}
