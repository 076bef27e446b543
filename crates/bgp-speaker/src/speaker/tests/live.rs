//! What changes while a session stays up, though it is about every route of it.

use muslin_bgp_packet::Asn;

use super::lone::*;
use super::paths::*;
use crate::config::{NextHopMode, Policy, ReflectorRole, RemoteAs, SessionConfig};

const FIRST: Asn = Asn(65011);
const SECOND: Asn = Asn(65012);

fn external(asn: Asn) -> SessionConfig {
    SessionConfig::external(RemoteAs::Is(asn))
        .with_policies(Policy::accept_all("in"), Policy::accept_all("out"))
}

fn change(lone: &mut Lone, peer: usize, change: impl FnOnce(&mut SessionConfig)) {
    let mut config = lone.speaker.config().clone();
    change(&mut config.peers[peer].session);
    lone.configure(config);
    for peer in lone.speaker.peers(lone.now) {
        assert_eq!((peer.messages.established, peer.messages.lost), (1, 0), "{}", peer.key);
    }
}

#[test]
fn own_as_that_is_allowed_or_refused_is_judged_anew() {
    let mut lone = among(&[external(FIRST), external(SECOND)]);
    let (first, second) = (up(&mut lone, 11, FIRST), up(&mut lone, 12, SECOND));
    lone.send(first, &route(1, &[FIRST.0, OUR_AS.0], &[]));
    assert!(sent(&mut lone, second).is_empty());
    change(&mut lone, 0, |session| session.allowed_own_as = 1);
    assert!(sent(&mut lone, second)["10.1.1.0/24"].is_some());
    change(&mut lone, 0, |session| session.allowed_own_as = 0);
    assert_eq!(sent(&mut lone, second)["10.1.1.0/24"], None);
}

#[test]
fn another_next_hop_is_sent_to_the_peer_that_it_is_for() {
    let mut lone = among(&[external(FIRST), external(SECOND)]);
    let (first, second) = (up(&mut lone, 11, FIRST), up(&mut lone, 12, SECOND));
    lone.send(first, &route(1, &[FIRST.0], &[]));
    let next_hop = |lone: &mut Lone| {
        let attributes = sent(lone, second).remove("10.1.1.0/24").expect("sent again");
        attributes.expect("announced").next_hop.unwrap().to_string()
    };
    assert_eq!(next_hop(&mut lone), "10.0.0.11", "a third party on the link");
    change(&mut lone, 1, |session| session.next_hop = NextHopMode::Itself);
    assert_eq!(next_hop(&mut lone), OUR_ADDRESS.to_string());
    change(&mut lone, 1, |session| session.next_hop = NextHopMode::Unchanged);
    assert_eq!(next_hop(&mut lone), "10.0.0.11");
}

#[test]
fn a_peer_becomes_a_client_of_our_reflection_and_ceases_to_be() {
    let internal = SessionConfig::internal();
    for client in [0, 1] {
        let mut lone = among(&[internal.clone(), internal.clone()]);
        let (first, second) = (up(&mut lone, 11, OUR_AS), up(&mut lone, 12, OUR_AS));
        lone.send(first, &route(1, &[], &[0x40, 5, 4, 0, 0, 0, 100]));
        assert!(sent(&mut lone, second).is_empty(), "RFC 4271 §9.2");
        change(&mut lone, client, |session| session.reflector = ReflectorRole::Client);
        let attributes = sent(&mut lone, second).remove("10.1.1.0/24").expect("sent").expect("announced");
        assert_eq!(attributes.cluster_list, [OUR_ID], "client {client}");
        assert_eq!(attributes.originator_id.unwrap().to_string(), "10.0.0.11");
        change(&mut lone, client, |session| session.reflector = ReflectorRole::NonClient);
        assert_eq!(sent(&mut lone, second)["10.1.1.0/24"], None, "client {client}");
    }
}
