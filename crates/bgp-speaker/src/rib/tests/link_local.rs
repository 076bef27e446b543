//! Next hops that mean something on one link only.

use std::net::Ipv6Addr;

use muslin_bgp_packet::{Family, NextHop};

use super::support::{LINK, World, ip, net, path, view};
use crate::rib::{FibNextHop, LocalAddresses, PeerView, Resolution};

const PREFIX: &str = "198.51.100.0/24";
const PREFIX6: &str = "2001:db8::/32";
const OTHER_LINK: u32 = 8;
const LINK_LOCAL: &str = "fe80::1";

/// A peer that we speak to without addresses, on a link of its own.
fn unnumbered(index: u16, asn: u32, interface: u32) -> PeerView {
    let own: Ipv6Addr = "fe80::2".parse().unwrap();
    let mut view = PeerView {
        interface: Some(interface),
        local: LocalAddresses { ipv4: None, ipv6: None, link_local: Some(own) },
        extended_next_hop: Family::Ipv4Unicast.into(),
        ..view(index, asn)
    };
    view.decode.extended_next_hop = Family::Ipv4Unicast.into();
    view
}

fn over(gateway: &str, interface: u32) -> FibNextHop {
    FibNextHop { gateway: ip(gateway), interface, weight: 1 }
}

#[test]
fn rfc8950_2_one_link_local_address_on_two_links_is_two_ways() {
    let mut world = World::new();
    let one = world.up(0, unnumbered(0, 65001, LINK));
    let two = world.up(1, unnumbered(1, 65001, OTHER_LINK));
    for from in [one, two] {
        world.announce_via(from, &[PREFIX, PREFIX6], &path(&[65001]), NextHop::new(ip(LINK_LOCAL)));
    }
    world.settle();
    for prefix in [PREFIX, PREFIX6] {
        assert_eq!(
            world.fib[&net(prefix)].next_hops.as_slice(),
            [over(LINK_LOCAL, LINK), over(LINK_LOCAL, OTHER_LINK)],
            "{prefix}"
        );
    }
}

#[test]
fn rfc4760_2_next_hops_of_one_and_of_two_addresses_lead_to_the_link() {
    let link_local = Some(LINK_LOCAL.parse().unwrap());
    for next_hop in [
        NextHop::new(ip(LINK_LOCAL)),
        NextHop { global: ip(LINK_LOCAL), link_local },
        NextHop { global: ip("fd00::64"), link_local },
    ] {
        let mut world = World::new();
        let from = world.up(0, unnumbered(0, 65001, OTHER_LINK));
        world.announce_via(from, &[PREFIX6], &path(&[65001]), next_hop);
        world.settle();
        assert_eq!(
            world.fib[&net(PREFIX6)].next_hops.as_slice(),
            [over(LINK_LOCAL, OTHER_LINK)],
            "{next_hop}"
        );
    }
}

#[test]
fn rfc4760_2_a_link_local_next_hop_without_a_link_leads_nowhere() {
    let mut world = World::new();
    world.ways.set(ip(LINK_LOCAL), None);
    let from = world.up(0, PeerView { interface: None, ..unnumbered(0, 65001, LINK) });
    world.announce_via(from, &[PREFIX6], &path(&[65001]), NextHop::new(ip(LINK_LOCAL)));
    world.settle();
    assert!(world.fib.is_empty());
}

#[test]
fn a_link_local_next_hop_goes_no_further_than_its_link() {
    let mut world = World::new();
    let from = world.up(0, unnumbered(0, 65001, LINK));
    let own_as = super::support::OWN_AS.0;
    let beyond = world.up(1, PeerView { interface: Some(OTHER_LINK), ..view(1, own_as) });
    let unchanged = PeerView { next_hop: crate::config::NextHopMode::Unchanged, ..view(2, own_as) };
    let unchanged = world.up(2, PeerView { interface: Some(OTHER_LINK), ..unchanged });
    world.announce_via(from, &[PREFIX6], &path(&[65001]), NextHop::new(ip(LINK_LOCAL)));
    world.settle();
    for peer in [beyond, unchanged] {
        assert_eq!(world.heard(peer, PREFIX6).unwrap().next_hop.global, ip("fd00::1"));
    }
}

/// The link-local address beside a global one is only the way to it.
#[test]
fn rfc2545_a_global_next_hop_with_a_link_local_one_goes_to_internal_peers_unchanged() {
    let mut world = World::new();
    let from = world.up(0, unnumbered(0, 65001, LINK));
    let to = PeerView { interface: Some(OTHER_LINK), ..view(1, super::support::OWN_AS.0) };
    let to = world.up(1, to);
    let next_hop = NextHop { global: ip("fd00::64"), link_local: Some(LINK_LOCAL.parse().unwrap()) };
    world.announce_via(from, &[PREFIX6], &path(&[65001]), next_hop);
    world.settle();
    assert_eq!(world.heard(to, PREFIX6).unwrap().next_hop, NextHop::new(ip("fd00::64")));
}

#[test]
fn rfc8950_2_the_way_follows_when_the_link_goes() {
    let mut world = World::new();
    let from = world.up(0, unnumbered(0, 65001, OTHER_LINK));
    world.announce_via(from, &[PREFIX], &path(&[65001]), NextHop::new(ip(LINK_LOCAL)));
    world.settle();
    assert!(world.fib.contains_key(&net(PREFIX)));
    world.ways.set(ip(LINK_LOCAL), None);
    world.rib.next_hops_changed();
    world.settle();
    assert!(world.fib.is_empty());
    let back = Resolution { gateway: ip(LINK_LOCAL), interface: OTHER_LINK, metric: 0, direct: true };
    world.ways.set(ip(LINK_LOCAL), Some(back));
    world.rib.next_hops_changed();
    world.settle();
    assert_eq!(world.fib[&net(PREFIX)].next_hops.as_slice(), [over(LINK_LOCAL, OTHER_LINK)]);
}

/// RFC 4271 §5.1.3: what an external peer one hop away names is on its link. When that link goes, a default route may lead
/// to the same address by another router, which knows nothing of the peer's routes.
#[test]
fn the_next_hop_of_an_external_neighbour_is_not_looked_for_behind_a_gateway() {
    let address = "10.0.0.100";
    let on_link = Resolution { gateway: ip(address), interface: LINK, metric: 0, direct: true };
    let behind = Resolution { gateway: ip("10.9.9.9"), interface: OTHER_LINK, metric: 0, direct: false };
    let one_hop = |asn| PeerView { one_hop: true, ..view(0, asn) };
    for (view, usable) in [
        (one_hop(65001), false),
        (view(0, 65001), true),
        (PeerView { interface: None, ..one_hop(65001) }, true),
    ] {
        let mut world = World::new();
        world.ways.set(ip(address), Some(on_link));
        let from = world.up(0, view.clone());
        world.announce_via(from, &[PREFIX], &path(&[65001]), NextHop::new(ip(address)));
        world.settle();
        assert!(world.fib.contains_key(&net(PREFIX)));
        world.ways.set(ip(address), Some(behind));
        world.rib.next_hops_changed();
        world.settle();
        assert_eq!(world.fib.contains_key(&net(PREFIX)), usable, "{view:?}");
    }
}
