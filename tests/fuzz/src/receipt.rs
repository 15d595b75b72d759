//! A snapshot's file on its way from a peer: pieces that are late, early, damaged or a lie, streams that break, a receiver that
//! loses its power, a disk that fails.

use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use outrigger_core::types::{ClusterId, Index, Term};
use outrigger_sim::disk::SimDisk;
use outrigger_sim::random::Random;
use outrigger_storage::fs::FileSystem as _;
use outrigger_storage::snapshot_store::{Incoming, SnapshotError, SnapshotId, SnapshotStore, Transfer};

use crate::edited;

const CLUSTER: ClusterId = ClusterId(0xc1);
const ID: SnapshotId = SnapshotId { index: Index(7), term: Term(2) };
/// Of a piece at the most, so that a file has some.
const PIECE_BYTES: usize = 700;
/// A sender that says the truth needs no more streams: one to find that what is there already is wrong, and one to send it all.
const HONEST_STREAMS: usize = 2;

fn dir() -> PathBuf {
    PathBuf::from("/data")
}

fn store(disk: &SimDisk) -> SnapshotStore {
    SnapshotStore::new(disk.shared(), &dir(), CLUSTER)
}

fn content(store: &SnapshotStore, id: SnapshotId) -> Result<Bytes, SnapshotError> {
    let reader = store.open(id)?;
    for chunk in reader.chunks() {
        drop(chunk?);
    }
    reader.read_range(0, 1 << 20)
}

/// The file that a member has written.
fn original() -> &'static Bytes {
    static ORIGINAL: OnceLock<Bytes> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let store = store(&SimDisk::default());
        let write = || {
            let mut writer = store.begin(ID, b"header")?;
            (1..=9_u8).try_for_each(|n| writer.chunk(&vec![n; 137 * usize::from(n)]))?;
            writer.finish()?;
            content(&store, ID)
        };
        write().unwrap_or_default()
    })
}

/// What the sender has, and what it says of it: the truth, most of the time.
fn announced(script: &[u8]) -> (Bytes, Transfer) {
    let of = |file: &Bytes| Transfer { id: ID, crc: crc32c::crc32c(file), len: file.len() as u64 };
    let (file, truth) = (original().clone(), of(original()));
    let (what, value) = (script.first().copied().unwrap_or(0), script.get(1).copied().unwrap_or(0));
    let edges = [0, 1, truth.len - 1, truth.len + 1, truth.len * 2, 1 << 40, i64::MAX as u64, u64::MAX];
    let edge = edges.get(usize::from(value) % edges.len()).copied().unwrap_or(0);
    match what % 8 {
        4 => (file, Transfer { crc: truth.crc ^ 1, ..truth }),
        5 => (file, Transfer { len: edge, ..truth }),
        6 if value & 0x80 == 0 => (file, Transfer { id: SnapshotId { index: Index(edge), ..ID }, ..truth }),
        6 => (file, Transfer { id: SnapshotId { term: Term(edge), ..ID }, ..truth }),
        7 => {
            let file = Bytes::from(edited(&file, script.get(2..).unwrap_or_default()));
            let transfer = of(&file);
            (file, transfer)
        }
        _ => (file, truth),
    }
}

/// The receiver, and the sender that the script plays.
struct Receipt {
    disk: SimDisk,
    file: Bytes,
    transfer: Transfer,
    /// `None`: the disk failed when a stream began.
    incoming: Option<Incoming>,
    chance: Random,
}

impl Receipt {
    fn begin_stream(&mut self) {
        self.incoming = store(&self.disk).incoming(self.transfer).ok();
    }

    fn offset(&self) -> u64 {
        self.incoming.as_ref().map_or(0, Incoming::offset)
    }

    /// What is due from here on, or what somebody sends who has no more.
    fn due(&self, len: usize, filler: u8) -> Bytes {
        let offset = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        match self.file.get(offset..(offset.saturating_add(len)).min(self.file.len())) {
            Some(piece) if !piece.is_empty() => Bytes::copy_from_slice(piece),
            Some(_) | None => Bytes::from(vec![filler; len]),
        }
    }

    /// One piece: taken if and only if it is due, whole and not beyond the end; refused, it changes nothing.
    fn piece(&mut self, offset: u64, piece: &[u8], crc: u32) {
        let (before, len) = (self.offset(), self.transfer.len);
        let Some(incoming) = &mut self.incoming else { return };
        let end = before.saturating_add(piece.len() as u64);
        let is_good = offset == before && crc32c::crc32c(piece) == crc && end <= len;
        match incoming.write_at(offset, piece, crc) {
            Ok(()) => assert!(is_good && incoming.offset() == end, "a piece was taken that is not due"),
            Err(SnapshotError::OutOfOrder { .. }) => {
                assert!(offset != before, "a piece that is due is refused")
            }
            Err(SnapshotError::BadPiece { .. }) => assert!(!is_good, "a good piece is refused"),
            Err(error) => assert!(matches!(error, SnapshotError::Io(_)), "{error}"),
        }
        assert!(is_good || incoming.offset() == before, "a piece that was refused counts");
    }

    /// The end of a stream. Gives whether the file is there, in which case it stays.
    fn finish(&mut self) -> bool {
        let Some(incoming) = self.incoming.take() else { return false };
        let is_whole = incoming.offset() >= self.transfer.len;
        match incoming.finish() {
            Ok(info) => {
                assert_eq!(Transfer::from(info), self.transfer, "another file than was announced");
                self.is_there();
                self.disk.lose_power(&mut self.chance);
                self.is_there();
                true
            }
            Err(SnapshotError::Incomplete { have, want }) => {
                assert!(!is_whole && have < want, "all of it is there");
                false
            }
            Err(_) => {
                let finished = store(&self.disk).list().unwrap_or_default();
                // If the disk failed behind the renaming, the name is there; nothing was said of it.
                let has_failed = self.disk.counts().failed_syncs + self.disk.counts().burnt > 0;
                assert!(finished.is_empty() || has_failed, "what was refused has a name");
                false
            }
        }
    }

    fn is_there(&self) {
        let found = content(&store(&self.disk), self.transfer.id);
        let is_it = found.as_ref().is_ok_and(|bytes| {
            (bytes.len() as u64, crc32c::crc32c(bytes)) == (self.transfer.len, self.transfer.crc)
        });
        assert!(is_it, "a snapshot that was received is not there: {:?}", found.map(|bytes| bytes.len()));
    }

    fn end_process(&mut self, loses_power: bool) {
        self.incoming = None;
        if loses_power {
            self.disk.lose_power(&mut self.chance);
        } else {
            self.disk.kill();
        }
        self.begin_stream();
        assert!(self.offset() <= self.transfer.len, "more is there than was announced");
    }

    /// A step of the script. Gives whether the file is there.
    fn step(&mut self, [what, high, low, value]: [u8; 4]) -> bool {
        let number = u16::from_be_bytes([high, low]);
        let due = self.due(1 + usize::from(number) % PIECE_BYTES, value);
        let crc = crc32c::crc32c(&due);
        match what % 16 {
            0..=5 => self.piece(self.offset(), &due, crc),
            6 => self.piece(self.offset().wrapping_add(u64::from(value)), &due, crc),
            7 => self.piece(u64::MAX - u64::from(value), &due, crc),
            8 => self.piece(self.offset(), &due, crc ^ u32::from(value)),
            9 => {
                let wrong: Vec<u8> = due.iter().map(|byte| byte ^ value).collect();
                self.piece(self.offset(), &wrong, crc32c::crc32c(&wrong));
            }
            10 => self.piece(self.offset(), &[], 0),
            11 => {
                let before = self.incoming.take().map(|stream| stream.offset());
                self.begin_stream();
                let after = self.incoming.as_ref().map(Incoming::offset);
                // The disk may have failed at either end.
                let goes_on = before.is_none() || after.is_none() || before == after;
                assert!(goes_on, "a stream begins at {after:?}, not where it broke off: {before:?}");
            }
            12 => self.end_process(value & 1 == 0),
            13 => self.disk.with_faults(|faults| match value & 1 {
                0 => faults.failing_sync = true,
                _ => faults.fuse = Some(u64::from(low) % 16),
            }),
            14 => {
                // Another file under the same name, which somebody else began to send.
                let other = Transfer { crc: !self.transfer.crc, ..self.transfer };
                if let Ok(mut other) = store(&self.disk).incoming(other) {
                    drop(other.write_at(other.offset(), &due, crc));
                }
            }
            _ => {
                let is_there = self.finish();
                if !is_there {
                    self.begin_stream();
                }
                return is_there;
            }
        }
        false
    }

    /// Whatever was sent before: who says the truth gets its file across.
    fn end_honestly(&mut self) {
        self.disk.kill();
        for _ in 0..HONEST_STREAMS {
            self.begin_stream();
            while self.offset() < self.transfer.len {
                let piece = self.due(PIECE_BYTES, 0);
                self.piece(self.offset(), &piece, crc32c::crc32c(&piece));
            }
            if self.finish() {
                return;
            }
        }
        assert!(self.file != *original(), "a whole snapshot does not get across");
    }
}

/// A snapshot's file is received as a script says, and at the end by who says the truth.
pub fn snapshot(script: &[u8]) {
    let (file, transfer) = announced(script);
    let chance = Random::new(u64::from(crc32c::crc32c(script)), 0);
    let disk = SimDisk::default();
    // The data directory is there, durably, before anything is received.
    if disk.create_dir(&dir()).and_then(|()| disk.sync_dir(&PathBuf::from("/"))).is_err() {
        return;
    }
    if let [what @ 0x80..=0xff, after, ..] = script {
        // A process that ended before it had received anything, maybe after it had begun to.
        disk.with_faults(|faults| faults.fuse = Some(u64::from(*after % 8)));
        drop(store(&disk).incoming(transfer));
        if what & 0x40 == 0 { disk.kill() } else { disk.lose_power(&mut Random::new(u64::from(*what), 1)) }
    }
    let mut receipt = Receipt { disk, file, transfer, incoming: None, chance };
    receipt.begin_stream();
    let steps = script.get(2..).unwrap_or_default().chunks_exact(4);
    let mut steps = steps.filter_map(|step| step.first_chunk::<4>().copied());
    let is_there = steps.any(|step| receipt.step(step));
    let is_true = transfer.len == receipt.file.len() as u64
        && transfer.crc == crc32c::crc32c(&receipt.file)
        && transfer.id == ID;
    if !is_there && is_true {
        receipt.end_honestly();
    }
}
