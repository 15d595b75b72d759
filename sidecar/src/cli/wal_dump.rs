//! `outrigger wal dump DIR`: shows the log of a data directory, offline or beside a running member.
//!
//! May import: storage's dump. Deliberately absent: the format (it is storage's), and keys and values: only sizes show.

use std::ops::ControlFlow;
use std::path::Path;

use outrigger_storage::dump::{self, DamageItem, FrameItem, Item, RecordSummary};
use outrigger_storage::fs::RealFs;
use serde_json::{Value, json};

use super::error::CliError;
use crate::output::{Format, Output};

/// Prints every segment, frame and damaged place of the log in `dir`, and a line that sums them up.
///
/// # Errors
/// When the directory cannot be read or holds no log, the log is damaged in a way that no crash leaves, or the output fails.
pub(super) fn dump(dir: &Path, output: &mut Output) -> Result<(), CliError> {
    let (mut lines, mut values) = (Vec::new(), Vec::new());
    let (mut segments, mut frames, mut damages) = (0, 0, Vec::new());
    let fs = RealFs::shared();
    dump::visit(&*fs, dir, &mut |item| {
        match &item {
            Item::Segment(_) => segments += 1,
            Item::Frame(_) => frames += 1,
            Item::Identity(_) | Item::Damage(_) => {}
        }
        if is_damaged(&item) {
            damages.push(line(&item).trim().to_owned());
        }
        lines.push(line(&item));
        values.push(value(&item));
        ControlFlow::Continue(())
    })
    .map_err(CliError::Disk)?;
    if segments == 0 {
        return Err(CliError::Usage(format!(
            "{}: there is no log in it: name a member's data directory (--data-dir of `outrigger run`)",
            dir.display()
        )));
    }
    let sum = format!(
        "{}, {}, {}",
        counted(segments, "segment"),
        counted(frames, "frame"),
        counted(damages.len(), "damaged place")
    );
    match output.format() {
        Format::Json => output.json(&Value::Array(values))?,
        Format::Table => {
            for line in lines {
                output.line(&line)?;
            }
            output.line(&sum)?;
        }
    }
    if damages.is_empty() { Ok(()) } else { Err(CliError::Damaged { dir: dir.to_owned(), damages }) }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn line(item: &Item) -> String {
    match item {
        Item::Identity(None) => "identity  none, or not readable".to_string(),
        Item::Identity(Some(identity)) => {
            let cluster = identity.cluster.map_or("none".to_string(), |id| format!("{:016x}", id.0));
            format!("identity  cluster {cluster}  member {:016x}  boot {}", identity.member.0, identity.boot)
        }
        Item::Segment(segment) => {
            let header = match &segment.header {
                Some(header) => format!("next index {}", header.next_index),
                None if segment.is_blank => "never begun".to_string(),
                None => "header DAMAGED".to_string(),
            };
            let cut = segment.cut_from().map_or(String::new(), |made| {
                format!("  DAMAGED, cut from outside: it was made with {made} bytes")
            });
            format!(
                "segment {}  {}  {} bytes  {header}{cut}",
                segment.segment,
                segment.path.display(),
                segment.bytes
            )
        }
        Item::Frame(frame) => frame_line(frame),
        Item::Damage(DamageItem { segment, offset, until, is_sealed_off, is_followed, not_torn }) => {
            let verdict = match (is_sealed_off, is_followed, not_torn) {
                (true, _, _) => "remains of a torn write, sealed off".to_string(),
                (false, true, _) => "DAMAGED, a valid frame follows: corruption".to_string(),
                (false, false, Some(why)) => format!("DAMAGED, {why}: corruption"),
                (false, false, None) => {
                    "a torn tail, as a crash leaves it, if this segment is the last".to_string()
                }
            };
            format!("  damage  segment {segment}  bytes {offset}..{until}  {verdict}")
        }
    }
}

/// Whether no crash leaves this.
fn is_damaged(item: &Item) -> bool {
    match item {
        Item::Identity(_) => false,
        Item::Segment(segment) => segment.is_damaged(),
        Item::Frame(frame) => frame.records.error.is_some() && !frame.is_sealed_off,
        Item::Damage(damage) => !damage.is_sealed_off && (damage.is_followed || damage.not_torn.is_some()),
    }
}

fn frame_line(frame: &FrameItem) -> String {
    let FrameItem { segment: _, offset, number, bytes, payload_bytes, is_sealed_off, records } = frame;
    let RecordSummary { preamble, entries, span, entry_bytes, marks, hard_state, conf_state, seeds, error } =
        records;
    let mut text = format!("  frame {number}  at {offset}  {bytes} bytes ({payload_bytes} used)");
    if preamble.is_some() {
        text.push_str("  preamble");
    }
    if let Some(((first, first_term), (last, last_term))) = span {
        text.push_str(&format!(
            "  {entries} entries {first}..={last} (terms {first_term}..={last_term}, {entry_bytes} bytes)"
        ));
    }
    for mark in marks {
        text.push_str(&format!("  snapshot {:?} at {} (term {})", mark.kind, mark.index, mark.term));
    }
    if let Some(state) = hard_state {
        text.push_str(&format!("  term {} vote {:016x} commit {}", state.term, state.vote.0, state.commit));
    }
    if let Some((index, conf)) = conf_state {
        text.push_str(&format!("  configuration of {index}: {} voters", conf.voters.len()));
    }
    if let Some(seeds) = seeds {
        text.push_str(&format!("  {seeds} seeds"));
    }
    if let Some(error) = error {
        text.push_str(&format!("  UNDECODABLE: {error}"));
    }
    if *is_sealed_off {
        text.push_str("  sealed off: does not count");
    }
    text
}

fn value(item: &Item) -> Value {
    match item {
        Item::Identity(identity) => json!({ "identity": identity.as_ref().map(|identity| json!({
            "cluster": identity.cluster.map(|id| format!("{:016x}", id.0)),
            "member": format!("{:016x}", identity.member.0),
            "boot": identity.boot,
        })) }),
        Item::Segment(segment) => json!({ "segment": {
            "number": segment.segment,
            "path": segment.path,
            "bytes": segment.bytes,
            "next_index": segment.header.as_ref().map(|header| header.next_index.0),
            "cut_from": segment.cut_from(),
            "damaged": segment.is_damaged(),
        } }),
        Item::Frame(frame) => json!({ "frame": {
            "segment": frame.segment,
            "number": frame.number,
            "offset": frame.offset,
            "bytes": frame.bytes,
            "entries": frame.records.entries,
            "first": frame.records.span.map(|(first, _)| first.0.0),
            "last": frame.records.span.map(|(_, last)| last.0.0),
            "term": frame.records.hard_state.map(|state| state.term.0),
            "commit": frame.records.hard_state.map(|state| state.commit.0),
            "sealed_off": frame.is_sealed_off,
            "error": frame.records.error.as_ref().map(ToString::to_string),
        } }),
        Item::Damage(damage) => json!({ "damage": {
            "segment": damage.segment,
            "from": damage.offset,
            "until": damage.until,
            "sealed_off": damage.is_sealed_off,
            "followed": damage.is_followed,
            "damaged": is_damaged(item),
        } }),
    }
}
