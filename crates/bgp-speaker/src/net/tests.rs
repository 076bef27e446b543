//! Speakers over the loopback's TCP.

mod load;
mod quiet;
mod raw;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use muslin_bgp_packet::{Asn, Family};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::{ConfigureError, FibUpdate, Shutdown, SpeakerHandle, spawn, spawn_started};
use crate::config::{
    ConfigError, ConnectMode, OriginatedRoute, PeerConfig, Policy, RemoteAs, RouteSource, Secret,
    SessionConfig, SpeakerConfig, TtlMode,
};
use crate::rib::{NextHopResolver, Resolution};
use crate::speaker::{PeerStatus, SpeakerEvent, Start};

/// Generous: the tests wait for events, this only ends those that would wait forever.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every address is on one link, where ours is this one: nobody can send packets to a next hop in 127/8.
struct Loopback(Ipv4Addr);

impl NextHopResolver for Loopback {
    fn resolve(&self, next_hop: IpAddr, _interface: Option<u32>) -> Option<Resolution> {
        Some(Resolution { gateway: next_hop, interface: 1, metric: 0, direct: true })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address == self.0
    }

    fn addresses_of(&self, _interface: u32) -> Vec<IpAddr> {
        vec![self.0.into()]
    }
}

/// Speaker `host` on 127.0.0.`host`, which originates 10.`host`.0.0/16 and has one peer on the same port.
fn config(host: u8, port: u16, peer: u8) -> SpeakerConfig {
    let address = |host| IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
    let session = SessionConfig {
        local_address: Some(address(host)),
        families: vec![Family::Ipv4Unicast],
        connect_retry: Duration::from_millis(500),
        ..SessionConfig::external(RemoteAs::Is(Asn(65000 + u32::from(peer))))
            .with_policies(Policy::accept_all("in"), Policy::accept_all("out"))
    };
    let prefix = format!("10.{host}.0.0/16").parse().unwrap();
    SpeakerConfig {
        listen: vec![SocketAddr::new(address(host), port)],
        peers: vec![PeerConfig { port, ..PeerConfig::new(address(peer), session) }],
        originated: vec![OriginatedRoute::new(prefix, RouteSource::Static, "test")],
        ..SpeakerConfig::new(Asn(65000 + u32::from(host)), Ipv4Addr::new(192, 0, 2, host))
    }
}

/// A port that nobody uses on either address.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(config: SpeakerConfig) -> SpeakerHandle {
    let resolver = Loopback(config.router_id);
    spawn(config, Box::new(resolver)).unwrap()
}

async fn wait_for(events: &mut broadcast::Receiver<SpeakerEvent>, wanted: impl Fn(&SpeakerEvent) -> bool) {
    let search = async { while !wanted(&events.recv().await.unwrap()) {} };
    timeout(PATIENCE, search).await.expect("the event comes");
}

fn is_up(event: &SpeakerEvent) -> bool {
    matches!(event, SpeakerEvent::SessionUp { .. })
}

async fn peer(speaker: &SpeakerHandle) -> PeerStatus {
    speaker.peers().await.unwrap().remove(0)
}

/// Whether the session came up, told by events alone.
async fn comes_up(first: SpeakerConfig, second: SpeakerConfig) -> (SpeakerHandle, SpeakerHandle) {
    let first = start(first);
    let mut events = first.events().unwrap();
    let second = start(second);
    if !peer(&first).await.established {
        wait_for(&mut events, is_up).await;
    }
    (first, second)
}

#[tokio::test]
async fn two_speakers_meet_and_exchange_routes() {
    let port = free_port();
    let (first, second) = comes_up(config(1, port, 2), config(2, port, 1)).await;
    for (speaker, prefix) in [(&first, "10.2.0.0/16"), (&second, "10.1.0.0/16")] {
        let mut fib = speaker.fib().unwrap();
        let FibUpdate::Changes(changes) = timeout(PATIENCE, fib.next()).await.unwrap().unwrap() else {
            panic!("routes come before the end of the first picture")
        };
        assert_eq!(changes[0].prefix.to_string(), prefix);
        assert_eq!(timeout(PATIENCE, fib.next()).await.unwrap(), Some(FibUpdate::Synced));
        assert!(speaker.fib().is_none(), "there is one reader");
    }
    let mut events = second.events().unwrap();
    first.shutdown(Shutdown::Deconfigure).await;
    wait_for(
        &mut events,
        |event| matches!(event, SpeakerEvent::SessionDown { reason, .. } if reason.contains("6/3")),
    )
    .await;
    second.shutdown(Shutdown::Restart).await;
}

#[tokio::test]
async fn rfc4724_2_a_speaker_that_restarts_is_not_seen_in_the_other_ones_kernel() {
    let port = free_port();
    let (first, second) = comes_up(config(41, port, 42), config(42, port, 41)).await;
    let mut fib = second.fib().unwrap();
    while timeout(PATIENCE, fib.next()).await.unwrap() != Some(FibUpdate::Synced) {}
    let mut events = second.events().unwrap();
    first.shutdown(Shutdown::Restart).await;
    let resolver = Box::new(Loopback(Ipv4Addr::new(192, 0, 2, 41)));
    let first = spawn_started(config(41, port, 42), resolver, Start::ROUTES_KEPT).unwrap();
    wait_for(&mut events, |event| matches!(event, SpeakerEvent::EndOfRib { .. })).await;
    // Another route follows the End-of-RIB: all that the restart could have changed comes before it.
    let mut config = config(41, port, 42);
    let prefix = "10.77.0.0/16".parse().unwrap();
    config.originated.push(OriginatedRoute::new(prefix, RouteSource::Static, "test"));
    first.configure(config).await.unwrap();
    let Some(FibUpdate::Changes(changes)) = timeout(PATIENCE, fib.next()).await.unwrap() else {
        panic!("the new route comes")
    };
    let changed: Vec<_> = changes.iter().map(|change| change.prefix).collect();
    assert_eq!(changed, [prefix]);
    first.shutdown(Shutdown::Deconfigure).await;
    second.shutdown(Shutdown::Restart).await;
}

fn with_password(mut config: SpeakerConfig, key: &[u8]) -> SpeakerConfig {
    config.peers[0].session.password = Some(Secret::new(key));
    config
}

#[tokio::test]
async fn rfc2385_1_equal_keys_meet_and_may_change_under_the_session() {
    let port = free_port();
    let configs = || (config(11, port, 12), config(12, port, 11));
    let (first, second) = configs();
    let (first, second) = comes_up(with_password(first, b"old"), with_password(second, b"old")).await;
    let mut events = first.events().unwrap();
    let (first_config, second_config) = configs();
    first.configure(with_password(first_config, b"new")).await.unwrap();
    second.configure(with_password(second_config.clone(), b"new")).await.unwrap();
    // What is sent now is signed with the new key, and the peer's reset comes over the same connection.
    let mut changed = with_password(second_config, b"new");
    changed.peers[0].session.hold_time = Duration::from_secs(30);
    second.configure(changed).await.unwrap();
    wait_for(
        &mut events,
        |event| matches!(event, SpeakerEvent::SessionDown { reason, .. } if reason.contains("6/6")),
    )
    .await;
    wait_for(&mut events, is_up).await;
    first.shutdown(Shutdown::Restart).await;
    second.shutdown(Shutdown::Restart).await;
}

#[tokio::test]
async fn fault_15_a_wrong_key_is_silence_and_the_status_says_what_to_look_at() {
    let port = free_port();
    let first = start(with_password(config(21, port, 22), b"one"));
    let mut events = first.events().unwrap();
    let second = start(with_password(config(22, port, 21), b"two"));
    wait_for(&mut events, |event| {
        matches!(event, SpeakerEvent::AttemptFailed { remedy: Some(remedy), .. } if remedy.contains("MD5"))
    })
    .await;
    assert!(!peer(&first).await.established);
    first.shutdown(Shutdown::Restart).await;
    second.shutdown(Shutdown::Restart).await;
}

#[tokio::test]
async fn fault_15_a_wrong_as_is_refused_and_named_on_both_sides() {
    let port = free_port();
    let mut wrong = config(31, port, 32);
    wrong.peers[0].session.remote_as = RemoteAs::Is(Asn(64999));
    let first = start(wrong);
    let second = start(config(32, port, 31));
    let refused = |event: &SpeakerEvent| matches!(event, SpeakerEvent::AttemptFailed { reason, .. } if reason.contains("2/2"));
    for speaker in [&first, &second] {
        let mut events = speaker.events().unwrap();
        let known = peer(speaker).await.last_error.is_some_and(|error| error.text.contains("2/2"));
        if !known {
            wait_for(&mut events, refused).await;
        }
    }
    let error = peer(&first).await.last_error.unwrap();
    assert!(error.text.contains("65032") && error.text.contains("64999"), "{error:?}");
    first.shutdown(Shutdown::Restart).await;
    second.shutdown(Shutdown::Restart).await;
}

#[tokio::test]
async fn rfc4271_13_a_stranger_is_closed_before_anything_is_said() {
    let port = free_port();
    let mut passive = config(41, port, 42);
    passive.peers[0].session.connect = ConnectMode::Passive;
    let speaker = start(passive);
    let mut stream = connect_when_listening((Ipv4Addr::new(127, 0, 0, 41), port)).await;
    let mut octets = Vec::new();
    // The end, in order or by RST, with nothing before it.
    let _reset = timeout(PATIENCE, stream.read_to_end(&mut octets)).await.unwrap();
    assert_eq!(octets, [0_u8; 0]);
    speaker.shutdown(Shutdown::Restart).await;
}

#[tokio::test]
async fn a_refusal_reaches_a_peer_that_still_writes() {
    let port = free_port();
    let mut passive = config(51, port, 1);
    passive.peers[0].session.connect = ConnectMode::Passive;
    let speaker = start(passive);
    let mut stream = connect_when_listening((Ipv4Addr::new(127, 0, 0, 51), port)).await;
    // Not a BGP header; more than a read of the speaker takes.
    let _broken_off = stream.write_all(&vec![0; 200_000]).await;
    let mut octets = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut octets)).await.unwrap().unwrap();
    assert_eq!(octets[octets.len() - 3..], [3, 1, 1], "NOTIFICATION 1/1 is the last message");
    speaker.shutdown(Shutdown::Restart).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_is_refused_with_the_reason() {
    let port = free_port();
    let speaker = start(config(61, port, 62));
    let mut twice = config(61, port, 62);
    twice.peers.push(twice.peers[0].clone());
    let refused = speaker.configure(twice).await;
    assert!(matches!(refused, Err(ConfigureError::Refused(ConfigError::DuplicateKey { .. }))));
    speaker.shutdown(Shutdown::Restart).await;
    assert_eq!(speaker.configure(config(61, port, 62)).await, Err(ConfigureError::Gone(super::SpeakerGone)));
}

#[tokio::test]
async fn an_address_that_is_taken_is_reported_and_listened_on_when_it_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.71:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut busy = config(71, address.port(), 72);
    busy.listen = Vec::new();
    let speaker = start(busy.clone());
    let mut events = speaker.events().unwrap();
    busy.listen = vec![address];
    speaker.configure(busy).await.unwrap();
    wait_for(&mut events, |event| matches!(event, SpeakerEvent::ListenFailed { .. })).await;
    drop(taken);
    connect_when_listening(address).await;
    speaker.shutdown(Shutdown::Restart).await;
}

/// A connection as soon as somebody listens.
async fn connect_when_listening(address: impl Into<SocketAddr>) -> TcpStream {
    let address = address.into();
    let attempts = async {
        loop {
            if let Ok(stream) = TcpStream::connect(address).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, attempts).await.expect("somebody listens")
}

fn with_ttl(mut config: SpeakerConfig, ttl: TtlMode) -> SpeakerConfig {
    config.peers[0].session.ttl = ttl;
    config
}

#[tokio::test]
async fn rfc5082_1_both_sides_at_255_meet() {
    let port = free_port();
    let secure = |host, peer| with_ttl(config(host, port, peer), TtlMode::Security(1));
    let (first, second) = comes_up(secure(81, 82), secure(82, 81)).await;
    first.shutdown(Shutdown::Restart).await;
    second.shutdown(Shutdown::Restart).await;
}

#[tokio::test]
async fn rfc5082_1_a_peer_that_sends_with_a_smaller_ttl_is_not_answered() {
    let port = free_port();
    let mut secure = with_ttl(config(91, port, 92), TtlMode::Security(1));
    secure.peers[0].session.connect = ConnectMode::Passive;
    let secure = start(secure);
    let distant = start(with_ttl(config(92, port, 91), TtlMode::Multihop(64)));
    let mut events = distant.events().unwrap();
    wait_for(
        &mut events,
        |event| matches!(event, SpeakerEvent::AttemptFailed { reason, .. } if reason.contains("no answer")),
    )
    .await;
    secure.shutdown(Shutdown::Restart).await;
    distant.shutdown(Shutdown::Restart).await;
}
