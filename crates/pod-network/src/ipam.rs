//! The node's addresses: who has which, which rest, which is next.
//!
//! [`Ledger`] is the core and knows neither clock nor disk. [`Store`] keeps it in `<data dir>/ipam.json` under a
//! lock. Allocation is local to the node, so pods come and go while the agent and the API server are away.

mod candidates;
mod ledger;
mod store;

pub use ledger::{AllocateError, Attached, Attachment, BlockUsage, BootTime, Grant, Ledger, Wish};
pub(crate) use store::now;
pub use store::{Store, StoreError};

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

/// How full each of `blocks` is, for status; in their order. Takes no lock and never waits for a plugin.
pub fn usage(data_dir: &Path, blocks: &[IpNet]) -> Result<Vec<BlockUsage>, StoreError> {
    let ledger = Store::peek(data_dir)?.unwrap_or_default();
    Ok(blocks.iter().map(|block| ledger.usage(*block)).collect())
}

/// Whether a newer build wrote the ledger in `data_dir`, which this one then cannot read.
pub fn is_of_newer_build(data_dir: &Path) -> bool {
    matches!(Store::peek(data_dir), Err(StoreError::Newer { .. }))
}

/// The addresses that nobody has and that are not yet given out again. Takes no lock.
pub(crate) fn resting(data_dir: &Path) -> Result<Vec<IpAddr>, StoreError> {
    let ledger = Store::peek(data_dir)?.unwrap_or_default();
    Ok(ledger.resting().collect())
}
