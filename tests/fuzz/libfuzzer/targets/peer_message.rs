//! See `outrigger_fuzz::peer_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_fuzz::peer_message(bytes));
