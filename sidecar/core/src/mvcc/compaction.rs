//! Compaction: refusing reads below a revision at once, and dropping the history behind it in steps.
//!
//! What is dropped is found through the order of writes, so that a compaction costs what it drops and not what
//! stays. A million dropped versions would still stall the apply for two seconds: they are dropped a step at a time,
//! with the commands that follow or whenever the owner has time. When exactly makes no difference to any answer,
//! digest or snapshot, so members need not agree on it.
//!
//! The writes *of* the compacted revision stay in the order of writes: a watch may start there.
//!
//! May import: `view`, `write`, `row`. Deliberately absent: when to compact.

use super::command::KvRefusal;
use super::row::{Mark, Row};
use super::view::View;
use super::write::cost_bytes;

impl View {
    /// Makes `revision` the oldest that can be read.
    pub(super) fn compact(&mut self, revision: i64) -> Result<(), KvRefusal> {
        if revision <= self.compacted {
            return Err(KvRefusal::Compacted);
        }
        if revision > self.revision {
            return Err(KvRefusal::FutureRevision);
        }
        self.compacted = revision;
        Ok(())
    }
}

/// How far the rows that a compaction dropped have been swept.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    /// The first write not looked at; none when there is nothing to sweep.
    next: Option<Mark>,
}

impl Sweeper {
    /// Begins again after a compaction: what an earlier sweep has done is gone, so that nothing is done twice but
    /// the writes of the revision compacted before.
    pub(super) fn restart(&mut self) {
        self.next = Some(Mark::default());
    }

    /// Whether dropped rows remain.
    pub(super) const fn has_work(&self) -> bool {
        self.next.is_some()
    }

    /// Looks at up to `budget` writes, and drops the version that each ended, and the write itself below the
    /// compacted revision.
    pub(super) fn sweep(&mut self, view: &mut View, budget: usize) {
        let Some(from) = self.next.filter(|_| budget > 0) else { return };
        let dropped = |row: &&Row| row.mark().revision <= view.compacted;
        let writes: Vec<Row> = view.log_from(from).take_while(dropped).take(budget).cloned().collect();
        let last = writes.last().filter(|_| writes.len() == budget).map(Row::mark);
        self.next = last.map(|last| Mark { sub: last.sub + 1, ..last });
        for row in writes {
            let mark = row.mark();
            view.forget_ended(row.key(), mark);
            if mark.revision < view.compacted {
                view.log.remove(|logged| logged.0.mark().cmp(&mark));
                if row.is_tombstone() {
                    view.size_bytes = view.size_bytes.saturating_sub(cost_bytes(&row));
                }
            }
        }
    }
}
