//! What the kernel would do with a packet: its own look-up, asked for one destination.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::path::Family;
use crate::socket::RouteSocket;
use crate::view::Link;
use crate::wire::constants::{
    NLM_F_REQUEST, NLMSG_ERROR, RTA_DST, RTA_IIF, RTA_SRC, RTM_F_FIB_MATCH, RTM_F_LOOKUP_TABLE, RTM_GETLINK,
    RTM_GETROUTE, RTM_NEWLINK, RTM_NEWROUTE, RTN_LOCAL, RTN_UNICAST,
};
use crate::wire::link::parse_link;
use crate::wire::message::{MessageBuffer, messages};
use crate::wire::refusal::{KernelRefusal, parse_error};
use crate::wire::route::RouteMessage;

/// A packet that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it is to go.
    pub destination: IpAddr,
    /// Where it comes from, if that is to be heeded.
    pub source: Option<IpAddr>,
    /// Index of the interface that it comes in by; nothing for one that this host sends.
    pub input: Option<u32>,
}

/// What the kernel does with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// It is for this host itself.
    pub local: bool,
    /// The router that it is sent to; nothing when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the interface that it leaves by.
    pub interface: u32,
    /// Largest packet on this way as far as the kernel knows, where it is not the link's, in octets.
    pub mtu: Option<u32>,
    /// The route that decides, and its protocol number; older kernels do not tell.
    pub route: Option<(IpNet, u8)>,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The kernel would drop the packet.
    #[error("{0}")]
    Dropped(KernelRefusal),
    /// It could not be asked.
    #[error("the kernel's routes: {0}")]
    Io(#[from] io::Error),
}

/// Asks the kernel of the calling thread's network namespace. Needs no privilege.
///
/// # Errors
/// [`LookupError::Dropped`] with the kernel's reason if the packet goes nowhere.
pub fn look_up(packet: Packet) -> Result<Decision, LookupError> {
    let answer = ask(packet, RTM_F_LOOKUP_TABLE)?;
    let hop = answer.hops.first();
    // The answer to the packet names the packet; which route it was is a question of its own.
    let route = ask(packet, RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH).ok();
    Ok(Decision {
        local: answer.kind == RTN_LOCAL,
        gateway: hop.and_then(|hop| hop.gateway),
        interface: hop.map_or(0, |hop| hop.interface),
        mtu: answer.mtu,
        route: route.map(|route| (route.prefix, route.protocol)),
    })
}

/// The link of this index, in the network namespace of the calling thread.
pub fn link_of(index: u32) -> Option<Link> {
    // `struct ifinfomsg`, with nothing but the index.
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut request = MessageBuffer::default();
    request.message(RTM_GETLINK, NLM_F_REQUEST, 1, &fixed, |_| {});
    let mut socket = RouteSocket::open().ok()?;
    socket.send(request.bytes()).ok()?;
    let datagram = socket.receive().ok()??;
    messages(datagram)
        .find(|message| message.kind == RTM_NEWLINK)
        .and_then(|message| parse_link(message.body))
}

fn ask(packet: Packet, flags: u32) -> Result<RouteMessage, LookupError> {
    let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let mut fixed = [0; 12];
    fixed[0] = Family::of(packet.destination).number();
    fixed[1] = bits(packet.destination);
    fixed[2] = packet.source.map_or(0, bits);
    fixed[8..].copy_from_slice(&flags.to_ne_bytes());
    let mut request = MessageBuffer::default();
    request.message(RTM_GETROUTE, NLM_F_REQUEST, 1, &fixed, |attributes| {
        attributes.attribute_address(RTA_DST, packet.destination);
        if let Some(source) = packet.source {
            attributes.attribute_address(RTA_SRC, source);
        }
        if let Some(input) = packet.input {
            attributes.attribute_u32(RTA_IIF, input);
        }
    });
    let mut socket = RouteSocket::open()?;
    socket.send(request.bytes())?;
    // The kernel has answered by the time that the request is sent.
    while let Some(datagram) = socket.receive()? {
        for message in messages(datagram) {
            match message.kind {
                NLMSG_ERROR => parse_error(&message).map_err(LookupError::Dropped)?,
                RTM_NEWROUTE => {
                    let route = RouteMessage::read(message.body);
                    let route = route.filter(|route| matches!(route.kind, RTN_UNICAST | RTN_LOCAL));
                    return route.ok_or_else(|| {
                        LookupError::Dropped(KernelRefusal::from_errno(rustix::io::Errno::HOSTUNREACH))
                    });
                }
                _ => {}
            }
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
}
