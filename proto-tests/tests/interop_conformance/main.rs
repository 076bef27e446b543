//! Conformance from outside: octets over a socket at a live `muslin speaker`, what comes back, and what another peer
//! sees of it.
//!
//! Tests are named by the row of the checklist that they provoke: `rfc4271_8_…` is row 8 of RFC 4271's list,
//! `crash_14_…` is number 14 of the messages that brought down other daemons. `CONFORMANCE_SUBJECT=bird` runs the same
//! tests at BIRD, which shows whether an expectation is anybody else's, too.

mod add_path;
mod cease;
mod crashes;
mod drain;
mod fabric;
mod faults;
mod header;
mod hostile;
mod malformed;
mod next_hops;
mod open;
mod policy;
mod reflection;
mod restart;
mod roles;
mod scene;
mod session;
mod transport;
mod update;
