//! Records: what stands inside a frame, one after the other, without padding. All integers are little-endian.
//!
//! | kind | name | fields |
//! | --- | --- | --- |
//! | 1 | Preamble | seal: previous segment `u64` (0: none), its valid end `u64`, its last frame's number `u64`; last index `u64`; then the hard state, an optional mark (`u8` 0 or 1 before it), an optional conf state (likewise) and the seeds, each as below without its kind |
//! | 2 | Entry | entry kind `u8` (0 normal, 1 conf change, 2 conf change v2), index `u64`, term `u64`, data length `u32`, context length `u32`, data, context |
//! | 3 | HardState | term `u64`, vote `u64` (0: nobody), commit `u64` |
//! | 4 | ConfState | index `u64`, auto leave `u8`, then voters, learners, outgoing voters, next learners: each a count `u32` and ids `u64` |
//! | 5 | Mark | kind `u8` (1 taken, 2 installed), index `u64`, term `u64` |
//! | 6 | Seeds | count `u32`, then each: id `u64` (0: only the name is known), name and address: length `u32` and UTF-8 |
//!
//! Records apply in the order in which they stand. An entry voids everything held at or above its index. An
//! installed mark voids every entry before it in the log, and the log goes on behind its index; a preamble's mark
//! only repeats what was said and voids nothing. A later hard state, conf state or seed list replaces the earlier.
//!
//! Records carry no checksum of their own: the frame's covers them all, so a record that does not decode inside a
//! frame that validates is a bug or a newer format, never rot.
//!
//! May import: core's `types` and `log`, `codec`. Deliberately absent: files, frames, and any meaning beyond the
//! fields.

use bytes::BufMut;
use outrigger_core::log::{ConfState, Entry, EntryKind, HardState, Seed, SnapshotKind, SnapshotMark};
use outrigger_core::types::{Index, MemberId, Term};

use crate::codec::{Fields, len32, put_text};

#[cfg(test)]
mod tests;

const KIND_PREAMBLE: u8 = 1;
const KIND_ENTRY: u8 = 2;
const KIND_HARD_STATE: u8 = 3;
const KIND_CONF_STATE: u8 = 4;
const KIND_MARK: u8 = 5;
const KIND_SEEDS: u8 = 6;

const ENTRY_HEAD_BYTES: usize = 1 + 1 + 8 + 8 + 4 + 4;
const HARD_STATE_BYTES: usize = 1 + 24;
const MARK_BYTES: usize = 1 + 17;

/// Where the log before a segment validly ends. What lies behind that point in the older segment is void for ever,
/// so that nothing cut off can come alive again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// The segment before; 0 when there was none.
    pub segment: u64,
    /// The byte offset in it at which the log ends.
    pub end: u64,
    /// The number of the last frame before that offset; 0 when there was none.
    pub frame: u64,
}

/// The first record of every segment: with it, every older segment may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// Where the log before ends; the header says the same.
    pub seal: Seal,
    /// The last index held before this segment.
    pub last: Index,
    /// The hard state then.
    pub hard_state: HardState,
    /// The newest snapshot mark then.
    pub mark: Option<SnapshotMark>,
    /// The newest conf state then.
    pub conf_state: Option<(Index, ConfState)>,
    /// The newest seeds then.
    pub seeds: Vec<Seed>,
}

/// An entry still in the frame's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Position in the log.
    pub index: Index,
    /// Term of its leader.
    pub term: Term,
    /// What `data` is.
    pub kind: EntryKind,
    /// The command.
    pub data: &'a [u8],
    /// What travels beside it.
    pub context: &'a [u8],
}

impl std::fmt::Debug for EntryRef<'_> {
    /// Sizes only: payloads are users' data and belong in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryRef")
            .field("index", &self.index)
            .field("term", &self.term)
            .field("kind", &self.kind)
            .field("data_bytes", &self.data.len())
            .field("context_bytes", &self.context.len())
            .finish()
    }
}

impl EntryRef<'_> {
    /// The entry with bytes of its own: a slice of the frame would pin the whole frame in memory.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        Entry {
            index: self.index,
            term: self.term,
            kind: self.kind,
            data: bytes::Bytes::copy_from_slice(self.data),
            context: bytes::Bytes::copy_from_slice(self.context),
        }
    }
}

/// One record as decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Repeats the state at the start of a segment.
    Preamble(Preamble),
    /// An entry of the log.
    Entry(EntryRef<'a>),
    /// The hard state.
    HardState(HardState),
    /// A configuration with its index.
    ConfState(Index, ConfState),
    /// A snapshot file is to be used.
    Mark(SnapshotMark),
    /// Members to dial at restart.
    Seeds(Vec<Seed>),
}

/// A record that does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at byte {at} of the payload (kind {kind}) does not decode: a newer format, or a bug")]
pub struct RecordError {
    /// Where the record starts, in bytes from the start of the payload.
    pub at: usize,
    /// Its kind byte.
    pub kind: u8,
}

/// The records of a payload, in order. Ends after the first error.
#[must_use]
pub fn records(payload: &[u8]) -> Records<'_> {
    Records { total: payload.len(), fields: Fields::new(payload), failed: false }
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    total: usize,
    fields: Fields<'a>,
    failed: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.fields.remaining() == 0 {
            return None;
        }
        let at = self.total - self.fields.remaining();
        let kind = self.fields.u8()?;
        let record = decode(kind, &mut self.fields);
        self.failed = record.is_none();
        Some(record.ok_or(RecordError { at, kind }))
    }
}

fn decode<'a>(kind: u8, fields: &mut Fields<'a>) -> Option<Record<'a>> {
    match kind {
        KIND_PREAMBLE => decode_preamble(fields).map(Record::Preamble),
        KIND_ENTRY => decode_entry(fields).map(Record::Entry),
        KIND_HARD_STATE => decode_hard_state(fields).map(Record::HardState),
        KIND_CONF_STATE => {
            decode_conf_state(fields).map(|(index, conf_state)| Record::ConfState(index, conf_state))
        }
        KIND_MARK => decode_mark(fields).map(Record::Mark),
        KIND_SEEDS => decode_seeds(fields).map(Record::Seeds),
        0 | 7..=u8::MAX => None,
    }
}

fn decode_preamble(fields: &mut Fields<'_>) -> Option<Preamble> {
    let seal = Seal { segment: fields.u64()?, end: fields.u64()?, frame: fields.u64()? };
    let last = Index(fields.u64()?);
    let hard_state = decode_hard_state(fields)?;
    let mark = if decode_flag(fields)? { Some(decode_mark(fields)?) } else { None };
    let conf_state = if decode_flag(fields)? { Some(decode_conf_state(fields)?) } else { None };
    Some(Preamble { seal, last, hard_state, mark, conf_state, seeds: decode_seeds(fields)? })
}

fn decode_flag(fields: &mut Fields<'_>) -> Option<bool> {
    match fields.u8()? {
        0 => Some(false),
        1 => Some(true),
        2..=u8::MAX => None,
    }
}

fn decode_entry<'a>(fields: &mut Fields<'a>) -> Option<EntryRef<'a>> {
    let kind = match fields.u8()? {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        2 => EntryKind::ConfChangeV2,
        3..=u8::MAX => return None,
    };
    let index = Index(fields.u64()?);
    let term = Term(fields.u64()?);
    let data = fields.u32()? as usize;
    let context = fields.u32()? as usize;
    Some(EntryRef { index, term, kind, data: fields.bytes(data)?, context: fields.bytes(context)? })
}

fn decode_hard_state(fields: &mut Fields<'_>) -> Option<HardState> {
    let (term, vote) = (Term(fields.u64()?), MemberId(fields.u64()?));
    Some(HardState { term, vote, commit: Index(fields.u64()?) })
}

fn decode_conf_state(fields: &mut Fields<'_>) -> Option<(Index, ConfState)> {
    let index = Index(fields.u64()?);
    let auto_leave = decode_flag(fields)?;
    let conf_state = ConfState {
        voters: decode_members(fields)?,
        learners: decode_members(fields)?,
        voters_outgoing: decode_members(fields)?,
        learners_next: decode_members(fields)?,
        auto_leave,
    };
    Some((index, conf_state))
}

fn decode_members(fields: &mut Fields<'_>) -> Option<Vec<MemberId>> {
    let count = fields.count(8)?;
    (0..count).map(|_| fields.u64().map(MemberId)).collect()
}

fn decode_mark(fields: &mut Fields<'_>) -> Option<SnapshotMark> {
    let kind = match fields.u8()? {
        1 => SnapshotKind::Taken,
        2 => SnapshotKind::Installed,
        0 | 3..=u8::MAX => return None,
    };
    Some(SnapshotMark { kind, index: Index(fields.u64()?), term: Term(fields.u64()?) })
}

fn decode_seeds(fields: &mut Fields<'_>) -> Option<Vec<Seed>> {
    let count = fields.count(16)?;
    (0..count)
        .map(|_| {
            let id = MemberId(fields.u64()?);
            Some(Seed { id, name: fields.text()?, address: fields.text()? })
        })
        .collect()
}

/// Bytes that [`put_entry`] writes.
pub(crate) fn entry_len(entry: &Entry) -> usize {
    ENTRY_HEAD_BYTES + entry.data.len() + entry.context.len()
}

pub(crate) fn put_entry(buffer: &mut Vec<u8>, entry: &Entry) {
    buffer.put_u8(KIND_ENTRY);
    buffer.put_u8(match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
        EntryKind::ConfChangeV2 => 2,
    });
    buffer.put_u64_le(entry.index.0);
    buffer.put_u64_le(entry.term.0);
    buffer.put_u32_le(len32(entry.data.len()));
    buffer.put_u32_le(len32(entry.context.len()));
    buffer.put_slice(&entry.data);
    buffer.put_slice(&entry.context);
}

/// Bytes that [`put_hard_state`] writes.
pub(crate) const fn hard_state_len() -> usize {
    HARD_STATE_BYTES
}

pub(crate) fn put_hard_state(buffer: &mut Vec<u8>, hard_state: &HardState) {
    buffer.put_u8(KIND_HARD_STATE);
    hard_state_fields(buffer, hard_state);
}

/// Bytes that [`put_conf_state`] writes.
pub(crate) fn conf_state_len(conf_state: &ConfState) -> usize {
    let members = conf_state.voters.len()
        + conf_state.learners.len()
        + conf_state.voters_outgoing.len()
        + conf_state.learners_next.len();
    1 + 8 + 1 + 4 * 4 + 8 * members
}

pub(crate) fn put_conf_state(buffer: &mut Vec<u8>, index: Index, conf_state: &ConfState) {
    buffer.put_u8(KIND_CONF_STATE);
    conf_state_fields(buffer, index, conf_state);
}

/// Bytes that [`put_mark`] writes.
pub(crate) const fn mark_len() -> usize {
    MARK_BYTES
}

pub(crate) fn put_mark(buffer: &mut Vec<u8>, mark: &SnapshotMark) {
    buffer.put_u8(KIND_MARK);
    mark_fields(buffer, mark);
}

/// Bytes that [`put_seeds`] writes.
pub(crate) fn seeds_len(seeds: &[Seed]) -> usize {
    1 + 4 + seeds.iter().map(|seed| 16 + seed.name.len() + seed.address.len()).sum::<usize>()
}

pub(crate) fn put_seeds(buffer: &mut Vec<u8>, seeds: &[Seed]) {
    buffer.put_u8(KIND_SEEDS);
    seeds_fields(buffer, seeds);
}

/// Bytes that [`put_preamble`] writes.
pub(crate) fn preamble_len(preamble: &Preamble) -> usize {
    let conf_state = preamble.conf_state.as_ref().map_or(0, |(_, state)| conf_state_len(state) - 1);
    let mark = preamble.mark.map_or(0, |_| mark_len() - 1);
    1 + 24 + 8 + (hard_state_len() - 1) + 1 + mark + 1 + conf_state + seeds_len(&preamble.seeds) - 1
}

pub(crate) fn put_preamble(buffer: &mut Vec<u8>, preamble: &Preamble) {
    let Preamble { seal, last, hard_state, mark, conf_state, seeds } = preamble;
    buffer.put_u8(KIND_PREAMBLE);
    buffer.put_u64_le(seal.segment);
    buffer.put_u64_le(seal.end);
    buffer.put_u64_le(seal.frame);
    buffer.put_u64_le(last.0);
    hard_state_fields(buffer, hard_state);
    buffer.put_u8(u8::from(mark.is_some()));
    if let Some(mark) = mark {
        mark_fields(buffer, mark);
    }
    buffer.put_u8(u8::from(conf_state.is_some()));
    if let Some((index, conf_state)) = conf_state {
        conf_state_fields(buffer, *index, conf_state);
    }
    seeds_fields(buffer, seeds);
}

fn hard_state_fields(buffer: &mut Vec<u8>, hard_state: &HardState) {
    let HardState { term, vote, commit } = hard_state;
    buffer.put_u64_le(term.0);
    buffer.put_u64_le(vote.0);
    buffer.put_u64_le(commit.0);
}

fn conf_state_fields(buffer: &mut Vec<u8>, index: Index, conf_state: &ConfState) {
    let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = conf_state;
    buffer.put_u64_le(index.0);
    buffer.put_u8(u8::from(*auto_leave));
    for members in [voters, learners, voters_outgoing, learners_next] {
        buffer.put_u32_le(len32(members.len()));
        for member in members {
            buffer.put_u64_le(member.0);
        }
    }
}

fn mark_fields(buffer: &mut Vec<u8>, mark: &SnapshotMark) {
    let SnapshotMark { kind, index, term } = mark;
    buffer.put_u8(match kind {
        SnapshotKind::Taken => 1,
        SnapshotKind::Installed => 2,
    });
    buffer.put_u64_le(index.0);
    buffer.put_u64_le(term.0);
}

fn seeds_fields(buffer: &mut Vec<u8>, seeds: &[Seed]) {
    buffer.put_u32_le(len32(seeds.len()));
    for Seed { id, name, address } in seeds {
        buffer.put_u64_le(id.0);
        put_text(buffer, name);
        put_text(buffer, address);
    }
}
