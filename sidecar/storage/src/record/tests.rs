//! Records survive the round trip, and nothing that is cut or flipped is taken for one.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn index() -> impl Strategy<Value = Index> {
    any::<u64>().prop_map(Index)
}

fn hard_state() -> impl Strategy<Value = HardState> {
    (any::<u64>(), any::<u64>(), index()).prop_map(|(term, vote, commit)| HardState {
        term: Term(term),
        vote: MemberId(vote),
        commit,
    })
}

fn members() -> impl Strategy<Value = Vec<MemberId>> {
    vec(any::<u64>().prop_map(MemberId), 0..4)
}

fn conf_state() -> impl Strategy<Value = (Index, ConfState)> {
    (index(), members(), members(), members(), members(), any::<bool>()).prop_map(
        |(index, voters, learners, voters_outgoing, learners_next, auto_leave)| {
            (index, ConfState { voters, learners, voters_outgoing, learners_next, auto_leave })
        },
    )
}

fn mark() -> impl Strategy<Value = SnapshotMark> {
    (any::<bool>(), index(), any::<u64>()).prop_map(|(taken, index, term)| SnapshotMark {
        kind: if taken { SnapshotKind::Taken } else { SnapshotKind::Installed },
        index,
        term: Term(term),
    })
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let seed = (any::<u64>(), "\\PC{0,12}", "\\PC{0,12}");
    vec(seed.prop_map(|(id, name, address)| Seed { id: MemberId(id), name, address }), 0..4)
}

fn preamble() -> impl Strategy<Value = Preamble> {
    let seal = (any::<u64>(), any::<u64>(), any::<u64>());
    let seal = seal.prop_map(|(segment, end, frame)| Seal { segment, end, frame });
    let optional = (proptest::option::of(mark()), proptest::option::of(conf_state()));
    (seal, index(), hard_state(), optional, seeds()).prop_map(
        |(seal, last, hard_state, (mark, conf_state), seeds)| Preamble {
            seal,
            last,
            hard_state,
            mark,
            conf_state,
            seeds,
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind =
        prop_oneof![Just(EntryKind::Normal), Just(EntryKind::ConfChange), Just(EntryKind::ConfChangeV2)];
    let bytes = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    (index(), any::<u64>(), kind, bytes(), bytes()).prop_map(|(index, term, kind, data, context)| Entry {
        index,
        term: Term(term),
        kind,
        data,
        context,
    })
}

/// What can be written, owned.
#[derive(Clone, Debug)]
enum Written {
    Preamble(Preamble),
    Entry(Entry),
    HardState(HardState),
    ConfState(Index, ConfState),
    Mark(SnapshotMark),
    Seeds(Vec<Seed>),
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        preamble().prop_map(Written::Preamble),
        entry().prop_map(Written::Entry),
        hard_state().prop_map(Written::HardState),
        conf_state().prop_map(|(index, conf_state)| Written::ConfState(index, conf_state)),
        mark().prop_map(Written::Mark),
        seeds().prop_map(Written::Seeds),
    ]
}

impl Written {
    fn put(&self, buffer: &mut Vec<u8>) -> usize {
        match self {
            Self::Preamble(preamble) => {
                put_preamble(buffer, preamble);
                preamble_len(preamble)
            }
            Self::Entry(entry) => {
                put_entry(buffer, entry);
                entry_len(entry)
            }
            Self::HardState(hard_state) => {
                put_hard_state(buffer, hard_state);
                hard_state_len()
            }
            Self::ConfState(index, conf_state) => {
                put_conf_state(buffer, *index, conf_state);
                conf_state_len(conf_state)
            }
            Self::Mark(mark) => {
                put_mark(buffer, mark);
                mark_len()
            }
            Self::Seeds(seeds) => {
                put_seeds(buffer, seeds);
                seeds_len(seeds)
            }
        }
    }
}

fn owned(record: Record<'_>) -> String {
    match record {
        Record::Preamble(preamble) => format!("{:?}", Written::Preamble(preamble)),
        Record::Entry(entry) => format!("{:?}", Written::Entry(entry.to_entry())),
        Record::HardState(hard_state) => format!("{:?}", Written::HardState(hard_state)),
        Record::ConfState(index, conf_state) => format!("{:?}", Written::ConfState(index, conf_state)),
        Record::Mark(mark) => format!("{:?}", Written::Mark(mark)),
        Record::Seeds(seeds) => format!("{:?}", Written::Seeds(seeds)),
    }
}

proptest! {
    #[test]
    fn records_survive_the_round_trip_and_their_lengths_are_as_announced(all in vec(written(), 0..8)) {
        let mut buffer = Vec::new();
        for one in &all {
            let before = buffer.len();
            let announced = one.put(&mut buffer);
            prop_assert_eq!(buffer.len() - before, announced);
        }
        let read: Vec<_> = records(&buffer).map(|record| owned(record.unwrap())).collect();
        let expected: Vec<_> = all.iter().map(|one| format!("{one:?}")).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_record_cut_at_any_byte_does_not_decode(one in written()) {
        let mut buffer = Vec::new();
        one.put(&mut buffer);
        for cut in 1..buffer.len() {
            prop_assert!(records(&buffer[..cut]).any(|record| record.is_err()), "cut at {}", cut);
        }
    }

    #[test]
    fn arbitrary_bytes_decode_or_are_refused_but_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let decoded = records(&bytes).count();
        prop_assert!(decoded <= bytes.len());
    }
}

#[test]
fn an_unknown_kind_is_an_error_that_says_where() {
    let mut buffer = Vec::new();
    put_hard_state(&mut buffer, &HardState::default());
    let at = buffer.len();
    buffer.push(200);
    assert_eq!(records(&buffer).last(), Some(Err(RecordError { at, kind: 200 })));
}
