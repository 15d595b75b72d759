//! The log's own thread: everything that queued goes to disk in one frame with one `fdatasync`.
//!
//! May import: storage's writer. Deliberately absent: retries. A failed write or sync ends the process: the pages are
//! marked clean afterwards, and a second try would acknowledge what is nowhere.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outrigger_core::event::Event;
use outrigger_core::log::{Batch, Entry};
use outrigger_core::types::{BatchNumber, Index};
use outrigger_storage::Appended;
use tokio::sync::mpsc::UnboundedSender;

/// Syncs whose times are kept for the p99.
const WINDOW: usize = 128;

/// An error of the disk, whatever its layer.
pub type DiskError = Box<dyn Error + Send + Sync>;

/// What came of a step of preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// There is more to do.
    More,
    /// Nothing is left to do before the next append.
    Done,
    /// The disk is full: to be tried again after this, whether something is appended or not.
    Later(Duration),
}

/// The log as the thread writes it. Storage's writer is one; tests have their own.
pub trait DurableLog: Send + 'static {
    /// Makes all batches durable, in one frame with one sync where they fit.
    ///
    /// # Errors
    /// What is on the disk is unknown afterwards.
    fn append(&mut self, batches: &[Batch]) -> Result<Appended, DiskError>;

    /// One short step towards the next segment, so that no put waits for its zeros.
    ///
    /// # Errors
    /// As above.
    fn prepare_spare(&mut self) -> Result<Prepared, DiskError>;

    /// Lets go of segments that hold only entries below `index`.
    ///
    /// # Errors
    /// As above.
    fn release_below(&mut self, index: Index) -> Result<(), DiskError>;
}

/// Reads entries back from disk; shared with blocking readers.
pub trait OldEntries: Send + Sync + std::fmt::Debug {
    /// Entries from the start of the range, at least one, until `max_bytes` are reached.
    ///
    /// # Errors
    /// Damage, or a range that is not there.
    fn read(&self, range: Range<Index>, max_bytes: usize) -> Result<Vec<Entry>, DiskError>;
}

/// What the thread measures, for the metrics and the campaign's delay.
pub trait ObserveSync: Send + 'static {
    /// One append took so long.
    fn synced(&self, took: Duration, appended: Appended);
}

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are batches; a box would cost each put an allocation"
)]
enum Request {
    Append(Batch),
    ReleaseBelow(Index),
    Stop,
}

/// The thread, for the driver.
#[derive(Debug)]
pub struct LogHandle {
    /// Unbounded: raft's own bound on uncommitted bytes limits what can wait here.
    requests: mpsc::Sender<Request>,
    handed: BatchNumber,
    durable: BatchNumber,
    p99_micros: Arc<AtomicU64>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Append(_) => "Append",
            Self::ReleaseBelow(_) => "ReleaseBelow",
            Self::Stop => "Stop",
        })
    }
}

impl LogHandle {
    /// Queues a batch; [`Event::Persisted`] answers.
    pub fn append(&mut self, batch: Batch) {
        self.handed = batch.number;
        self.request(Request::Append(batch));
    }

    /// Queues a release.
    pub fn release_below(&self, index: Index) {
        self.request(Request::ReleaseBelow(index));
    }

    /// Notes an answer.
    pub fn note_persisted(&mut self, batch: BatchNumber) {
        self.durable = self.durable.max(batch);
    }

    /// Whether a batch is on its way to the disk.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.handed > self.durable
    }

    /// 99 of 100 recent syncs took at most so long; 0 before the first.
    #[must_use]
    pub fn fsync_p99(&self) -> Duration {
        Duration::from_micros(self.p99_micros.load(Ordering::Relaxed))
    }

    fn request(&self, request: Request) {
        // The thread ends only when told to, or with the process.
        drop(self.requests.send(request));
    }
}

/// The thread's other end, for whoever ends it.
#[derive(Debug)]
pub struct LogThread {
    requests: mpsc::Sender<Request>,
    thread: JoinHandle<()>,
}

impl LogThread {
    /// Starts the thread over `log`. Answers go to `answers`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        log: impl DurableLog,
        answers: UnboundedSender<Event>,
        observer: impl ObserveSync,
    ) -> std::io::Result<(Self, LogHandle)> {
        let (requests, queue) = mpsc::channel();
        let p99_micros = Arc::new(AtomicU64::new(0));
        let latencies =
            Latencies { window: Vec::with_capacity(WINDOW), next: 0, p99: Arc::clone(&p99_micros) };
        let worker = Worker { log, queue, answers, observer, latencies };
        let thread = std::thread::Builder::new().name("log".to_string()).spawn(move || worker.run())?;
        let handle = LogHandle {
            requests: requests.clone(),
            handed: BatchNumber(0),
            durable: BatchNumber(0),
            p99_micros,
        };
        Ok((Self { requests, thread }, handle))
    }

    /// Makes durable what is queued, and ends the thread. Blocks until then.
    pub fn stop(self) {
        drop(self.requests.send(Request::Stop));
        drop(self.thread.join());
    }
}

struct Worker<L, O> {
    log: L,
    queue: mpsc::Receiver<Request>,
    answers: UnboundedSender<Event>,
    observer: O,
    latencies: Latencies,
}

impl<L: DurableLog, O: ObserveSync> Worker<L, O> {
    fn run(mut self) {
        let mut batches = Vec::new();
        while let Some(first) = self.next() {
            let (mut release, mut stop) = (None, false);
            let mut request = Some(first);
            while let Some(taken) = request {
                match taken {
                    Request::Append(batch) => batches.push(batch),
                    Request::ReleaseBelow(index) => release = release.max(Some(index)),
                    Request::Stop => stop = true,
                }
                request = self.queue.try_recv().ok();
            }
            self.append(&mut batches);
            if let Some(index) = release
                && let Err(error) = self.log.release_below(index)
            {
                crate::fatal::exit("segments of the log cannot be released", error.as_ref());
            }
            if stop {
                return;
            }
        }
    }

    /// The next request. While there is none, a spare segment is made ready, step by step.
    fn next(&mut self) -> Option<Request> {
        loop {
            match self.queue.try_recv() {
                Ok(request) => return Some(request),
                Err(mpsc::TryRecvError::Disconnected) => return None,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            match self.log.prepare_spare() {
                Ok(Prepared::More) => {}
                Ok(Prepared::Done) => return self.queue.recv().ok(),
                Ok(Prepared::Later(wait)) => match self.queue.recv_timeout(wait) {
                    Ok(request) => return Some(request),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                },
                Err(error) => {
                    crate::fatal::exit("a spare segment of the log cannot be made ready", error.as_ref())
                }
            }
        }
    }

    fn append(&mut self, batches: &mut Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        let started = Instant::now();
        let appended = match self.log.append(batches) {
            Ok(appended) => appended,
            Err(error) => crate::fatal::exit("the log cannot be written", error.as_ref()),
        };
        let took = started.elapsed();
        // The driver may have ended: what is durable stays durable.
        drop(self.answers.send(Event::Persisted { batch: appended.durable }));
        self.latencies.note(took);
        self.observer.synced(took, appended);
        batches.clear();
    }
}

/// A ring of recent times. The p99 is worked out every few notes, never on the way of a put.
struct Latencies {
    window: Vec<u64>,
    next: usize,
    p99: Arc<AtomicU64>,
}

impl Latencies {
    fn note(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match self.window.get_mut(self.next) {
            Some(slot) => *slot = micros,
            None => self.window.push(micros),
        }
        self.next = (self.next + 1) % WINDOW;
        if self.next.is_multiple_of(16) || self.window.len() == 1 {
            let mut sorted = self.window.clone();
            sorted.sort_unstable();
            let p99 = sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
            self.p99.store(p99, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks every append until it is let through, and tells what it was given.
    struct Gated {
        gate: mpsc::Receiver<()>,
        seen: mpsc::Sender<Vec<u64>>,
        released: mpsc::Sender<Index>,
    }

    impl DurableLog for Gated {
        fn append(&mut self, batches: &[Batch]) -> Result<Appended, DiskError> {
            self.seen.send(batches.iter().map(|batch| batch.number.0).collect())?;
            self.gate.recv()?;
            Ok(Appended { frames: 1, bytes: 4096, durable: batches.last().unwrap().number })
        }

        fn prepare_spare(&mut self) -> Result<Prepared, DiskError> {
            Ok(Prepared::Done)
        }

        fn release_below(&mut self, index: Index) -> Result<(), DiskError> {
            Ok(self.released.send(index)?)
        }
    }

    struct Unobserved;

    impl ObserveSync for Unobserved {
        fn synced(&self, _took: Duration, _appended: Appended) {}
    }

    fn batch(number: u64) -> Batch {
        Batch { number: BatchNumber(number), ..Batch::default() }
    }

    #[test]
    fn all_that_queues_during_a_sync_is_one_append_and_one_answer() {
        let (open, gate) = mpsc::channel();
        let (seen, appends) = mpsc::channel();
        let (released, releases) = mpsc::channel();
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let (thread, mut log) =
            LogThread::start(Gated { gate, seen, released }, answers, Unobserved).unwrap();

        log.append(batch(1));
        assert_eq!(appends.recv().unwrap(), [1]);
        for number in 2..=9 {
            log.append(batch(number));
        }
        log.release_below(Index(5));
        log.release_below(Index(7));
        assert!(log.is_writing());
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(appends.recv().unwrap(), (2..=9).collect::<Vec<u64>>());
        assert_eq!(releases.recv().unwrap(), Index(7), "only the highest release counts");
        thread.stop();

        let mut persisted = Vec::new();
        while let Ok(Event::Persisted { batch }) = answered.try_recv() {
            log.note_persisted(batch);
            persisted.push(batch.0);
        }
        assert_eq!(persisted, [1, 9]);
        assert!(!log.is_writing());
    }

    #[test]
    fn stopping_makes_durable_what_is_queued() {
        let (open, gate) = mpsc::channel();
        let (seen, appends) = mpsc::channel();
        let (released, _releases) = mpsc::channel();
        let (answers, _answered) = tokio::sync::mpsc::unbounded_channel();
        let (thread, mut log) =
            LogThread::start(Gated { gate, seen, released }, answers, Unobserved).unwrap();
        open.send(()).unwrap();
        open.send(()).unwrap();
        log.append(batch(1));
        log.append(batch(2));
        thread.stop();
        assert_eq!(appends.try_iter().flatten().collect::<Vec<u64>>(), [1, 2]);
    }

    #[test]
    fn the_p99_follows_the_recent_window_only() {
        let p99 = Arc::new(AtomicU64::new(0));
        let mut latencies = Latencies { window: Vec::new(), next: 0, p99: Arc::clone(&p99) };
        for _ in 0..WINDOW {
            latencies.note(Duration::from_millis(50));
        }
        assert_eq!(p99.load(Ordering::Relaxed), 50_000);
        for _ in 0..WINDOW {
            latencies.note(Duration::from_micros(100));
        }
        assert_eq!(p99.load(Ordering::Relaxed), 100);
    }
}
