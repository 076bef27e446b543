//! Fuzz target: see `route_refresh` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| muslin_fuzz::targets::route_refresh(octets));
