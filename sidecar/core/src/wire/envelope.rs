//! What is around every message between two members: which boot of the sender says it, and to which boot of the receiver.
//!
//! Why: what a member has durable is known of one boot only. Rot in a log's very last frame looks like a tear, so a member
//! may come back with less than it acknowledged; what its earlier boot said must not be counted for the new one, and what
//! a leader concluded from it must not be told to the new one as a fact.
//!
//! | part | bytes |
//! | --- | --- |
//! | kind: 3 raft-rs's own message, 4 a [`PeerMessage`] (1 and 2 had no envelope) | 1 |
//! | the sender's boot counter, its nonce, the receiver's nonce as the sender knows it (0: not at all) | 8 each, little-endian |
//! | the message | rest |
//!
//! May import: `types`, raft's message type. Deliberately absent: which boot counts (`node::boots`).

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

use super::{PeerMessage, PeerOp};
use crate::types::Boot;

const RAFT: u8 = 3;
const CORE: u8 = 4;
const HEADER_BYTES: usize = 25;

/// From which boot, to which boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) from: Boot,
    /// 0 if the sender does not know it.
    pub(crate) to_nonce: u64,
}

/// A decoded message of a peer.
#[derive(Debug)]
pub(crate) enum FromPeer {
    Raft(Box<raft::eraftpb::Message>),
    Core(Box<PeerOp>),
}

fn begin(kind: u8, envelope: &Envelope, message_bytes: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + message_bytes);
    bytes.put_u8(kind);
    bytes.put_u64_le(envelope.from.count);
    bytes.put_u64_le(envelope.from.nonce);
    bytes.put_u64_le(envelope.to_nonce);
    bytes
}

pub(crate) fn encode_raft(envelope: &Envelope, message: &raft::eraftpb::Message) -> Bytes {
    let mut bytes = begin(RAFT, envelope, message.encoded_len());
    // BytesMut grows as needed, so encoding cannot run out of room.
    let encoded = message.encode(&mut bytes);
    debug_assert!(encoded.is_ok());
    bytes.freeze()
}

pub(crate) fn encode_core(envelope: &Envelope, op: PeerOp) -> Bytes {
    let message = PeerMessage { op: Some(op) };
    let mut bytes = begin(CORE, envelope, message.encoded_len());
    let encoded = message.encode(&mut bytes);
    debug_assert!(encoded.is_ok());
    bytes.freeze()
}

/// raft-proto's getters panic on a kind of message or entry that they do not know.
fn has_known_kinds(message: &raft::eraftpb::Message) -> bool {
    let is_known = |entry: &raft::eraftpb::Entry| raft::eraftpb::EntryType::is_valid(entry.entry_type);
    raft::eraftpb::MessageType::is_valid(message.msg_type) && message.entries.iter().all(is_known)
}

/// Decodes what a peer sent; `None` for garbage.
pub(crate) fn decode_peer(bytes: &Bytes) -> Option<(Envelope, FromPeer)> {
    let number =
        |at: usize| bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map(u64::from_le_bytes);
    let from = Boot { count: number(1)?, nonce: number(9)? };
    let envelope = Envelope { from, to_nonce: number(17)? };
    let rest = bytes.slice(HEADER_BYTES..);
    let message = match *bytes.first()? {
        RAFT => {
            let message = raft::eraftpb::Message::decode(rest).ok()?;
            FromPeer::Raft(Box::new(Some(message).filter(has_known_kinds)?))
        }
        CORE => FromPeer::Core(Box::new(PeerMessage::decode(rest).ok()?.op?)),
        _ => return None,
    };
    Some((envelope, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RemovedWire;

    const ENVELOPE: Envelope = Envelope { from: Boot { count: 3, nonce: u64::MAX }, to_nonce: 9 };

    #[test]
    fn a_message_arrives_with_its_boots() {
        let op = PeerOp::Removed(RemovedWire { id: 5 });
        let (envelope, message) = decode_peer(&encode_core(&ENVELOPE, op.clone())).unwrap();
        assert_eq!(envelope, ENVELOPE);
        assert!(matches!(message, FromPeer::Core(found) if *found == op));
        let sent = raft::eraftpb::Message { to: 2, term: 7, ..Default::default() };
        let (envelope, message) = decode_peer(&encode_raft(&ENVELOPE, &sent)).unwrap();
        assert_eq!(envelope, ENVELOPE);
        assert!(matches!(message, FromPeer::Raft(found) if *found == sent));
    }

    #[test]
    fn what_is_cut_anywhere_in_its_envelope_is_garbage() {
        let whole = encode_core(&ENVELOPE, PeerOp::Removed(RemovedWire { id: 5 }));
        for end in 0..HEADER_BYTES {
            assert!(decode_peer(&whole.slice(..end)).is_none(), "{end}");
        }
        assert!(decode_peer(&whole.slice(..HEADER_BYTES)).is_none(), "an envelope with nothing in it");
    }
}
