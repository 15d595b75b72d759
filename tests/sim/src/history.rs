//! What clients did and saw: operations with their start, their end and what was answered; and a recorder of them.
//!
//! May import: core's `Revision`. Deliberately absent: judgement; `linearizability` has that.

use std::time::Instant;

use bytes::Bytes;
pub use outrigger_core::types::Revision;

/// A key of a recorded run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// A value of a recorded run. No two writes of one run write the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u64);

impl ValueId {
    /// The value's bytes: its number in hexadecimal, then filler up to `size_bytes` (at least the 16 digits).
    #[must_use]
    pub fn to_bytes(self, size_bytes: usize) -> Bytes {
        Bytes::from(format!("{:016x}{}", self.0, ".".repeat(size_bytes.saturating_sub(16))))
    }

    /// The number of bytes that [`ValueId::to_bytes`] made; `None` for any other bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(bytes.get(..16)?).ok()?;
        let filler = bytes.get(16..)?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        filler.iter().all(|byte| *byte == b'.').then_some(Self(number))
    }
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Write this value.
    Put(ValueId),
    /// Read, linearizably.
    Get,
    /// Write `new` if the key holds `expected` (`None`: if it is not there).
    CompareAndSet {
        /// What the key must hold.
        expected: Option<ValueId>,
        /// What it is to hold then.
        new: ValueId,
    },
    /// Delete the key. Where there was none, the answer is a read that found nothing.
    Delete,
}

impl Call {
    /// The value that this call may write.
    #[must_use]
    pub const fn writes(&self) -> Option<ValueId> {
        match self {
            Self::Put(value) | Self::CompareAndSet { new: value, .. } => Some(*value),
            Self::Get | Self::Delete => None,
        }
    }
}

/// A value as it was read, with the revision that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value.
    pub value: ValueId,
    /// The pair's mod revision.
    pub mod_revision: Revision,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A put, a delete of what was there, or a compare-and-set that held, was acknowledged at this revision.
    Written {
        /// The answer's revision, which is the write's (or the delete's) own.
        revision: Revision,
    },
    /// A compare-and-set was answered: it did not hold.
    NotEqual {
        /// The store's revision at which it was compared.
        revision: Revision,
    },
    /// A read was answered, or a delete that found nothing.
    Read {
        /// What was there.
        stored: Option<Stored>,
        /// The store's revision at which it was read.
        revision: Revision,
    },
    /// No answer, or one that leaves open whether it happened: it may have, at any time after it was called, or never.
    Unknown,
    /// It certainly never happens.
    Failed,
}

/// One call of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who called.
    pub client: u32,
    /// On which key.
    pub key: KeyId,
    /// What for.
    pub call: Call,
    /// What came of it.
    pub outcome: Outcome,
    /// When it was called: nanoseconds on the recorder's monotonic clock.
    pub invoked: u64,
    /// When the answer was there, on the same clock; for an unknown outcome, when the client gave up.
    pub returned: u64,
}

/// A clock that all recorders of a run share: monotonic, in nanoseconds from its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One client's part of a history.
#[derive(Debug)]
pub struct Recorder {
    client: u32,
    clock: Clock,
    operations: Vec<Operation>,
}

impl Recorder {
    /// An empty record of `client`.
    #[must_use]
    pub const fn new(client: u32, clock: Clock) -> Self {
        Self { client, clock, operations: Vec::new() }
    }

    /// Runs a call and records it.
    pub async fn record<F>(&mut self, key: KeyId, call: Call, exchange: F) -> Outcome
    where
        F: Future<Output = Outcome>,
    {
        let invoked = self.clock.now();
        let outcome = exchange.await;
        let returned = self.clock.now();
        self.operations.push(Operation { client: self.client, key, call, outcome, invoked, returned });
        outcome
    }

    /// What was recorded.
    #[must_use]
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_its_bytes_and_other_bytes_are_no_value() {
        for size in [0, 16, 17, 256] {
            let bytes = ValueId(0xabcd).to_bytes(size);
            assert_eq!(bytes.len(), size.max(16));
            assert_eq!(ValueId::from_bytes(&bytes), Some(ValueId(0xabcd)));
        }
        for wrong in [&b""[..], b"short", b"zzzzzzzzzzzzzzzz", b"000000000000abcdX"] {
            assert_eq!(ValueId::from_bytes(wrong), None, "{wrong:?}");
        }
    }
}
