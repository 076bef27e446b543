//! Interoperability and conformance: our speaker beside other people's, in namespaces that the test made.
//!
//! Every daemon is a [`Daemon`](daemon::Daemon): started by the test from its distribution package on private
//! configuration, asked for what it received in one common form, and stopped by its process id. A scenario is written once
//! against the trait and runs with each of them; two daemons of others can be put together as well, which is how
//! the harness tests itself.
//!
//! [`load`] is for benchmarks: thousands of sessions, and sinks that check every path.
//!
//! Nothing here talks to the namespace that the test was started in.

pub mod arena;
pub mod cables;
pub mod daemon;
pub mod daemons;
pub mod feeder;
pub mod kernel;
pub mod load;
pub mod mrt;
pub mod muslin;
pub mod netlink;
pub mod peering;
pub mod release;
pub mod route;
pub mod router;
pub mod segment;
pub mod setup;
pub mod tester;
pub mod traffic;
pub mod wait;
pub mod wire;
