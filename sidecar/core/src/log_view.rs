//! The log as raft-rs sees it: `raft::Storage` over what is in memory, with older entries fetched asynchronously.
//!
//! Always in memory: every entry that is not yet handed to the applier, and the terms of the whole log (building a Ready
//! and campaigning cannot wait for a fetch: both panic). Beyond that a cache of [`CACHE_BYTES`]. Older entries are wanted
//! only to send appends; raft-rs asks for them with a context that allows "temporarily unavailable".
//!
//! May import: raft's `Storage`, `log`, `convert`. Deliberately absent: the disk; a fetch is an effect.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, StorageError};

use crate::convert;
use crate::effects::Fetch;
use crate::log::{ConfState, Entry, HardState};
use crate::snapshot::SnapshotHeader;
use crate::types::{FetchId, Index, MemberId, Term};

/// Applied entries kept in memory for followers that are slightly behind.
const CACHE_BYTES: usize = 8 << 20;
/// What one fetch brings at most; an append holds no more than this either.
const FETCH_BYTES: usize = 1 << 20;
/// The log writes in units of this (`wal-format.md`): an entry that is written alone takes one, however small it is.
const WRITE_UNIT_BYTES: u64 = 4096;
/// Fetches under way at most: a member has at most eight peers, more wait for the next heartbeat.
const MAX_FETCHES: usize = 16;

/// Fetches that raft-rs waits for.
#[derive(Debug, Default)]
struct Fetches {
    last_id: u64,
    waiting: Vec<(Fetch, Vec<GetEntriesContext>)>,
    unsent: Vec<Fetch>,
    snapshot_wanted: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LogView {
    /// The entry before the first: its term is needed to match appends.
    truncated: (Index, Term),
    /// (first index of the run, its term), ascending, over everything above `truncated`.
    runs: VecDeque<(Index, Term)>,
    last: Index,
    /// Contiguous, ending at `last`.
    window: VecDeque<Entry>,
    window_bytes: usize,
    /// What was appended since the last snapshot takes on the disk, in bytes: what a snapshot's due time is for.
    pub(crate) bytes_since_snapshot: u64,
    initial: (HardState, ConfState),
    /// The newest durable snapshot of this member.
    snapshot: Option<SnapshotHeader>,
    fetches: RefCell<Fetches>,
    /// What a fetch brought, while raft-rs is being told.
    fetched: Vec<Entry>,
}

impl LogView {
    /// A log as recovery found it; `tail` is what stays in memory (it ends at `last`).
    pub(crate) fn new(
        truncated: (Index, Term),
        runs: Vec<(Index, Term)>,
        tail: Vec<Entry>,
        last: Index,
        initial: (HardState, ConfState),
    ) -> Self {
        let window_bytes = tail.iter().map(Entry::weight).sum();
        Self {
            truncated,
            runs: runs.into(),
            last,
            window: tail.into(),
            window_bytes,
            bytes_since_snapshot: 0,
            initial,
            snapshot: None,
            fetches: RefCell::default(),
            fetched: Vec::new(),
        }
    }

    pub(crate) fn set_snapshot(&mut self, header: SnapshotHeader) {
        self.snapshot = Some(header);
    }

    pub(crate) fn snapshot_header(&self) -> Option<&SnapshotHeader> {
        self.snapshot.as_ref()
    }

    pub(crate) fn first(&self) -> Index {
        self.truncated.0.next()
    }

    fn window_first(&self) -> Index {
        self.window.front().map_or(self.last.next(), |entry| entry.index)
    }

    /// Appends what a Ready gave; entries at or above the first one's index are overwritten.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        #[cfg(feature = "mutants")]
        let entries = if outrigger_mutants::is_alive(outrigger_mutants::Mutant::OverwrittenKept) {
            entries.get(entries.partition_point(|entry| entry.index <= self.last)..).unwrap_or_default()
        } else {
            entries
        };
        let Some(first) = entries.first() else { return };
        while self.last >= first.index {
            match self.window.pop_back() {
                Some(entry) => self.window_bytes -= entry.weight(),
                // The window holds everything that is not applied, and nothing applied is overwritten.
                None => assert!(self.last < first.index, "an entry outside of memory is overwritten"),
            }
            self.last = self.last.previous();
        }
        while self.runs.back().is_some_and(|(start, _)| *start >= first.index) {
            self.runs.pop_back();
        }
        let weight: u64 = entries.iter().map(|entry| entry.weight() as u64).sum();
        self.bytes_since_snapshot += weight.next_multiple_of(WRITE_UNIT_BYTES);
        for entry in entries {
            assert!(entry.index == self.last.next(), "the log has a gap");
            if self.runs.back().is_none_or(|(_, term)| *term != entry.term) {
                self.runs.push_back((entry.index, entry.term));
            }
            self.last = entry.index;
            self.window_bytes += entry.weight();
            self.window.push_back(entry.clone());
        }
    }

    /// Lets go of cached entries up to `handed_over` while there are too many.
    pub(crate) fn evict(&mut self, handed_over: Index) {
        while self.window_bytes > CACHE_BYTES {
            match self.window.front() {
                Some(entry) if entry.index <= handed_over => {
                    self.window_bytes -= entry.weight();
                    self.window.pop_front();
                }
                Some(_) | None => break,
            }
        }
    }

    /// The log starts behind `index` from now on.
    pub(crate) fn truncate_to(&mut self, index: Index) {
        if index <= self.truncated.0 || index > self.last {
            return;
        }
        let Some(term) = self.term_of(index) else { return };
        self.truncated = (index, term);
        while self.runs.get(1).is_some_and(|(start, _)| *start <= index.next()) {
            self.runs.pop_front();
        }
        if let Some((start, _)) = self.runs.front_mut()
            && *start <= index
        {
            *start = index.next();
        }
        while self.window.front().is_some_and(|entry| entry.index <= index) {
            if let Some(entry) = self.window.pop_front() {
                self.window_bytes -= entry.weight();
            }
        }
    }

    /// An installed snapshot voids the whole log.
    pub(crate) fn install(&mut self, header: SnapshotHeader) {
        self.truncated = (header.index, header.term);
        self.runs.clear();
        self.window.clear();
        self.window_bytes = 0;
        self.bytes_since_snapshot = 0;
        self.last = header.index;
        self.snapshot = Some(header);
        let mut fetches = self.fetches.borrow_mut();
        fetches.waiting.clear();
        fetches.unsent.clear();
    }

    /// The index from which the newest `bytes` of the log reach to its end, for trailing entries; looks no further than
    /// the window.
    pub(crate) fn trailing(&self, below: Index, bytes: usize) -> Index {
        let mut sum = 0;
        for entry in self.window.iter().rev().skip_while(|entry| entry.index > below) {
            sum += entry.weight();
            if sum > bytes {
                return entry.index;
            }
        }
        self.window_first().previous().max(self.truncated.0).min(below)
    }

    fn term_of(&self, index: Index) -> Option<Term> {
        if index == self.truncated.0 {
            return Some(self.truncated.1);
        }
        if index < self.truncated.0 || index > self.last {
            return None;
        }
        let after = self.runs.partition_point(|(start, _)| *start <= index);
        after.checked_sub(1).and_then(|at| self.runs.get(at)).map(|(_, term)| *term)
    }

    /// Whether the entry at `index` is known to be of `term`.
    pub(crate) fn matches(&self, index: Index, term: Term) -> bool {
        self.term_of(index) == Some(term)
    }

    fn held(&self, range: Range<Index>, max_bytes: u64) -> Option<Vec<eraftpb::Entry>> {
        let slice = |first: Index, get: &dyn Fn(usize) -> Option<Entry>| -> Option<Vec<eraftpb::Entry>> {
            let mut at = usize::try_from(range.start.0.checked_sub(first.0)?).ok()?;
            let mut found = Vec::new();
            let mut bytes = 0;
            while let Some(entry) = get(at).filter(|entry| entry.index < range.end) {
                bytes += entry.weight() as u64;
                if !found.is_empty() && bytes > max_bytes {
                    break;
                }
                found.push(convert::entry_to_raft(&entry));
                at += 1;
            }
            (!found.is_empty()).then_some(found)
        };
        if range.start >= self.window_first() {
            return slice(self.window_first(), &|at| self.window.get(at).cloned());
        }
        let first = self.fetched.first()?.index;
        slice(first, &|at| self.fetched.get(at).cloned())
    }

    fn want(&self, range: Range<Index>, max_bytes: u64, context: GetEntriesContext) {
        let mut fetches = self.fetches.borrow_mut();
        let same = fetches.waiting.iter_mut().find(|(fetch, _)| fetch.range.start == range.start);
        if let Some((_, contexts)) = same {
            if contexts.len() < MAX_FETCHES {
                contexts.push(context);
            }
            return;
        }
        if fetches.waiting.len() >= MAX_FETCHES {
            return;
        }
        fetches.last_id += 1;
        // What is in memory may be nowhere else yet, and a reader that is asked for what the disk does not have fails.
        let range = range.start..range.end.min(self.window_first());
        let max_bytes = usize::try_from(max_bytes).unwrap_or(FETCH_BYTES).min(FETCH_BYTES);
        let fetch = Fetch { id: FetchId(fetches.last_id), range, max_bytes };
        fetches.unsent.push(fetch.clone());
        fetches.waiting.push((fetch, vec![context]));
    }

    /// Fetches to be asked of the disk now.
    pub(crate) fn take_fetches(&self) -> Vec<Fetch> {
        std::mem::take(&mut self.fetches.borrow_mut().unsent)
    }

    /// The newest snapshot is of no use: a new one is to be taken.
    pub(crate) fn want_snapshot(&self) {
        self.fetches.borrow_mut().snapshot_wanted = true;
    }

    /// Whether a peer needs a newer snapshot than there is.
    pub(crate) fn take_snapshot_wanted(&self) -> bool {
        std::mem::take(&mut self.fetches.borrow_mut().snapshot_wanted)
    }

    /// Takes in what a fetch brought and gives the contexts for which raft-rs is to be told; afterwards call
    /// [`LogView::forget_fetched`].
    pub(crate) fn fetched(&mut self, id: FetchId, entries: Vec<Entry>) -> Vec<GetEntriesContext> {
        let mut fetches = self.fetches.borrow_mut();
        let at = fetches.waiting.iter().position(|(fetch, _)| fetch.id == id);
        let Some(at) = at else { return Vec::new() };
        let (_, contexts) = fetches.waiting.swap_remove(at);
        // An overwrite while the fetch was under way makes it worthless; raft-rs asks again at the next heartbeat.
        let holds = entries.iter().all(|entry| self.matches(entry.index, entry.term));
        self.fetched = if holds { entries } else { Vec::new() };
        if self.fetched.is_empty() { Vec::new() } else { contexts }
    }

    pub(crate) fn forget_fetched(&mut self) {
        self.fetched = Vec::new();
    }
}

impl raft::Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let (hard_state, conf_state) = &self.initial;
        Ok(RaftState::new(convert::hard_state_to_raft(hard_state), convert::conf_state_to_raft(conf_state)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let range = Index(low)..Index(high);
        if range.start < self.first() {
            return Err(StorageError::Compacted.into());
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        if let Some(entries) = self.held(range.clone(), max_bytes) {
            return Ok(entries);
        }
        if context.can_async() {
            self.want(range, max_bytes, context);
            return Err(StorageError::LogTemporarilyUnavailable.into());
        }
        Err(StorageError::Unavailable.into())
    }

    fn term(&self, idx: u64) -> raft::Result<u64> {
        match self.term_of(Index(idx)) {
            Some(term) => Ok(term.0),
            None if Index(idx) < self.truncated.0 => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last.0)
    }

    /// An older snapshot is never served to a new member: it must name the receiver, and reach the log's start.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        let usable = self.snapshot.as_ref().filter(|header| {
            header.index.0 >= request_index
                && header.index >= self.truncated.0
                && header.conf_state.contains(MemberId(to))
        });
        let Some(header) = usable else {
            self.fetches.borrow_mut().snapshot_wanted = true;
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let metadata = eraftpb::SnapshotMetadata {
            conf_state: Some(convert::conf_state_to_raft(&header.conf_state)),
            index: header.index.0,
            term: header.term.0,
        };
        Ok(eraftpb::Snapshot { data: header.encode().to_vec(), metadata: Some(metadata) })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raft::Storage as _;

    use super::*;
    use crate::log::EntryKind;

    fn entry(index: u64, term: u64, bytes: usize) -> Entry {
        let data = Bytes::from(vec![1; bytes]);
        Entry { index: Index(index), term: Term(term), kind: EntryKind::Normal, data, context: Bytes::new() }
    }

    fn view() -> LogView {
        LogView::new((Index(1), Term(1)), Vec::new(), Vec::new(), Index(1), <_>::default())
    }

    #[test]
    fn an_overwrite_voids_everything_above_and_keeps_the_terms_below() {
        let mut log = view();
        log.append(&[entry(2, 1, 1), entry(3, 1, 1), entry(4, 2, 1), entry(5, 2, 1)]);
        log.append(&[entry(4, 3, 1)]);
        assert_eq!(log.last, Index(4));
        let terms: Vec<u64> = (1..=4).map(|index| log.term(index).unwrap()).collect();
        assert_eq!(terms, [1, 1, 1, 3]);
        assert!(log.term(5).is_err());
    }

    #[test]
    fn what_a_snapshot_is_due_for_is_what_the_log_takes_on_the_disk() {
        let mut log = view();
        for index in 2..12 {
            log.append(&[entry(index, 1, 100)]);
        }
        assert_eq!(log.bytes_since_snapshot, 10 * WRITE_UNIT_BYTES, "written alone");
        let batch: Vec<Entry> = (12..22).map(|index| entry(index, 1, 100)).collect();
        log.append(&batch);
        assert_eq!(log.bytes_since_snapshot, 11 * WRITE_UNIT_BYTES, "ten of them written together");
    }

    #[test]
    fn eviction_spares_what_is_not_handed_over_and_asks_for_the_rest_by_fetch() {
        let mut log = view();
        let big: Vec<Entry> = (2..40).map(|index| entry(index, 1, 1 << 20)).collect();
        log.append(&big);
        log.evict(Index(1));
        assert_eq!(log.window_first(), Index(2));
        log.evict(Index(39));
        assert!(log.window_bytes <= CACHE_BYTES);
        let sync = log.entries(2, 5, None, GetEntriesContext::empty(false));
        assert!(sync.is_err());
        let context = GetEntriesContext::empty(true);
        assert_eq!(
            log.entries(2, 5, None, context).unwrap_err(),
            StorageError::LogTemporarilyUnavailable.into()
        );
        let fetch = log.take_fetches().pop().unwrap();
        assert_eq!(fetch.range, Index(2)..Index(5));
        assert_eq!(log.fetched(fetch.id, big[..3].to_vec()).len(), 1);
        assert_eq!(log.entries(2, 5, None, GetEntriesContext::empty(true)).unwrap().len(), 3);
        log.forget_fetched();
    }

    #[test]
    fn entries_that_are_in_memory_are_not_asked_of_the_disk_which_may_not_have_them_yet() {
        let runs = vec![(Index(2), Term(1))];
        let mut log = LogView::new((Index(1), Term(1)), runs, vec![entry(7, 1, 1)], Index(7), <_>::default());
        log.append(&[entry(8, 1, 1)]);
        assert!(log.entries(3, 9, None, GetEntriesContext::empty(true)).is_err());
        assert_eq!(log.take_fetches().pop().unwrap().range, Index(3)..Index(7));
    }

    #[test]
    fn truncation_keeps_the_term_of_the_entry_before_the_first() {
        let mut log = view();
        log.append(&[entry(2, 1, 1), entry(3, 2, 1), entry(4, 2, 1), entry(5, 3, 1)]);
        log.truncate_to(Index(3));
        assert_eq!((log.term(3).unwrap(), log.term(4).unwrap(), log.first()), (2, 2, Index(4)));
        assert!(log.term(2).is_err());
        log.truncate_to(Index(5));
        assert_eq!((log.term(5).unwrap(), log.first(), log.last), (3, Index(6), Index(5)));
    }

    #[test]
    fn a_snapshot_that_does_not_name_the_receiver_is_not_served() {
        let mut log = view();
        let conf_state = ConfState { voters: vec![MemberId(1)], ..ConfState::default() };
        let header =
            SnapshotHeader { index: Index(1), term: Term(1), conf_state, ..SnapshotHeader::default() };
        log.set_snapshot(header);
        assert!(log.snapshot(0, 2).is_err());
        assert!(log.take_snapshot_wanted());
        assert!(log.snapshot(0, 1).is_ok());
    }
}
