//! Requests that have not come in whole: how many bytes of them the client port holds at once, and for how long.
//!
//! Whoever reaches the port may begin requests and end none. Each is held in memory as far as it came, so all of them
//! together have a [`Limits::bytes`]. Beyond it a large one that would grow is refused, and for a small one the one that
//! waits longest: whoever fills the limit first keeps no put of a few KiB out, for that has come in a moment after it began.
//! A request counts from its first bytes with the length that it announces there: tonic makes room for all of it at once, and
//! many that grow side by side and are refused half-way would leave more to the allocator than the limit is.
//! A request that has come in whole is not counted: most are, before they are looked at for the first time.
//!
//! May import: tonic's bodies, `metrics`. Deliberately absent: what is asked, and requests that are under way (`inbox`).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Request;

use crate::metrics::Metrics;

/// Of the 128 MiB that a member is promised to need beside its key space: a quarter. Another half is for connections
/// (`listener`) and the last quarter for an idle process and its cache of entries.
const BYTES: usize = 32 << 20;
/// What one connection's large ones may have of it, so that they alone keep no other's out: ten of 1.5 MiB at once.
const SHARE_BYTES: usize = 16 << 20;
/// Up to here a request may push others out, and is not held to its connection's share: a client may send a thousand such
/// calls at once on one connection, whose headers come in before their bodies.
const SMALL_BYTES: usize = 32 << 10;
/// What a request may announce, a little too large ones among them; what is larger is refused by its decoder.
const ANNOUNCED_BYTES: usize = 2 << 20;
/// Of a message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// A request of 1.5 MiB, at 150 KiB a second.
const WITHIN: Duration = Duration::from_secs(10);
/// A request of no bytes at all: its task, the part of tonic's first buffer that is touched, and the bytes of its headers.
const REQUEST_BYTES: usize = 8 << 10;
/// A header's place in a map, beside its bytes.
const HEADER_BYTES: usize = 128;

const TOO_MANY: &str = "etcdserver: too many requests: the bytes of unfinished ones are at their limit";
const TOO_LATE: &str = "etcdserver: the request did not come in whole in time";

/// What is put up with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of all unfinished requests together.
    pub(super) bytes: usize,
    /// Of one connection, beyond which its large ones are refused.
    pub(super) share_bytes: usize,
    /// Until a request must have come in whole.
    pub(super) within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: BYTES, share_bytes: SHARE_BYTES, within: WITHIN }
    }
}

/// What a connection's unfinished requests take, in bytes. Changed under the budget's lock only.
#[derive(Clone, Debug, Default)]
pub(super) struct Share(Arc<AtomicUsize>);

/// What all connections of the port share.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    metrics: Arc<Metrics>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: usize,
    next: u64,
    /// By age: the first waits longest.
    requests: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    share: Share,
    waker: Waker,
}

impl Waiting {
    /// Gives back what `request` holds, if it is still there.
    fn give_back(&mut self, request: u64) -> Option<Waker> {
        let held = self.requests.remove(&request)?;
        self.bytes -= held.bytes;
        held.share.0.fetch_sub(held.bytes, Ordering::Relaxed);
        Some(held.waker)
    }
}

impl Budget {
    /// Nothing is held yet.
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { limits, metrics, waiting: Mutex::default() })
    }

    /// The request with a body that is counted. One that has none, or came on no connection, is left as it is.
    pub(super) fn count(self: &Arc<Self>, request: Request<Body>) -> Request<Body> {
        if request.body().is_end_stream() {
            return request;
        }
        let share = request.extensions().get::<Share>().cloned().unwrap_or_default();
        let bytes = REQUEST_BYTES + request.headers().len() * HEADER_BYTES;
        request.map(|body| {
            let budget = Arc::clone(self);
            let prefix = Prefix::default();
            Body::new(Unfinished { body, bytes, prefix, held: None, deadline: None, share, budget })
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each change is whole before the next line can fail.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a request hold `bytes` altogether, as a new one if it was none before, and makes room for it if it is small.
    /// `None` if there is none for it, or it was pushed out before.
    fn hold(&self, held: Option<u64>, bytes: usize, (share, waker): (&Share, &Waker)) -> Option<u64> {
        let mut waiting = self.waiting();
        let request = held.unwrap_or(waiting.next);
        if held.is_none() {
            waiting.next += 1;
            waiting.requests.insert(request, Held { bytes: 0, share: share.clone(), waker: waker.clone() });
        }
        let one = waiting.requests.get_mut(&request)?;
        one.waker.clone_from(waker);
        let more = bytes.saturating_sub(one.bytes);
        one.bytes += more;
        waiting.bytes += more;
        let of_connection = share.0.fetch_add(more, Ordering::Relaxed) + more;
        let is_over = waiting.bytes > self.limits.bytes || of_connection > self.limits.share_bytes;
        if is_over && bytes > SMALL_BYTES {
            waiting.give_back(request);
            return None;
        }
        let mut refused = Vec::new();
        while waiting.bytes > self.limits.bytes {
            let Some((&oldest, _)) = waiting.requests.first_key_value() else { break };
            refused.extend(waiting.give_back(oldest));
        }
        let is_held = waiting.requests.contains_key(&request);
        // A waker runs code of others: never under the lock.
        drop(waiting);
        refused.into_iter().for_each(Waker::wake);
        is_held.then_some(request)
    }
}

/// The first bytes of a message, which may come in one by one.
#[derive(Debug, Default)]
struct Prefix {
    length: u32,
    read: usize,
}

impl Prefix {
    fn read(&mut self, data: &[u8]) {
        for byte in data.iter().take(PREFIX_BYTES - self.read) {
            // The first, which is no part of the length, is shifted out by the last.
            self.length = self.length << 8 | u32::from(*byte);
            self.read += 1;
        }
    }

    /// The message's length, 0 while it is not known whole.
    fn length(&self) -> usize {
        if self.read < PREFIX_BYTES { 0 } else { usize::try_from(self.length).unwrap_or(usize::MAX) }
    }
}

/// The body of a request, counted from the moment when it is seen not to have come in whole.
struct Unfinished {
    body: Body,
    /// What came in, and what comes with any request.
    bytes: usize,
    prefix: Prefix,
    held: Option<u64>,
    deadline: Option<Pin<Box<Sleep>>>,
    share: Share,
    budget: Arc<Budget>,
}

impl Unfinished {
    fn give_back(&mut self) {
        if let Some(held) = self.held.take() {
            // The waker is dropped after the lock is.
            let _waker = self.budget.waiting().give_back(held);
        }
    }

    /// More is to come: whether that may be waited for.
    fn may_wait(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let announced = self.prefix.length().min(ANNOUNCED_BYTES);
        let bytes = self.bytes.max(REQUEST_BYTES + announced);
        self.held = self.budget.hold(self.held, bytes, (&self.share, cx.waker()));
        if self.held.is_none() {
            self.budget.metrics.refused("too_many_requests");
            return Err(Status::resource_exhausted(TOO_MANY));
        }
        let within = self.budget.limits.within;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        if deadline.as_mut().poll(cx).is_ready() {
            self.budget.metrics.refused("unfinished");
            return Err(Status::deadline_exceeded(TOO_LATE));
        }
        Ok(())
    }
}

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.bytes += data.len();
            this.prefix.read(data);
        }
        let is_whole = match &polled {
            Poll::Ready(Some(Ok(_))) => this.body.is_end_stream(),
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Pending => false,
        };
        if is_whole {
            this.give_back();
        } else if let Err(status) = this.may_wait(cx) {
            this.give_back();
            return Poll::Ready(Some(Err(status)));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests;
