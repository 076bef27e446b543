//! What is never learned, whatever a policy says.

use muslin_bgp_packet::{Asn, NextHop};

use super::support::{OWN_AS, World, ip, net, own_next_hop, path, view};
use crate::config::{Allowed, GuardRange, ImportGuard, OwnedBlock};
use crate::rib::{PeerIndex, Refusal};

fn range(text: &str) -> GuardRange {
    GuardRange { range: net(text), cause: format!("cause of {text}").into() }
}

fn owned(block: &str, origin_as: Option<Asn>) -> OwnedBlock {
    OwnedBlock {
        block: net(block),
        owner: "n2".into(),
        origin_as,
        shares_as: false,
        addresses: vec![ip("10.0.0.2")],
        cause: "Node n2 .spec.podCIDRs[0]".into(),
    }
}

fn guard() -> ImportGuard {
    ImportGuard {
        allowed: Allowed::Within(vec![range("10.0.0.0/8"), range("2001:db8::/32")]),
        own_addresses: vec![range("10.9.0.1/32")],
        own_blocks: vec![range("10.244.1.0/24")],
        protected: vec![range("10.8.0.1/32"), range("10.3.0.0/16")],
        service_ranges: vec![range("10.96.0.0/16")],
        owned_blocks: vec![owned("10.244.2.0/24", Some(Asn(65002)))],
        allow_default: false,
    }
}

fn refusal(
    world: &mut World,
    peer: PeerIndex,
    prefix: &str,
    asns: &[u32],
    next_hop: NextHop,
) -> Option<String> {
    world.announce_via(peer, &[prefix], &path(asns), next_hop);
    let explained = world.rib.explain(net(prefix)).unwrap();
    let reason = explained.paths[0].route.reason.clone();
    world.withdraw(peer, &[prefix]);
    reason.filter(|_| explained.paths[0].route.state == crate::rib::RouteState::Refused)
}

#[test]
fn a_prefix_that_nobody_routes_is_refused_even_where_everything_is_allowed() {
    let mut world = World::with_guard(ImportGuard::open());
    let peer = world.up(0, view(0, 65001));
    let next_hop = NextHop::new(ip("10.0.0.1"));
    let martian = Some(Refusal::Martian.to_string());
    for prefix in
        ["0.0.0.0/8", "127.0.0.0/8", "127.255.152.0/21", "224.0.0.0/4", "224.0.0.0/3", "240.0.0.1/32"]
    {
        assert_eq!(refusal(&mut world, peer, prefix, &[65001], next_hop), martian, "{prefix}");
    }
    for prefix in ["0.0.0.0/1", "128.0.0.0/1", "126.0.0.0/8", "128.0.0.0/16", "223.255.255.0/24"] {
        assert_eq!(refusal(&mut world, peer, prefix, &[65001], next_hop), None, "{prefix}");
    }
    let next_hop = NextHop::new(ip("2001:db8::1"));
    for prefix in ["::1/128", "::ffff:0:0/96", "fe80::/64", "fe80::/10", "ff02::/16"] {
        assert_eq!(refusal(&mut world, peer, prefix, &[65001], next_hop), martian, "{prefix}");
    }
    for prefix in ["::/1", "64:ff9b::/96", "fd00::/8", "2001:db8::/32"] {
        assert_eq!(refusal(&mut world, peer, prefix, &[65001], next_hop), None, "{prefix}");
    }
}

#[test]
fn fault_18_each_range_refuses_what_it_is_there_for() {
    let mut world = World::with_guard(guard());
    let peer = world.up(0, view(0, 65001));
    let cases = [
        ("0.0.0.0/0", Some(Refusal::DefaultRoute)),
        ("192.0.2.0/24", Some(Refusal::NotAllowed)),
        ("10.9.0.1/32", Some(Refusal::OwnAddress)),
        ("10.8.0.0/16", Some(Refusal::Protected)),
        ("10.8.0.1/32", Some(Refusal::Protected)),
        ("10.3.0.0/16", Some(Refusal::Protected)),
        ("10.3.7.0/24", Some(Refusal::Protected)),
        ("10.96.0.0/16", Some(Refusal::ServiceRange)),
        ("10.96.0.10/32", Some(Refusal::ServiceRange)),
        ("10.96.0.0/15", None),
        ("10.244.1.0/24", Some(Refusal::OwnBlock)),
        ("10.244.1.128/25", Some(Refusal::OwnBlock)),
        ("10.244.0.0/16", None),
        ("10.7.0.0/16", None),
        ("2001:db8:7::/48", None),
        ("2001:db9::/48", Some(Refusal::NotAllowed)),
        ("::/0", Some(Refusal::DefaultRoute)),
    ];
    for (prefix, expected) in cases {
        let next_hop = own_next_hop(peer, net(prefix));
        let found = refusal(&mut world, peer, prefix, &[65001], next_hop);
        assert_eq!(found, expected.map(|refusal| refusal.to_string()), "{prefix}");
    }
}

#[test]
fn fault_19_a_block_of_another_node_is_learned_only_from_its_owner() {
    let mut world = World::with_guard(guard());
    let external = world.up(0, view(0, 65001));
    let internal = world.up(1, view(1, OWN_AS.0));
    let block = "10.244.2.0/24";
    let own = own_next_hop(external, net(block));
    let foreign = Some(Refusal::ForeignBlock.to_string());
    assert_eq!(refusal(&mut world, external, block, &[65001, 65002], own), None);
    assert_eq!(refusal(&mut world, external, block, &[65001, 65003], own), foreign);
    assert_eq!(refusal(&mut world, external, "10.244.2.7/32", &[65001], own), foreign);
    let owner = NextHop::new(ip("10.0.0.2"));
    assert_eq!(refusal(&mut world, internal, block, &[], owner), None);
    assert_eq!(refusal(&mut world, internal, block, &[], NextHop::new(ip("10.0.0.3"))), foreign);
}

#[test]
fn the_explanation_names_the_range_and_its_cause() {
    let mut world = World::with_guard(guard());
    let peer = world.up(0, view(0, 65001));
    world.announce(peer, &["10.244.1.0/24"], &path(&[65001]));
    let explained = world.rib.explain(net("10.244.1.0/24")).unwrap();
    assert_eq!(explained.paths[0].cause, "import guard: 10.244.1.0/24, cause of 10.244.1.0/24");
}

#[test]
fn a_new_guard_applies_to_what_was_received_before() {
    let mut world = World::new();
    let peer = world.up(0, view(0, 65001));
    world.announce(peer, &["10.244.1.0/24", "10.7.0.0/16"], &path(&[65001]));
    world.settle();
    assert_eq!(world.fib.len(), 2);
    world.rib.set_guard(guard());
    world.settle();
    assert_eq!(world.fib.keys().copied().collect::<Vec<_>>(), [net("10.7.0.0/16")]);
    world.rib.set_guard(ImportGuard::open());
    world.settle();
    assert_eq!(world.fib.len(), 2);
}

#[test]
fn a_closed_guard_learns_nothing_but_the_blocks_of_others() {
    let owned_blocks = vec![owned("10.244.2.0/24", None)];
    let mut world = World::with_guard(ImportGuard { owned_blocks, ..ImportGuard::closed() });
    let peer = world.up(0, view(0, 65001));
    let mut found = |prefix| refusal(&mut world, peer, prefix, &[65001], own_next_hop(peer, net(prefix)));
    let not_allowed = Some(Refusal::NotAllowed.to_string());
    assert_eq!(found("10.7.0.0/16"), not_allowed);
    assert_eq!(found("2001:db8::/32"), not_allowed);
    assert_eq!(found("10.244.0.0/16"), not_allowed, "an aggregate of blocks is no block");
    assert_eq!(found("10.244.2.0/24"), None);
}

/// Whoever names a protected range, or a part of it, means it; a wider range does not.
#[test]
fn fault_18_a_protected_range_is_learned_only_when_it_is_named() {
    let named = ["10.0.0.0/8", "10.3.128.0/17", "10.8.0.0/16", "10.96.7.0/24"].map(range);
    let allowed = Allowed::Within(named.to_vec());
    let mut world = World::with_guard(ImportGuard { allowed, ..guard() });
    let peer = world.up(0, view(0, 65001));
    let cases = [
        ("10.3.128.0/24", None),
        ("10.3.1.0/24", Some(Refusal::Protected)),
        ("10.8.0.0/16", None),
        ("10.8.0.0/17", Some(Refusal::Protected)),
        ("10.96.7.0/24", None),
        ("10.96.8.0/24", Some(Refusal::ServiceRange)),
        ("10.9.0.1/32", Some(Refusal::OwnAddress)),
        ("10.244.1.0/24", Some(Refusal::OwnBlock)),
    ];
    for (prefix, expected) in cases {
        let found = refusal(&mut world, peer, prefix, &[65001], own_next_hop(peer, net(prefix)));
        assert_eq!(found, expected.map(|refusal| refusal.to_string()), "{prefix}");
    }
}

/// Where nodes share an AS, nothing tells whose a more-specific route is, so it would take the owner's traffic.
#[test]
fn fault_19_a_part_of_a_block_is_refused_when_nothing_proves_its_owner() {
    for (origin_as, shares_as) in [(None, false), (Some(Asn(65002)), true)] {
        let block = OwnedBlock { shares_as, ..owned("10.244.2.0/24", origin_as) };
        let mut world = World::with_guard(ImportGuard { owned_blocks: vec![block], ..guard() });
        let peer = world.up(0, view(0, 65001));
        let own = own_next_hop(peer, net("10.244.2.0/24"));
        let mut found = |prefix, asns: &[u32]| refusal(&mut world, peer, prefix, asns, own);
        assert_eq!(found("10.244.2.0/24", &[65001, 65002]), None);
        let foreign = Some(Refusal::ForeignBlock.to_string());
        assert_eq!(found("10.244.2.128/25", &[65001, 65002]), foreign);
    }
    let mut world = World::with_guard(guard());
    let peer = world.up(0, view(0, 65001));
    let own = own_next_hop(peer, net("10.244.2.0/24"));
    assert_eq!(
        refusal(&mut world, peer, "10.244.2.128/25", &[65001, 65002], own),
        None,
        "AS 65002 is n2's alone"
    );
}

#[test]
fn fault_20_a_next_hop_within_a_block_of_pods_is_refused_and_named() {
    let mut world = World::with_guard(guard());
    let peer = world.up(0, view(0, 65001));
    for (next_hop, block) in [("10.244.1.7", "10.244.1.0/24"), ("10.244.2.7", "10.244.2.0/24")] {
        world.announce_via(peer, &["10.7.0.0/16"], &path(&[65001]), NextHop::new(ip(next_hop)));
        let explained = world.rib.explain(net("10.7.0.0/16")).unwrap();
        assert_eq!(explained.paths[0].route.reason, Some(Refusal::PodNextHop.to_string()));
        assert!(explained.paths[0].cause.contains(block), "{}", explained.paths[0].cause);
    }
}
