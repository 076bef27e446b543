//! A witness: every IP packet that a namespace sends or receives, as the network drivers see it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use muslin_netns::Namespace;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::LabError;

/// What a packet carries, as far as the proofs care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carried {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// An ICMP echo request.
    EchoRequest,
    /// An ICMP echo reply.
    EchoReply,
    /// IPv4 or IPv6 inside, or a protocol that carries other packets.
    Tunnel,
    /// Anything else.
    Other,
}

/// Which way a packet went past the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Received on the interface.
    In,
    /// Sent on the interface.
    Out,
}

/// One kind of packet that was seen; equal ones are counted once.
///
/// In this order, so that all sightings of packets to one destination, or between two addresses, lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// Destination address.
    pub destination: IpAddr,
    /// What is inside.
    pub carried: Carried,
    /// Received or sent.
    pub direction: Direction,
    /// Source address.
    pub source: IpAddr,
    /// Interface index in the namespace.
    pub interface: u32,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// How often each kind of packet was seen.
pub type Sightings = BTreeMap<Sighting, u32>;

/// The sightings of such packets from any of these sources.
pub fn matching(
    seen: &Sightings,
    destination: IpAddr,
    carried: Carried,
    direction: Direction,
    sources: RangeInclusive<IpAddr>,
) -> impl Iterator<Item = &Sighting> {
    let first = Sighting { destination, carried, direction, source: *sources.start(), interface: 0, ttl: 0 };
    let last = Sighting { source: *sources.end(), interface: u32::MAX, ttl: u8::MAX, ..first };
    seen.range(first..=last).map(|(sighting, _)| sighting)
}

/// Most different sightings that are kept: far more than all probes of the largest lab make.
const LIMIT: usize = 1 << 20;
/// Bytes of a packet that are looked at: the longest IPv4 header and the start of what follows.
const SNAP: usize = 128;
/// Receive buffer; the kernel caps it at its own maximum.
const BUFFER: usize = 4 << 20;

const PACKET_OUTGOING: u8 = 4;

/// A packet socket in a namespace and what it saw so far.
#[derive(Debug)]
pub struct Witness {
    shared: Arc<Shared>,
    reader: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    seen: Mutex<Sightings>,
}

impl Witness {
    /// Begins to watch all interfaces of `namespace`; packets are fetched by a task of the current runtime.
    ///
    /// # Errors
    /// [`LabError::Probe`] without `CAP_NET_RAW`.
    pub fn start(namespace: &Namespace) -> Result<Self, LabError> {
        let failed = |errno: nix::Error| LabError::probe(namespace.name())(errno.into());
        let socket = namespace.run(|| {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)?;
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
            Ok(socket)
        })?;
        let shared = Arc::new(Shared { socket: socket.map_err(failed)?, seen: Mutex::default() });
        let source = Arc::clone(&shared);
        // Only its readiness is used, which is the same for every kind of socket.
        let ready = shared.socket.try_clone().map(std::net::UdpSocket::from).and_then(UdpSocket::from_std);
        let ready = ready.map_err(LabError::probe(namespace.name()))?;
        let reader = tokio::spawn(async move {
            while ready.readable().await.is_ok() {
                // "Would block" means that all is fetched; tokio then waits for the next packet.
                let _: io::Result<()> = ready.try_io(Interest::READABLE, || {
                    source.drain();
                    Err(io::ErrorKind::WouldBlock.into())
                });
            }
        });
        Ok(Self { shared, reader })
    }

    /// All that was seen up to now, including what still waits in the socket; begins anew.
    pub fn take(&self) -> Sightings {
        self.shared.drain();
        std::mem::take(&mut *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Shared {
    fn drain(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut packet = [0; SNAP];
        // Errors other than "nothing left" are a link going down, which the next read outlives.
        while let Ok((length, origin)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut packet) {
            let Some(origin) = origin else { continue };
            if let Some(sighting) = read(&packet[..length.min(SNAP)], &origin)
                && (seen.len() < LIMIT || seen.contains_key(&sighting))
            {
                *seen.entry(sighting).or_default() += 1;
            }
        }
    }
}

fn read(packet: &[u8], origin: &LinkAddr) -> Option<Sighting> {
    let (source, destination, protocol, ttl, payload) = match packet.first()? >> 4 {
        4 => {
            let header = packet.get(..20)?;
            let source: [u8; 4] = header[12..16].try_into().ok()?;
            let destination: [u8; 4] = header[16..20].try_into().ok()?;
            let payload = packet.get(usize::from(header[0] & 0xf) * 4..)?;
            (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into(), header[9], header[8], payload)
        }
        6 => {
            let header = packet.get(..40)?;
            let source: [u8; 16] = header[8..24].try_into().ok()?;
            let destination: [u8; 16] = header[24..40].try_into().ok()?;
            (
                Ipv6Addr::from(source).into(),
                Ipv6Addr::from(destination).into(),
                header[6],
                header[7],
                &packet[40..],
            )
        }
        _ => return None,
    };
    let direction = if origin.pkttype() == PACKET_OUTGOING { Direction::Out } else { Direction::In };
    let interface = u32::try_from(origin.ifindex()).ok()?;
    Some(Sighting { interface, direction, source, destination, carried: classify(protocol, payload), ttl })
}

/// Ports by which VXLAN, old VXLAN, Geneve and `WireGuard` are known.
const TUNNEL_PORTS: [u16; 4] = [4789, 8472, 6081, 51820];

fn classify(protocol: u8, payload: &[u8]) -> Carried {
    match (protocol, payload) {
        (6, _) => Carried::Tcp,
        (17, [_, _, high, low, ..]) if TUNNEL_PORTS.contains(&u16::from_be_bytes([*high, *low])) => {
            Carried::Tunnel
        }
        (17, _) => Carried::Udp,
        (1, [8, ..]) | (58, [128, ..]) => Carried::EchoRequest,
        (1, [0, ..]) | (58, [129, ..]) => Carried::EchoReply,
        // IP in IP, IPv6 in IP, GRE, ESP, AH, L2TP, MPLS in IP.
        (4 | 41 | 47 | 50 | 51 | 115 | 137, _) => Carried::Tunnel,
        _ => Carried::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_told_from_what_they_may_carry() {
        assert_eq!(classify(17, &[0x30, 0x39, 0x12, 0xb5, 0, 0]), Carried::Tunnel, "VXLAN");
        assert_eq!(classify(17, &[0x30, 0x39, 0x1e, 0x61, 0, 0]), Carried::Udp);
        assert_eq!(classify(4, &[]), Carried::Tunnel);
        assert_eq!(classify(58, &[135, 0]), Carried::Other, "a neighbour solicitation");
        assert_eq!(classify(1, &[8, 0]), Carried::EchoRequest);
    }
}
