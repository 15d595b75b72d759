//! Snapshots between members: a file in checksummed chunks, resumed where it broke off, under deadlines of its own.
//!
//! May import: `snapshots`, `dial`. Deliberately absent: raft's snapshot message, which travels through unread and is
//! handed to the peer's node only once the file is durable there.
//!
//! A slow disk or a thin link may take as long as it needs, as long as something moves: the deadlines are for
//! progress, never for the whole.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use outrigger_core::effects::SendSnapshot;
use outrigger_core::event::{Delivery, Event};
use outrigger_core::membership::Route;
use outrigger_core::types::{Index, MemberId, Term};
use outrigger_proto::v1::peer_client::PeerClient;
use outrigger_proto::v1::{SnapshotChunk, SnapshotOffsetRequest, SnapshotTarget};
use outrigger_storage::snapshot_store::{SnapshotId, Transfer};
use outrigger_tls::Expected;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Local;
use super::dial::{DialError, Dialer};
use super::receiver::{Claim, stopped, verify};
use crate::snapshots::{self, OpenSnapshot, SnapshotError, Snapshots};
use crate::tls::Caller;

/// Bytes in one chunk.
pub const CHUNK_BYTES: usize = 256 << 10;
/// A chunk that the other side does not take, or does not send, within this ends the attempt.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// The other side syncs the whole file before it answers the last chunk.
const FINISH_TIMEOUT: Duration = Duration::from_secs(120);
/// Attempts in a row that moved nothing before the stream is given up; raft asks anew later.
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("no address of the member is known")]
    NoAddress,
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the peer refused: {}", .0.message())]
    Refused(#[from] Status),
    #[error("nothing moved for {PROGRESS_TIMEOUT:?}")]
    Stalled,
}

/// The sending half: at most one stream a peer.
#[derive(Debug)]
pub struct SnapshotSender {
    snapshots: Snapshots,
    active: HashMap<MemberId, AbortHandle>,
}

impl Drop for SnapshotSender {
    fn drop(&mut self) {
        self.active.values().for_each(AbortHandle::abort);
    }
}

impl SnapshotSender {
    /// Sends from these files.
    #[must_use]
    pub fn new(snapshots: Snapshots) -> Self {
        Self { snapshots, active: HashMap::new() }
    }

    /// Starts a stream; its end is reported as [`Event::SnapshotSent`]. One that is still under way to the same peer
    /// is dropped: raft asks again only after a change of leadership, and the new stream reports for both.
    pub fn start(&mut self, local: &Local, dialer: &Dialer, route: Option<Route>, send: SendSnapshot) {
        let to = send.to;
        let job =
            Job { local: local.clone(), dialer: dialer.clone(), snapshots: self.snapshots.clone(), send };
        let task = tokio::spawn(async move {
            let outcome = job.run(route).await;
            match &outcome {
                Ok(()) => tracing::info!(peer = %to, index = %job.send.header.index, "snapshot delivered"),
                Err(error) => tracing::warn!(peer = %to, %error, "snapshot was not delivered"),
            }
            let report = Event::SnapshotSent { to, delivery: delivery_of(&outcome) };
            // The node may be gone; then nobody needs the report.
            drop(job.local.node.notify(report).await);
        });
        if let Some(older) = self.active.insert(to, task.abort_handle()) {
            older.abort();
        }
    }
}

/// Whether the same file may be tried again: an end of the network's, or of the peer's, says nothing about it.
fn delivery_of(outcome: &Result<(), TransferError>) -> Delivery {
    match outcome {
        Ok(()) => Delivery::Delivered,
        Err(TransferError::Snapshot(SnapshotError::Stopping(_))) => Delivery::Broken,
        Err(TransferError::Snapshot(_)) => Delivery::NoFile,
        Err(
            TransferError::NoAddress
            | TransferError::Dial(_)
            | TransferError::Refused(_)
            | TransferError::Stalled,
        ) => Delivery::Broken,
    }
}

struct Job {
    local: Local,
    dialer: Dialer,
    snapshots: Snapshots,
    send: SendSnapshot,
}

impl Job {
    async fn run(&self, route: Option<Route>) -> Result<(), TransferError> {
        let route = route.ok_or(TransferError::NoAddress)?;
        let file = snapshots::open(&self.snapshots, self.send.header.index, self.send.header.term).await?;
        let mut idle_attempts = 0;
        let mut reached = 0;
        loop {
            let before = reached;
            let error = match self.attempt(&route, &file, &mut reached).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            idle_attempts = if reached > before { 0 } else { idle_attempts + 1 };
            if idle_attempts >= ATTEMPTS {
                return Err(error);
            }
            tracing::debug!(peer = %self.send.to, %error, reached, "snapshot stream broke; resuming");
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    fn target(&self, file: &OpenSnapshot) -> SnapshotTarget {
        SnapshotTarget {
            cluster_id: self.local.cluster.0,
            from: self.local.own.id.0,
            to: self.send.to.0,
            index: self.send.header.index.0,
            term: self.send.header.term.0,
            total_bytes: file.transfer().len,
            checksum: file.transfer().crc,
        }
    }

    async fn attempt(
        &self,
        route: &Route,
        file: &OpenSnapshot,
        reached: &mut u64,
    ) -> Result<(), TransferError> {
        let (channel, _) = self.dialer.dial(&route.address, Expected::Member(&route.name)).await?;
        let mut client = PeerClient::new(channel);
        let target = self.target(file);
        let question = SnapshotOffsetRequest { target: Some(target) };
        let offset = tokio::time::timeout(PROGRESS_TIMEOUT, client.snapshot_offset(question))
            .await
            .map_err(|_| TransferError::Stalled)??
            .into_inner()
            .offset
            .min(file.transfer().len);
        *reached = offset.max(*reached);
        let (chunks, queue) = mpsc::channel(2);
        let answer = client.send_snapshot(ReceiverStream::new(queue));
        let fill = self.fill(target, file, offset, chunks);
        tokio::pin!(answer, fill);
        // An answer before the last chunk is a refusal: the rest would be sent to nobody.
        let filled = tokio::select! {
            early = &mut answer => { early?; return Ok(()); }
            filled = &mut fill => filled?,
        };
        *reached = filled.max(*reached);
        tokio::time::timeout(FINISH_TIMEOUT, answer).await.map_err(|_| TransferError::Stalled)??;
        Ok(())
    }

    /// Reads and queues everything from `offset` on; gives how far it came.
    async fn fill(
        &self,
        target: SnapshotTarget,
        file: &OpenSnapshot,
        mut offset: u64,
        chunks: mpsc::Sender<SnapshotChunk>,
    ) -> Result<u64, TransferError> {
        let mut target = Some(target);
        loop {
            let data = file.read(offset, CHUNK_BYTES).await?;
            let end = offset + data.len() as u64;
            let last = end >= file.transfer().len;
            let chunk = SnapshotChunk {
                target: target.take(),
                offset,
                checksum: crc32c::crc32c(&data),
                data,
                message: if last { self.send.message.clone() } else { Bytes::new() },
            };
            let place = tokio::time::timeout(PROGRESS_TIMEOUT, chunks.reserve())
                .await
                .map_err(|_| TransferError::Stalled)?;
            match place {
                Ok(place) => place.send(chunk),
                // The call ended: its own status says why.
                Err(_) => return Ok(offset),
            }
            if last {
                return Ok(end);
            }
            offset = end;
        }
    }
}

/// The receiving half.
#[derive(Clone, Debug)]
pub struct SnapshotReceiver {
    snapshots: Snapshots,
    /// Two streams into one place would tear each other's file.
    one_at_a_time: std::sync::Arc<tokio::sync::Mutex<()>>,
}

impl SnapshotReceiver {
    /// Receives into these files.
    #[must_use]
    pub fn new(snapshots: Snapshots) -> Self {
        Self { snapshots, one_at_a_time: std::sync::Arc::default() }
    }

    /// How much of the target is here already.
    ///
    /// # Errors
    /// `INTERNAL` when the disk fails.
    pub async fn offset(&self, target: &SnapshotTarget) -> Result<u64, Status> {
        snapshots::received(&self.snapshots, transfer_of(target)).await.map_err(internal)
    }

    /// Takes a stream to its end: checks every chunk, makes the file durable, and only then tells the node.
    ///
    /// # Errors
    /// As `verify`; `DATA_LOSS` for a chunk that is damaged or out of place, `RESOURCE_EXHAUSTED` while another stream
    /// is being received.
    pub async fn receive(
        &self,
        local: &Local,
        caller: &Caller,
        mut stream: Streaming<SnapshotChunk>,
    ) -> Result<(), Status> {
        let Ok(_only) = self.one_at_a_time.try_lock() else {
            return Err(Status::resource_exhausted("another snapshot is being received: resume later"));
        };
        let mut chunk = next(&mut stream).await?;
        let target =
            chunk.target.ok_or_else(|| Status::invalid_argument("a first chunk without a target"))?;
        let from = verify(local, caller, &Claim::of_target(&target))?;
        let mut file = snapshots::receive(&self.snapshots, transfer_of(&target)).await.map_err(internal)?;
        loop {
            let message = std::mem::take(&mut chunk.message);
            file = file.write(chunk.offset, chunk.data, chunk.checksum).await.map_err(internal)?;
            if file.offset() == target.total_bytes {
                let header = file.finish().await.map_err(internal)?;
                stopped(local.node.notify(Event::SnapshotReceived { header }).await)?;
                return stopped(local.node.notify(Event::Peer { from, bytes: message }).await);
            }
            chunk = next(&mut stream).await?;
        }
    }
}

async fn next(stream: &mut Streaming<SnapshotChunk>) -> Result<SnapshotChunk, Status> {
    tokio::time::timeout(PROGRESS_TIMEOUT, stream.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no chunk of the snapshot came: resume later"))??
        .ok_or_else(|| Status::aborted("the snapshot ended before its last chunk: resume later"))
}

fn transfer_of(target: &SnapshotTarget) -> Transfer {
    let id = SnapshotId { index: Index(target.index), term: Term(target.term) };
    Transfer { id, crc: target.checksum, len: target.total_bytes }
}

/// `DATA_LOSS`: what came is not what was sent, resume; `INTERNAL`: this disk.
fn internal(error: SnapshotError) -> Status {
    use outrigger_member::snapshots::SnapshotError as FileError;
    use outrigger_storage::snapshot_store::SnapshotError as Store;
    let text = super::dial::chain(&error);
    match error {
        SnapshotError::File(FileError::Store(
            Store::OutOfOrder { .. }
            | Store::BadPiece { .. }
            | Store::Incomplete { .. }
            | Store::Damaged { .. },
        )) => Status::data_loss(text),
        SnapshotError::File(
            FileError::Store(_) | FileError::Header(_) | FileError::Restore(_) | FileError::CutOff,
        )
        | SnapshotError::Stopping(_) => Status::internal(text),
    }
}
