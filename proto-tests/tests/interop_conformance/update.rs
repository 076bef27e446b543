//! What an UPDATE does to the peers: RFC 4271 §5, §6.3 and §9.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{self, Arena, Peer, SUBJECT, announce, announce_with};
use muslin_proto_tests::wire::{self, EXTENDED_LENGTH, OPTIONAL, PARTIAL, TRANSITIVE};

use crate::scene::{P4, P6, Scene, announce_v6};

/// An UPDATE of A for [`P4`] with a path and a next hop of the test's own.
fn with_path(path: &[u32], next_hop: Ipv4Addr) -> Vec<u8> {
    wire::update(&[], &[wire::origin(0), wire::as_path(path), wire::next_hop(next_hop)], &[P4])
}

#[test]
fn rfc4271_15_a_path_with_our_own_as_replaces_the_route_and_is_not_used() -> Result<()> {
    let mut scene = Scene::new()?;
    let looped = with_path(&[Peer::A.asn(), 65000, 65050], Peer::A.address());
    scene.is_treated_as_withdrawal("own AS", P4, &looped)
}

#[test]
fn rfc4271_16_a_next_hop_that_cannot_be_one_makes_the_route_unusable_only() -> Result<()> {
    let mut scene = Scene::new()?;
    for address in [SUBJECT, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(224, 0, 0, 5), Ipv4Addr::LOCALHOST] {
        let bad = with_path(&[Peer::A.asn()], address);
        scene.is_treated_as_withdrawal(&address.to_string(), P4, &bad)?;
    }
    Ok(())
}

#[test]
fn rfc4271_17_what_leaves_the_as_carries_our_as_and_nothing_internal() -> Result<()> {
    let arena = Arena::new()?;
    let (mut internal, mut b) = (arena.establish(Peer::Internal)?, arena.establish(Peer::B)?);
    internal.send(&announce_with(Peer::Internal, &[wire::med(50)], &[P4]))?;
    let route = b.await_route(P4).with_context(|| arena.log())?;
    ensure!(route.as_path == [65000], "{route:?}");
    ensure!(!route.attributes.contains_key(&5), "LOCAL_PREF left the AS: {route:?}");
    // RFC 4271 §5.1.3: ourselves, or a third party on the same link.
    let allowed = [IpAddr::from(SUBJECT), Peer::Internal.address().into()];
    ensure!(allowed.contains(&route.next_hop), "{route:?}");
    Ok(())
}

#[test]
fn rfc4271_17_a_neighbours_med_is_not_passed_on() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&announce_with(Peer::A, &[wire::med(50)], &[P4]))?;
    let route = scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    ensure!(!route.attributes.contains_key(&4), "{route:?}");
    ensure!(route.as_path == [65000, 65001], "{route:?}");
    Ok(())
}

#[test]
fn rfc4271_17_a_full_segment_gets_a_new_one_before_it() -> Result<()> {
    let mut scene = Scene::new()?;
    let path: Vec<u32> = std::iter::repeat_n(Peer::A.asn(), 255).collect();
    scene.a.send(&with_path(&path, Peer::A.address()))?;
    let route = scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    ensure!(route.as_path.len() == 256 && route.as_path[0] == 65000, "{route:?}");
    let (_, value) = &route.attributes[&2];
    ensure!(value[..2] == [2, 1] && value[6..8] == [2, 255], "{value:?}");
    Ok(())
}

/// An internal route goes to internal peers of a non-reflector never (RFC 4271 §9.2), an external one always, unchanged.
#[test]
fn rfc4271_17_an_internal_peer_gets_external_routes_with_local_pref_and_our_as_unchanged() -> Result<()> {
    let arena = Arena::new()?;
    let (mut internal, mut a) = (arena.establish(Peer::Internal)?, arena.establish(Peer::A)?);
    a.send(&announce(Peer::A, &[P4]))?;
    let route = internal.await_route(P4).with_context(|| arena.log())?;
    ensure!(route.as_path == [Peer::A.asn()], "{route:?}");
    ensure!(
        route.attributes.get(&5).is_some_and(|(_, value)| value.len() == 4),
        "LOCAL_PREF is missing: {route:?}"
    );
    Ok(())
}

#[test]
fn rfc4271_18_unknown_transitive_attributes_pass_with_the_partial_bit_and_others_do_not() -> Result<()> {
    let mut scene = Scene::new()?;
    let transitive = wire::attribute(OPTIONAL | TRANSITIVE, 200, &[1, 2, 3]);
    let local = wire::attribute(OPTIONAL, 201, &[4]);
    scene.a.send(&announce_with(Peer::A, &[transitive, local], &[P4]))?;
    let route = scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    let (flags, value) = route.attributes.get(&200).with_context(|| format!("{route:?}"))?;
    ensure!(*value == [1, 2, 3] && flags & 0xe0 == OPTIONAL | TRANSITIVE | PARTIAL, "{route:?}");
    ensure!(!route.attributes.contains_key(&201), "{route:?}");
    Ok(())
}

#[test]
fn rfc4271_18_order_spare_flags_and_needless_extended_lengths_do_not_matter() -> Result<()> {
    let mut scene = Scene::new()?;
    let path = wire::segments(&[(2, &[Peer::A.asn()])]);
    let attributes = [
        wire::attribute(OPTIONAL | TRANSITIVE, 8, &[0xfd, 0xe9, 0, 1]),
        wire::attribute(TRANSITIVE | EXTENDED_LENGTH, 3, &Peer::A.address().octets()),
        wire::attribute(TRANSITIVE | 0x0f, 2, &path),
        wire::attribute(TRANSITIVE | EXTENDED_LENGTH | 0x05, 1, &[0]),
    ];
    let route = scene.is_accepted("order", &wire::update(&[], &attributes, &[P4]))?;
    ensure!(route.as_path == [65000, 65001], "{route:?}");
    ensure!(
        route.attributes.get(&1).is_some_and(|(flags, _)| flags.trailing_zeros() >= 4),
        "spare flags were passed on: {route:?}"
    );
    Ok(())
}

#[test]
fn rfc4271_19_a_prefix_that_is_withdrawn_and_announced_at_once_is_announced() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.routes_are_known()?;
    let attributes = [wire::origin(2), wire::as_path(&[Peer::A.asn()]), wire::next_hop(Peer::A.address())];
    scene.a.send(&wire::update(&[P4], &attributes, &[P4]))?;
    let prefix: ipnet::IpNet = P4.parse()?;
    let replaced = |table: &std::collections::BTreeMap<ipnet::IpNet, muslin_proto_tests::tester::Route>| {
        table.get(&prefix).is_some_and(|route| route.attributes[&1].1 == [2])
    };
    scene.b.await_table("the new ORIGIN", replaced).with_context(|| scene.arena.log())?;
    scene.a_is_heard()?;
    ensure!(scene.b.has(P4), "withdrawn afterwards");
    Ok(())
}

#[test]
fn rfc4271_19_host_bits_are_masked_and_a_default_route_is_a_route() -> Result<()> {
    let mut scene = Scene::new()?;
    let bits = [wire::prefixes(&["10.66.255.0/20"]), wire::prefixes(&["0.0.0.0/0"])].concat();
    let attributes =
        [wire::origin(0), wire::as_path(&[Peer::A.asn()]), wire::next_hop(Peer::A.address())].concat();
    let length = u16::try_from(attributes.len())?.to_be_bytes();
    scene.a.send(&wire::raw_update(&[], length, &attributes, &bits))?;
    scene.b.await_route("10.66.240.0/20").with_context(|| scene.arena.log())?;
    scene.b.await_route("0.0.0.0/0").map(drop).with_context(|| scene.arena.log())
}

/// The steps that two external neighbours and an internal one can provoke; B sees which path won.
#[test]
fn rfc4271_20_the_decision_process_prefers_in_the_order_of_the_rfc() -> Result<()> {
    let arena = Arena::new()?;
    let mut b = arena.establish(Peer::B)?;
    let mut a = arena.establish(Peer::A)?;
    let mut internal = arena.establish(Peer::Internal)?;
    let mut active = arena.accept()?;
    active.establish(&Peer::Active.open())?;
    // The neighbour that a path at B came through; empty for the internal one, whose paths begin with 65200.
    let winner = |b: &mut muslin_proto_tests::tester::Tester, first: u32| {
        let prefix: ipnet::IpNet = P4.parse()?;
        b.await_table(&format!("{first} wins"), |table| {
            table.get(&prefix).is_some_and(|route| route.as_path.get(1) == Some(&first))
        })
    };
    let path = |path: &[u32], origin: u8, from: Peer, further: &[Vec<u8>]| {
        let mut attributes = vec![wire::origin(origin), wire::as_path(path), wire::next_hop(from.address())];
        attributes.extend(further.iter().cloned());
        wire::update(&[], &attributes, &[P4])
    };
    let (a_as, active_as) = (Peer::A.asn(), Peer::Active.asn());
    // Longer path first, so that every step has to change something at B.
    a.send(&path(&[a_as, 65100, 65101], 0, Peer::A, &[]))?;
    winner(&mut b, a_as)?;
    active.send(&path(&[active_as, 65100], 2, Peer::Active, &[]))?;
    winner(&mut b, active_as).context("b) a shorter AS_PATH")?;
    a.send(&path(&[a_as, 65100], 0, Peer::A, &[]))?;
    winner(&mut b, a_as).context("c) a lower origin")?;
    active.send(&path(&[active_as], 0, Peer::Active, &[]))?;
    winner(&mut b, active_as).context("b) a shorter AS_PATH before the origin")?;
    internal.send(&path(&[65200, 65201, 65202], 2, Peer::Internal, &[wire::local_pref(200)]))?;
    winner(&mut b, 65200).context("a) a higher LOCAL_PREF before all")?;
    internal.send(&path(&[65200], 0, Peer::Internal, &[wire::local_pref(100)]))?;
    winner(&mut b, active_as).context("e) external before internal")?;
    a.send(&path(&[a_as], 0, Peer::A, &[]))?;
    winner(&mut b, a_as).context("g) the lower identifier")?;
    a.send(&wire::update(&[P4], &[], &[]))?;
    winner(&mut b, active_as).context("the next best after a withdrawal")?;
    active.send(&wire::update(&[P4], &[], &[]))?;
    winner(&mut b, 65200).context("the internal one is left")?;
    internal.send(&wire::update(&[P4], &[], &[]))?;
    b.await_withdrawal(P4).with_context(|| arena.log())
}

/// RFC 4271 §9.1.2.1: an `AS_SET` counts one.
#[test]
fn rfc4271_20_a_set_counts_as_one_as() -> Result<()> {
    let arena = Arena::new()?;
    let (mut a, mut b) = (arena.establish(Peer::A)?, arena.establish(Peer::B)?);
    let mut active = arena.accept()?;
    active.establish(&Peer::Active.open())?;
    let set = wire::segments(&[(2, &[Peer::Active.asn()]), (1, &[65100, 65101, 65102])]);
    let attributes =
        [wire::origin(0), wire::attribute(TRANSITIVE, 2, &set), wire::next_hop(Peer::Active.address())];
    a.send(&with_path(&[Peer::A.asn(), 65100, 65101], Peer::A.address()))?;
    b.await_route(P4)?;
    active.send(&wire::update(&[], &attributes, &[P4]))?;
    let prefix: ipnet::IpNet = P4.parse()?;
    b.await_table("the path with the set wins", |table| {
        table.get(&prefix).is_some_and(|route| route.as_path.get(1) == Some(&Peer::Active.asn()))
    })
    .with_context(|| arena.log())
}

#[test]
fn rfc4271_21_an_announcement_replaces_the_one_before_and_a_withdrawal_is_not_delayed() -> Result<()> {
    let mut scene = Scene::new()?;
    for length in 1..30 {
        let path: Vec<u32> = std::iter::repeat_n(Peer::A.asn(), length).collect();
        scene.a.send(&with_path(&path, Peer::A.address()))?;
    }
    let prefix: ipnet::IpNet = P4.parse()?;
    scene.b.await_table("the last of 29 paths", |table| {
        table.get(&prefix).is_some_and(|route| route.as_path.len() == 30)
    })?;
    scene.a.send(&wire::update(&[P4], &[], &[]))?;
    let start = std::time::Instant::now();
    scene.b.await_withdrawal(P4)?;
    ensure!(start.elapsed().as_secs() < 2, "the withdrawal took {:?}", start.elapsed());
    Ok(())
}

/// Our AS makes it 4,097 octets or more: it is not sent, the route before it is withdrawn, nothing breaks.
#[test]
fn rfc4271_22_a_route_that_no_longer_fits_a_message_is_withdrawn() -> Result<()> {
    let mut scene = Scene::new()?;
    let (mandatory, header) = (4 + 9 + 7 + 4, 23 + 4);
    let filler = wire::attribute(OPTIONAL | TRANSITIVE, 200, &vec![7; 4096 - mandatory - header]);
    let message = announce_with(Peer::A, &[filler], &[P4]);
    ensure!((4090..=4096).contains(&message.len()), "{}", message.len());
    scene.is_treated_as_withdrawal("4 KB of attributes", P4, &message)
}

#[test]
fn rfc7606_10_ipv4_and_ipv6_may_come_in_one_message() -> Result<()> {
    let mut scene = Scene::new()?;
    let attributes = [
        wire::origin(0),
        wire::as_path(&[Peer::A.asn()]),
        wire::next_hop(Peer::A.address()),
        wire::mp_reach(arena::TESTER_V6, &[P6]),
    ];
    scene.a.send(&wire::update(&[], &attributes, &[P4]))?;
    scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    scene.b.await_route(P6).map(drop).with_context(|| scene.arena.log())
}

#[test]
fn rfc4760_1_a_family_that_was_not_negotiated_is_ignored_and_the_rest_is_used() -> Result<()> {
    let mut scene = Scene::new()?;
    let foreign = wire::attribute(OPTIONAL, 14, &[0, 25, 65, 4, 1, 2, 3, 4, 0, 1, 2, 3]);
    scene.a.send(&announce_with(Peer::A, &[foreign], &[P4]))?;
    scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    let end_of_rib = wire::update(&[], &[wire::attribute(OPTIONAL, 15, &[0, 25, 65])], &[]);
    scene.a.send(&end_of_rib)?;
    scene.a_is_heard()
}

/// An MP_REACH_NLRI for [`P6`] as RFC 2545 §3 has it: a global and a link-local address.
fn with_link_local(reserved: u8, next_hops: &[std::net::Ipv6Addr]) -> Result<Vec<u8>> {
    let mut value = vec![0, 2, 1, u8::try_from(next_hops.len() * 16)?];
    value.extend(next_hops.iter().flat_map(std::net::Ipv6Addr::octets));
    value.push(reserved);
    value.extend(wire::prefix(P6));
    let attributes =
        [wire::attribute(OPTIONAL, 14, &value), wire::origin(0), wire::as_path(&[Peer::A.asn()])];
    Ok(wire::update(&[], &attributes, &[]))
}

#[test]
fn rfc4760_2_the_reserved_octet_of_mp_reach_may_be_anything() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&with_link_local(0x5a, &[arena::TESTER_V6])?)?;
    scene.b.await_route(P6).map(drop).with_context(|| scene.arena.log())
}

#[test]
fn rfc4760_2_an_ipv6_next_hop_may_be_a_global_and_a_link_local_address() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&with_link_local(0, &[arena::TESTER_V6, "fe80::1".parse()?])?)?;
    scene.b.await_route(P6).map(drop).with_context(|| scene.arena.log())
}

#[test]
fn rfc1997_1_the_well_known_communities_are_honoured() -> Result<()> {
    let arena = Arena::new()?;
    let (mut a, mut b) = (arena.establish(Peer::A)?, arena.establish(Peer::B)?);
    let mut internal = arena.establish(Peer::Internal)?;
    let (no_export, no_advertise) = (0xffff_ff01, 0xffff_ff02);
    a.send(&announce_with(Peer::A, &[wire::communities(&[no_export])], &["10.66.1.0/24"]))?;
    a.send(&announce_with(Peer::A, &[wire::communities(&[no_advertise])], &["10.66.2.0/24"]))?;
    a.send(&announce(Peer::A, &["10.66.3.0/24"]))?;
    internal.await_route("10.66.3.0/24").with_context(|| arena.log())?;
    b.await_route("10.66.3.0/24")?;
    internal.await_route("10.66.1.0/24").context("NO_EXPORT stays within the AS")?;
    ensure!(!internal.has("10.66.2.0/24"), "NO_ADVERTISE was advertised");
    ensure!(!b.has("10.66.1.0/24") && !b.has("10.66.2.0/24"), "{:?}", b.table());
    Ok(())
}

#[test]
fn rfc8092_1_large_communities_pass_and_duplicates_do_not() -> Result<()> {
    let mut scene = Scene::new()?;
    let one = [0, 0, 0xfd, 0xe9, 0, 0, 0, 1, 0, 0, 0, 2];
    let value = [one, one].concat();
    scene.a.send(&announce_with(Peer::A, &[wire::attribute(OPTIONAL | TRANSITIVE, 32, &value)], &[P4]))?;
    let route = scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    ensure!(route.attributes.get(&32).is_some_and(|(_, value)| *value == one), "{route:?}");
    Ok(())
}

#[test]
fn rfc4360_1_non_transitive_extended_communities_stay_within_the_as() -> Result<()> {
    let arena = Arena::new()?;
    let (mut internal, mut b) = (arena.establish(Peer::Internal)?, arena.establish(Peer::B)?);
    let value = [[0x40, 4, 0, 0, 0, 0, 0, 1], [0x00, 2, 0xfd, 0xe8, 0, 0, 0, 9]].concat();
    let attribute = wire::attribute(OPTIONAL | TRANSITIVE, 16, &value);
    internal.send(&announce_with(Peer::Internal, &[attribute], &[P4]))?;
    let route = b.await_route(P4).with_context(|| arena.log())?;
    let kept = [0x00, 2, 0xfd, 0xe8, 0, 0, 0, 9];
    ensure!(route.attributes.get(&16).is_some_and(|(_, value)| *value == kept), "{route:?}");
    Ok(())
}

#[test]
fn rfc7606_2_next_hop_is_not_needed_with_mp_reach_alone() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&announce_v6(&[]))?;
    scene.b.await_route(P6).map(drop).with_context(|| scene.arena.log())
}
