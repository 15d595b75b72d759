//! The published state: what readers see of the state machine, and when the applier may have it for itself.
//!
//! A view is immutable, so whatever the applier writes while somebody could read the last one costs it a copy of each
//! node on the way. Where nobody reads (a follower, a phase of writes), that is work for nothing: the applier takes a
//! view back that nobody asked for before it applies a batch, and publishes the next one after it. A reader that comes
//! just then waits for that batch, and is why the view stays published over the next.
//!
//! May import: core's view. Deliberately absent: who reads what, and whether it is linearizable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use outrigger_core::mvcc::View;
use outrigger_core::types::{Index, Revision};
use tokio::sync::Notify;

/// The state machine as it was published last.
#[derive(Clone, Debug)]
pub struct Published {
    /// Everything up to this index is in it.
    pub applied: Index,
    /// The immutable key space.
    pub kv: View,
}

/// What status and metrics say of the published state. Asking for it holds no view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Everything up to this index is in it.
    pub applied: Index,
    /// Of the last write.
    pub revision: Revision,
    /// Of the last compaction.
    pub compacted_revision: Revision,
    /// Keys that live.
    pub keys: usize,
    /// What keys, values and history take in memory, estimated, in bytes.
    pub size_bytes: u64,
}

impl Summary {
    fn of(published: &Published) -> Self {
        let Published { applied, kv } = published;
        Self {
            applied: *applied,
            revision: kv.revision(),
            compacted_revision: kv.compacted_revision(),
            keys: kv.len(),
            size_bytes: kv.size_bytes(),
        }
    }
}

/// Where the applier publishes and readers read. See the module.
#[derive(Debug, Default)]
pub struct Publication {
    /// `None` before the first is published, and while the applier has the state for itself.
    view: ArcSwapOption<Published>,
    /// `None` before the first is published.
    summary: Mutex<Option<Summary>>,
    /// Whether somebody asked since the last batch began.
    is_read: AtomicBool,
    published: Notify,
}

impl Publication {
    /// The newest published view. Waits while a batch is being applied to a state that nobody read lately; `None` before
    /// the first one is published.
    pub async fn view(&self) -> Option<Arc<Published>> {
        loop {
            // Said anew each time: batches may have passed before this task was woken. Looked at first: readers on many
            // cores then share the flag's line.
            if !self.is_read.load(Ordering::Relaxed) {
                self.is_read.store(true, Ordering::Release);
            }
            // Made before the look, so that a publication between the look and the wait is not missed.
            let next = self.published.notified();
            if let Some(view) = self.view.load_full() {
                return Some(view);
            }
            self.summary()?;
            next.await;
        }
    }

    /// What was published last, in numbers; `None` before the first.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        *self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a state: whoever asks from now on sees it.
    pub fn publish(&self, published: Published) {
        let summary = Summary::of(&published);
        self.view.store(Some(Arc::new(published)));
        *self.summary.lock().unwrap_or_else(PoisonError::into_inner) = Some(summary);
        self.published.notify_waiters();
    }

    /// The applier is about to write: takes the view back if nobody asked for one since the last call. Whoever holds it
    /// keeps it, unchanged; [`Publication::publish`] must follow.
    pub fn take_back_unread(&self) {
        if !self.is_read.swap(false, Ordering::AcqRel) {
            self.view.store(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn state(applied: u64) -> Published {
        Published { applied: Index(applied), kv: View::default() }
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn applied(publication: &Publication) -> Poll<Option<u64>> {
        poll(pin!(publication.view())).map(|view| view.map(|view| view.applied.0))
    }

    #[test]
    fn before_the_first_publication_there_is_nothing_and_nobody_waits() {
        let publication = Publication::default();
        assert_eq!(applied(&publication), Poll::Ready(None));
        assert_eq!(publication.summary(), None);
    }

    #[test]
    fn a_view_that_nobody_read_is_taken_back_and_a_reader_waits_for_the_next() {
        let publication = Publication::default();
        publication.publish(state(1));
        publication.take_back_unread();
        let mut waiting = pin!(publication.view());
        assert!(poll(waiting.as_mut()).is_pending());
        assert_eq!(publication.summary().map(|summary| summary.applied), Some(Index(1)));
        publication.publish(state(2));
        let Poll::Ready(Some(view)) = poll(waiting.as_mut()) else { panic!("published, but still waiting") };
        assert_eq!(view.applied, Index(2));
    }

    #[test]
    fn a_view_that_was_read_stays_published_over_one_batch() {
        let publication = Publication::default();
        publication.publish(state(1));
        assert_eq!(applied(&publication), Poll::Ready(Some(1)));
        publication.take_back_unread();
        assert_eq!(applied(&publication), Poll::Ready(Some(1)), "read lately: it stays");
        publication.publish(state(2));
        publication.take_back_unread();
        publication.publish(state(3));
        publication.take_back_unread();
        assert!(applied(&publication).is_pending(), "not read since: taken back");
    }

    #[test]
    fn a_reader_that_waits_keeps_the_next_view_published() {
        let publication = Publication::default();
        publication.publish(state(1));
        publication.take_back_unread();
        assert!(applied(&publication).is_pending());
        publication.publish(state(2));
        publication.take_back_unread();
        assert_eq!(applied(&publication), Poll::Ready(Some(2)));
    }

    #[test]
    fn a_reader_that_was_woken_late_asks_anew_and_is_served() {
        let publication = Publication::default();
        publication.publish(state(1));
        publication.take_back_unread();
        let mut waiting = pin!(publication.view());
        assert!(poll(waiting.as_mut()).is_pending());
        for applied in 2..5 {
            publication.publish(state(applied));
            publication.take_back_unread();
        }
        assert!(poll(waiting.as_mut()).is_pending(), "it came between two batches");
        publication.publish(state(5));
        publication.take_back_unread();
        let Poll::Ready(Some(view)) = poll(waiting.as_mut()) else { panic!("it asked, so the view stays") };
        assert_eq!(view.applied, Index(5));
    }

    #[test]
    fn what_was_taken_back_is_the_appliers_alone_unless_somebody_holds_it() {
        let publication = Publication::default();
        publication.publish(state(1));
        let Poll::Ready(Some(held)) = poll(pin!(publication.view())) else { panic!("it is published") };
        publication.take_back_unread();
        publication.take_back_unread();
        assert_eq!(Arc::strong_count(&held), 1, "only this reader has it now");
        assert_eq!(held.applied, Index(1));
    }
}
