//! The decision process, step by step (conformance 4271-20).

use std::net::Ipv4Addr;

use muslin_bgp_packet::{AsPath, NextHop, Origin, PathAttributes};

use super::support::{OWN_AS, World, ip, path, via, view};
use crate::config::{OriginatedRoute, RouteSource};
use crate::rib::RouteState::{Best, Multipath, Usable};
use crate::rib::{PeerIndex, PeerView, RouteFilter, RouteState};

const PREFIX: &str = "198.51.100.0/24";

fn route(asns: &[u32], change: impl FnOnce(&mut PathAttributes)) -> PathAttributes {
    let mut attributes = path(asns);
    attributes.origin = Origin::Igp;
    change(&mut attributes);
    attributes
}

fn plain(asns: &[u32]) -> PathAttributes {
    route(asns, |_| ())
}

/// Standing and reason of the paths of the destination, by peer.
fn standing(world: &World) -> Vec<(String, RouteState, String)> {
    let routes = world.rib.loc_rib(&RouteFilter::default()).routes;
    let name = |peer: Option<String>| peer.unwrap_or_else(|| "ourselves".to_owned());
    routes
        .into_iter()
        .map(|route| (name(route.peer), route.state, route.reason.unwrap_or_default()))
        .collect()
}

fn best(world: &World) -> (String, String) {
    let best = standing(world).into_iter().find(|(_, state, _)| *state == Best).unwrap();
    let decided_by = best.2.split(", against").next().unwrap_or_default();
    (best.0, decided_by.to_owned())
}

/// Announces both routes, in both orders; the first must be best for the reason given.
fn prefers(views: &[PeerView; 2], winner: &PathAttributes, loser: &PathAttributes, reason: &str) {
    for winner_first in [true, false] {
        let mut world = World::new();
        let one = world.up(0, views[0].clone());
        let other = world.up(1, views[1].clone());
        if winner_first {
            world.announce(one, &[PREFIX], winner);
            world.announce(other, &[PREFIX], loser);
        } else {
            world.announce(other, &[PREFIX], loser);
            world.announce(one, &[PREFIX], winner);
        }
        assert_eq!(best(&world), ("peer0".to_owned(), reason.to_owned()), "winner first: {winner_first}");
    }
}

fn external() -> [PeerView; 2] {
    [view(0, 65001), view(1, 65002)]
}

fn internal() -> [PeerView; 2] {
    [view(0, OWN_AS.0), view(1, OWN_AS.0)]
}

#[test]
fn a_higher_local_preference_wins() {
    let winner = route(&[65200, 65201], |route| route.local_pref = Some(101));
    prefers(&internal(), &winner, &plain(&[65200]), "higher local preference");
}

#[test]
fn a_shorter_as_path_wins() {
    let winner = route(&[65001, 65200], |route| route.origin = Origin::Incomplete);
    prefers(&external(), &winner, &plain(&[65002, 65201, 65200]), "shorter AS path");
}

#[test]
fn a_set_counts_one_in_the_length_of_a_path() {
    // Raw octets of AS_PATH: a sequence of one, then a set of three.
    let octets = [2, 1, 0, 0, 0xFD, 0xE9, 1, 3, 0, 0, 0xFE, 1, 0, 0, 0xFE, 2, 0, 0, 0xFE, 3];
    let as_path =
        AsPath::decode(&octets, muslin_bgp_packet::AsWidth::Four, muslin_bgp_packet::PeerKind::External)
            .unwrap();
    let winner = PathAttributes { as_path, ..plain(&[]) };
    prefers(&external(), &winner, &plain(&[65002, 65201, 65200]), "shorter AS path");
}

#[test]
fn a_lower_origin_wins() {
    let loser = route(&[65002, 65200], |route| route.origin = Origin::Egp);
    prefers(&external(), &plain(&[65001, 65200]), &loser, "lower origin");
}

#[test]
fn a_lower_med_of_the_same_neighbour_wins() {
    let views = [view(0, 65001), view(1, 65001)];
    let loser = route(&[65001, 65200], |route| route.med = Some(1));
    prefers(&views, &plain(&[65001, 65200]), &loser, "lower MED of the same neighbouring AS");
}

#[test]
fn meds_of_different_neighbours_are_not_compared() {
    let winner = route(&[65001, 65200], |route| route.med = Some(100));
    let loser = route(&[65002, 65200], |route| route.med = Some(1));
    prefers(&external(), &winner, &loser, "lower router or originator identifier");
}

#[test]
fn an_external_path_wins_over_an_internal_one() {
    let views = [view(0, 65001), PeerView { id: Ipv4Addr::new(1, 1, 1, 1), ..view(1, OWN_AS.0) }];
    prefers(&views, &plain(&[65001, 65200]), &plain(&[65002, 65200]), "external over internal");
}

#[test]
fn a_closer_next_hop_wins() {
    for near_first in [true, false] {
        let mut world = World::new();
        world.ways.set(ip("10.1.0.1"), Some(via(5)));
        world.ways.set(ip("10.1.0.2"), Some(via(6)));
        // The one with the lower identifier is the farther one.
        let far = world.up(0, internal()[0].clone());
        let near = world.up(1, internal()[1].clone());
        let mut announce = |peer, next_hop| {
            world.announce_via(peer, &[PREFIX], &plain(&[65200]), NextHop::new(ip(next_hop)));
        };
        if near_first {
            announce(near, "10.1.0.1");
            announce(far, "10.1.0.2");
        } else {
            announce(far, "10.1.0.2");
            announce(near, "10.1.0.1");
        }
        assert_eq!(best(&world), ("peer1".to_owned(), "closer next hop".to_owned()));
    }
}

#[test]
fn a_lower_identifier_wins_and_originator_id_stands_for_it() {
    prefers(&internal(), &plain(&[65200]), &plain(&[65200]), "lower router or originator identifier");
    let [one, other] = internal();
    let winner = route(&[65200], |route| route.originator_id = Some(Ipv4Addr::new(9, 0, 0, 1)));
    let views = [PeerView { id: Ipv4Addr::new(250, 0, 0, 1), ..one }, other];
    prefers(&views, &winner, &plain(&[65200]), "lower router or originator identifier");
}

#[test]
fn a_shorter_cluster_list_wins_before_the_peers_address() {
    let id = Ipv4Addr::new(9, 0, 0, 1);
    let clusters = |count: u8| {
        route(&[65200], |route| {
            route.originator_id = Some(id);
            route.cluster_list = (0..count).map(|number| Ipv4Addr::new(8, 0, 0, number)).collect();
        })
    };
    let [one, other] = internal();
    let views = [PeerView { address: ip("10.0.0.250"), ..one.clone() }, other.clone()];
    prefers(&views, &clusters(1), &clusters(2), "shorter cluster list");
    prefers(&[one, other], &clusters(2), &clusters(2), "lower peer address");
}

#[test]
fn our_own_route_wins_over_everything() {
    let mut world = World::new();
    let peer = world.up(0, view(0, OWN_AS.0));
    world.announce(peer, &[PREFIX], &route(&[], |route| route.local_pref = Some(u32::MAX)));
    let own = OriginatedRoute {
        prefix: super::support::net(PREFIX),
        source: RouteSource::Pod,
        label: None,
        local_pref: Some(0),
        med: None,
        communities: vec![],
        large_communities: vec![],
        cause: "Node n1 .spec.podCIDRs[0]".into(),
    };
    world.rib.originate(world.now, &[own]);
    assert_eq!(best(&world), ("ourselves".to_owned(), "originated here".to_owned()));
    world.settle();
    assert!(world.fib.is_empty(), "our own blocks are not forwarded to others");
    world.rib.originate(world.now, &[]);
    world.settle();
    assert_eq!(best(&world).0, "peer0");
    assert_eq!(world.fib.len(), 1);
}

/// The known case in which "better" has no order: A beats B by MED, B beats C by its next hop, and C beats A by
/// its next hop too. Whatever came last, the same path must win.
#[test]
fn med_is_not_transitive_and_the_order_of_arrival_does_not_matter() {
    let meds = [(0_u16, 65200, 10, "10.1.0.3"), (1, 65200, 20, "10.1.0.1"), (2, 65300, 0, "10.1.0.2")];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let mut world = World::new();
        for (next_hop, metric) in [("10.1.0.1", 1), ("10.1.0.2", 2), ("10.1.0.3", 3)] {
            world.ways.set(ip(next_hop), Some(via(metric)));
        }
        for (index, ..) in meds {
            world.up(index, view(index, OWN_AS.0));
        }
        for which in order {
            let (index, asn, med, next_hop) = meds[which];
            let attributes = route(&[asn], |route| route.med = Some(med));
            world.announce_via(PeerIndex(index), &[PREFIX], &attributes, NextHop::new(ip(next_hop)));
        }
        assert_eq!(best(&world).0, "peer2", "{order:?}");
        // Without A, B is no longer shielded from and wins: a withdrawal of what was not best changes the best.
        world.withdraw(PeerIndex(0), &[PREFIX]);
        assert_eq!(best(&world).0, "peer1", "{order:?}");
    }
}

#[test]
fn equal_paths_up_to_the_next_hop_are_one_ecmp_set_whatever_their_neighbour() {
    let mut world = World::new();
    for index in 0..6 {
        let peer = world.up(index, view(index, 65001 + u32::from(index)));
        world.announce(peer, &[PREFIX], &plain(&[65001 + u32::from(index), 65200]));
    }
    world.settle();
    let states: Vec<_> = standing(&world).into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, [Best, Multipath, Multipath, Multipath, Usable, Usable], "max_paths is 4");
    let ways = &world.fib[&super::support::net(PREFIX)].next_hops;
    assert_eq!(ways.len(), 4);
    // Losing one of the set lets the next one in, though the best stays.
    world.withdraw(PeerIndex(2), &[PREFIX]);
    world.settle();
    let ways = &world.fib[&super::support::net(PREFIX)].next_hops;
    assert!(ways.iter().any(|way| way.gateway == ip("10.0.0.104")));
    assert!(ways.iter().all(|way| way.gateway != ip("10.0.0.102")));
}

#[test]
fn a_next_hop_that_goes_away_takes_its_paths_and_brings_them_back() {
    let mut world = World::new();
    let peer = world.up(0, view(0, OWN_AS.0));
    let other = world.up(1, view(1, OWN_AS.0));
    let to = |address: &str| NextHop::new(ip(address));
    world.announce_via(peer, &[PREFIX], &plain(&[65200]), to("10.1.0.1"));
    world.announce_via(other, &[PREFIX], &plain(&[65200]), to("10.1.0.2"));
    world.ways.set(ip("10.1.0.1"), None);
    world.rib.next_hops_changed();
    world.settle();
    assert_eq!(best(&world), ("peer1".to_owned(), "the only usable path".to_owned()));
    assert!(standing(&world).iter().any(|(_, state, _)| *state == RouteState::Unreachable));
    world.ways.set(ip("10.1.0.2"), None);
    world.rib.next_hops_changed();
    world.settle();
    assert!(world.fib.is_empty());
    world.ways.set(ip("10.1.0.1"), Some(via(3)));
    world.rib.next_hops_changed();
    world.settle();
    assert_eq!(best(&world).0, "peer0");
    assert_eq!(world.fib[&super::support::net(PREFIX)].next_hops[0].gateway, ip("10.9.0.3"));
    // Another gateway for the same next hop is a change for the kernel.
    world.ways.set(ip("10.1.0.1"), Some(via(4)));
    world.rib.next_hops_changed();
    world.settle();
    assert_eq!(world.fib[&super::support::net(PREFIX)].next_hops[0].gateway, ip("10.9.0.4"));
}

#[test]
fn a_path_over_our_own_address_is_not_used() {
    let mut world = World::new();
    let peer = world.up(0, view(0, OWN_AS.0));
    world.announce_via(peer, &[PREFIX], &plain(&[65200]), NextHop::new(ip("10.0.0.1")));
    assert_eq!(standing(&world)[0].1, RouteState::Unreachable);
}
