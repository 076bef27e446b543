//! What is the largest packet that comes through to an address, and back? Asked with ICMP echo of several sizes
//! that nobody on the way may cut.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
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
    fn a_packet_with_its_checksum_sums_up_to_nothing() {
        let mut packet = vec![8, 0, 0, 0, 0x12, 0x34, 0, 0, 1, 2, 3];
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum(&packet), 0);
    }
}
