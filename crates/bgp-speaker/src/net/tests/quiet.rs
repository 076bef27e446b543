//! A session that naps wakes up for all but a KEEPALIVE.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use muslin_bgp_packet::{Asn, Family, MessageType};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::raw::{RawPeer, update};
use super::{PATIENCE, free_port, start};
use crate::config::{ConnectMode, ListenRange, Policy, RemoteAs, SessionConfig, SpeakerConfig};
use crate::net::{Shutdown, SpeakerHandle};
use crate::session::ConnId;
use crate::speaker::Speaker;

/// Long enough that no timer comes while we wait.
const HOLD_TIME: Duration = PATIENCE.saturating_mul(9);

/// A speaker on 127.0.0.121 that sends nothing but KEEPALIVEs, so often.
fn router(port: u16, keepalive: Duration) -> SpeakerConfig {
    let session = SessionConfig {
        hold_time: HOLD_TIME,
        keepalive: Some(keepalive),
        families: vec![Family::Ipv4Unicast],
        connect: ConnectMode::Passive,
        ..SessionConfig::external(RemoteAs::External)
            .with_policies(Policy::accept_all("in"), Policy::reject_all("out"))
    };
    SpeakerConfig {
        listen: vec![SocketAddr::new(Ipv4Addr::new(127, 0, 0, 121).into(), port)],
        listen_ranges: vec![ListenRange::new("127.0.0.0/8".parse().unwrap(), session)],
        ..SpeakerConfig::new(Asn(65121), Ipv4Addr::new(192, 0, 2, 121))
    }
}

async fn until(speaker: &SpeakerHandle, condition: impl Fn(&Speaker) -> bool + Copy + Send + 'static) {
    let looks = async {
        while !speaker.look(move |speaker, _now| condition(speaker)).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, looks).await.expect("it comes about");
}

#[tokio::test]
async fn the_end_of_a_message_is_read_at_once_however_short_it_is() {
    let port = free_port();
    let speaker = start(router(port, Duration::from_secs(1)));
    let mut peer = RawPeer::establish(122, 121, port, HOLD_TIME.as_secs() as u16).await;
    assert_eq!(peer.next().await, MessageType::Update, "its End-of-RIB");
    assert_eq!(peer.next().await, MessageType::Keepalive, "it naps since then");
    // The next timer that would look at the socket comes later than we wait.
    speaker.configure(router(port, PATIENCE * 3)).await.unwrap();
    assert_eq!(peer.next().await, MessageType::Keepalive, "the last one of the old pace");

    let update = update(1);
    let (most, end) = update.split_at(update.len() - 4);
    peer.stream.write_all(most).await.unwrap();
    until(&speaker, |speaker| !speaker.is_between_messages(ConnId::accepted(1))).await;
    peer.stream.write_all(end).await.unwrap();
    until(&speaker, |speaker| speaker.summary().paths == 1).await;
    speaker.shutdown(Shutdown::Restart).await;
}
