//! The kernel's events, without those that we cause ourselves.

use std::io;

use socket2::SockFilter;

use crate::socket::RouteSocket;
use crate::wire::constants::{
    AF_INET6, NTF_ROUTER, RTM_DELNEIGH, RTM_NEWNEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_NEXTHOP,
};

// Instructions of classic BPF (linux/filter.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Opens the socket that listens; `writer` is the port of the socket that we write with.
pub(crate) fn open(writer: u32, buffer: usize) -> io::Result<RouteSocket> {
    let mut socket = RouteSocket::open()?;
    socket.set_receive_buffer(buffer);
    if let Err(error) = socket.attach_filter(&filter(writer)) {
        tracing::debug!(%error, "kernel events are not filtered in the kernel");
    }
    let groups = [
        RTNLGRP_LINK,
        RTNLGRP_NEIGH,
        RTNLGRP_IPV4_IFADDR,
        RTNLGRP_IPV4_ROUTE,
        RTNLGRP_IPV6_IFADDR,
        RTNLGRP_IPV6_ROUTE,
    ];
    for group in groups {
        socket.join(group)?;
    }
    if let Err(error) = socket.join(RTNLGRP_NEXTHOP) {
        tracing::debug!(%error, "the kernel tells nothing of next-hop objects");
    }
    Ok(socket)
}

/// A classic BPF program over `struct nlmsghdr` and what follows it. It drops what carries our writer's
/// port (hundreds of thousands of echoes in a full load) and every neighbour that is no IPv6 router (each
/// ARP entry of each pod).
fn filter(writer: u32) -> [SockFilter; 11] {
    // Loads are in network byte order, netlink in the host's.
    let word = |value: u32| u32::from_be_bytes(value.to_ne_bytes());
    let half = |value: u16| u32::from(u16::from_be_bytes(value.to_ne_bytes()));
    [
        SockFilter::new(LOAD_WORD, 0, 0, 12), // nlmsg_pid
        SockFilter::new(JUMP_EQUAL, 8, 0, word(writer)),
        SockFilter::new(LOAD_HALF, 0, 0, 4), // nlmsg_type
        SockFilter::new(JUMP_EQUAL, 1, 0, half(RTM_NEWNEIGH)),
        SockFilter::new(JUMP_EQUAL, 0, 4, half(RTM_DELNEIGH)),
        SockFilter::new(LOAD_BYTE, 0, 0, 16), // ndm_family
        SockFilter::new(JUMP_EQUAL, 0, 3, u32::from(AF_INET6)),
        SockFilter::new(LOAD_BYTE, 0, 0, 26), // ndm_flags
        SockFilter::new(JUMP_SET, 0, 1, u32::from(NTF_ROUTER)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
