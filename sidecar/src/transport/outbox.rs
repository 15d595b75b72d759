//! The bounded queue to one peer, and the stream of frames that drains it.
//!
//! May import: core's message class. Deliberately absent: sockets, retries. When it is full, or no stream is open, a
//! message is dropped and the caller is told, so that raft probes instead of believing that it was sent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use outrigger_core::effects::MessageClass;
use outrigger_proto::v1::{ExchangeRequest, Frame, Hello, exchange_request};

/// Messages that may wait. Raft has at most a few hundred appends in flight; the rest is forwarded requests.
const CAPACITY_MESSAGES: usize = 8192;
/// Bytes that may wait: a few times what raft has in flight to one peer.
const CAPACITY_BYTES: usize = 32 << 20;
/// A frame is closed once it holds so many bytes; one message more may overshoot it.
pub const FRAME_BYTES: usize = 1 << 20;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the stream, or replaced an older heartbeat that did.
    Queued,
    /// Dropped: the queue is full. The peer is slower than the messages.
    Full,
    /// Dropped: there is no stream to the peer.
    Closed,
}

/// The queue. Shared by the driver, who pushes, and the stream's task, which drains.
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<(MessageClass, Bytes)>,
    bytes: usize,
    /// Which stream drains it; an older one ends when it sees another number.
    generation: u64,
    open: bool,
    waker: Option<Waker>,
}

impl Outbox {
    /// Queues a message.
    pub fn push(&self, class: MessageClass, bytes: Bytes) -> Pushed {
        let mut inner = self.lock();
        if !inner.open {
            return Pushed::Closed;
        }
        if class == MessageClass::Heartbeat && inner.replace_heartbeat(&bytes) {
            return Pushed::Queued;
        }
        if inner.items.len() >= CAPACITY_MESSAGES || inner.bytes + bytes.len() > CAPACITY_BYTES {
            return Pushed::Full;
        }
        inner.bytes += bytes.len();
        inner.items.push_back((class, bytes));
        if let Some(waker) = inner.waker.take() {
            drop(inner);
            waker.wake();
        }
        Pushed::Queued
    }

    /// Opens the queue for a new stream and gives the stream: the hello first, then frames.
    #[must_use]
    pub fn open(self: &Arc<Self>, hello: Hello) -> Frames {
        let mut inner = self.lock();
        inner.reset();
        inner.open = true;
        Frames { outbox: Arc::clone(self), generation: inner.generation, hello: Some(hello) }
    }

    /// Ends the stream and drops what waits: it is stale by the time that a new stream stands. Gives how many were
    /// dropped.
    pub fn close(&self) -> usize {
        let mut inner = self.lock();
        let dropped = inner.items.len();
        inner.reset();
        dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_frame(&self, generation: u64, context: &Context<'_>) -> Poll<Option<Vec<Bytes>>> {
        let mut inner = self.lock();
        if inner.generation != generation {
            return Poll::Ready(None);
        }
        if inner.items.is_empty() {
            inner.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut messages = Vec::with_capacity(inner.items.len());
        let mut size = 0;
        while size < FRAME_BYTES
            && let Some((_, bytes)) = inner.items.pop_front()
        {
            size += bytes.len();
            messages.push(bytes);
        }
        inner.bytes -= size;
        Poll::Ready(Some(messages))
    }
}

impl Inner {
    /// Only the newest heartbeat counts: it carries the newest commit index and the newest read context, and an answer
    /// to that one answers the older reads too.
    fn replace_heartbeat(&mut self, newer: &Bytes) -> bool {
        let Some((_, older)) = self.items.iter_mut().find(|(class, _)| *class == MessageClass::Heartbeat)
        else {
            return false;
        };
        self.bytes = self.bytes - older.len() + newer.len();
        *older = newer.clone();
        true
    }

    fn reset(&mut self) {
        self.items.clear();
        self.bytes = 0;
        self.generation += 1;
        self.open = false;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The request stream of one `Exchange`. It ends when the outbox is closed or opened anew.
#[derive(Debug)]
pub struct Frames {
    outbox: Arc<Outbox>,
    generation: u64,
    hello: Option<Hello>,
}

impl futures::Stream for Frames {
    type Item = ExchangeRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(hello) = self.hello.take() {
            let kind = Some(exchange_request::Kind::Hello(hello));
            return Poll::Ready(Some(ExchangeRequest { kind }));
        }
        self.outbox.poll_frame(self.generation, context).map(|messages| {
            let kind = Some(exchange_request::Kind::Frame(Frame { messages: messages? }));
            Some(ExchangeRequest { kind })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    fn next(frames: &mut Frames) -> Option<Option<Vec<Bytes>>> {
        frames.next().now_or_never().map(|item| {
            item.map(|request| match request.kind {
                Some(exchange_request::Kind::Frame(frame)) => frame.messages,
                Some(exchange_request::Kind::Hello(_)) | None => Vec::new(),
            })
        })
    }

    fn opened() -> (Arc<Outbox>, Frames) {
        let outbox = Arc::new(Outbox::default());
        let mut frames = outbox.open(Hello::default());
        assert_eq!(next(&mut frames), Some(Some(Vec::new())), "the hello comes first");
        (outbox, frames)
    }

    #[test]
    fn all_that_waits_leaves_in_one_frame_in_order() {
        let (outbox, mut frames) = opened();
        assert_eq!(next(&mut frames), None, "an empty queue waits");
        for text in ["a", "b", "c"] {
            assert_eq!(outbox.push(MessageClass::Raft, Bytes::from_static(text.as_bytes())), Pushed::Queued);
        }
        assert_eq!(next(&mut frames), Some(Some(vec!["a".into(), "b".into(), "c".into()])));
        assert_eq!(next(&mut frames), None);
    }

    #[test]
    fn only_the_newest_heartbeat_is_kept() {
        let (outbox, mut frames) = opened();
        for (class, text) in [
            (MessageClass::Heartbeat, "old"),
            (MessageClass::Raft, "append"),
            (MessageClass::Heartbeat, "newer"),
            (MessageClass::Heartbeat, "newest"),
        ] {
            assert_eq!(outbox.push(class, Bytes::from_static(text.as_bytes())), Pushed::Queued);
        }
        assert_eq!(next(&mut frames), Some(Some(vec!["newest".into(), "append".into()])));
    }

    #[test]
    fn a_frame_is_bounded_and_the_rest_follows() {
        let (outbox, mut frames) = opened();
        let big = Bytes::from(vec![7; FRAME_BYTES]);
        outbox.push(MessageClass::Raft, big.clone());
        outbox.push(MessageClass::Raft, Bytes::from_static(b"x"));
        assert_eq!(next(&mut frames), Some(Some(vec![big])));
        assert_eq!(next(&mut frames), Some(Some(vec!["x".into()])));
    }

    #[test]
    fn a_full_queue_refuses_by_count_and_by_bytes() {
        let (outbox, _frames) = opened();
        for _ in 0..CAPACITY_MESSAGES {
            assert_eq!(outbox.push(MessageClass::Forward, Bytes::from_static(b"f")), Pushed::Queued);
        }
        assert_eq!(outbox.push(MessageClass::Raft, Bytes::from_static(b"r")), Pushed::Full);

        let (outbox, _frames) = opened();
        assert_eq!(outbox.push(MessageClass::Raft, vec![0; CAPACITY_BYTES].into()), Pushed::Queued);
        assert_eq!(outbox.push(MessageClass::Raft, Bytes::from_static(b"r")), Pushed::Full);
    }

    #[test]
    fn without_a_stream_nothing_is_kept() {
        let outbox = Arc::new(Outbox::default());
        assert_eq!(outbox.push(MessageClass::Raft, Bytes::from_static(b"r")), Pushed::Closed);
        let mut first = outbox.open(Hello::default());
        next(&mut first);
        outbox.push(MessageClass::Raft, Bytes::from_static(b"stale"));
        assert_eq!(outbox.close(), 1);
        assert_eq!(next(&mut first), Some(None), "a closed stream ends");
        let mut second = outbox.open(Hello::default());
        next(&mut second);
        assert_eq!(next(&mut second), None, "what was queued for the old stream is gone");
    }
}
