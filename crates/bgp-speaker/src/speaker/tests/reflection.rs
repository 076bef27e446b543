//! A reflector that knows its clients by range, in virtual time.

use std::net::Ipv4Addr;
use std::time::Duration;

use muslin_bgp_packet::{Asn, Family};

use super::network::Network;
use super::pair::address;
use crate::config::{
    AddPathConfig, ListenRange, OriginatedRoute, PeerConfig, ReflectorRole, RouteSource, SentPaths,
    SessionConfig, SpeakerConfig,
};
use crate::rib::{FibChange, RouteFilter};
use crate::session::State;
use crate::speaker::{Answer, Query, SpeakerEvent};

const ASN: Asn = Asn(65000);
/// What every client originates.
const SHARED: &str = "10.96.0.0/16";

fn several() -> AddPathConfig {
    AddPathConfig { receive: true, send: SentPaths::All, ..AddPathConfig::default() }
}

/// A reflector at host 1 that takes up to `limit` clients.
fn reflector(limit: u32) -> SpeakerConfig {
    let session = SessionConfig {
        reflector: ReflectorRole::Client,
        families: vec![Family::Ipv4Unicast],
        add_path: several(),
        ..SessionConfig::internal()
    };
    let range = ListenRange { limit, ..ListenRange::new("10.0.0.0/24".parse().unwrap(), session) };
    SpeakerConfig {
        listen: vec!["0.0.0.0:179".parse().unwrap()],
        listen_ranges: vec![range],
        cluster_id: Some(Ipv4Addr::new(9, 9, 9, 9)),
        ..SpeakerConfig::new(ASN, Ipv4Addr::new(10, 0, 0, 1))
    }
}

/// A client at a host: it originates a block of its own, and `SHARED` if it is a node.
fn client(host: u8, id: u8, shares: bool) -> SpeakerConfig {
    let session = SessionConfig {
        families: vec![Family::Ipv4Unicast],
        add_path: AddPathConfig { receive: true, ..AddPathConfig::default() },
        ..SessionConfig::internal()
    };
    let block = format!("10.244.{host}.0/24");
    let prefixes = [block.as_str()].into_iter().chain(shares.then_some(SHARED));
    let routes =
        prefixes.map(|prefix| OriginatedRoute::new(prefix.parse().unwrap(), RouteSource::Pod, "test"));
    SpeakerConfig {
        peers: vec![PeerConfig::new(address(1), session)],
        originated: routes.collect(),
        ..SpeakerConfig::new(ASN, Ipv4Addr::new(10, 0, 0, id))
    }
}

fn network(limit: u32, clients: impl IntoIterator<Item = (u8, u8, bool)>) -> Network {
    let clients = clients.into_iter().map(|(host, id, shares)| (address(host), client(host, id, shares)));
    Network::new(7, std::iter::once((address(1), reflector(limit))).chain(clients).collect())
}

fn established(network: &Network, node: usize) -> usize {
    let peers = network.nodes[node].speaker.peers(network.now);
    peers.iter().filter(|peer| peer.state == State::Established).count()
}

/// Gateways of the shared prefix in a node's kernel, as last told.
fn ways(network: &mut Network, node: usize) -> Vec<String> {
    let node = &mut network.nodes[node];
    let mut changes: Vec<FibChange> = std::mem::take(&mut node.fib);
    node.speaker.fib_changes(1000, &mut changes);
    let last = changes.iter().rfind(|change| change.prefix.to_string() == SHARED);
    let route = last.and_then(|change| change.route.as_ref());
    let ways: Vec<_> =
        route.into_iter().flat_map(|route| &route.next_hops).map(|way| way.gateway.to_string()).collect();
    node.fib = changes;
    ways
}

#[test]
fn rfc7911_1_a_client_behind_a_reflector_uses_every_equal_path() {
    let mut network = network(100, [(2, 2, true), (3, 3, true), (4, 4, true), (5, 5, false)]);
    network.run(Duration::from_secs(10));
    assert_eq!(established(&network, 0), 4);
    assert_eq!(ways(&mut network, 4), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    network.kill(2);
    network.run(Duration::from_mins(5));
    assert_eq!(ways(&mut network, 4), ["10.0.0.2", "10.0.0.4"]);
}

#[test]
fn a_range_that_goes_takes_its_clients_and_their_routes_with_it() {
    let mut network = network(100, [(2, 2, true), (3, 3, true), (5, 5, false)]);
    network.run(Duration::from_secs(10));
    assert_eq!(ways(&mut network, 3).len(), 2);
    let now = network.now;
    let without = SpeakerConfig { listen_ranges: Vec::new(), ..reflector(100) };
    network.nodes[0].speaker.configure(now, without).unwrap();
    network.run(Duration::from_secs(10));
    assert!(network.nodes[0].speaker.peers(network.now).is_empty());
    assert_eq!(ways(&mut network, 3), Vec::<String>::new(), "a removal is no restart: nothing is kept");
    // The range again, and all is as before.
    let now = network.now;
    network.nodes[0].speaker.configure(now, reflector(100)).unwrap();
    network.run(Duration::from_mins(1));
    assert_eq!(ways(&mut network, 3).len(), 2);
}

#[test]
fn a_full_range_keeps_its_clients_and_takes_another_when_one_has_left() {
    let mut network = network(2, [(2, 2, true), (3, 3, true), (5, 5, false)]);
    network.run(Duration::from_secs(30));
    assert_eq!(established(&network, 0), 2);
    let waiting = (1..=3).find(|node| established(&network, *node) == 0).unwrap();
    let leaving = (1..=3).find(|node| *node != waiting).unwrap();
    let now = network.now;
    let config = SpeakerConfig { peers: Vec::new(), ..network.nodes[leaving].speaker.config().clone() };
    network.nodes[leaving].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(30));
    assert_eq!(established(&network, waiting), 1);
}

/// RFC 6286 §2.1. Each of the two refuses what the other one originates; that must not go unsaid.
#[test]
fn fault_14_two_clients_with_one_identifier_are_seen_by_the_reflector_and_by_themselves() {
    let mut network = network(100, [(2, 7, false), (3, 7, false), (4, 4, false)]);
    network.run(Duration::from_secs(10));
    let shared = |event: &SpeakerEvent| matches!(event, SpeakerEvent::SharedIdentifier { id, .. } if *id == Ipv4Addr::new(10, 0, 0, 7));
    assert_eq!(network.nodes[0].events.iter().filter(|event| shared(event)).count(), 1);
    let peers = network.nodes[0].speaker.peers(network.now);
    let told = |peer: &&crate::speaker::PeerStatus| peer.notes.iter().any(|note| note.contains("10.0.0.7"));
    let told: Vec<_> = peers.iter().filter(told).map(|peer| peer.address).collect();
    assert_eq!(told, [address(2), address(3)]);
    for node in [1, 2] {
        let seen = |event: &&SpeakerEvent| matches!(event, SpeakerEvent::OwnIdentifierSeen { .. });
        assert_eq!(network.nodes[node].events.iter().filter(seen).count(), 1, "told once");
        let status = network.nodes[node].speaker.peers(network.now).remove(0);
        assert!(status.notes.iter().any(|note| note.contains("another router id")), "{:?}", status.notes);
    }
    // Nobody else is concerned.
    let third = &network.nodes[3].speaker;
    let Answer::Routes(page) = third.query(&Query::LocRib(RouteFilter::default())) else { panic!("routes") };
    assert_eq!(page.routes.iter().filter(|route| route.peer.is_some()).count(), 2);
}
