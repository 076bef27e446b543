//! What is the largest packet that comes through to an address, and back? Asked with ICMP echo of several sizes
//! that nobody on the way may cut.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Longest wait for the answers of one round.
const ROUND: Duration = Duration::from_millis(800);
/// What links between hosts commonly carry.
const STEPS: [u32; 22] = [
    8_950, 8_900, 8_000, 4_000, 2_000, 1_500, 1_492, 1_480, 1_476, 1_472, 1_460, 1_450, 1_440, 1_430, 1_420,
    1_400, 1_380, 1_350, 1_300, 1_200, 1_100, 1_000,
];
/// Type, code, checksum, identifier, sequence number.
const ECHO_HEADER: usize = 8;

/// The largest packet up to `limit` octets, IP header included, that `address` answers; `None` if it answers none.
///
/// # Errors
/// This process may not send echo requests, or there is no route.
pub(crate) fn largest_answered(address: IpAddr, interface: u32, limit: u32) -> io::Result<Option<u32>> {
    let pinger = Pinger::to(address, interface)?;
    // What every path of the family has to carry.
    let least = limit.min(if address.is_ipv4() { 576 } else { 1_280 });
    let first = pinger.round(&[least, limit]);
    if !first.contains(&least) {
        return Ok(first.into_iter().max());
    }
    if first.contains(&limit) {
        return Ok(Some(limit));
    }
    let mut steps: Vec<u32> = STEPS.into_iter().filter(|step| (least + 1..limit).contains(step)).collect();
    // Once more: one packet may be lost for other reasons.
    steps.push(limit);
    Ok(pinger.round(&steps).into_iter().max().or(Some(least)))
}

/// Who is on the way to `address`: for each lifetime from 1 on the one that answered, the destination last. Routers
/// that keep silent, and a destination that does, are `None`.
///
/// # Errors
/// This process may not open a raw socket.
pub(crate) fn hops(address: IpAddr, most: u8) -> io::Result<Vec<Option<IpAddr>>> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let token: [u8; 2] = rand::random();
    for lifetime in 1..=most {
        match address {
            IpAddr::V4(_) => socket.set_ttl_v4(lifetime.into())?,
            IpAddr::V6(_) => socket.set_unicast_hops_v6(lifetime.into())?,
        }
        // Where one cannot be sent, the others cannot either, and nobody answers.
        let _sent = socket.send_to(&echo(address, token, lifetime), &SocketAddr::new(address, 0).into());
    }
    // A datagram socket of the standard library tells who sent what it read.
    let socket = UdpSocket::from(OwnedFd::from(socket));
    let deadline = Instant::now() + ROUND;
    let (mut hops, mut last) = (vec![None; usize::from(most)], usize::from(most));
    let mut buffer = [0; 2_048];
    while hops[..last].iter().any(Option::is_none) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            break;
        }
        let Ok((length, sender)) = socket.recv_from(&mut buffer) else { continue };
        let Some((lifetime, end)) = answered(&buffer[..length], address, token) else { continue };
        let place = usize::from(lifetime).wrapping_sub(1);
        if let Some(hop) = hops.get_mut(place) {
            *hop = Some(sender.ip());
            if end == End::Reached {
                last = last.min(place + 1);
            }
        }
    }
    let known = hops[..last].iter().rposition(Option::is_some).map_or(0, |place| place + 1);
    hops.truncate(if known == last { last } else { (known + 1).min(last) });
    Ok(hops)
}

/// Whether an answer ends the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Reached,
    OnTheWay,
}

/// An echo request whose sequence number is its lifetime.
fn echo(address: IpAddr, token: [u8; 2], lifetime: u8) -> Vec<u8> {
    let kind = if address.is_ipv4() { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0, token[0], token[1], 0, lifetime];
    packet.extend_from_slice(&[0; 24]);
    if address.is_ipv4() {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The lifetime of the request that a packet answers: an echo reply, or an error that quotes it.
fn answered(packet: &[u8], address: IpAddr, token: [u8; 2]) -> Option<(u8, End)> {
    let beyond_ip = |packet: &'_ [u8]| {
        if address.is_ipv4() { usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4 } else { 40 }
    };
    let icmp = if address.is_ipv4() { packet.get(beyond_ip(packet)..)? } else { packet };
    let (reply, request, unreachable, exceeded) =
        if address.is_ipv4() { (0, 8, 3, 11) } else { (129, 128, 1, 3) };
    let kind = *icmp.first()?;
    let (echo, end) = if kind == reply {
        (icmp, End::Reached)
    } else if kind == exceeded || kind == unreachable {
        let quoted = icmp.get(ECHO_HEADER..)?;
        let quoted = quoted.get(beyond_ip(quoted)..)?;
        if *quoted.first()? != request {
            return None;
        }
        (quoted, if kind == exceeded { End::OnTheWay } else { End::Reached })
    } else {
        return None;
    };
    (echo.get(4..6)? == token).then_some((*echo.get(7)?, end))
}

/// An open socket for echo requests.
struct Pinger {
    socket: Socket,
    family: IpAddr,
    /// The IP header is part of what is read.
    with_ip_header: bool,
    /// What tells our answers from those to others.
    token: [u8; 8],
}

impl Pinger {
    fn to(address: IpAddr, interface: u32) -> io::Result<Self> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        // With CAP_NET_RAW, or else where net.ipv4.ping_group_range allows it.
        let raw = Socket::new(domain, Type::RAW, Some(protocol));
        let with_ip_header = raw.is_ok() && address.is_ipv4();
        let socket = raw.or_else(|_| Socket::new(domain, Type::DGRAM, Some(protocol)))?;
        // Sent whole, whatever the kernel has learned of the path before.
        let target: SocketAddr = match address {
            IpAddr::V4(_) => {
                set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
                (address, 0).into()
            }
            IpAddr::V6(address) => {
                set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
                let scope = if address.is_unicast_link_local() { interface } else { 0 };
                SocketAddrV6::new(address, 0, 0, scope).into()
            }
        };
        socket.connect(&target.into())?;
        Ok(Self { socket, family: address, with_ip_header, token: rand::random() })
    }

    /// Sends packets of these sizes at once, and returns those that were answered in time.
    fn round(&self, sizes: &[u32]) -> Vec<u32> {
        let deadline = Instant::now() + ROUND;
        for size in sizes {
            // One that the own link refuses is one that does not come through.
            let _sent = self.socket.send(&self.request(*size));
        }
        let mut answered = Vec::new();
        let mut buffer = vec![0; 65_536];
        while answered.len() < sizes.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                break;
            }
            // What routers say of a packet that was too large comes as an error; others may still be answered.
            let Ok(length) = (&self.socket).read(&mut buffer) else { continue };
            if let Some(size) = self.answer(&buffer[..length])
                && sizes.contains(&size)
                && !answered.contains(&size)
            {
                answered.push(size);
            }
        }
        answered
    }

    fn ip_header(&self) -> usize {
        if self.family.is_ipv4() { 20 } else { 40 }
    }

    /// An echo request that is `size` octets with its IP header.
    fn request(&self, size: u32) -> Vec<u8> {
        let length = (size as usize).saturating_sub(self.ip_header()).max(ECHO_HEADER + self.token.len());
        let mut packet = vec![0; length];
        packet[0] = if self.family.is_ipv4() { 8 } else { 128 };
        packet[4..6].copy_from_slice(&self.token[..2]);
        packet[ECHO_HEADER..ECHO_HEADER + self.token.len()].copy_from_slice(&self.token);
        if self.family.is_ipv4() {
            // The kernel does it for ICMPv6 alone (RFC 3542 §3.1).
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// The size of the packet, if it answers one of ours.
    fn answer(&self, packet: &[u8]) -> Option<u32> {
        let packet =
            if self.with_ip_header { packet.get(usize::from(packet.first()? & 0xf) * 4..)? } else { packet };
        let reply = if self.family.is_ipv4() { 0 } else { 129 };
        let token = packet.get(ECHO_HEADER..ECHO_HEADER + self.token.len())?;
        let ours = packet[0] == reply && token == self.token;
        ours.then(|| u32::try_from(packet.len() + self.ip_header()).ok()).flatten()
    }
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words =
        packet.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_an_answer_to_the_request_that_it_quotes() {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let request = echo(address, [7, 9], 3);
        let header = [0x45; 20];
        let mut exceeded = [&header[..], &[11, 0, 0, 0, 0, 0, 0, 0], &header[..], &request[..8]].concat();
        assert_eq!(answered(&exceeded, address, [7, 9]), Some((3, End::OnTheWay)));
        assert_eq!(answered(&exceeded, address, [7, 8]), None, "somebody else's");
        exceeded[20] = 3;
        assert_eq!(answered(&exceeded, address, [7, 9]), Some((3, End::Reached)), "nobody is beyond");
        let mut reply = [&header[..], &request[..]].concat();
        assert_eq!(answered(&reply, address, [7, 9]), None, "a request of ours that came back is no answer");
        reply[20] = 0;
        assert_eq!(answered(&reply, address, [7, 9]), Some((3, End::Reached)));
        assert_eq!(answered(&reply[..22], address, [7, 9]), None, "cut short");
    }

    #[test]
    fn a_packet_with_its_checksum_sums_up_to_nothing() {
        let mut packet = vec![8, 0, 0, 0, 0x12, 0x34, 0, 0, 1, 2, 3];
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum(&packet), 0);
    }
}
