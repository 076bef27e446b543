//! A BGP speaker to embed: sans-I/O sessions and RIBs, export by peer group, and a tokio shell.

pub mod config;
pub mod export;
mod policy;
pub mod rib;
