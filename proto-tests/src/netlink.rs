//! IPv4 routes of a kernel by raw rtnetlink: looked up, listed, and followed as they change.
//!
//! Small on purpose, and nothing of ours: a benchmark that listens to a hundred kernels must not be what takes time.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// The answer to a look-up is the route itself, not what it means for one address.
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const TABLE_MAIN: u8 = 254;
const HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
/// Of a next hop among several.
const HOP_HEADER: usize = 8;

/// A route of the main table, or that it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its prefix.
    pub prefix: Ipv4Addr,
    /// Length of the prefix.
    pub length: u8,
    /// Whether it is there, or gone.
    pub is_there: bool,
    /// What it leads over, in the kernel's order.
    pub gateways: Vec<Ipv4Addr>,
}

/// A socket in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Routes {
    socket: Socket,
}

impl Routes {
    /// Opens a socket to ask with.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket })
    }

    /// Opens a socket that is told of every change, to be polled and read by [`changes`](Self::changes).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn follow() -> Result<Self> {
        let routes = Self::open()?;
        routes.socket.add_membership(RTNLGRP_IPV4_ROUTE)?;
        routes.socket.set_non_blocking(true)?;
        Ok(routes)
    }

    /// What has changed since the last call; nothing when nothing has.
    ///
    /// # Errors
    /// When changes were lost.
    pub fn changes(&mut self, mut take: impl FnMut(Route)) -> Result<()> {
        loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => each(&datagram, |kind, body| take_route(kind, body, &mut take)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("changes of routes"),
            }
        }
    }

    /// The gateways of the route that an address is looked up by; none without a route.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn gateways_to(&mut self, address: Ipv4Addr) -> Result<Vec<Ipv4Addr>> {
        self.request(32, RTM_F_FIB_MATCH, NLM_F_REQUEST, Some(address))?;
        let (datagram, _) = self.socket.recv_from_full()?;
        let mut gateways = Vec::new();
        each(&datagram, |kind, body| {
            take_route(kind, body, &mut |route: Route| gateways = route.gateways);
        });
        Ok(gateways)
    }

    /// All routes of the main table.
    ///
    /// # Errors
    /// When the kernel does not tell them.
    pub fn list(&mut self, mut take: impl FnMut(Route)) -> Result<()> {
        self.request(0, 0, NLM_F_REQUEST | NLM_F_DUMP, None)?;
        let (mut done, mut refused) = (false, false);
        while !done {
            let (datagram, _) = self.socket.recv_from_full()?;
            each(&datagram, |kind, body| {
                done |= kind == NLMSG_DONE;
                refused |= kind == NLMSG_ERROR;
                take_route(kind, body, &mut take);
            });
            if refused {
                bail!("the kernel does not list its routes");
            }
        }
        Ok(())
    }

    fn request(&mut self, length: u8, route_flags: u32, flags: u16, to: Option<Ipv4Addr>) -> Result<()> {
        let attribute = if to.is_some() { 8 } else { 0 };
        let mut message = ((HEADER + ROUTE_HEADER + attribute) as u32).to_ne_bytes().to_vec();
        message.extend(RTM_GETROUTE.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([2, length, 0, 0, 0, 0, 0, 0]);
        message.extend(route_flags.to_ne_bytes());
        if let Some(to) = to {
            message.extend(8_u16.to_ne_bytes());
            message.extend(RTA_DST.to_ne_bytes());
            message.extend(to.octets());
        }
        self.socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
        Ok(())
    }
}

impl AsFd for Routes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages of a datagram, by kind and body.
fn each(datagram: &[u8], mut take: impl FnMut(u16, &[u8])) {
    let mut rest = datagram;
    while let Some(length) = u16_at(rest, 0).map(usize::from).filter(|length| *length >= HEADER) {
        let Some(message) = rest.get(..length) else { return };
        take(u16_at(message, 4).unwrap_or_default(), &message[HEADER..]);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn take_route(kind: u16, body: &[u8], take: &mut impl FnMut(Route)) {
    if kind != RTM_NEWROUTE && kind != RTM_DELROUTE {
        return;
    }
    let Some((&[2, length, _, _, TABLE_MAIN, ..], rest)) = body.split_first_chunk::<ROUTE_HEADER>() else {
        return;
    };
    let (mut prefix, mut gateways) = (Ipv4Addr::UNSPECIFIED, Vec::new());
    for (kind, value) in attributes(rest) {
        match kind {
            RTA_DST => prefix = address(value).unwrap_or(prefix),
            RTA_GATEWAY => gateways.extend(address(value)),
            RTA_MULTIPATH => gateways = gateways_of(value),
            _ => {}
        }
    }
    take(Route { prefix, length, is_there: kind == RTM_NEWROUTE, gateways });
}

/// Gateways of `rtnexthop`s, each with its length in front and attributes of its own.
fn gateways_of(mut hops: &[u8]) -> Vec<Ipv4Addr> {
    let mut gateways = Vec::new();
    while let Some(size) = u16_at(hops, 0).map(usize::from).filter(|size| *size >= HOP_HEADER) {
        let of_hop = attributes(hops.get(HOP_HEADER..size).unwrap_or_default());
        gateways
            .extend(of_hop.filter(|(kind, _)| *kind == RTA_GATEWAY).filter_map(|(_, value)| address(value)));
        hops = hops.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    gateways
}

/// Attributes by kind.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let size = u16_at(rest, 0).map(usize::from)?;
        let (kind, value) = (u16_at(rest, 2)?, rest.get(4..size)?);
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(octets.get(at..)?.first_chunk().copied()?))
}
