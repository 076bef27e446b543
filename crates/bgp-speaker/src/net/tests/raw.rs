//! A peer by hand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use muslin_bgp_packet::frame::{MAX_EXTENDED_LENGTH, encode_keepalive};
use muslin_bgp_packet::{Asn, Capability, Family, MessageType, Open, next_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

/// A peer of the test's own: a TCP connection and what came on it.
pub(super) struct RawPeer {
    pub(super) stream: TcpStream,
    buffer: BytesMut,
}

impl RawPeer {
    /// Peer `host` of a speaker on 127.0.0.`speaker`, after both OPENs and KEEPALIVEs.
    pub(super) async fn establish(host: u8, speaker: u8, port: u16, hold_seconds: u16) -> Self {
        let address: IpAddr = Ipv4Addr::new(127, 0, 0, host).into();
        let target = SocketAddr::new(Ipv4Addr::new(127, 0, 0, speaker).into(), port);
        let stream = loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(address, 0)).unwrap();
            if let Ok(stream) = socket.connect(target).await {
                break stream;
            }
        };
        let mut peer = Self { stream, buffer: BytesMut::new() };
        let asn = Asn(65000 + u32::from(host));
        let family = Capability::Multiprotocol(Family::Ipv4Unicast.into());
        let open = Open::new(asn, hold_seconds, Ipv4Addr::new(192, 0, 2, host), [family]);
        let mut octets = BytesMut::new();
        open.encode(&mut octets);
        encode_keepalive(&mut octets);
        peer.stream.write_all(&octets).await.unwrap();
        assert_eq!(peer.next().await, MessageType::Open);
        assert_eq!(peer.next().await, MessageType::Keepalive);
        peer
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> MessageType {
        loop {
            if let Some(frame) = next_frame(&mut self.buffer, MAX_EXTENDED_LENGTH).unwrap() {
                return frame.kind;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.unwrap().unwrap();
            assert_ne!(read, 0, "the speaker hung up");
        }
    }
}

/// An UPDATE that announces the prefix of this number with attributes of its own, from AS 65111.
pub(super) fn update(number: u32) -> Vec<u8> {
    let [_, b, c, d] = number.to_be_bytes();
    let mut octets = vec![0xff; 16];
    octets.extend([0, 54, 2, 0, 0, 0, 27]);
    octets.extend([0x40, 1, 1, 0]);
    octets.extend([0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x57]);
    octets.extend([0x40, 3, 4, 192, 0, 2, 111]);
    octets.extend([0x80, 4, 4, 0, b, c, d]);
    octets.extend([24, b + 20, c, d]);
    octets
}
