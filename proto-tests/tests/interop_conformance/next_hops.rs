//! Next hops of MP_REACH_NLRI: RFC 4760, RFC 2545 and RFC 8950.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, TESTER_V6};
use muslin_proto_tests::tester::Tester;
use muslin_proto_tests::wire::{
    OPTIONAL, as_path, attribute, capabilities, capability, common_capabilities, origin, parameters, prefix,
    update,
};

use crate::scene::{P4, P6, Scene};

const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77];

/// An announcement by MP_REACH_NLRI; the reserved octet is not zero.
fn reach(afi: u8, next_hop: &[u8], announced: &str) -> Vec<u8> {
    let length = u8::try_from(next_hop.len()).unwrap_or(0);
    let value = [&[0, afi, 1, length][..], next_hop, &[0xa5], &prefix(announced)].concat();
    update(&[], &[attribute(OPTIONAL, 14, &value), origin(0), as_path(&[Peer::A.asn()])], &[])
}

/// An arena in which IPv6 next hops of IPv4 are offered to A.
fn offering() -> Result<Arena> {
    Arena::with(&[(Peer::A, "extendedNextHop: true")])
}

/// A, which can do so too: capability 5 with IPv4 unicast over IPv6 (RFC 8950 §4).
fn agreeing(arena: &Arena) -> Result<Tester> {
    let mut all = common_capabilities(Peer::A.asn());
    all.push(capability(5, &[0, 1, 0, 1, 0, 2]));
    arena.establish_with(Peer::A, &Peer::A.open().with_parameters(parameters(&[capabilities(&all)])))
}

#[test]
fn rfc8950_1_ipv4_routes_over_ipv6_next_hops_are_taken_where_both_sides_offered_it() -> Result<()> {
    let arena = offering()?;
    let (mut a, mut b) = (agreeing(&arena)?, arena.establish(Peer::B)?);
    let global = TESTER_V6.octets();
    for (prefix, next_hop) in
        [("10.66.16.0/24", global.to_vec()), ("10.66.32.0/24", [global, LINK_LOCAL].concat())]
    {
        a.send(&reach(1, &next_hop, prefix))?;
        b.await_route(prefix).with_context(|| format!("{prefix}\n{}", arena.log()))?;
    }
    Ok(())
}

#[test]
fn rfc8950_1_without_the_capability_an_ipv6_next_hop_of_ipv4_is_malformed() -> Result<()> {
    let arena = offering()?;
    let (mut a, mut b) = (arena.establish(Peer::A)?, arena.establish(Peer::B)?);
    a.send(&muslin_proto_tests::arena::announce(Peer::A, &[P4]))?;
    b.await_route(P4)?;
    a.send(&reach(1, &TESTER_V6.octets(), P4))?;
    b.await_withdrawal(P4).with_context(|| arena.log())
}

#[test]
fn rfc4760_2_next_hops_of_16_and_32_octets_are_taken_and_the_reserved_octet_is_ignored() -> Result<()> {
    let mut scene = Scene::new()?;
    let global = TESTER_V6.octets();
    for (what, next_hop) in [
        ("global", global.to_vec()),
        ("global and link-local", [global, LINK_LOCAL].concat()),
        ("link-local alone", LINK_LOCAL.to_vec()),
        ("link-local twice", [LINK_LOCAL, LINK_LOCAL].concat()),
    ] {
        scene.a.send(&reach(2, &next_hop, P6))?;
        let route = scene.b.await_route(P6).with_context(|| format!("{what}\n{}", scene.arena.log()))?;
        ensure!(!format!("{route:?}").contains("fe80::77"), "{what} left its link: {route:?}");
        scene.a.send(&update(&[], &[muslin_proto_tests::wire::mp_unreach(&[P6])], &[]))?;
        scene.b.await_withdrawal(P6)?;
    }
    scene.a_is_heard()
}
