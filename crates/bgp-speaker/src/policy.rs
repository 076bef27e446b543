//! Policies at work: which rules apply to a route, and what their actions change.

mod actions;
mod evaluate;
mod subject;
#[cfg(test)]
pub(crate) mod tests;
mod trail;
mod trial;

pub(crate) use actions::{apply, next_hop, priority};
pub(crate) use evaluate::{decide, has_same_effect, hash_effect};
pub(crate) use subject::{Learned, Memo, Subject};
pub(crate) use trail::Trail;
pub use trial::{Trial, Tried};
