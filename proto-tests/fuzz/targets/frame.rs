//! Fuzz target: see `frame` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| muslin_fuzz::targets::frame(octets));
