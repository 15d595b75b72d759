//! Random histories with crashes at every step, against a model that fits a page: what was acknowledged is there, what
//! was not is there as a whole or not at all.

use std::collections::BTreeMap;
use std::ops::Range;

use outrigger_core::log::{Batch, HardState, SnapshotKind};
use outrigger_core::types::{BatchNumber, Index, Term};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::compaction::Preparation;
use crate::testing::*;
use crate::wal::{Opened, Wal, WalOptions};
use crate::writer::Writer;

#[derive(Clone, Debug)]
enum Step {
    /// Batches in one append: each goes back by so many entries and appends so many of this size.
    Append(Vec<(u64, u64, usize)>),
    Take(u64),
    Install(u64),
    Release,
    Prepare,
}

#[derive(Clone, Debug)]
enum Ending {
    Restart,
    /// The power goes after so many changes of the disk; sectors survive as the bits say.
    Cut(u64, Vec<bool>),
    /// The process dies after so many changes; nothing is lost.
    Kill(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec((0u64..4, 0u64..6, 0usize..900), 1..4).prop_map(Step::Append),
        1 => (0u64..5).prop_map(Step::Take),
        1 => (0u64..5).prop_map(Step::Install),
        2 => Just(Step::Release),
        1 => Just(Step::Prepare),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        Just(Ending::Restart),
        (0u64..12, vec(any::<bool>(), 1..40)).prop_map(|(after, bits)| Ending::Cut(after, bits)),
        (0u64..12).prop_map(Ending::Kill),
    ]
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    entries: BTreeMap<u64, (u64, usize)>,
    last: u64,
    mark: u64,
    mark_term: u64,
    hard_state: HardState,
    term: u64,
}

impl Model {
    fn append(&mut self, number: u64, (back, count, bytes): (u64, u64, usize)) -> Batch {
        self.term += 1;
        let floor = self.mark.max(self.hard_state.commit.0);
        let start = self.last.saturating_sub(back).max(floor) + 1;
        let range: Range<u64> = start..start + count;
        let entries = range.clone().map(|index| entry(index, self.term, bytes)).collect();
        if count > 0 {
            self.entries.retain(|index, _| *index < start);
            self.entries.extend(range.map(|index| (index, (self.term, bytes))));
            self.last = start + count - 1;
        }
        let commit = Index(self.last.saturating_sub(3).max(floor));
        self.hard_state = HardState { term: Term(self.term), vote: MEMBER, commit };
        Batch { number: BatchNumber(number), entries, hard_state: Some(self.hard_state), ..Batch::default() }
    }

    fn mark(&mut self, number: u64, kind: SnapshotKind, index: u64) -> Batch {
        self.mark = index;
        self.mark_term = self.entries.get(&index).map_or(self.term, |(term, _)| *term);
        if kind == SnapshotKind::Installed {
            self.entries.clear();
            self.last = index;
        }
        mark_batch(number, kind, index, self.mark_term)
    }
}

fn small() -> WalOptions {
    WalOptions { segment_size_bytes: 32 << 10, ..options() }
}

fn reopen(fs: &SimFs) -> Opened {
    Wal::open(fs.shared(), &data_dir(), small()).unwrap()
}

/// What recovery says must be the model, but for entries that were released.
fn agrees(opened: &Opened, model: &Model) -> Result<(), String> {
    let recovered = &opened.recovered;
    let told = (recovered.last_index.0, recovered.snapshot.map_or(0, |mark| mark.index.0));
    if told != (model.last.max(model.mark), model.mark) {
        return Err(format!("last and mark {told:?}"));
    }
    let mut hard_state = model.hard_state;
    hard_state.commit = hard_state.commit.clamp(Index(model.mark), Index(told.0));
    if recovered.hard_state != hard_state {
        return Err(format!("{:?}", recovered.hard_state));
    }
    let range = recovered.first_index..recovered.last_index.next();
    let read = opened.reader.read(range.clone(), usize::MAX).map_err(|error| error.to_string())?;
    let held =
        model.entries.range(range.start.0..).map(|(index, (term, bytes))| entry(*index, *term, *bytes));
    let held: Vec<_> = held.collect();
    if read != held {
        return Err(format!("{} entries read, {} held from {}", read.len(), held.len(), range.start));
    }
    let mut runs: Vec<(Index, Term)> = Vec::new();
    for entry in &held {
        if runs.last().is_none_or(|(_, term)| *term != entry.term) {
            runs.push((entry.index, entry.term));
        }
    }
    if recovered.term_runs == runs { Ok(()) } else { Err(format!("{:?}", recovered.term_runs)) }
}

/// Does one step; the model moves on only by what the step would make durable.
fn run(fs: &SimFs, writer: &mut Writer, model: &mut Model, step: &Step) -> bool {
    let next = writer.durable().0 + 1;
    match step {
        Step::Append(parts) => {
            let batches: Vec<_> =
                parts.iter().zip(next..).map(|(part, number)| model.append(number, *part)).collect();
            writer.append(&batches).is_ok()
        }
        Step::Take(back) => {
            let index = model.hard_state.commit.0.saturating_sub(*back);
            if index <= model.mark || index > model.last {
                return true;
            }
            let batch = model.mark(next, SnapshotKind::Taken, index);
            write_snapshot(fs, index, model.mark_term);
            writer.append(&[batch]).is_ok()
        }
        Step::Install(ahead) => {
            let index = model.hard_state.commit.0.max(model.mark) + 1 + ahead;
            let batch = model.mark(next, SnapshotKind::Installed, index);
            write_snapshot(fs, index, model.mark_term);
            writer.append(&[batch]).is_ok()
        }
        Step::Release => writer.release(Index(u64::MAX)).is_ok(),
        Step::Prepare => loop {
            match writer.prepare_spare() {
                Ok(Preparation::More) => {}
                Ok(Preparation::Done) => return true,
                Err(_) => return false,
            }
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]
    #[test]
    fn what_was_acknowledged_survives_every_crash(boots in vec((vec(step(), 0..12), step(), ending()), 1..6)) {
        let mut fs = SimFs::new();
        let mut model = Model::default();
        for (steps, last, ending) in boots {
            let mut opened = reopen(&fs);
            agrees(&opened, &model).map_err(TestCaseError::fail)?;
            for step in steps {
                prop_assert!(run(&fs, &mut opened.writer, &mut model, &step));
            }
            let before = model.clone();
            let stop_at = match &ending {
                Ending::Restart => None,
                Ending::Cut(after, _) | Ending::Kill(after) => Some(*after),
            };
            // A snapshot is written by another thread: it is whole before the step that may fail.
            if let Step::Take(_) | Step::Install(_) = &last {
                prop_assert!(run(&fs, &mut opened.writer, &mut model, &last));
                fs = fs.crash(|| false);
                continue;
            }
            fs.set_faults(Faults { stop_at, ..Faults::default() });
            let is_done = run(&fs, &mut opened.writer, &mut model, &last);
            fs = match ending {
                Ending::Restart | Ending::Kill(_) => fs.kill(),
                Ending::Cut(_, bits) => {
                    let mut bits = bits.into_iter().cycle();
                    fs.crash(|| bits.next().unwrap_or(false))
                }
            };
            let opened = reopen(&fs);
            if is_done {
                agrees(&opened, &model).map_err(TestCaseError::fail)?;
            } else if agrees(&opened, &model).is_err() {
                agrees(&opened, &before).map_err(TestCaseError::fail)?;
                model = before;
            }
            // What was just told may be cut again, and must be told again.
            drop(opened);
            fs = fs.crash(|| false);
        }
        agrees(&reopen(&fs), &model).map_err(TestCaseError::fail)?;
    }
}
