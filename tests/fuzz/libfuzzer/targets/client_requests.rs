//! See `outrigger_fuzz::client_requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outrigger_fuzz::client_requests(bytes));
