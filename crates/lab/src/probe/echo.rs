//! ICMP echo (RFC 792, RFC 4443 §4) on a raw socket.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::Asker;

/// Echo requests from one address; the identifier tells our replies from those of others.
pub(super) struct EchoAsker {
    socket: UdpSocket,
    identifier: u16,
    form: Form,
}

/// Types of the messages, and whether the kernel hands over the IP header.
struct Form {
    request: u8,
    reply: u8,
    with_header: bool,
}

impl EchoAsker {
    pub(super) fn new(own: IpAddr) -> io::Result<Self> {
        let (domain, protocol, form) = match own {
            IpAddr::V4(_) => {
                (Domain::IPV4, Protocol::ICMPV4, Form { request: 8, reply: 0, with_header: true })
            }
            IpAddr::V6(_) => {
                (Domain::IPV6, Protocol::ICMPV6, Form { request: 128, reply: 129, with_header: false })
            }
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(own, 0).into())?;
        // Sending to and receiving from an address are the same calls for raw sockets as for UDP.
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, identifier: rand::random(), form })
    }

    fn message(&self, index: u16) -> [u8; 16] {
        let mut message = [0; 16];
        message[0] = self.form.request;
        message[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        message[6..8].copy_from_slice(&index.to_be_bytes());
        if self.form.with_header {
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        // For ICMPv6 the kernel fills it in, as it knows the pseudo-header (RFC 3542 §3.1).
        message
    }

    fn read(&self, packet: &[u8]) -> Option<u16> {
        let offset = if self.form.with_header { usize::from(packet.first()? & 0xf) * 4 } else { 0 };
        let message = packet.get(offset..)?.get(..8)?;
        let identifier = u16::from_be_bytes([message[4], message[5]]);
        let ours = message[0] == self.form.reply && identifier == self.identifier;
        ours.then(|| u16::from_be_bytes([message[6], message[7]]))
    }
}

impl Asker for EchoAsker {
    async fn send(&self, target: IpAddr, index: u16) -> io::Result<()> {
        self.socket.send_to(&self.message(index), SocketAddr::new(target, 0)).await.map(drop)
    }

    async fn receive(&self) -> io::Result<(u16, Option<IpAddr>)> {
        let mut buffer = [0; 256];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).await?;
            if let Some(index) = self.read(&buffer[..length]) {
                return Ok((index, None));
            }
        }
    }
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let sum: u32 =
        message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (folded + (folded >> 16)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        let message = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&message), !0xddf2);
    }
}
