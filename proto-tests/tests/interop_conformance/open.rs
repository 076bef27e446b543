//! OPEN and its capabilities: RFC 4271 §4.2 and §6.2, RFC 5492, RFC 6286, RFC 7607, RFC 9072.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, SUBJECT, announce};
use muslin_proto_tests::wire::{
    self, KEEPALIVE, Open, capabilities, capability, common_capabilities, extended_parameters, multiprotocol,
    parameter, parameters,
};

fn refused(arena: &Arena, peer: Peer, open: &Open, subcode: u8, data: Option<&[u8]>) -> Result<()> {
    let mut tester = arena.meet(peer)?;
    tester.send(&open.message())?;
    tester.expect_notification(2, subcode, data).with_context(|| format!("{open:02x?}\n{}", arena.log()))
}

fn accepted(arena: &Arena, open: &Open) -> Result<()> {
    arena.establish_with(Peer::A, open).map(drop).with_context(|| format!("{open:02x?}"))
}

/// A's OPEN with these capabilities instead of its own.
fn with_capabilities(list: &[Vec<u8>]) -> Open {
    Peer::A.open().with_parameters(parameters(&[capabilities(list)]))
}

/// A's usual capabilities and these.
fn with_more(more: &[Vec<u8>]) -> Open {
    with_capabilities(&[common_capabilities(Peer::A.asn()), more.to_vec()].concat())
}

#[test]
fn rfc4271_5_another_version_is_2_1_with_ours() -> Result<()> {
    let arena = Arena::new()?;
    for version in [0, 3, 5, 255] {
        refused(&arena, Peer::A, &Open { version, ..Peer::A.open() }, 1, Some(&[0, 4]))?;
    }
    Ok(())
}

#[test]
fn rfc4271_6_another_as_than_configured_is_2_2() -> Result<()> {
    let arena = Arena::new()?;
    refused(&arena, Peer::A, &Open::new(65099, Peer::A.address(), 90), 2, None)?;
    refused(&arena, Peer::A, &Open::new(4_200_000_000, Peer::A.address(), 90), 2, None)?;
    // The capability decides (RFC 6793 §4.1).
    refused(&arena, Peer::A, &with_capabilities(&common_capabilities(65099)), 2, None)
}

#[test]
fn rfc7607_as_zero_is_2_2_in_either_place() -> Result<()> {
    let arena = Arena::new()?;
    refused(&arena, Peer::A, &Open { asn: 0, ..Peer::A.open() }, 2, None)?;
    refused(&arena, Peer::A, &with_capabilities(&common_capabilities(0)), 2, None)
}

#[test]
fn rfc4271_7_identifier_zero_is_2_3() -> Result<()> {
    refused(&Arena::new()?, Peer::A, &Open { id: Ipv4Addr::UNSPECIFIED, ..Peer::A.open() }, 3, None)
}

#[test]
fn rfc6286_our_identifier_is_refused_within_our_as_only() -> Result<()> {
    let arena = Arena::new()?;
    accepted(&arena, &Open { id: SUBJECT, ..Peer::A.open() })?;
    refused(&arena, Peer::Internal, &Open { id: SUBJECT, ..Peer::Internal.open() }, 3, None)
}

#[test]
fn rfc4271_8_hold_times_of_one_and_two_seconds_are_2_6() -> Result<()> {
    let arena = Arena::new()?;
    for hold_time in [1, 2] {
        refused(&arena, Peer::A, &Open { hold_time, ..Peer::A.open() }, 6, None)?;
    }
    Ok(())
}

#[test]
fn rfc4271_8_hold_time_zero_is_accepted() -> Result<()> {
    accepted(&Arena::new()?, &Open { hold_time: 0, ..Peer::A.open() })
}

#[test]
fn rfc4271_10_an_unknown_optional_parameter_is_2_4() -> Result<()> {
    let arena = Arena::new()?;
    let right = capabilities(&common_capabilities(Peer::A.asn()));
    refused(
        &arena,
        Peer::A,
        &Peer::A.open().with_parameters(parameters(&[parameter(77, &[1]), right])),
        4,
        None,
    )
}

#[test]
fn rfc4271_10_parameters_and_capabilities_that_overrun_are_2_0() -> Result<()> {
    let arena = Arena::new()?;
    for (what, broken) in [
        ("parameters longer than the message", vec![10, 2, 6, 1, 4, 0, 1, 0, 1][..7].to_vec()),
        ("a parameter longer than the parameters", vec![4, 2, 200, 65, 4]),
        ("a parameter without a length", vec![1, 2]),
        ("a capability longer than its parameter", vec![4, 2, 2, 65, 4]),
        ("a capability without a length", vec![3, 2, 1, 65]),
    ] {
        refused(&arena, Peer::A, &Peer::A.open().with_parameters(broken), 0, None).context(what)?;
    }
    Ok(())
}

#[test]
fn rfc5492_1_unknown_duplicate_and_foreign_capabilities_are_ignored() -> Result<()> {
    let arena = Arena::new()?;
    accepted(&arena, &with_more(&[capability(250, &[1, 2, 3]), capability(0, &[]), capability(2, &[])]))?;
    accepted(&arena, &with_more(&[multiprotocol(25, 70), multiprotocol(1, 128), multiprotocol(1, 1)]))?;
    accepted(&arena, &with_more(&common_capabilities(Peer::A.asn())))
}

#[test]
fn rfc5492_1_capabilities_may_come_in_one_parameter_or_in_many() -> Result<()> {
    let arena = Arena::new()?;
    let each: Vec<Vec<u8>> = common_capabilities(Peer::A.asn())
        .into_iter()
        .map(|capability| capabilities(&[capability]))
        .collect();
    accepted(&arena, &Peer::A.open().with_parameters(parameters(&each)))
}

#[test]
fn rfc9072_1_the_extended_form_is_accepted_even_when_it_is_short() -> Result<()> {
    let arena = Arena::new()?;
    let short = common_capabilities(Peer::A.asn()).concat();
    accepted(&arena, &Peer::A.open().with_parameters(extended_parameters(&[(2, short.clone())])))?;
    let long: Vec<u8> = (0..20).flat_map(|_| capability(250, &[7; 20])).collect();
    accepted(&arena, &Peer::A.open().with_parameters(extended_parameters(&[(2, long), (2, short)])))
}

/// A speaker of RFC 1771: no capabilities, two-octet AS numbers, IPv4 only.
#[test]
fn rfc5492_2_a_peer_without_capabilities_exchanges_ipv4_routes() -> Result<()> {
    let arena = Arena::new()?;
    let mut a = arena.establish_with(Peer::A, &Peer::A.open().with_parameters(vec![0]))?;
    a.use_two_octet_as_numbers();
    let mut b = arena.establish(Peer::B)?;
    let path = wire::attribute(wire::TRANSITIVE, 2, &[2, 1, 0xfd, 0xe9]);
    let attributes = [wire::origin(0), path, wire::next_hop(Peer::A.address())];
    a.send(&wire::update(&[], &attributes, &["10.66.0.0/24"]))?;
    let route = b.await_route("10.66.0.0/24").with_context(|| arena.log())?;
    ensure!(route.as_path == [65000, 65001], "{route:?}");
    b.send(&announce(Peer::B, &["10.77.0.0/24"]))?;
    let route = a.await_route("10.77.0.0/24").with_context(|| arena.log())?;
    ensure!(route.as_path == [65000, 65002], "{route:?}");
    Ok(())
}

#[test]
fn crash_1_and_2_an_extended_length_that_ends_early_is_2_0() -> Result<()> {
    let arena = Arena::new()?;
    for broken in
        [vec![255], vec![255, 255], vec![255, 255, 0], vec![255, 255, 0, 9, 2], vec![255, 255, 0, 4, 2, 0]]
    {
        refused(&arena, Peer::A, &Peer::A.open().with_parameters(broken.clone()), 0, None)
            .with_context(|| format!("{broken:?}"))?;
    }
    accepted(&arena, &Peer::A.open())
}

/// The capability is of no use; the next one's octets must not become the AS. Refusing it or doing without are right.
#[test]
fn crash_3_and_4_an_as_capability_of_a_wrong_length_brings_nobody_down() -> Result<()> {
    let arena = Arena::new()?;
    for value in [&[][..], &[0, 0, 1][..], &[0, 0, 0xfd, 0xe9, 0][..]] {
        let broken = with_capabilities(&[capability(65, value), multiprotocol(1, 1), capability(2, &[])]);
        let mut tester = arena.meet(Peer::A)?;
        tester.expect(wire::OPEN)?;
        tester.send(&broken.message())?;
        let answer = tester.receive()?;
        ensure!(answer.kind == KEEPALIVE || answer.kind == wire::NOTIFICATION, "{answer:?}");
        drop(tester);
        accepted(&arena, &Peer::A.open()).with_context(|| format!("after {value:?}"))?;
    }
    Ok(())
}

#[test]
fn crash_5_and_6_lengths_within_capabilities_for_people_may_lie() -> Result<()> {
    let arena = Arena::new()?;
    for (code, value) in [
        (75, vec![0]),
        (75, vec![9, b'x']),
        (75, vec![200; 65]),
        (75, vec![]),
        (73, vec![]),
        (73, vec![200, b'h']),
        (73, vec![1, b'h', 200]),
        (73, vec![0, 0]),
    ] {
        accepted(&arena, &with_more(&[capability(code, &value)]))
            .with_context(|| format!("{code} {value:?}"))?;
    }
    Ok(())
}

/// Also the answer to an OPEN: ours comes, then KEEPALIVE.
#[test]
fn rfc4271_the_subject_offers_what_the_design_says() -> Result<()> {
    let arena = Arena::new()?;
    let mut a = arena.meet(Peer::A)?;
    let theirs = a.establish(&Peer::A.open())?;
    let [version, as_high, as_low, _, _, id @ ..] = &*theirs.body else { anyhow::bail!("{theirs:?}") };
    ensure!((*version, u16::from_be_bytes([*as_high, *as_low])) == (4, 65000), "{theirs:?}");
    ensure!(id[..4] == SUBJECT.octets(), "{theirs:?}");
    let offers = |wanted: &[u8]| theirs.body.windows(wanted.len()).any(|part| part == wanted);
    ensure!(offers(&capability(65, &65000_u32.to_be_bytes())), "4-octet AS: {theirs:02x?}");
    ensure!(offers(&multiprotocol(1, 1)) && offers(&multiprotocol(2, 1)), "families: {theirs:02x?}");
    ensure!(offers(&capability(2, &[])), "route refresh: {theirs:02x?}");
    a.send(&wire::header(KEEPALIVE, 18))?;
    a.expect_notification(1, 2, Some(&[0, 18]))
}
