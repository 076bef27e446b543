//! Requests for dumps.

use super::constants::{
    AF_INET6, AF_UNSPEC, NLM_F_DUMP, NLM_F_REQUEST, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETNEXTHOP,
    RTM_GETROUTE,
};
use super::message::MessageBuffer;
use crate::path::Family;

/// A kind of object to be dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dump {
    Links,
    Addresses,
    /// IPv6 neighbours; the routers among them are what is looked for.
    Neighbours,
    NextHops,
    /// All tables: the kernel has no filter for "these two".
    Routes(Family),
}

/// Appends the request. The fixed part has the full size that strict checking demands.
pub(crate) fn encode_dump(buffer: &mut MessageBuffer, dump: Dump, sequence: u32) {
    let (kind, family, fixed) = match dump {
        Dump::Links => (RTM_GETLINK, AF_UNSPEC, 16),
        Dump::Addresses => (RTM_GETADDR, AF_UNSPEC, 8),
        Dump::Neighbours => (RTM_GETNEIGH, AF_INET6, 12),
        Dump::NextHops => (RTM_GETNEXTHOP, AF_UNSPEC, 8),
        Dump::Routes(family) => (RTM_GETROUTE, family.number(), 12),
    };
    let mut header = [0; 16];
    header[0] = family;
    buffer.message(kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, &header[..fixed], |_| {});
}
