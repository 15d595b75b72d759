//! From files to a state: which segments are the log, what their frames say, and whether its end is clean, torn or
//! corrupt.
//!
//! **The proof.** A frame is written only after the one before it was synced. So a valid frame *header* numbered n
//! proves that frame n−1 was durable, and a valid segment header proves the same of the frame that its seal names.
//! Damage is corruption if and only if something behind it proves that more was durable than what validates; else it
//! is the tail of a write that nobody was promised, if a crash can have left it so (`tear`), and corruption otherwise.
//!
//! **After a tear** the damaged bytes are copied to a file, and the valid end is sealed in a *new* segment's header
//! before anything else is written: appended behind a cut in the old one, what was cut could come alive again.
//!
//! May import: core's `types` and `log`, this crate's lower rooms. Deliberately absent: repairing corruption. There is
//! a whole copy on other members; a log with a hole is replaced, never mended.

mod chain;
mod replay;
mod tear;
pub(crate) use tear::not_torn;
pub(crate) mod torn;

use std::path::PathBuf;
use std::sync::Arc;

use outrigger_core::log::Recovered;
use outrigger_core::types::BatchNumber;

use crate::fs::Naming;
use crate::reader::Shared;
use crate::record::Seal;
use crate::snapshot_store::SnapshotStore;
use crate::spare::SparePool;
use crate::wal::{OpenError, OpenReport};
use crate::writer::{Active, Setup, Writer};

use chain::Probed;
use replay::Replay;
use torn::Rest;

#[cfg(test)]
mod tests;

/// Recovers the log: what it says, a writer at its end, and what was found on the way.
pub(crate) fn recover(
    setup: Setup,
    snapshots: &SnapshotStore,
    must_exist: bool,
) -> Result<(Recovered, Writer, OpenReport), OpenError> {
    let probed = chain::probe_all(&setup)?;
    let next_segment = probed.last().map_or(1, |segment| segment.number + 1);
    let chain = chain::link(&setup, probed)?;
    if chain.segments.is_empty() && must_exist && chain.after.is_empty() {
        return Err(OpenError::Empty { dir: setup.dir });
    }

    let mut replay = Replay::new(&setup);
    for (position, segment) in chain.segments.iter().enumerate() {
        replay.segment(segment, chain.segments.get(position + 1))?;
    }
    let rests = tail_rests(&setup, &chain, &replay)?;
    if chain.segments.is_empty() && must_exist {
        return Err(OpenError::Empty { dir: setup.dir });
    }
    let recovered = replay.recovered(snapshots)?;
    let mut report = OpenReport {
        segments: chain.segments.len(),
        frames: replay.frames,
        torn: Vec::new(),
        rotten_headers: chain.rotten_headers(),
    };
    let is_torn = rests.iter().any(|rest| rest.nonzero_until.is_some());
    for rest in &rests {
        report.torn.extend(torn::keep_copy(&setup, rest)?);
    }
    let mut writer = writer_at_end(setup, &chain.segments, replay, next_segment)?;
    #[cfg(feature = "mutants")]
    let is_torn = is_torn && !outrigger_mutants::is_alive(outrigger_mutants::Mutant::AppendBehindCut);
    if is_torn && !chain.segments.is_empty() {
        writer.write_seal().map_err(OpenError::Seal)?;
    }
    set_aside(&mut writer, chain.void.into_iter().chain(chain.after))?;
    Ok((recovered, writer, report))
}

/// What lies behind the log's end, and the verdict on it.
fn tail_rests(setup: &Setup, chain: &chain::Chain, replay: &Replay) -> Result<Vec<Rest>, OpenError> {
    let mut rests = Vec::new();
    if let Some(last) = chain.segments.last() {
        rests.push(torn::scan(setup, last, replay.end.end)?);
    }
    for segment in &chain.after {
        rests.push(torn::scan(setup, segment, 0)?);
    }
    #[cfg(feature = "mutants")]
    if outrigger_mutants::is_alive(outrigger_mutants::Mutant::CutInTheMiddle) {
        return Ok(rests);
    }
    let proof = rests.iter().filter_map(|rest| rest.proof).max_by_key(|proof| proof.durable);
    let Some(proof) = proof.filter(|proof| proof.durable > replay.end.frame) else {
        return match rests.iter().find_map(|rest| Some((rest, rest.rot?))) {
            Some((rest, (offset, reason))) => Err(OpenError::Corruption {
                path: rest.path.clone(),
                offset,
                reason: format!("frame {} is due there: {reason}", replay.end.frame + 1),
            }),
            None => Ok(rests),
        };
    };
    // The damage is where the log stops to validate: in the last segment, or in the first one that never began.
    let (path, offset) = match (chain.segments.last(), chain.after.first()) {
        (Some(last), _) => (last.path.clone(), replay.end.end),
        (None, Some(first)) => (first.path.clone(), crate::segment::FIRST_FRAME_OFFSET),
        (None, None) => (setup.dir.clone(), 0),
    };
    let reason = format!(
        "frame {} does not validate, though what lies at byte {} of segment {} proves that frame {} was durable",
        replay.end.frame + 1,
        proof.offset,
        proof.segment,
        proof.durable
    );
    Err(OpenError::Corruption { path, offset, reason })
}

fn writer_at_end(
    setup: Setup,
    segments: &[Probed],
    replay: Replay,
    next_segment: u64,
) -> Result<Writer, OpenError> {
    let Replay { index, state, end, .. } = replay;
    let keep = setup.spare_segments;
    let spares = SparePool::open(Arc::clone(&setup.fs), &setup.dir, setup.segment_size_bytes, keep)?;
    let active = segments.last().map(|last| Active {
        file: Arc::clone(&last.file),
        path: last.path.clone(),
        size: last.len / crate::segment::BLOCK_BYTES * crate::segment::BLOCK_BYTES,
        zeroed_until: end.end,
    });
    Ok(Writer {
        shared: Shared::new(index),
        spares,
        active,
        end: if segments.is_empty() { Seal::default() } else { end },
        next_segment,
        state,
        last_batch: BatchNumber(0),
        buffer: Vec::new(),
        poisoned: false,
        setup,
    })
}

/// Takes the names of segments that never began, or were sealed off, out of the way for good.
fn set_aside(writer: &mut Writer, segments: impl Iterator<Item = Probed>) -> Result<(), OpenError> {
    let keep = writer.setup.spare_segments;
    for segment in segments {
        let Probed { path, file, .. } = segment;
        writer.spares.retire(&path, file, keep)?;
    }
    writer.spares.reclaim();
    Ok(())
}

/// The path of a segment that must be there.
fn segment_path(setup: &Setup, segment: u64) -> PathBuf {
    setup.dir.join(crate::segment::file_name(setup.member, segment))
}

/// Makes the log's directory, and what it lists, durable. A killed process may leave a segment whose name was never
/// synced: what recovery is about to tell from it must not go with a later power cut.
pub(crate) fn prepare_dir(setup: &Setup) -> Result<(), OpenError> {
    setup.fs.create_dir(&setup.dir).naming("create the directory", &setup.dir)?;
    setup.fs.sync_dir(&setup.dir).naming("sync the directory", &setup.dir)?;
    crate::fs::sync_parent(&*setup.fs, &setup.dir)?;
    Ok(())
}
