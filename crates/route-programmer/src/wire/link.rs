//! Links, addresses and neighbours as the kernel tells them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::constants::{
    AF_INET6, IFA_ADDRESS, IFA_F_TENTATIVE, IFA_FLAGS, IFA_LOCAL, IFF_LOOPBACK, IFF_LOWER_UP, IFF_UP,
    IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, NDA_DST, NTF_ROUTER,
};
use super::message::{attributes, u32_at};
use crate::view::{Address, Link, Router};

/// Reads the body of `RTM_NEWLINK` or `RTM_DELLINK`.
pub(crate) fn parse_link(body: &[u8]) -> Option<Link> {
    // `struct ifinfomsg`: family, pad, type, index, flags, change. Other families (bridge ports) tell
    // of the same links again, with less.
    let (fixed, rest) = body.split_first_chunk::<16>()?;
    if fixed[0] != 0 {
        return None;
    }
    let flags = u32_at(fixed, 8)?;
    let mut link = Link {
        index: u32_at(fixed, 4)?,
        name: String::new(),
        kind: None,
        mtu: 0,
        hardware_address: None,
        master: None,
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        loopback: flags & IFF_LOOPBACK != 0,
    };
    for attribute in attributes(rest) {
        match attribute.kind {
            IFLA_IFNAME => link.name = attribute.text(),
            IFLA_MTU => link.mtu = attribute.u32()?,
            IFLA_MASTER => link.master = attribute.u32(),
            IFLA_ADDRESS => link.hardware_address = attribute.value.try_into().ok(),
            IFLA_LINKINFO => {
                let kind = attribute.nested().find(|inner| inner.kind == IFLA_INFO_KIND);
                link.kind = kind.map(|kind| kind.text().into());
            }
            _ => {}
        }
    }
    Some(link)
}

/// Reads the body of `RTM_NEWADDR` or `RTM_DELADDR`.
pub(crate) fn parse_address(body: &[u8]) -> Option<Address> {
    // `struct ifaddrmsg`: family, prefix length, flags, scope, index.
    let (fixed, rest) = body.split_first_chunk::<8>()?;
    let mut flags = u32::from(fixed[2]);
    let (mut local, mut peer) = (None, None);
    for attribute in attributes(rest) {
        match attribute.kind {
            IFA_LOCAL => local = attribute.address(),
            IFA_ADDRESS => peer = attribute.address(),
            IFA_FLAGS => flags = attribute.u32()?,
            _ => {}
        }
    }
    // On a point-to-point link the address is the peer's and the local one is ours.
    let address = IpNet::new(local.or(peer)?, fixed[1]).ok()?;
    Some(Address { interface: u32_at(fixed, 4)?, address, tentative: flags & IFA_F_TENTATIVE != 0 })
}

/// Reads the body of `RTM_NEWNEIGH` or `RTM_DELNEIGH`; nothing unless it is an IPv6 router.
pub(crate) fn parse_router(body: &[u8]) -> Option<Router> {
    // `struct ndmsg`: family, pad, index, state, flags, type.
    let (fixed, rest) = body.split_first_chunk::<12>()?;
    if fixed[0] != AF_INET6 || fixed[10] & NTF_ROUTER == 0 {
        return None;
    }
    let destination = attributes(rest).find(|attribute| attribute.kind == NDA_DST)?;
    match destination.address()? {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Some(Router { interface: u32_at(fixed, 4)?, address })
        }
        _ => None,
    }
}
