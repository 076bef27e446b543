//! The state machine: RFC 4271 §6.5 to §6.8 and §8, RFC 6608.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, announce};
use muslin_proto_tests::wire::{self, KEEPALIVE, OPEN, Open, ROUTE_REFRESH};

use crate::scene::Scene;

/// The hold timer of a session that agreed on three seconds.
fn silence_ends_it(before: impl FnOnce(&mut muslin_proto_tests::tester::Tester) -> Result<()>) -> Result<()> {
    let arena = Arena::new()?;
    let mut a = arena.establish_with(Peer::A, &Open { hold_time: 3, ..Peer::A.open() })?;
    let last_words = Instant::now();
    before(&mut a)?;
    a.expect_notification(4, 0, None).with_context(|| arena.log())?;
    let silence = last_words.elapsed();
    // A second beyond is allowed, and another for a machine under load.
    ensure!((2900..5000).contains(&silence.as_millis()), "the hold timer of 3 s expired after {silence:?}");
    Ok(())
}

#[test]
fn rfc4271_8_silence_is_4_0_after_the_hold_time() -> Result<()> {
    silence_ends_it(|_| Ok(()))
}

#[test]
fn rfc4271_9_half_a_message_does_not_feed_the_hold_timer() -> Result<()> {
    silence_ends_it(|a| {
        // Their KEEPALIVE comes after a second.
        a.await_kind(KEEPALIVE)?;
        a.send(&wire::keepalive()[..10])
    })
}

#[test]
fn rfc4271_8_keepalives_come_every_third_of_the_hold_time() -> Result<()> {
    let arena = Arena::new()?;
    let mut a = arena.establish_with(Peer::A, &Open { hold_time: 3, ..Peer::A.open() })?;
    let start = Instant::now();
    let mut keepalives = 0;
    while keepalives < 4 {
        let message = a.receive_within(Duration::from_secs(3)).with_context(|| arena.log())?;
        if message.kind == KEEPALIVE {
            keepalives += 1;
            a.send(&wire::keepalive())?;
        }
    }
    ensure!((2500..8000).contains(&start.elapsed().as_millis()), "four KEEPALIVEs in {:?}", start.elapsed());
    Ok(())
}

#[test]
fn rfc4271_11_a_message_that_its_state_does_not_know_is_5_n() -> Result<()> {
    let arena = Arena::new()?;
    for early in
        [announce(Peer::A, &["10.66.0.0/24"]), wire::keepalive(), wire::message(ROUTE_REFRESH, &[0, 1, 0, 1])]
    {
        let mut a = arena.meet(Peer::A)?;
        a.send(&early)?;
        a.expect_notification(5, 1, None).with_context(|| format!("OpenSent\n{}", arena.log()))?;
    }
    for early in [announce(Peer::A, &["10.66.0.0/24"]), Peer::A.open().message()] {
        let mut a = arena.meet(Peer::A)?;
        a.send(&Peer::A.open().message())?;
        a.expect(OPEN)?;
        a.send(&early)?;
        a.expect_notification(5, 2, None).with_context(|| format!("OpenConfirm\n{}", arena.log()))?;
    }
    let mut a = arena.establish(Peer::A)?;
    a.send(&Peer::A.open().message())?;
    a.expect_notification(5, 3, None).with_context(|| format!("Established\n{}", arena.log()))
}

#[test]
fn rfc4271_12_an_established_session_wins_a_collision() -> Result<()> {
    let mut scene = Scene::new()?;
    let mut second = scene.arena.connect(Peer::A)?;
    second.send_if_open(&Peer::A.open().message());
    second.expect_notification(6, 7, None).with_context(|| scene.arena.log())?;
    scene.a_is_heard()
}

/// Both ends connect; the end with the higher identifier keeps the connection that it opened (RFC 4271 §6.8).
fn collides(id: std::net::Ipv4Addr, tester_wins: bool) -> Result<()> {
    let arena = Arena::new()?;
    let mut b = arena.establish(Peer::B)?;
    let mut theirs = arena.accept()?;
    let mut mine = arena.connect(Peer::Active)?;
    let open = Open { id, ..Peer::Active.open() };
    for connection in [&mut theirs, &mut mine] {
        connection.send(&open.message())?;
    }
    let (winner, loser) = if tester_wins { (&mut mine, &mut theirs) } else { (&mut theirs, &mut mine) };
    winner.expect(OPEN)?;
    winner.expect(KEEPALIVE)?;
    winner.send(&wire::keepalive())?;
    loser.expect_notification(6, 7, None).with_context(|| arena.log())?;
    winner.send(&announce(Peer::Active, &["10.66.0.0/24"]))?;
    b.await_route("10.66.0.0/24").map(drop).with_context(|| arena.log())
}

#[test]
fn rfc4271_12_the_higher_identifier_keeps_the_connection_that_it_opened() -> Result<()> {
    collides("203.0.113.1".parse()?, true)
}

#[test]
fn rfc4271_12_the_lower_identifier_gives_up_the_connection_that_it_opened() -> Result<()> {
    collides("10.0.0.1".parse()?, false)
}

#[test]
fn rfc4271_13_an_unknown_source_gets_no_open() -> Result<()> {
    let arena = Arena::new()?;
    for _ in 0..20 {
        let mut stranger = arena.connect(Peer::Stranger)?;
        stranger.send_if_open(&Peer::Stranger.open().message());
        // Nothing, or a Cease (6/5): never an OPEN.
        if let Ok(message) = stranger.receive() {
            ensure!(message.kind == wire::NOTIFICATION && message.body.starts_with(&[6, 5]), "{message:?}");
        }
        stranger.expect_end()?;
    }
    arena.establish(Peer::A).map(drop)
}

#[test]
fn rfc4271_14_octet_by_octet_is_the_same_as_all_at_once() -> Result<()> {
    let mut scene = Scene::new()?;
    for octet in announce(Peer::A, &["10.66.0.0/24", "10.66.1.0/24"]) {
        scene.a.send(&[octet])?;
    }
    scene.b.await_route("10.66.1.0/24").with_context(|| scene.arena.log())?;
    let all: Vec<u8> =
        (0..200).flat_map(|number| announce(Peer::A, &[&format!("10.67.{number}.0/24")])).collect();
    scene.a.send(&all)?;
    let routes = |table: &std::collections::BTreeMap<ipnet::IpNet, _>| {
        let all: ipnet::IpNet = "10.67.0.0/16".parse().unwrap_or_default();
        table.keys().filter(|prefix| all.contains(*prefix)).count()
    };
    scene.b.await_table("200 routes", |table| routes(table) == 200).with_context(|| scene.arena.log())
}

#[test]
fn rfc2918_1_a_refresh_brings_the_whole_table_again() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a_is_heard()?;
    scene.b.send(&wire::message(ROUTE_REFRESH, &[0, 1, 0, 1]))?;
    let message = scene.b.await_kind(wire::UPDATE).with_context(|| scene.arena.log())?;
    let marker = wire::prefix("10.255.0.0/24");
    ensure!(message.body.ends_with(&marker), "{message:02x?}");
    scene.a_is_heard()
}

/// RFC 4724 §2: the marker is sent after the initial exchange, and when there is nothing to send, too.
#[test]
fn rfc4724_1_end_of_rib_follows_the_first_routes_of_each_family() -> Result<()> {
    let arena = Arena::new()?;
    let restarting = wire::capability(64, &[0, 20]);
    let list = [wire::common_capabilities(Peer::A.asn()), vec![restarting]].concat();
    let open = Peer::A.open().with_parameters(wire::parameters(&[wire::capabilities(&list)]));
    let mut a = arena.establish_with(Peer::A, &open)?;
    // IPv4: an empty UPDATE. IPv6: an MP_UNREACH_NLRI with the family alone, its length in one octet or in two.
    let end_of_ipv4 = |body: &[u8]| body == [0; 4];
    let end_of_ipv6 = |body: &[u8]| body.ends_with(&[15, 3, 0, 2, 1]) || body.ends_with(&[15, 0, 3, 0, 2, 1]);
    let (mut ipv4, mut ipv6) = (false, false);
    while !(ipv4 && ipv6) {
        let message =
            a.await_kind(wire::UPDATE).with_context(|| format!("{ipv4} {ipv6}\n{}", arena.log()))?;
        ipv4 |= end_of_ipv4(&message.body);
        ipv6 |= end_of_ipv6(&message.body);
    }
    Ok(())
}
