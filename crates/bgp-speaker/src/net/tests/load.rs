//! Many routes at once: whoever has nothing to do with them must not feel them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use muslin_bgp_packet::frame::{MAX_EXTENDED_LENGTH, encode_keepalive};
use muslin_bgp_packet::{Asn, Capability, Family, MessageType, Open, next_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{PATIENCE, free_port, start};
use crate::config::{ConnectMode, ListenRange, Policy, RemoteAs, SessionConfig, SpeakerConfig};
use crate::net::Shutdown;

/// Prefixes that the feeder announces, in UPDATEs of one prefix each: the dearest way.
const PREFIXES: u32 = 40_000;

const HOLD_SECONDS: u16 = 3;

/// A speaker on 127.0.0.101 that takes routes from 127.0.0.111, and sends none to 127.0.0.112.
fn router(port: u16) -> SpeakerConfig {
    let session = SessionConfig {
        hold_time: Duration::from_secs(HOLD_SECONDS.into()),
        families: vec![Family::Ipv4Unicast],
        connect: ConnectMode::Passive,
        ..SessionConfig::external(RemoteAs::External)
            .with_policies(Policy::accept_all("in"), Policy::reject_all("out"))
    };
    SpeakerConfig {
        listen: vec![SocketAddr::new(Ipv4Addr::new(127, 0, 0, 101).into(), port)],
        listen_ranges: vec![ListenRange::new("127.0.0.0/8".parse().unwrap(), session)],
        ..SpeakerConfig::new(Asn(65101), Ipv4Addr::new(192, 0, 2, 101))
    }
}

/// A peer of the test's own: a TCP connection and what came on it.
struct RawPeer {
    stream: TcpStream,
    buffer: BytesMut,
}

impl RawPeer {
    async fn establish(host: u8, port: u16) -> Self {
        let address: IpAddr = Ipv4Addr::new(127, 0, 0, host).into();
        let target = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 101).into(), port);
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
        let open = Open::new(asn, HOLD_SECONDS, Ipv4Addr::new(192, 0, 2, host), [family]);
        let mut octets = BytesMut::new();
        open.encode(&mut octets);
        encode_keepalive(&mut octets);
        peer.stream.write_all(&octets).await.unwrap();
        assert_eq!(peer.next().await, MessageType::Open);
        assert_eq!(peer.next().await, MessageType::Keepalive);
        peer
    }

    /// The next message.
    async fn next(&mut self) -> MessageType {
        loop {
            if let Some(frame) = next_frame(&mut self.buffer, MAX_EXTENDED_LENGTH).unwrap() {
                return frame.kind;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.unwrap().unwrap();
            assert_ne!(read, 0, "the speaker hung up");
        }
    }
}

/// UPDATEs with attributes of their own, one prefix each.
fn table() -> Vec<u8> {
    let mut octets = Vec::new();
    for number in 0..PREFIXES {
        let [_, b, c, d] = number.to_be_bytes();
        octets.extend([0xff; 16]);
        octets.extend([0, 54, 2, 0, 0, 0, 27]);
        octets.extend([0x40, 1, 1, 0]);
        octets.extend([0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x57]);
        octets.extend([0x40, 3, 4, 192, 0, 2, 111]);
        octets.extend([0x80, 4, 4, 0, b, c, d]);
        octets.extend([24, b + 20, c, d]);
    }
    octets
}

#[tokio::test]
async fn fault_39_keepalives_are_on_time_while_a_table_arrives() {
    let port = free_port();
    let speaker = start(router(port));
    let mut feeder = RawPeer::establish(111, port).await;
    let mut observer = RawPeer::establish(112, port).await;
    assert_eq!(observer.next().await, MessageType::Update, "its End-of-RIB");
    let feeding = tokio::spawn(async move {
        feeder.stream.write_all(&table()).await.unwrap();
        feeder
    });
    let mut keepalive = BytesMut::new();
    encode_keepalive(&mut keepalive);
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        // One of ours for each of theirs.
        assert_eq!(observer.next().await, MessageType::Keepalive);
        longest = longest.max(last.elapsed());
        last = Instant::now();
        observer.stream.write_all(&keepalive).await.unwrap();
        if speaker.look(|speaker, _now| speaker.summary().paths).await.unwrap() == PREFIXES as usize {
            break;
        }
    }
    let hold_time = Duration::from_secs(HOLD_SECONDS.into());
    assert!(longest < hold_time, "silent for {longest:?}: the peer would have given up");
    let _feeder = feeding.await.unwrap();
    speaker.shutdown(Shutdown::Restart).await;
}
