//! The message header: RFC 4271 §4.1 and §6.1.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer};
use muslin_proto_tests::wire::{self, KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE};

/// Each message is sent on a session of its own.
fn refused(arena: &Arena, octets: &[u8], subcode: u8, data: &[u8]) -> Result<()> {
    let mut a = arena.establish(Peer::A)?;
    a.send(octets)?;
    a.expect_notification(1, subcode, Some(data)).with_context(|| format!("{octets:02x?}\n{}", arena.log()))
}

#[test]
fn rfc4271_1_a_marker_that_is_not_all_ones_is_1_1() -> Result<()> {
    let arena = Arena::new()?;
    for place in [0, 7, 15] {
        let mut octets = wire::keepalive();
        octets[place] ^= 0x10;
        let mut a = arena.establish(Peer::A)?;
        a.send(&octets)?;
        a.expect_notification(1, 1, None).with_context(|| arena.log())?;
    }
    Ok(())
}

#[test]
fn rfc4271_2_a_length_out_of_range_is_1_2_before_the_body_has_come() -> Result<()> {
    let arena = Arena::new()?;
    for length in [0_u16, 18, 4097, 65535] {
        refused(&arena, &wire::header(UPDATE, length), 2, &length.to_be_bytes())?;
    }
    Ok(())
}

#[test]
fn rfc4271_3_a_length_that_its_type_cannot_have_is_1_2() -> Result<()> {
    let arena = Arena::new()?;
    for (kind, length) in [(OPEN, 28_u16), (UPDATE, 22), (KEEPALIVE, 20)] {
        refused(&arena, &wire::header(kind, length), 2, &length.to_be_bytes())?;
    }
    Ok(())
}

/// RFC 4271 §6.4: an error in a NOTIFICATION is answered by none; §6.1 names its length. Both are right.
#[test]
fn rfc4271_3_a_notification_that_is_too_short_ends_the_session() -> Result<()> {
    let arena = Arena::new()?;
    let mut a = arena.establish(Peer::A)?;
    a.send(&wire::header(NOTIFICATION, 20))?;
    a.send_if_open(&[6]);
    a.expect_end()?;
    arena.establish(Peer::A).map(drop)
}

#[test]
fn rfc4271_4_an_unknown_type_is_1_3_with_the_type() -> Result<()> {
    let arena = Arena::new()?;
    for kind in [0, 6, 99, 255] {
        refused(&arena, &wire::header(kind, 19), 3, &[kind])?;
    }
    Ok(())
}

#[test]
fn rfc2918_1_a_refresh_of_an_unknown_family_or_subtype_is_ignored() -> Result<()> {
    let arena = Arena::new()?;
    let mut a = arena.establish(Peer::A)?;
    for body in [[0, 99, 0, 99], [0, 1, 9, 1]] {
        a.send(&wire::message(ROUTE_REFRESH, &body))?;
    }
    a.send(&wire::keepalive())?;
    a.send(&wire::message(ROUTE_REFRESH, &[0, 1, 0, 1]))?;
    // The session is up when the subject still notices an error.
    a.send(&wire::header(99, 19))?;
    a.expect_notification(1, 3, Some(&[99])).with_context(|| arena.log())?;
    ensure!(!a.has("0.0.0.0/0"));
    Ok(())
}
