//! Fuzz targets of the BGP codec and of a live session, as functions: the programs in `targets/` hand them to
//! libFuzzer, and the test `fuzz_seeds` replays every seed through them without it.

pub mod targets;
