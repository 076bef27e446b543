//! Fuzz target: see `open` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| muslin_fuzz::targets::open(octets));
