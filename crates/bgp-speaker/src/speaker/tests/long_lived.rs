//! Long-lived graceful restart (RFC 9494): a peer that stays away for longer than its restart time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use muslin_bgp_packet::{
    Capability, Community, Family, FamilySet, GracefulFamily, GracefulRestart, LongLivedFamily, Open,
};

use super::lone::*;
use super::routes::{announce, announced, kernel, net};
use crate::config::{Action, PeerConfig, PeerKey, Rule, SessionConfig, SpeakerConfig};
use crate::rib::{Page, RouteFilter, RouteView};
use crate::session::ConnId;
use crate::speaker::{Answer, Query, SpeakerEvent, Start};

/// Another way to the same routes.
const SECOND_PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 8));
const NET: &str = "10.1.1.0/24";
const RESTART_TIME: Duration = Duration::from_secs(31);

fn long_lived_session() -> SessionConfig {
    SessionConfig { long_lived: Some(Duration::from_hours(1)), ..open_session() }
}

fn two_peers(second: SessionConfig) -> SpeakerConfig {
    let mut config = config_with(long_lived_session());
    config.peers.push(PeerConfig::new(SECOND_PEER, second));
    config
}

/// A peer that restarts within 30 s, and then may stay away for `stale_time` more seconds.
fn patient(stale_time: u32, kept: bool) -> Vec<Capability> {
    let ipv4 = Family::Ipv4Unicast.into();
    let families = vec![GracefulFamily { family: ipv4, forwarding_kept: true }];
    let restart = GracefulRestart { restart_time: 30, families, ..GracefulRestart::default() };
    let long_lived = LongLivedFamily { family: ipv4, forwarding_kept: kept, stale_time };
    vec![Capability::GracefulRestart(restart), Capability::LongLivedGracefulRestart(vec![long_lived])]
}

fn open_with(capabilities: Vec<Capability>) -> Open {
    let mut open = peer_open();
    open.capabilities.extend(capabilities);
    open
}

fn second_open(capabilities: Vec<Capability>) -> Open {
    let mut open = peer_open_with(PEER_AS, "10.0.0.8".parse().unwrap());
    open.capabilities.extend(capabilities);
    open
}

/// An announcement with communities.
fn announce_marked(network: [u8; 3], communities: &[Community]) -> Vec<u8> {
    let plain = announce([network]);
    let list: Vec<u8> = communities.iter().flat_map(|community| community.0.to_be_bytes()).collect();
    let attribute = [&[0xc0, 8, list.len() as u8][..], &list].concat();
    let length = u16::from_be_bytes([plain[21], plain[22]]) as usize;
    let attributes = [&plain[23..23 + length], &attribute].concat();
    let header = [&[0, 0][..], &(attributes.len() as u16).to_be_bytes()].concat();
    message(2, &[header, attributes, plain[23 + length..].to_vec()].concat())
}

fn best(lone: &Lone) -> Vec<RouteView> {
    let filter = RouteFilter { limit: 100, ..RouteFilter::default() };
    match lone.speaker.query(&Query::LocRib(filter)) {
        Answer::Routes(Page { routes, .. }) => routes,
        other => panic!("{other:?}"),
    }
}

/// What the kernel was told to remove since the last look.
fn removed(lone: &mut Lone) -> Vec<IpNet> {
    kernel(lone).into_iter().filter(|change| change.route.is_none()).map(|change| change.prefix).collect()
}

fn is_marked(route: &RouteView) -> bool {
    route.communities.iter().any(|community| community.contains("llgr-stale"))
}

/// A speaker whose peer announced a route and then stayed away for longer than its restart time.
fn outlived(second: SessionConfig, second_offers: Vec<Capability>) -> (Lone, ConnId) {
    let mut lone = Lone::configured(two_peers(second));
    let (conn, other) = (lone.accept(), lone.accept_from(SECOND_PEER));
    lone.greet(conn, &open_with(patient(100, true)));
    lone.greet(other, &Open { hold_time: 0, ..second_open(second_offers) });
    lone.send(conn, &announce([[10, 1, 1]]));
    assert_eq!(kernel(&mut lone).len(), 1);
    assert!(announced(&mut lone, other).contains(&NET.to_owned()));
    lone.hang_up(conn);
    lone.pass(Duration::from_secs(29));
    assert_eq!(announced(&mut lone, other), Vec::<String>::new(), "within the restart time nothing happens");
    assert!(!is_marked(&best(&lone)[0]));
    lone.pass(Duration::from_secs(2));
    (lone, other)
}

#[test]
fn rfc9494_1_the_capability_is_offered_only_where_it_is_switched_on() {
    for (session, offers) in [(open_session(), false), (long_lived_session(), true)] {
        let start = Start::Restarted { forwarding_kept: FamilySet::from(Family::Ipv6Unicast) };
        let mut lone = Lone::started(config_with(session), start);
        let conn = lone.accept();
        let open = Open::decode(&lone.frames(conn)[0].body).unwrap();
        let found = open.capabilities.iter().find_map(|capability| match capability {
            Capability::LongLivedGracefulRestart(families) => Some(families.clone()),
            _ => None,
        });
        let wanted = [(Family::Ipv4Unicast, false), (Family::Ipv6Unicast, true)];
        let wanted = wanted.map(|(family, forwarding_kept)| LongLivedFamily {
            family: family.into(),
            forwarding_kept,
            stale_time: 3600,
        });
        assert_eq!(found, offers.then(|| wanted.to_vec()));
    }
}

#[test]
fn rfc9494_1_after_the_restart_time_routes_stay_marked_and_only_long_lived_peers_are_told() {
    for (second, offers, told) in
        [(open_session(), vec![], false), (long_lived_session(), patient(1, true), true)]
    {
        let (mut lone, other) = outlived(second, offers);
        assert!(removed(&mut lone).is_empty(), "packets still go there");
        let routes = best(&lone);
        assert!(is_marked(&routes[0]) && routes[0].stale, "{routes:?}");
        let heard = announced(&mut lone, other);
        assert_eq!(heard, [if told { NET.to_owned() } else { format!("-{NET}") }]);
        let peer = PeerKey::new("10.0.0.9");
        let families = vec!["ipv4-unicast".to_owned()];
        assert!(lone.events.contains(&SpeakerEvent::LongLivedStale { peer, families }));
        // And a hundred seconds later it is gone.
        lone.pass(Duration::from_secs(98));
        assert!(removed(&mut lone).is_empty());
        lone.pass(Duration::from_secs(2));
        assert_eq!(removed(&mut lone), [net(NET)]);
    }
}

#[test]
fn rfc9494_1_a_long_lived_stale_route_is_the_last_resort_whatever_its_preference() {
    let (mut lone, other) = outlived(open_session(), vec![]);
    lone.frames(other);
    // A far longer way, and yet a better one.
    let path = [65002, 65003, 65004, 65005].map(|asn: u32| asn.to_be_bytes()).concat();
    let attributes = [&[0x40, 1, 1, 2, 0x40, 2, 18, 2, 4][..], &path, &[0x40, 3, 4, 10, 0, 0, 8]].concat();
    let header = [&[0, 0][..], &(attributes.len() as u16).to_be_bytes()].concat();
    lone.send(other, &message(2, &[header, attributes, vec![24, 10, 1, 1]].concat()));
    let routes = best(&lone);
    assert_eq!(routes.iter().filter(|route| is_marked(route)).count(), 1);
    let changes = kernel(&mut lone);
    let hops = &changes[0].route.as_ref().unwrap().next_hops;
    assert_eq!(hops.iter().map(|hop| hop.gateway).collect::<Vec<_>>(), [SECOND_PEER], "and no ECMP");
    assert_eq!(changes.len(), 1);
}

#[test]
fn rfc9494_1_routes_that_must_not_become_long_lived_stale_go() {
    let mut lone = Lone::new(long_lived_session());
    let conn = lone.accept();
    lone.greet(conn, &open_with(patient(100, true)));
    lone.send(conn, &announce_marked([10, 1, 1], &[Community::NO_LLGR]));
    lone.send(conn, &announce([[10, 1, 2]]));
    assert_eq!(kernel(&mut lone).len(), 2);
    lone.hang_up(conn);
    lone.pass(RESTART_TIME);
    assert_eq!(removed(&mut lone), [net(NET)]);
}

#[test]
fn rfc9494_1_families_without_a_stale_time_go_with_the_restart_time() {
    for capabilities in [patient(0, true), patient(100, true)[..1].to_vec()] {
        let mut lone = Lone::new(long_lived_session());
        let conn = lone.accept();
        lone.greet(conn, &open_with(capabilities));
        lone.send(conn, &announce([[10, 1, 1]]));
        assert_eq!(kernel(&mut lone).len(), 1);
        lone.hang_up(conn);
        lone.pass(RESTART_TIME);
        assert_eq!(removed(&mut lone), [net(NET)]);
    }
}

#[test]
fn rfc9494_1_a_peer_that_returns_sweeps_with_its_end_of_rib_and_at_once_without_the_f_bit() {
    for kept in [true, false] {
        let mut lone = Lone::new(long_lived_session());
        let conn = lone.accept();
        lone.greet(conn, &open_with(patient(100, true)));
        lone.send(conn, &announce([[10, 1, 1]]));
        lone.send(conn, &announce([[10, 1, 2]]));
        lone.hang_up(conn);
        lone.pass(RESTART_TIME);
        assert!(removed(&mut lone).is_empty());
        let conn = lone.accept();
        lone.greet(conn, &open_with(patient(100, kept)));
        if !kept {
            assert_eq!(removed(&mut lone), [net(NET), net("10.1.2.0/24")]);
            continue;
        }
        lone.send(conn, &announce([[10, 1, 1]]));
        assert!(!best(&lone).iter().any(|route| is_marked(route) && route.prefix == net(NET)));
        lone.send(conn, &empty_update());
        assert_eq!(removed(&mut lone), [net("10.1.2.0/24")]);
        assert_eq!(best(&lone).len(), 1);
    }
}

#[test]
fn rfc9494_1_a_change_of_policy_leaves_the_mark() {
    let (mut lone, _) = outlived(open_session(), vec![]);
    let mut config = two_peers(open_session());
    let tagged = Rule::accept("test").then(Action::AddCommunity(Community(0x0001_0001).into()));
    Arc::make_mut(&mut config.peers[0].session.import).rules = vec![tagged];
    lone.configure(config);
    lone.pass(Duration::from_secs(1));
    let routes = best(&lone);
    assert!(is_marked(&routes[0]) && routes[0].communities.len() == 2, "{routes:?}");
}

#[test]
fn rfc9494_1_a_received_mark_is_the_last_resort_and_goes_no_further_than_allowed() {
    let mut lone = Lone::configured(two_peers(open_session()));
    let (conn, other) = (lone.accept(), lone.accept_from(SECOND_PEER));
    lone.greet(conn, &open_with(patient(100, true)));
    lone.greet(other, &second_open(vec![]));
    lone.send(conn, &announce_marked([10, 1, 1], &[Community::LLGR_STALE]));
    assert_eq!(kernel(&mut lone).len(), 1);
    assert_eq!(announced(&mut lone, other), ["end"]);
}
