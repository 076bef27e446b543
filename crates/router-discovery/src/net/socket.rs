//! A raw ICMPv6 socket for one interface.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::link::Received;
use crate::wire::{ADVERTISEMENT, ALL_NODES, ALL_ROUTERS, Message, SOLICITATION};

/// Longest message that is read, in octets: a page of options. A longer one is cut and cannot be parsed.
pub(super) const LONGEST: usize = 4096;

/// The hop limit of neighbour discovery: no router lets a packet through without lowering it.
const HOPS: u32 = 255;

pub(super) struct RouterSocket {
    socket: AsyncFd<Socket>,
    index: u32,
}

impl RouterSocket {
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`; else what the system says.
    pub(super) fn open(name: &str, index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.attach_filter(&only_router_discovery())?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(HOPS)?;
        socket.set_unicast_hops_v6(HOPS)?;
        socket.set_multicast_loop_v6(false)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        for group in [ALL_NODES, ALL_ROUTERS] {
            match socket.join_multicast_v6(&group, index) {
                // The kernel itself is in these groups, and it may say so.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                _ => {}
            }
        }
        socket.set_nonblocking(true)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for descriptors that lie; a Socket is its own"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket, index })
    }

    /// Sends a message. What the queue has no room for is lost, as any packet may be.
    pub(super) fn send(&self, to: Ipv6Addr, message: &Message) -> io::Result<()> {
        let mut octets = Vec::with_capacity(32);
        message.encode(&mut octets);
        let to = SockAddr::from(SocketAddrV6::new(to, 0, 0, self.index));
        match self.socket.get_ref().send_to(&octets, &to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// The next message; nothing for one without a sender or a hop limit.
    pub(super) async fn receive<'a>(
        &self,
        buffer: &'a mut [u8; LONGEST],
    ) -> io::Result<Option<Received<'a>>> {
        let (length, source, hop_limit) =
            self.socket.async_io(Interest::READABLE, |socket| read(socket, buffer)).await?;
        let (Some(source), Some(hop_limit)) = (source, hop_limit) else { return Ok(None) };
        Ok(Some(Received { source, hop_limit, octets: &buffer[..length.min(LONGEST)] }))
    }
}

fn read(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Option<Ipv6Addr>, Option<u8>)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut control = nix::cmsg_space!(i32);
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let hop_limit = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
        _ => None,
    });
    Ok((message.bytes, message.address.map(|source| source.ip()), hop_limit))
}

/// A program for the kernel that lets through what begins with one of the two types: nobody is woken by pings.
fn only_router_discovery() -> [SockFilter; 5] {
    /// `BPF_LD | BPF_B | BPF_ABS`.
    const LOAD_OCTET: u16 = 0x30;
    /// `BPF_JMP | BPF_JEQ | BPF_K`.
    const IF_EQUAL: u16 = 0x15;
    /// `BPF_RET | BPF_K`.
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_OCTET, 0, 0, 0),
        SockFilter::new(IF_EQUAL, 1, 0, SOLICITATION.into()),
        SockFilter::new(IF_EQUAL, 0, 1, ADVERTISEMENT.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
