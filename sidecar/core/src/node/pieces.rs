//! Appends in pieces: raft-rs joins all that goes to a member within one flush into one message, of any size, and what is
//! larger than a peer takes in breaks the stream, again and again.
//!
//! May import: raft's message types. Deliberately absent: what is in an entry. raft-rs counts what is in flight by what it
//! joined, so that pieces are what it knows of.

use raft::eraftpb::{Entry, Message, MessageType};

/// The message itself, or an append's entries in pieces of so many bytes, of one entry at least, each upon the one before.
pub(super) fn in_pieces(mut message: Message, limit_bytes: usize) -> Vec<Message> {
    let size_bytes: usize = message.entries.iter().map(size_of).sum();
    if message.get_msg_type() != MessageType::MsgAppend || size_bytes <= limit_bytes {
        return vec![message];
    }
    let entries = std::mem::take(&mut message.entries);
    let mut pieces: Vec<Message> = Vec::new();
    let mut room = 0;
    for entry in entries {
        let size = size_of(&entry);
        match pieces.last_mut() {
            Some(piece) if size <= room => piece.entries.push(entry),
            last => {
                let before = last.and_then(|piece| piece.entries.last());
                let (index, log_term) =
                    before.map_or((message.index, message.log_term), |entry| (entry.index, entry.term));
                pieces.push(Message { index, log_term, entries: vec![entry], ..message.clone() });
                room = limit_bytes;
            }
        }
        room = room.saturating_sub(size);
    }
    pieces
}

fn size_of(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(sizes: &[usize]) -> Message {
        let mut message = Message { to: 2, term: 9, log_term: 3, index: 10, commit: 8, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        let entry = |(n, size): (u64, &usize)| Entry {
            index: 11 + n,
            term: 4 + n / 2,
            data: vec![7; *size],
            ..Entry::default()
        };
        message.entries = (0..).zip(sizes).map(entry).collect();
        message
    }

    #[test]
    fn an_append_goes_in_pieces_each_upon_the_one_before() {
        let whole = append(&[400, 600, 1, 2_000, 1, 1]);
        let pieces = in_pieces(whole.clone(), 1_000);
        let sizes: Vec<Vec<usize>> =
            pieces.iter().map(|piece| piece.entries.iter().map(|entry| entry.data.len()).collect()).collect();
        assert_eq!(sizes, [vec![400, 600], vec![1], vec![2_000], vec![1, 1]]);
        let upon: Vec<(u64, u64)> = pieces.iter().map(|piece| (piece.index, piece.log_term)).collect();
        assert_eq!(upon, [(10, 3), (12, 4), (13, 5), (14, 5)]);
        for piece in &pieces {
            let same = Message { index: 10, log_term: 3, entries: Vec::new(), ..piece.clone() };
            assert_eq!(same, Message { entries: Vec::new(), ..whole.clone() }, "all else is as it was");
        }
        assert_eq!(pieces.into_iter().flat_map(|piece| piece.entries).collect::<Vec<_>>(), whole.entries);
    }

    #[test]
    fn what_is_small_enough_or_no_append_stays_as_it_is() {
        for sizes in [&[][..], &[1_000], &[2_000], &[400, 600]] {
            assert_eq!(in_pieces(append(sizes), 1_000), [append(sizes)]);
        }
        let mut other = append(&[2_000, 2_000]);
        other.set_msg_type(MessageType::MsgPropose);
        assert_eq!(in_pieces(other.clone(), 1_000), [other]);
    }
}
