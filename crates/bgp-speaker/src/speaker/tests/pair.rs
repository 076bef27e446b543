//! Speakers that meet each other.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use muslin_bgp_packet::Asn;

use super::network::Network;
use crate::config::{
    OriginatedRoute, PeerConfig, Policy, RemoteAs, RouteSource, SessionConfig, SpeakerConfig,
};
use crate::session::State;
use crate::speaker::SpeakerEvent;

pub(super) fn address(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

/// Speaker `host` of `hosts`, each in an AS of its own, all peers of one another.
pub(super) fn member(host: u8, hosts: u8) -> (IpAddr, SpeakerConfig) {
    let session = SessionConfig::external(RemoteAs::External)
        .with_policies(Policy::accept_all("in"), Policy::accept_all("out"));
    let peers = (1..=hosts).filter(|other| *other != host);
    let config = SpeakerConfig {
        listen: vec!["0.0.0.0:179".parse().unwrap()],
        peers: peers.map(|other| PeerConfig::new(address(other), session.clone())).collect(),
        originated: vec![OriginatedRoute::new(
            format!("10.244.{host}.0/24").parse().unwrap(),
            RouteSource::Pod,
            "pod block",
        )],
        ..SpeakerConfig::new(Asn(65000 + u32::from(host)), Ipv4Addr::new(10, 0, 0, host))
    };
    (address(host), config)
}

pub(super) fn mesh(seed: u64, hosts: u8) -> Network {
    Network::new(seed, (1..=hosts).map(|host| member(host, hosts)).collect())
}

#[test]
fn rfc4271_12_speakers_that_start_together_end_with_one_connection_each_way_around() {
    for seed in 0..500 {
        let mut network = mesh(seed, 2);
        network.run(Duration::from_millis(500));
        assert_eq!(network.states(), [State::Established; 2], "seed {seed}");
        assert_eq!(network.connections(), 2, "seed {seed}: one connection has two ends");
        let lost = |event: &SpeakerEvent| matches!(event, SpeakerEvent::SessionDown { .. });
        let flaps = network.nodes.iter().flat_map(|node| &node.events).filter(|event| lost(event)).count();
        assert!(flaps <= 2, "seed {seed}: {flaps} sessions lost");
    }
}

#[test]
fn a_mesh_of_speakers_comes_up_whole() {
    for seed in 0..20 {
        let mut network = mesh(seed, 6);
        network.run(Duration::from_secs(1));
        assert_eq!(network.states(), [State::Established; 30], "seed {seed}");
        network.run(Duration::from_mins(10));
        assert_eq!(network.states(), [State::Established; 30], "seed {seed}: and stays up");
    }
}

#[test]
fn a_cut_connection_is_back_within_a_second() {
    let mut network = mesh(1, 2);
    network.run(Duration::from_secs(1));
    network.cut(0);
    network.run(Duration::from_secs(1));
    assert_eq!(network.states(), [State::Established; 2]);
}

#[test]
fn routes_reach_the_other_side_and_its_kernel() {
    let mut network = mesh(7, 2);
    network.run(Duration::from_secs(1));
    for (node, other) in [(0, 2), (1, 1)] {
        let learned: Vec<_> =
            network.nodes[node].fib.iter().map(|change| change.prefix.to_string()).collect();
        assert_eq!(learned, [format!("10.244.{other}.0/24")]);
    }
    assert!(network.nodes[0].events.iter().any(|event| matches!(event, SpeakerEvent::EndOfRib { .. })));
    assert!(network.nodes[0].events.contains(&SpeakerEvent::Synced));
}

#[test]
fn routes_of_a_removed_peer_leave_the_kernel() {
    let mut network = mesh(7, 2);
    network.run(Duration::from_secs(1));
    let (_, mut config) = member(1, 2);
    config.peers.clear();
    let now = network.now;
    network.nodes[0].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(1));
    for node in &network.nodes {
        assert!(node.fib.last().unwrap().route.is_none(), "withdrawn at {}", node.address);
    }
}
