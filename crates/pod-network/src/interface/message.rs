//! The requests of rtnetlink that pod interfaces need, and readers of its answers.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Mac;
use crate::netlink::{Batch, Message, NetlinkError, Socket, find, read_address, read_u32};

/// Create, and fail if it exists.
pub(super) const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

/// Sizes of the fixed parts.
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;

/// `struct ifinfomsg`: an interface by index (0: by name) and flags to set, all of which are named.
pub(super) fn link_header(index: u32, flags: libc::c_int) -> [u8; LINK] {
    let mut header = [0; LINK];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// As [`link_header`], but switching the interface off.
pub(super) fn link_down_header() -> [u8; LINK] {
    let mut header = link_header(0, 0);
    header[12..16].copy_from_slice(&libc::IFF_UP.to_ne_bytes());
    header
}

/// Switches the interface `index` on.
pub(super) fn set_up(batch: &mut Batch, purpose: String, index: u32) {
    batch.push(purpose, (libc::RTM_NEWLINK, 0), &link_header(index, libc::IFF_UP), |_| {});
}

/// Adds `address` to the interface `index`, usable at once: nobody else on a pod's link can have it, so there
/// are no duplicates to be detected (RFC 4862 §5.4 would take a second).
pub(super) fn add_address(batch: &mut Batch, address: IpNet, index: u32) {
    let header = address_header(address, index);
    batch.push(format!("add address {address}"), (libc::RTM_NEWADDR, CREATE), &header, |m| {
        m.address(libc::IFA_LOCAL, address.addr());
        m.address(libc::IFA_ADDRESS, address.addr());
    });
}

fn address_header(address: IpNet, index: u32) -> [u8; ADDRESS] {
    const NO_DAD: u8 = 0x02;
    let is_link_local = matches!(address.addr(), IpAddr::V6(address) if address.is_unicast_link_local());
    let flags = if address.addr().is_ipv6() { NO_DAD } else { 0 };
    let scope = if is_link_local { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
    let mut header = [family(address.addr()), address.prefix_len(), flags, scope, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

/// A route of the main table.
pub(super) struct RouteRequest {
    pub(super) destination: IpNet,
    pub(super) gateway: Option<IpAddr>,
    pub(super) index: u32,
    pub(super) protocol: u8,
}

/// Adds `route`; one with the same destination makes it fail.
pub(super) fn add_route(batch: &mut Batch, route: &RouteRequest) {
    let RouteRequest { destination, gateway, index, protocol } = *route;
    let scope = match (gateway, destination) {
        (None, IpNet::V4(_)) => libc::RT_SCOPE_LINK,
        _ => libc::RT_SCOPE_UNIVERSE,
    };
    let mut header = [0; ROUTE];
    header[0] = family(destination.addr());
    header[1] = destination.prefix_len();
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = protocol;
    header[6] = scope;
    header[7] = libc::RTN_UNICAST;
    batch.push(format!("add route {destination}"), (libc::RTM_NEWROUTE, CREATE), &header, |m| {
        if destination.prefix_len() > 0 {
            m.address(libc::RTA_DST, destination.addr());
        }
        m.u32(libc::RTA_OIF, index);
        if let Some(gateway) = gateway {
            m.address(libc::RTA_GATEWAY, gateway);
        }
    });
}

/// Does what is sent to `address` on the interface `index` end here?
pub(super) fn is_local(socket: &mut Socket, address: IpAddr, index: u32) -> Result<bool, NetlinkError> {
    let mut header = [0; ROUTE];
    header[0] = family(address);
    header[1] = IpNet::from(address).prefix_len();
    let mut batch = Batch::default();
    batch.push(format!("look up the route to {address}"), (libc::RTM_GETROUTE, 0), &header, |m| {
        m.address(libc::RTA_DST, address);
        m.u32(libc::RTA_OIF, index);
    });
    let is_local = |answer: &Message| {
        answer.kind == libc::RTM_NEWROUTE && answer.payload.get(7) == Some(&libc::RTN_LOCAL)
    };
    match socket.execute(batch) {
        Ok(answers) => Ok(answers.iter().any(is_local)),
        // There is no way there at all.
        Err(NetlinkError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes `mac` the hardware address of `address` for ever.
pub(super) fn add_permanent_neighbour(batch: &mut Batch, address: IpAddr, mac: Mac, index: u32) {
    let mut header = [0; 12];
    header[0] = family(address);
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    batch.push(format!("add neighbour {address}"), (libc::RTM_NEWNEIGH, flags), &header, |m| {
        m.address(libc::NDA_DST, address);
        m.bytes(libc::NDA_LLADDR, &mac.0);
    });
}

pub(super) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

/// All interfaces of the socket's namespace.
pub(super) fn links(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    socket.dump("list interfaces", libc::RTM_GETLINK, &link_header(0, 0), Link::read)
}

/// All addresses of the socket's namespace.
pub(super) fn addresses(socket: &mut Socket) -> Result<Vec<LinkAddress>, NetlinkError> {
    socket.dump("list addresses", libc::RTM_GETADDR, &[0; ADDRESS], LinkAddress::read)
}

/// The routes of the main table that a [`Route`] can describe, both families: those of `protocol`, or all of
/// them, which are many on a node that learned the routes of a large cluster.
pub(super) fn routes(socket: &mut Socket, protocol: Option<u8>) -> Result<Vec<Route>, NetlinkError> {
    let mut found = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        let mut header = [0; ROUTE];
        header[0] = family;
        header[5] = protocol.unwrap_or_default();
        let wanted = |route: &Route| protocol.is_none_or(|protocol| route.protocol == protocol);
        found.extend(socket.dump("list routes", libc::RTM_GETROUTE, &header, |message| {
            Route::read(message).filter(wanted)
        })?);
    }
    Ok(found)
}

/// An interface as the kernel describes it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) is_up: bool,
    pub(super) mtu: u32,
    pub(super) mac: Option<Mac>,
    /// The other end of a veth pair.
    pub(super) peer: Option<u32>,
    pub(super) alias: Option<String>,
}

impl Link {
    pub(super) fn read(message: &Message) -> Option<Self> {
        if message.kind != libc::RTM_NEWLINK {
            return None;
        }
        let get = |kind| find(message.attributes(LINK), kind);
        Some(Self {
            index: read_u32(message.payload.get(4..)?)?,
            name: text(get(libc::IFLA_IFNAME)?),
            is_up: read_u32(message.payload.get(8..)?)? & libc::IFF_UP as u32 != 0,
            mtu: get(libc::IFLA_MTU).and_then(read_u32)?,
            mac: get(libc::IFLA_ADDRESS).and_then(|octets| octets.try_into().ok()).map(Mac),
            peer: get(libc::IFLA_LINK).and_then(read_u32),
            alias: get(libc::IFLA_IFALIAS).map(text),
        })
    }
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkAddress {
    pub(super) index: u32,
    pub(super) address: IpNet,
}

impl LinkAddress {
    pub(super) fn read(message: &Message) -> Option<Self> {
        if message.kind != libc::RTM_NEWADDR {
            return None;
        }
        let get = |kind| find(message.attributes(ADDRESS), kind);
        // In IPv4 the local address is the one; IPv6 has only the other attribute.
        let octets = get(libc::IFA_LOCAL).or_else(|| get(libc::IFA_ADDRESS))?;
        let address = IpNet::new(read_address(octets)?, *message.payload.get(1)?).ok()?;
        Some(Self { index: read_u32(message.payload.get(4..)?)?, address })
    }
}

/// A unicast route of the main table with one next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) destination: IpNet,
    pub(super) gateway: Option<IpAddr>,
    pub(super) index: u32,
    pub(super) protocol: u8,
    pub(super) metric: u32,
}

impl Route {
    pub(super) fn read(message: &Message) -> Option<Self> {
        let header = message.payload.get(..ROUTE)?;
        let in_main = header[4] == libc::RT_TABLE_MAIN && header[7] == libc::RTN_UNICAST;
        if message.kind != libc::RTM_NEWROUTE || !in_main {
            return None;
        }
        let get = |kind| find(message.attributes(ROUTE), kind);
        let unspecified =
            if i32::from(header[0]) == libc::AF_INET { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        let address = get(libc::RTA_DST).map_or(Some(unspecified), read_address)?;
        Some(Self {
            destination: IpNet::new(address, header[1]).ok()?,
            gateway: get(libc::RTA_GATEWAY).and_then(read_address),
            index: get(libc::RTA_OIF).and_then(read_u32)?,
            protocol: header[5],
            metric: get(libc::RTA_PRIORITY).and_then(read_u32).unwrap_or_default(),
        })
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).trim_end_matches('\0').to_owned()
}
