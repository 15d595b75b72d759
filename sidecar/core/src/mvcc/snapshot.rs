//! A view as bytes and back, and its digest.
//!
//! A snapshot carries the rows that stood at the compacted revision from before it, by key, and then every write
//! since, in order, so that restoring is replaying: the same rows go through the same function. Rows that wait to be
//! swept are left out. Each chunk begins with its kind, and is whole in itself:
//!
//! | kind | content |
//! | --- | --- |
//! | 1 header | format `u8`, revision `i64`, compacted revision `i64` |
//! | 2 leases | repeated: id `i64`, TTL in seconds `i64` |
//! | 3 rows from before | repeated: length `u32`, row (its form is in `row`) |
//! | 4 writes since | repeated: length `u32`, row |
//! | 5 end | how many leases, rows, writes: `u64` each |
//!
//! Numbers are little-endian. A kind never follows a higher one, and nothing follows the end: a snapshot that lost
//! chunks is refused. Bit rot is found by whoever stores the chunks.
//!
//! May import: `view`, `row`, `write`, `lease`. Deliberately absent: files, checksums, compression.

use bytes::{Buf, BufMut, Bytes};

use super::row::{Mark, Row};
use super::view::View;
use crate::lease::Lease;
use crate::state_machine::{ChunkSource, RestoreError};
use crate::types::LeaseId;

const FORMAT: u8 = 1;
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Kind {
    Header = 1,
    Leases = 2,
    Before = 3,
    Since = 4,
    End = 5,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Header),
            2 => Some(Self::Leases),
            3 => Some(Self::Before),
            4 => Some(Self::Since),
            5 => Some(Self::End),
            _ => None,
        }
    }
}

/// One record of a chunk.
enum Record<'a> {
    Header,
    Lease(Lease),
    Before(&'a Row),
    Since(&'a Row),
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    leases: u64,
    before: u64,
    since: u64,
}

/// The rows that stood at the compacted revision and were written before it, in no order worth keeping: there is
/// one of each key.
fn rows_before(view: &View) -> impl Iterator<Item = &Row> + Send + '_ {
    let keys = view.current.iter().chain(view.gone.iter());
    let ended = keys.flat_map(|key| key.history.iter()).filter(|old| old.end.revision > view.compacted);
    let living = view.current.iter().map(|current| &current.row);
    ended.map(|old| &old.row).chain(living).filter(|row| row.mark().revision < view.compacted)
}

fn rows_since(view: &View) -> impl Iterator<Item = &Row> + Send + '_ {
    view.log_from(Mark::start_of(view.compacted))
}

/// The view's chunks, one at a time. A row larger than a chunk is a chunk of its own.
pub(super) fn chunks(view: &View) -> impl Iterator<Item = Bytes> + Send + '_ {
    let records = std::iter::once(Record::Header)
        .chain(view.leases.iter().map(Record::Lease))
        .chain(rows_before(view).map(Record::Before))
        .chain(rows_since(view).map(Record::Since))
        .chain(std::iter::once(Record::End));
    Chunks { view, records, pending: None, counts: Counts::default() }
}

struct Chunks<'a, I> {
    view: &'a View,
    records: I,
    /// The record that did not fit the last chunk.
    pending: Option<(Kind, Vec<u8>)>,
    counts: Counts,
}

impl<'a, I: Iterator<Item = Record<'a>>> Chunks<'a, I> {
    fn encode(&mut self, record: &Record<'a>) -> (Kind, Vec<u8>) {
        let mut out = Vec::new();
        let kind = match record {
            Record::Header => {
                out.put_u8(FORMAT);
                out.put_i64_le(self.view.revision);
                out.put_i64_le(self.view.compacted);
                Kind::Header
            }
            Record::Lease(lease) => {
                self.counts.leases += 1;
                out.put_i64_le(lease.id.0);
                out.put_i64_le(lease.ttl_seconds);
                Kind::Leases
            }
            Record::Before(row) => {
                self.counts.before += 1;
                put_row(&mut out, row);
                Kind::Before
            }
            Record::Since(row) => {
                self.counts.since += 1;
                put_row(&mut out, row);
                Kind::Since
            }
            Record::End => {
                let Counts { leases, before, since } = self.counts;
                [leases, before, since].into_iter().for_each(|count| out.put_u64_le(count));
                Kind::End
            }
        };
        (kind, out)
    }
}

fn put_row(out: &mut Vec<u8>, row: &Row) {
    // A row is a key and a value of one request, which the API bounds far below 4 GiB.
    let len = u32::try_from(row.len()).unwrap_or(u32::MAX);
    out.reserve_exact(4 + row.len());
    out.put_u32_le(len);
    out.put_slice(row.as_ref());
}

impl<'a, I: Iterator<Item = Record<'a>>> Iterator for Chunks<'a, I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let (kind, first) = match self.pending.take() {
            Some(pending) => pending,
            None => {
                let record = self.records.next()?;
                self.encode(&record)
            }
        };
        let mut chunk = Vec::with_capacity((first.len() + 1).max(if kind > Kind::Leases { 4096 } else { 0 }));
        chunk.put_u8(kind as u8);
        chunk.put_slice(&first);
        while let Some(record) = self.records.next() {
            let (next_kind, record) = self.encode(&record);
            if next_kind != kind || chunk.len() + record.len() > CHUNK_BYTES {
                self.pending = Some((next_kind, record));
                break;
            }
            chunk.put_slice(&record);
        }
        Some(chunk.into())
    }
}

/// Rebuilds a view, checking that every row could have been written where it stands.
pub(super) fn restore(chunks: ChunkSource<'_>) -> Result<View, RestoreError> {
    let mut restoring = Restoring::default();
    let mut count = 0;
    for (number, chunk) in chunks.enumerate() {
        let chunk = chunk.map_err(|source| RestoreError::Source { chunk: number, source })?;
        restoring.chunk(&chunk).map_err(|reason| malformed(number, reason))?;
        count = number + 1;
    }
    if restoring.last == Some(Kind::End) {
        Ok(restoring.view)
    } else {
        Err(malformed(count, "the snapshot ends without its last chunk"))
    }
}

fn malformed(chunk: usize, reason: &str) -> RestoreError {
    RestoreError::Malformed { chunk, reason: reason.to_owned() }
}

#[derive(Default)]
struct Restoring {
    view: View,
    last: Option<Kind>,
    /// The first mark that the next write may have.
    next: Mark,
    counts: Counts,
}

impl Restoring {
    fn chunk(&mut self, chunk: &[u8]) -> Result<(), &'static str> {
        let (kind, mut rest) = chunk.split_first().ok_or("the chunk is empty")?;
        let kind = Kind::of(*kind).ok_or("the kind of chunk is unknown")?;
        let follows = match self.last {
            None => kind == Kind::Header,
            Some(last) => last != Kind::End && kind >= last && kind != Kind::Header,
        };
        if !follows {
            return Err("the chunk is out of order");
        }
        self.last = Some(kind);
        match kind {
            Kind::Header => self.header(rest),
            Kind::End => self.end(rest),
            Kind::Leases => {
                while !rest.is_empty() {
                    self.lease(&mut rest)?;
                }
                Ok(())
            }
            Kind::Before | Kind::Since => {
                while !rest.is_empty() {
                    let row = take_row(&mut rest)?;
                    if kind == Kind::Before { self.before(&row)? } else { self.since(row)? }
                }
                Ok(())
            }
        }
    }

    fn header(&mut self, mut rest: &[u8]) -> Result<(), &'static str> {
        if rest.len() != 17 {
            return Err("the header has the wrong length");
        }
        if rest.get_u8() != FORMAT {
            return Err("the format is of another version");
        }
        self.view.revision = rest.get_i64_le();
        self.view.compacted = rest.get_i64_le();
        if self.view.revision < 1 || self.view.compacted > self.view.revision {
            return Err("the header's revisions contradict each other");
        }
        // It is counted on from, as the rows' are.
        if self.view.revision == i64::MAX {
            return Err("the header's revision is the last that there is");
        }
        Ok(())
    }

    fn lease(&mut self, rest: &mut &[u8]) -> Result<(), &'static str> {
        if rest.len() < 16 {
            return Err("a lease is cut off");
        }
        let lease = Lease { id: LeaseId(rest.get_i64_le()), ttl_seconds: rest.get_i64_le() };
        self.counts.leases += 1;
        if self.view.leases.grant(lease) { Ok(()) } else { Err("a lease is there twice") }
    }

    fn before(&mut self, row: &Row) -> Result<(), &'static str> {
        self.counts.before += 1;
        if row.is_tombstone() || row.mark().revision >= self.view.compacted {
            return Err("a row from before the compaction is none");
        }
        if self.view.install_unlogged(row).is_some() { Err("a row is there twice") } else { Ok(()) }
    }

    fn since(&mut self, row: Row) -> Result<(), &'static str> {
        self.counts.since += 1;
        let mark = row.mark();
        let is_in_order = mark >= self.next && mark.revision >= self.view.compacted;
        if !is_in_order || mark.revision > self.view.revision {
            return Err("a write is out of order");
        }
        self.next = Mark { sub: mark.sub + 1, ..mark };
        self.view.install(row);
        Ok(())
    }

    fn end(&mut self, mut rest: &[u8]) -> Result<(), &'static str> {
        if rest.len() != 24 {
            return Err("the end has the wrong length");
        }
        let counts =
            Counts { leases: rest.get_u64_le(), before: rest.get_u64_le(), since: rest.get_u64_le() };
        if counts == self.counts { Ok(()) } else { Err("records are missing") }
    }
}

fn take_row(rest: &mut &[u8]) -> Result<Row, &'static str> {
    const CUT_OFF: &str = "a row is cut off";
    if rest.len() < 4 {
        return Err(CUT_OFF);
    }
    let len = usize::try_from(rest.get_u32_le()).map_err(|_| CUT_OFF)?;
    let (row, after) = rest.split_at_checked(len).ok_or(CUT_OFF)?;
    *rest = after;
    Row::parse(row).ok_or("a row does not decode")
}

/// A digest of everything that can be read from the view: equal state gives equal digests, however it came about.
/// It walks the whole state, so that it also tells a damaged structure; not a cryptographic one.
pub(super) fn digest(view: &View) -> u64 {
    let mut digest = Digest(0);
    digest.number(view.revision);
    digest.number(view.compacted);
    for lease in view.leases.iter() {
        digest.number(lease.id.0);
        digest.number(lease.ttl_seconds);
        view.leases.keys(lease.id).for_each(|key| digest.bytes(key));
    }
    for current in view.current.iter() {
        digest.bytes(current.row.as_ref());
    }
    let keys = view.current.iter().chain(view.gone.iter());
    let ended = keys.flat_map(|key| key.history.iter());
    for old in ended.filter(|old| old.end.revision > view.compacted) {
        digest.number(old.end.revision);
        digest.number(i64::from(old.end.sub));
        digest.bytes(old.row.as_ref());
    }
    for row in rows_since(view) {
        digest.number(row.mark().revision);
        digest.number(i64::from(row.mark().sub));
        digest.number(i64::from(row.is_tombstone()));
        digest.bytes(row.key());
    }
    digest.0
}

struct Digest(u64);

impl Digest {
    fn word(&mut self, word: u64) {
        // A multiplication by an odd constant and a rotation spread every bit; the constant is 2^64 over the golden
        // ratio (Knuth, The Art of Computer Programming 3, §6.4).
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    fn number(&mut self, number: i64) {
        self.word(number.cast_unsigned());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.word(u64::from_le_bytes(last));
    }
}
