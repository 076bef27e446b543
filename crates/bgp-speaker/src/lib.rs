//! A BGP speaker to embed: sans-I/O sessions and RIBs, export by peer group, and a tokio shell.
//!
//! The crate knows nothing of Kubernetes and nothing of netlink. A program hands it a
//! [`SpeakerConfig`](config::SpeakerConfig), a [`NextHopResolver`](rib::NextHopResolver) that says where
//! addresses lead, and takes the kernel's routes out of it.
//!
//! [`Speaker`] is the whole protocol as a value: no socket, no clock, no thread. [`net`] runs one under tokio.

pub mod config;
pub mod export;
pub mod net;
mod policy;
pub mod rib;
pub mod session;
pub mod speaker;

pub use self::speaker::Speaker;
