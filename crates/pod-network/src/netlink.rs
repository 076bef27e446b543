//! The kernel's netlink, as little of it as a plugin that lives for a few milliseconds needs: several requests
//! in one system call, over a blocking socket, with the kernel's own words in the error.

mod message;
mod socket;

pub(crate) use message::{Attributes, Batch, Message, attributes, find, read_address, read_u32};
pub(crate) use socket::{NetlinkError, Socket};
