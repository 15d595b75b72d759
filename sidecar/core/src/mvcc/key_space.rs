//! The state machine itself: which command goes where, and what it answers.
//!
//! May import: everything in this folder. Deliberately absent: semantics, which live in the files it calls.

use bytes::Bytes;

use super::check::validate;
use super::command::{Command, KvOp, KvRefusal, OpResponse, RangeResponse, Response};
use super::compaction::Sweeper;
use super::snapshot;
use super::txn::{Path, check_put, check_txn, do_delete, do_put, do_txn};
use super::view::View;
use super::write::Writer;
use crate::lease::Lease;
use crate::state_machine::{ChunkSource, Output, RestoreError, StateMachine};
use crate::types::{Index, LeaseId};

/// Dropped rows that each command sweeps besides its own work, below 0.1 ms when there is something to sweep.
/// Most commands add one row, so that the sweep always catches up.
const SWEEP_PER_COMMAND: usize = 32;
/// The same for a compaction itself: enough that an idle store's usual one is done at once, in about ten milliseconds.
const SWEEP_PER_COMPACTION: usize = 4096;
/// The same where nothing else is to be done: about two milliseconds, which a put may have to wait for.
const SWEEP_WHEN_IDLE: usize = 1024;

/// The built-in state machine.
#[derive(Debug, Default)]
pub struct KeySpace {
    state: View,
    sweeper: Sweeper,
}

impl KeySpace {
    /// Applies a command that is decoded already.
    pub fn apply_command(&mut self, command: &Command) -> Response {
        let result = validate(command).and_then(|()| match &command.op {
            Some(op) => self.run(op),
            None => Err(KvRefusal::UnknownCommand),
        });
        let is_compaction = matches!(command.op, Some(KvOp::Compact(_)));
        self.sweep(if is_compaction { SWEEP_PER_COMPACTION } else { SWEEP_PER_COMMAND });
        Response { revision: self.state.revision, result }
    }

    /// Drops up to `budget` rows that a compaction has left behind, about 2 µs each, and says whether more remain.
    /// Commands do it as they come; an owner with time on its hands may, at any time and as often as it likes.
    pub fn sweep(&mut self, budget: usize) -> bool {
        self.sweeper.sweep(&mut self.state, budget);
        self.sweeper.has_work()
    }

    pub(super) fn run(&mut self, op: &KvOp) -> Result<OpResponse, KvRefusal> {
        let nothing_to_say = OpResponse::Range(RangeResponse::default());
        let state = &mut self.state;
        match op {
            KvOp::Put(put) => {
                check_put(state, put)?;
                Ok(do_put(&mut Writer::new(state), put))
            }
            KvOp::DeleteRange(delete) => Ok(do_delete(&mut Writer::new(state), delete)),
            KvOp::Txn(txn) => {
                let path = Path::decide(state, txn);
                check_txn(state, txn, &path)?;
                Ok(do_txn(&mut Writer::new(state), txn, &path))
            }
            KvOp::Compact(compact) => {
                state.compact(compact.revision)?;
                self.sweeper.restart();
                Ok(nothing_to_say)
            }
            KvOp::LeaseGrant(grant) => {
                let lease = Lease { id: LeaseId(grant.id), ttl_seconds: grant.ttl_seconds };
                if state.leases.grant(lease) { Ok(nothing_to_say) } else { Err(KvRefusal::LeaseExists) }
            }
            KvOp::LeaseRevoke(revoke) => {
                if !state.leases.revoke(LeaseId(revoke.id)) {
                    return Err(KvRefusal::LeaseNotFound);
                }
                Writer::new(state).delete_attached(LeaseId(revoke.id));
                Ok(nothing_to_say)
            }
        }
    }
}

impl StateMachine for KeySpace {
    type View = View;

    /// A command that does not decode is refused like one from a newer version: its entry is committed, so every
    /// member has the same bytes and gives the same answer.
    fn apply(&mut self, _index: Index, command: &[u8]) -> Output {
        Output::Kv(match prost::Message::decode(command) {
            Ok(command) => self.apply_command(&command),
            Err(_) => Response { revision: self.state.revision, result: Err(KvRefusal::UnknownCommand) },
        })
    }

    fn view(&self) -> View {
        self.state.clone()
    }

    fn tidy(&mut self) -> bool {
        self.sweep(SWEEP_WHEN_IDLE)
    }

    fn snapshot_chunks(view: &View) -> Box<dyn Iterator<Item = Bytes> + Send + '_> {
        Box::new(snapshot::chunks(view))
    }

    fn restore(chunks: ChunkSource<'_>) -> Result<Self, RestoreError> {
        // Nothing is left to sweep: a snapshot carries only what can still be read.
        Ok(Self { state: snapshot::restore(chunks)?, sweeper: Sweeper::default() })
    }

    fn digest(view: &View) -> u64 {
        snapshot::digest(view)
    }
}
