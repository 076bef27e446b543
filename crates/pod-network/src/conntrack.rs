//! Conversations of an address that is no longer a pod's: a pod that gets it later must not inherit them.

use std::net::IpAddr;

use crate::netlink::{Attributes, Batch, NetlinkError, Socket};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`
const DELETE: u16 = 0x0102;
// Attributes of linux/netfilter/nfnetlink_conntrack.h.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_FILTER_FLAG_IP_SRC: u32 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;

/// Forgets every tracked connection that `address` opened or answered.
pub(crate) fn forget(address: IpAddr) -> Result<(), NetlinkError> {
    let mut socket = Socket::netfilter()?;
    for (tuple, flags) in [(CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS), (CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS)]
    {
        let mut batch = Batch::default();
        let purpose = format!("forget the connections of {address}");
        batch.push(purpose, (DELETE, 0), &header(address), |m| {
            m.nest(tuple, |m| m.nest(CTA_TUPLE_IP, |m| source(m, address)));
            m.nest(CTA_FILTER, |m| m.u32(flags, CTA_FILTER_FLAG_IP_SRC));
        });
        socket.execute(batch)?;
    }
    Ok(())
}

fn source(m: &mut Attributes<'_>, address: IpAddr) {
    let kind = if address.is_ipv4() { CTA_IP_V4_SRC } else { CTA_IP_V6_SRC };
    m.address(kind, address);
}

/// `struct nfgenmsg`. Version 1 says that the family is meant: with 0 the kernel takes any.
fn header(address: IpAddr) -> [u8; 4] {
    let family = if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 };
    [family, 1, 0, 0]
}
