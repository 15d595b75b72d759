//! The bounded door to the driver: what API, admin and transport hold of a running node.
//!
//! May import: core's types. Deliberately absent: decisions; the node makes them, the driver carries them.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_core::error::Refusal;
use outrigger_core::event::{AdminReply, AdminRequest, Event};
use outrigger_core::mvcc::{Command, Response};
use outrigger_core::state_machine::Output;
use outrigger_core::status::NodeStatus;
use outrigger_core::types::Index;
use tokio::sync::{mpsc, oneshot, watch};

use crate::publication::{Publication, Published, Summary};

/// Inputs that may queue before callers are told `too many requests`. With 256-byte values this is about 4 MiB.
pub const INBOX_CAPACITY: usize = 8192;

/// What the driver takes in.
#[derive(Debug)]
pub enum Input {
    /// A proposal; the driver makes its id.
    Propose {
        /// The state machine's command.
        command: Bytes,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Output, Refusal>>,
    },
    /// A linearizable read; the driver makes its id.
    Read {
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Index, Refusal>>,
    },
    /// A membership or metadata request.
    Admin {
        /// What is wanted.
        request: AdminRequest,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<AdminReply, Refusal>>,
    },
    /// Anything else that happens to the node.
    Event(Event),
}

/// A running node, for its callers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    inputs: mpsc::Sender<Input>,
    published: Arc<Publication>,
    status: watch::Receiver<Arc<NodeStatus>>,
}

impl NodeHandle {
    /// Ties the ends together; wiring does.
    #[must_use]
    pub fn new(
        inputs: mpsc::Sender<Input>,
        published: Arc<Publication>,
        status: watch::Receiver<Arc<NodeStatus>>,
    ) -> Self {
        Self { inputs, published, status }
    }

    /// Proposes a command and waits for its applied result. Checks of size and form are the caller's.
    ///
    /// # Errors
    /// As [`Refusal`] says; `TooManyRequests` when the inbox is full, `Stopped` when the driver is gone.
    pub async fn propose(&self, command: &Command) -> Result<Response, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Propose { command: command.encode_to_bytes(), reply })?;
        match answer.await.map_err(|_| Refusal::Stopped)?? {
            Output::Kv(response) => Ok(response),
            Output::Opaque(_) | Output::Duplicate => Err(Refusal::OutcomeUnknown),
        }
    }

    /// Waits until the published view holds everything that was acknowledged before this call; then
    /// [`NodeHandle::view`] may be read linearizably.
    ///
    /// # Errors
    /// As [`NodeHandle::propose`].
    pub async fn read_barrier(&self) -> Result<Index, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Read { reply })?;
        answer.await.map_err(|_| Refusal::Stopped)?
    }

    /// Asks for a change of membership or metadata.
    ///
    /// # Errors
    /// As [`NodeHandle::propose`], and membership's own refusals.
    pub async fn admin(&self, request: AdminRequest) -> Result<AdminReply, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Admin { request, reply })?;
        answer.await.map_err(|_| Refusal::Stopped)?
    }

    /// Tells the node that something happened. Waits when the inbox is full: peers are slowed down, not dropped.
    ///
    /// # Errors
    /// `Stopped` when the driver is gone.
    pub async fn notify(&self, event: Event) -> Result<(), Refusal> {
        self.inputs.send(Input::Event(event)).await.map_err(|_| Refusal::Stopped)
    }

    /// The newest published view; `None` before the first one is published after start.
    pub async fn view(&self) -> Option<Arc<Published>> {
        self.published.view().await
    }

    /// The same in numbers, at once.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        self.published.summary()
    }

    /// The newest status.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        self.status.borrow().clone()
    }

    /// Wakes whenever the status changes.
    #[must_use]
    pub fn status_changes(&self) -> watch::Receiver<Arc<NodeStatus>> {
        self.status.clone()
    }

    fn offer(&self, input: Input) -> Result<(), Refusal> {
        self.inputs.try_send(input).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => Refusal::Stopped,
        })
    }
}
