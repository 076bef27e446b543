//! The programmer against the real kernel, each test in network namespaces of its own.
//!
//! These need `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`; `cargo xtask test --tier netns` enters a user namespace
//! that gives both.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;
mod host;
mod monitor;
mod raw;
mod routes;
mod view;
