//! See `outrigger_fuzz::wal_recovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_fuzz::wal_recovery(bytes));
