//! rtnetlink as far as routes need it: our own small encoder and decoder.
//!
//! Encoding is on the hot path (hundreds of thousands of routes), and next-hop objects are in no crate;
//! so both directions are written here, over plain bytes, and nothing of it leaves this crate.

pub(crate) mod constants;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod nexthop;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod route;

#[cfg(test)]
mod tests;
