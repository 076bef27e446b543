//! Conversations of addresses that are no longer a pod's: a pod that gets them later must not inherit them.
//!
//! The kernel could search by itself (`CTA_FILTER`), but for IPv6 its comparison is the wrong way round up to
//! Linux 6.18 at least: it would forget the conversations of everybody else. So they are listed, and forgotten one
//! by one.

use std::net::IpAddr;

use crate::netlink::{Batch, Message, NetlinkError, Socket, attributes, find, read_address};

/// `NFNL_SUBSYS_CTNETLINK << 8`, and the requests of that subsystem.
const SUBSYSTEM: u16 = 0x0100;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
/// `struct nfgenmsg`
const HEADER: usize = 4;
// Attributes of linux/netfilter/nfnetlink_conntrack.h.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;

type IsOfFamily = fn(&IpAddr) -> bool;
const FAMILIES: [(u8, IsOfFamily); 2] =
    [(libc::AF_INET as u8, IpAddr::is_ipv4), (libc::AF_INET6 as u8, IpAddr::is_ipv6)];

/// Deletions to a batch.
const BATCH: usize = 500;

/// Forgets every tracked connection that one of `addresses` opened or answered.
pub(crate) fn forget(addresses: &[IpAddr]) -> Result<(), NetlinkError> {
    let mut socket = Socket::netfilter()?;
    for (family, is_of_it) in FAMILIES {
        if !addresses.iter().any(is_of_it) {
            continue;
        }
        let header = [family, 0, 0, 0];
        let theirs = socket.dump("list connections", GET, &header, |entry| {
            let concerned = [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY].map(|tuple| source(entry, tuple));
            concerned.into_iter().flatten().any(|address| addresses.contains(&address)).then(|| entry.clone())
        })?;
        for some in theirs.chunks(BATCH) {
            forget_each(&mut socket, header, some)?;
        }
    }
    Ok(())
}

fn forget_each(socket: &mut Socket, header: [u8; HEADER], entries: &[Message]) -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    for entry in entries {
        batch.push("forget a connection", (DELETE, 0), &header, |m| {
            // What identifies it: the id keeps a successor with the same addresses and ports from harm.
            for (kind, value) in entry.attributes(HEADER) {
                if matches!(kind, CTA_TUPLE_ORIG | CTA_ID | CTA_ZONE) {
                    m.bytes(kind, value);
                }
            }
        });
    }
    match socket.execute(batch) {
        // One that ended by itself; all others were worked on.
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome.map(|_| ()),
    }
}

/// The address that sends in one direction of a connection.
fn source(entry: &Message, tuple: u16) -> Option<IpAddr> {
    let tuple = find(entry.attributes(HEADER), tuple)?;
    let addresses = find(attributes(tuple), CTA_TUPLE_IP)?;
    let mut sources = attributes(addresses);
    sources
        .find(|(kind, _)| matches!(*kind, CTA_IP_V4_SRC | CTA_IP_V6_SRC))
        .and_then(|(_, octets)| read_address(octets))
}
