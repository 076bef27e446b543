//! Fuzz target: see `notification` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| muslin_fuzz::targets::notification(octets));
