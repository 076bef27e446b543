//! Peers with link-local addresses: the same address means another peer on another link.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::lone::{Lone, OUR_AS, OUR_ID, config_with, open_session};
use crate::config::{ListenRange, PeerConfig, PeerKey, SpeakerConfig};
use crate::rib::{NextHopResolver, Resolution};
use crate::session::{ConnId, State};
use crate::speaker::{Input, Output, Speaker, Start};

const LINK_LOCAL: &str = "fe80::1";

/// `eth0` is link 3, `eth1` is link 4.
struct TwoLinks;

impl NextHopResolver for TwoLinks {
    fn resolve(&self, next_hop: IpAddr, interface: Option<u32>) -> Option<Resolution> {
        Some(Resolution { gateway: next_hop, interface: interface?, metric: 0, direct: true })
    }

    fn is_local(&self, _address: IpAddr) -> bool {
        false
    }

    fn interface_named(&self, name: &str) -> Option<u32> {
        [("eth0", 3), ("eth1", 4)].into_iter().find_map(|(known, number)| (known == name).then_some(number))
    }

    fn interface_name(&self, interface: u32) -> Option<Arc<str>> {
        [(3, "eth0"), (4, "eth1")]
            .into_iter()
            .find_map(|(number, name)| (number == interface).then(|| name.into()))
    }
}

fn speaker(config: SpeakerConfig) -> (Speaker, Instant) {
    let now = Instant::now();
    (Speaker::new(now, config, Box::new(TwoLinks)).unwrap(), now)
}

fn peer_on(interface: &str, address: &str) -> PeerConfig {
    PeerConfig {
        key: PeerKey::new(interface),
        interface: Some(interface.into()),
        ..PeerConfig::new(address.parse().unwrap(), open_session())
    }
}

fn from_link(address: &str, link: u32) -> SocketAddr {
    SocketAddrV6::new(address.parse().unwrap(), 40000, 0, link).into()
}

fn states(speaker: &Speaker, now: Instant) -> Vec<(String, State)> {
    speaker.peers(now).into_iter().map(|peer| (peer.key.to_string(), peer.state)).collect()
}

#[test]
fn rfc8950_2_peers_of_one_link_local_address_are_told_apart_by_their_link() {
    let peers = vec![peer_on("eth0", LINK_LOCAL), peer_on("eth1", LINK_LOCAL)];
    let (mut speaker, now) = speaker(SpeakerConfig { peers, ..SpeakerConfig::new(OUR_AS, OUR_ID) });
    assert!(speaker.admits(from_link(LINK_LOCAL, 3)));
    assert!(!speaker.admits(from_link(LINK_LOCAL, 9)), "nobody was named on link 9");
    let conn = ConnId::accepted(1);
    let remote = from_link(LINK_LOCAL, 4);
    speaker.handle_input(now, Input::ConnectionOpened { conn, remote, local: from_link("fe80::2", 4) });
    assert_eq!(
        states(&speaker, now),
        [("eth0".to_owned(), State::Connect), ("eth1".to_owned(), State::OpenSent)],
    );
}

#[test]
fn rfc8950_2_a_neighbour_with_a_new_address_is_a_new_session_of_the_same_peer() {
    let with = |address: &str| SpeakerConfig {
        peers: vec![peer_on("eth0", address)],
        ..SpeakerConfig::new(OUR_AS, OUR_ID)
    };
    let (mut speaker, now) = speaker(with(LINK_LOCAL));
    while speaker.poll_output().is_some() {}
    speaker.configure(now, with("fe80::7")).unwrap();
    let dialed = std::iter::from_fn(|| speaker.poll_output()).find_map(|output| match output {
        Output::Connect { remote, options, .. } => Some((remote.ip(), options.interface)),
        _ => None,
    });
    assert_eq!(dialed, Some(("fe80::7".parse().unwrap(), Some("eth0".into()))));
    assert!(!speaker.admits(from_link(LINK_LOCAL, 3)));
    assert_eq!(states(&speaker, now).len(), 1);
}

#[test]
fn peers_of_a_range_are_named_with_their_link() {
    let range = ListenRange::new("fe80::/10".parse().unwrap(), open_session());
    let config = SpeakerConfig { listen_ranges: vec![range], ..SpeakerConfig::new(OUR_AS, OUR_ID) };
    let (mut speaker, now) = speaker(config);
    for (number, link) in [(1, 3), (2, 4)] {
        let conn = ConnId::accepted(number);
        let (remote, local) = (from_link(LINK_LOCAL, link), from_link("fe80::2", link));
        speaker.handle_input(now, Input::ConnectionOpened { conn, remote, local });
    }
    let names: Vec<String> = states(&speaker, now).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["fe80::/10/fe80::1%eth0", "fe80::/10/fe80::1%eth1"]);
    assert_eq!(speaker.peers(now)[0].interface.as_deref(), Some("eth0"));
}

/// Everything is on the link of that number; on none if it is zero.
struct Wandering(Arc<AtomicU32>);

impl NextHopResolver for Wandering {
    fn resolve(&self, next_hop: IpAddr, _interface: Option<u32>) -> Option<Resolution> {
        let interface = self.0.load(Ordering::Relaxed);
        (interface != 0).then_some(Resolution { gateway: next_hop, interface, metric: 0, direct: true })
    }

    fn is_local(&self, _address: IpAddr) -> bool {
        false
    }
}

#[test]
fn a_session_begins_anew_when_its_peer_is_on_another_link() {
    let link = Arc::new(AtomicU32::new(3));
    let resolver = Box::new(Wandering(link.clone()));
    let mut lone = Lone::placed(config_with(open_session()), Start::Fresh, resolver);
    let conn = lone.establish();
    // A link that is down says nothing of where the peer will be.
    for number in [3, 0, 3] {
        link.store(number, Ordering::Relaxed);
        lone.input(Input::NextHopsChanged);
        assert_eq!(lone.state(), State::Established);
    }
    link.store(4, Ordering::Relaxed);
    lone.input(Input::NextHopsChanged);
    assert_eq!(lone.refused_with(conn), (6, 6, "".into()));
    lone.establish();
    lone.input(Input::NextHopsChanged);
    assert_eq!(lone.state(), State::Established);
}
