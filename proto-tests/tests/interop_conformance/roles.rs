//! Who a peer is to us: roles (RFC 9234), and an AS that only one peer sees.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, SUBJECT_ASN, announce, announce_with};
use muslin_proto_tests::wire::{self, OPEN, Open};

use crate::scene::Scene;

/// ONLY_TO_CUSTOMER.
const OTC: u8 = 35;

fn open_with_role(peer: Peer, role: u8) -> Open {
    let list = [wire::common_capabilities(peer.asn()), vec![wire::capability(9, &[role])]].concat();
    peer.open().with_parameters(wire::parameters(&[wire::capabilities(&list)]))
}

fn otc(asn: u32) -> Vec<u8> {
    wire::attribute(wire::OPTIONAL | wire::TRANSITIVE, OTC, &asn.to_be_bytes())
}

#[test]
fn rfc9234_1_roles_that_do_not_belong_together_are_2_11() -> Result<()> {
    // We are the customer, so the peer must be the provider, 0.
    let arena = Arena::with(&[(Peer::A, "role: Customer"), (Peer::B, "role: Customer\nstrictRole: true")])?;
    for role in [1, 2, 3, 4, 9] {
        let mut a = arena.meet(Peer::A)?;
        a.send(&open_with_role(Peer::A, role).message())?;
        a.expect_notification(2, 11, None).with_context(|| format!("role {role}\n{}", arena.log()))?;
    }
    let two = [
        wire::common_capabilities(Peer::A.asn()),
        vec![wire::capability(9, &[0]), wire::capability(9, &[4])],
    ];
    let mut a = arena.meet(Peer::A)?;
    a.send(
        &Peer::A.open().with_parameters(wire::parameters(&[wire::capabilities(&two.concat())])).message(),
    )?;
    a.expect_notification(2, 11, None).with_context(|| format!("two roles\n{}", arena.log()))?;
    arena.establish_with(Peer::A, &open_with_role(Peer::A, 0))?;
    let mut b = arena.meet(Peer::B)?;
    b.send(&Peer::B.open().message())?;
    b.expect_notification(2, 11, None).with_context(|| format!("no role, strict\n{}", arena.log()))?;
    arena.establish_with(Peer::B, &open_with_role(Peer::B, 0)).map(drop)
}

#[test]
fn rfc9234_1_our_open_says_our_role() -> Result<()> {
    let arena = Arena::with(&[(Peer::A, "role: RouteServerClient")])?;
    let theirs = arena.connect(Peer::A)?.expect(OPEN)?;
    ensure!(theirs.body.windows(3).any(|octets| octets == [9, 1, 2]), "{theirs:02x?}");
    Ok(())
}

#[test]
fn rfc9234_1_a_providers_route_is_marked_and_goes_to_customers_only() -> Result<()> {
    // A is our provider; B is our customer first, then our other provider.
    let mut scene = Scene::with(&[(Peer::A, "role: Customer"), (Peer::B, "role: Provider")])?;
    scene.a.send(&announce(Peer::A, &["10.66.0.0/24"]))?;
    let route = scene.b.await_route("10.66.0.0/24").with_context(|| scene.arena.log())?;
    let value = route.attributes.get(&OTC).context("without ONLY_TO_CUSTOMER")?;
    ensure!(*value == (0xc0, Peer::A.asn().to_be_bytes().to_vec()), "{value:02x?}");

    scene.arena.reconfigure(Peer::B, Some("role: Customer"))?;
    scene.b.expect_notification(6, 6, None)?;
    scene.b = scene.arena.establish(Peer::B)?;
    let mut internal = scene.arena.establish(Peer::Internal)?;
    internal.send(&announce(Peer::Internal, &["10.67.0.0/24"]))?;
    scene.b.await_route("10.67.0.0/24").with_context(|| scene.arena.log())?;
    ensure!(!scene.b.has("10.66.0.0/24"), "the route of one provider leaked to the other");
    Ok(())
}

#[test]
fn rfc9234_1_a_customer_that_leaks_is_refused_with_the_reason() -> Result<()> {
    let mut scene = Scene::with(&[(Peer::A, "role: Provider")])?;
    scene.a.send(&announce_with(Peer::A, &[otc(65099)], &["10.66.0.0/24"]))?;
    scene.a_is_heard()?;
    ensure!(!scene.b.has("10.66.0.0/24"), "a leaked route was passed on");
    let status = scene.arena.status(Peer::A)?;
    ensure!(status["refused"]["route-leak"] == 1, "{status:#}");
    Ok(())
}

#[test]
fn rfc9234_1_a_mark_of_another_length_withdraws_the_route() -> Result<()> {
    let mut scene = Scene::new()?;
    for length in [0, 3, 5] {
        let wrong = wire::attribute(wire::OPTIONAL | wire::TRANSITIVE, OTC, &vec![0; length]);
        let message = announce_with(Peer::A, &[wrong], &[crate::scene::P4]);
        scene.is_treated_as_withdrawal(&format!("length {length}"), crate::scene::P4, &message)?;
    }
    Ok(())
}

/// The AS of the OPEN that B gets, and the AS_PATH of a route of A's as B sees it.
fn seen_by_b(extra: &str) -> Result<(u16, Vec<u32>)> {
    let arena = Arena::with(&[(Peer::B, extra)])?;
    let (mut a, mut b) = (arena.establish(Peer::A)?, arena.meet(Peer::B)?);
    let theirs = b.establish(&Peer::B.open()).with_context(|| arena.log())?;
    a.send(&announce(Peer::A, &["10.66.0.0/24"]))?;
    let route = b.await_route("10.66.0.0/24").with_context(|| arena.log())?;
    Ok((u16::from_be_bytes([theirs.body[1], theirs.body[2]]), route.as_path))
}

#[test]
fn a_local_as_stands_in_the_open_and_where_it_is_asked_for_in_the_path() -> Result<()> {
    let path = [65100, SUBJECT_ASN, Peer::A.asn()];
    ensure!(seen_by_b("localASN: 65100")? == (65100, vec![65100, Peer::A.asn()]));
    for prepend in ["NoPrepend", "Both"] {
        let seen = seen_by_b(&format!("localASN: 65100\nlocalASPrepend: {prepend}"))?;
        ensure!(seen == (65100, path.to_vec()), "{prepend}: {seen:?}");
    }
    Ok(())
}
