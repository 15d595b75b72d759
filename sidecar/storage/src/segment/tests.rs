//! A frame validates where it was written and nowhere else, and only as it was written.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PLACE: Place = Place { cluster: ClusterId(7), member: MemberId(9), segment: 3 };

fn frame(place: &Place, offset: u64, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; FRAME_HEADER_BYTES];
    buffer.extend_from_slice(payload);
    place.seal_frame(&mut buffer, 0, offset, number);
    buffer
}

fn validates(place: &Place, bytes: &[u8], offset: u64) -> bool {
    place.frame_header(bytes, offset).is_some_and(|header| place.payload(&header, bytes, offset).is_some())
}

proptest! {
    #[test]
    fn a_frame_survives_the_round_trip(payload in vec(any::<u8>(), 0..9000), block in 1u64..1000, number: u64) {
        let bytes = frame(&PLACE, block * BLOCK_BYTES, number, &payload);
        prop_assert_eq!(bytes.len() as u64, frame_bytes(payload.len()));
        let header = PLACE.frame_header(&bytes, block * BLOCK_BYTES).unwrap();
        prop_assert_eq!((header.number, header.bytes()), (number, bytes.len() as u64));
        prop_assert_eq!(PLACE.payload(&header, &bytes, block * BLOCK_BYTES), Some(payload.as_slice()));
    }

    #[test]
    fn a_flipped_bit_is_found(payload in vec(any::<u8>(), 0..300), at: usize, bit in 0u8..8) {
        let mut bytes = frame(&PLACE, BLOCK_BYTES, 5, &payload);
        // The padding says nothing, so nothing covers it.
        let at = at % (FRAME_HEADER_BYTES + payload.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(!validates(&PLACE, &bytes, BLOCK_BYTES), "byte {} bit {}", at, bit);
    }
}

#[test]
fn a_frame_cut_at_any_byte_does_not_validate() {
    let payload = [1; 200];
    let bytes = frame(&PLACE, BLOCK_BYTES, 5, &payload);
    for cut in 0..FRAME_HEADER_BYTES + payload.len() {
        assert!(!validates(&PLACE, &bytes[..cut], BLOCK_BYTES), "cut at {cut}");
    }
}

#[test]
fn a_frame_validates_at_no_other_place() {
    let bytes = frame(&PLACE, BLOCK_BYTES, 5, b"payload");
    assert!(validates(&PLACE, &bytes, BLOCK_BYTES));
    assert!(!validates(&PLACE, &bytes, 2 * BLOCK_BYTES), "another offset");
    let others = [
        Place { cluster: ClusterId(8), ..PLACE },
        Place { member: MemberId(8), ..PLACE },
        Place { segment: 4, ..PLACE },
    ];
    for other in others {
        assert!(!validates(&other, &bytes, BLOCK_BYTES), "{other:?}");
    }
}

#[test]
fn a_body_does_not_validate_under_another_frames_header() {
    let mut bytes = frame(&PLACE, BLOCK_BYTES, 5, b"payload");
    let other = frame(&PLACE, BLOCK_BYTES, 6, b"payl0ad");
    bytes[..FRAME_HEADER_BYTES].copy_from_slice(&other[..FRAME_HEADER_BYTES]);
    assert!(PLACE.frame_header(&bytes, BLOCK_BYTES).is_some());
    assert!(!validates(&PLACE, &bytes, BLOCK_BYTES));
}

#[test]
fn a_segment_header_survives_the_round_trip_and_no_flip_in_its_block() {
    let header = SegmentHeader {
        cluster: ClusterId(7),
        member: MemberId(9),
        segment: 3,
        next_index: Index(12),
        seal: Seal { segment: 2, end: 8192, frame: 40 },
        file_bytes: 1 << 20,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    assert_eq!(bytes.len() as u64, BLOCK_BYTES);
    assert_eq!(SegmentHeader::decode(&bytes), Some(header));
    for at in 0..bytes.len() {
        bytes[at] ^= 0x10;
        assert_eq!(SegmentHeader::decode(&bytes), None, "byte {at}");
        bytes[at] ^= 0x10;
    }
    for cut in 0..bytes.len() {
        assert_eq!(SegmentHeader::decode(&bytes[..cut]), None, "cut at {cut}");
    }
}

#[test]
fn only_our_own_names_parse() {
    let name = file_name(MemberId(0xAB), 0x10);
    assert_eq!(name, "00000000000000ab-0000000000000010.wal");
    assert_eq!(parse_file_name(&name), Some((MemberId(0xAB), 0x10)));
    let others = [
        "",
        "spare-0000000000000001",
        "ab-10.wal",
        "00000000000000AB-0000000000000010.wal",
        "00000000000000ab-0000000000000010",
        "+0000000000000ab-0000000000000010.wal",
    ];
    for other in others {
        assert_eq!(parse_file_name(other), None, "{other}");
    }
}
