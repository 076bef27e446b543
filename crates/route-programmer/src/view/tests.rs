use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::mirror::{Mirror, Presence};
use crate::reconcile::Change;
use crate::wire::constants::{RT_TABLE_MAIN, RTN_BLACKHOLE, RTN_UNICAST};
use crate::wire::route::{HopMessage, RouteMessage};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32, mtu: u32) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        kind: None,
        mtu,
        hardware_address: None,
        master: None,
        up: true,
        carrier: true,
        loopback: false,
    }
}

fn route(prefix: &str, gateway: Option<&str>, interface: u32, metric: u32) -> RouteMessage {
    let hop = HopMessage { gateway: gateway.map(address), interface, weight: 1, flags: 0 };
    RouteMessage {
        prefix: prefix.parse().unwrap(),
        table: RT_TABLE_MAIN,
        protocol: 4,
        kind: RTN_UNICAST,
        tos: 0,
        metric,
        source: None,
        object: None,
        hops: [hop].into_iter().collect(),
        mtu: None,
    }
}

fn mirror(routes: &[RouteMessage]) -> Mirror {
    let mut mirror = Mirror::new(77);
    for index in 1..=3 {
        mirror.link(&link(index, 1400 + index * 100), Presence::Here);
    }
    for route in routes {
        mirror.route(route, Change::Added);
    }
    mirror
}

fn way(view: &KernelView, destination: &str) -> Option<u32> {
    view.route_to(address(destination)).map(|way| way.interface)
}

#[test]
fn the_longest_match_wins_and_then_the_lowest_metric() {
    let view = mirror(&[
        route("0.0.0.0/0", Some("10.0.0.1"), 1, 100),
        route("10.1.0.0/16", None, 2, 5),
        route("10.1.0.0/16", None, 3, 4),
    ])
    .into_view();
    assert_eq!(way(&view, "10.1.2.3"), Some(3));
    assert_eq!(way(&view, "10.2.2.3"), Some(1));
}

#[test]
fn a_link_that_is_down_leaves_the_way_to_the_next_best() {
    let mut mirror = mirror(&[
        route("10.1.0.0/16", None, 3, 4),
        route("10.1.0.0/16", None, 2, 5),
        route("0.0.0.0/0", Some("10.0.0.1"), 1, 0),
    ]);
    mirror.link(&Link { carrier: false, ..link(3, 1500) }, Presence::Here);
    assert_eq!(way(&mirror.take_changed().unwrap(), "10.1.2.3"), Some(2));
    mirror.link(&Link { up: false, ..link(2, 1500) }, Presence::Here);
    assert_eq!(way(&mirror.take_changed().unwrap(), "10.1.2.3"), Some(1));
    // The carrier comes back without a word about routes; a link that was set down has lost them.
    mirror.link(&link(3, 1500), Presence::Here);
    mirror.link(&link(2, 1500), Presence::Here);
    let view = mirror.take_changed().unwrap();
    assert_eq!(view.route_to(address("10.1.2.3")).map(|way| way.metric), Some(4));
    assert_eq!(view.foreign_routes().count(), 2);
}

#[test]
fn a_discarding_route_ends_the_search() {
    let blackhole = RouteMessage {
        kind: RTN_BLACKHOLE,
        hops: smallvec::SmallVec::new(),
        ..route("10.1.0.0/16", None, 1, 0)
    };
    let view = mirror(&[route("0.0.0.0/0", Some("10.0.0.1"), 1, 0), blackhole]).into_view();
    assert_eq!(way(&view, "10.1.2.3"), None);
}

#[test]
fn our_own_routes_and_other_tables_are_not_in_the_view() {
    let ours = RouteMessage { protocol: 77, ..route("10.1.0.0/16", None, 1, 0) };
    let elsewhere = RouteMessage { table: 100, ..route("10.2.0.0/16", None, 1, 0) };
    let view = mirror(&[ours, elsewhere]).into_view();
    assert_eq!(view.foreign_routes().count(), 0);
}

#[test]
fn the_uplink_is_where_the_default_route_leads_or_else_where_a_subnet_is() {
    let mut mirror = mirror(&[]);
    let subnet =
        |interface, text: &str| Address { interface, address: text.parse().unwrap(), tentative: false };
    mirror.address(subnet(3, "10.0.3.1/24"), Presence::Here);
    mirror.address(subnet(1, "10.0.1.1/32"), Presence::Here);
    assert_eq!(mirror.take_changed().unwrap().uplink_mtu(), Some(1700));
    mirror.route(&route("0.0.0.0/0", Some("10.0.2.1"), 2, 0), Change::Added);
    let view = mirror.take_changed().unwrap();
    assert_eq!(view.uplink_mtu(), Some(1600));
    assert_eq!(view.default_gateways()[0].gateway, address("10.0.2.1"));
}

#[test]
fn the_last_address_of_a_link_takes_its_routes_with_it() {
    let mut mirror = mirror(&[route("10.1.0.0/16", Some("10.0.2.9"), 2, 0)]);
    let subnet = Address { interface: 2, address: "10.0.2.1/24".parse().unwrap(), tentative: false };
    assert!(mirror.address(subnet, Presence::Here));
    assert!(!mirror.address(subnet, Presence::Here), "told twice");
    assert!(mirror.address(subnet, Presence::Gone));
    assert_eq!(mirror.take_changed().unwrap().foreign_routes().count(), 0);
}

#[test]
fn a_view_shares_what_did_not_change() {
    let mut mirror = mirror(&[route("10.1.0.0/16", None, 1, 0)]);
    let before = mirror.take_changed().unwrap();
    mirror.link(&link(2, 9000), Presence::Here);
    let after = mirror.take_changed().unwrap();
    assert!(Arc::ptr_eq(&before.routes, &after.routes));
    assert!(!Arc::ptr_eq(&before.links, &after.links));
    assert!(mirror.take_changed().is_none());
}

#[test]
fn a_deleted_route_uncovers_the_one_behind_it() {
    let (first, second) = (route("10.1.0.0/16", None, 2, 1), route("10.1.0.0/16", None, 3, 9));
    let mut mirror = mirror(&[second, first.clone()]);
    mirror.route(&first, Change::Deleted);
    assert_eq!(way(&mirror.into_view(), "10.1.0.1"), Some(3));
}

#[test]
fn an_ipv6_route_gains_and_loses_next_hops_one_by_one() {
    let one = |gateway: &str, interface| route("fd44::/64", Some(gateway), interface, 1024);
    let both = RouteMessage {
        hops: [one("fe80::1", 1), one("fe80::2", 2)].into_iter().flat_map(|route| route.hops).collect(),
        ..one("fe80::1", 1)
    };
    let mut mirror = mirror(&[one("fe80::1", 1), both]);
    let hops = |view: &KernelView| {
        let routes = view.foreign_routes_for("fd44::/64".parse().unwrap());
        routes.iter().map(|route| route.hops.len()).collect::<Vec<_>>()
    };
    assert_eq!(hops(&mirror.take_changed().unwrap()), [2]);
    mirror.route(&one("fe80::1", 1), Change::Deleted);
    let view = mirror.take_changed().unwrap();
    assert_eq!(hops(&view), [1]);
    assert_eq!(way(&view, "fd44::1"), Some(2));
}

#[test]
fn a_link_local_address_of_ours_is_a_neighbours_on_another_link() {
    let mut mirror = mirror(&[]);
    let own = Address { interface: 1, address: "fe80::1/64".parse().unwrap(), tentative: false };
    mirror.address(own, Presence::Here);
    let view = mirror.take_changed().unwrap();
    assert_eq!(view.route_on_link(address("fe80::1"), 1), None);
    assert_eq!(view.route_on_link(address("fe80::1"), 2).map(|way| way.interface), Some(2));
}
