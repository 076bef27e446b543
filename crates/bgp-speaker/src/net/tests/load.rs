//! Many routes at once: whoever has nothing to do with them must not feel them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use muslin_bgp_packet::frame::encode_keepalive;
use muslin_bgp_packet::{Asn, Family, MessageType};
use tokio::io::AsyncWriteExt;

use super::raw::{RawPeer, update};
use super::{free_port, start};
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

/// UPDATEs with attributes of their own, one prefix each.
fn table() -> Vec<u8> {
    (0..PREFIXES).flat_map(update).collect()
}

#[tokio::test]
async fn fault_39_keepalives_are_on_time_while_a_table_arrives() {
    let port = free_port();
    let speaker = start(router(port));
    let mut feeder = RawPeer::establish(111, 101, port, HOLD_SECONDS).await;
    let mut observer = RawPeer::establish(112, 101, port, HOLD_SECONDS).await;
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
