//! See `outrigger_fuzz::snapshot_content`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_fuzz::snapshot_content(bytes));
