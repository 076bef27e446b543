//! Fuzz targets of the BGP codec, as functions: the programs in `targets/` hand them to libFuzzer, and a
//! plain test of `muslin-bgp-packet` replays every seed through them.

pub mod targets;
