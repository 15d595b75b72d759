//! The state machine's trait: what a replicated application must do, be it the built-in key space or (later)
//! an application's own over a stream.
//!
//! May import: `types`, `mvcc`'s response type for [`Output`]. Deliberately absent: clocks, IO, failure. A
//! deterministic refusal is a result like any other; what cannot be applied is not a state machine's decision.

use bytes::Bytes;

use crate::types::Index;

/// What one applied command answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The built-in key space's answer.
    Kv(crate::mvcc::Response),
    /// An application's own answer.
    Opaque(Bytes),
    /// The command was applied before (its id is in the deduplication window): the first answer is gone.
    Duplicate,
}

/// Why a snapshot could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bytes are not what this state machine writes.
    #[error("snapshot chunk {chunk} does not decode: {reason}")]
    Malformed {
        /// Counted from 0.
        chunk: usize,
        /// What did not fit.
        reason: String,
    },
    /// The source of the chunks failed.
    #[error("snapshot chunk {chunk} could not be read")]
    Source {
        /// Counted from 0.
        chunk: usize,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Chunks of a snapshot as they come from disk, in order.
pub type ChunkSource<'a> =
    &'a mut dyn Iterator<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

/// A deterministic state machine: equal commands in equal order give equal state and equal answers.
pub trait StateMachine: Sized + Send + 'static {
    /// An immutable view of the state, taken in O(1), that reads and snapshots use while applying goes on.
    type View: Clone + Send + Sync + 'static;

    /// Applies the command at `index`. Never fails: a refusal is an [`Output`].
    fn apply(&mut self, index: Index, command: &[u8]) -> Output;

    /// The state as it stands, in O(1).
    fn view(&self) -> Self::View;

    /// One short step of whatever has been put off and changes no answer, such as letting go of compacted history.
    /// `false`: nothing is left. For an owner with time on its hands; nothing depends on when or whether it is called.
    fn tidy(&mut self) -> bool {
        false
    }

    /// The view's bytes in chunks of at most 256 KiB each, produced one at a time: the whole is never in memory.
    fn snapshot_chunks(view: &Self::View) -> Box<dyn Iterator<Item = Bytes> + Send + '_>;

    /// Rebuilds the state from the chunks that [`StateMachine::snapshot_chunks`] gave.
    ///
    /// # Errors
    /// When a chunk does not decode, or its source fails.
    fn restore(chunks: ChunkSource<'_>) -> Result<Self, RestoreError>;

    /// A digest of the state: equal applied index ⇒ equal digest on every member.
    fn digest(view: &Self::View) -> u64;
}
