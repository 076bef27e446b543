//! Faults of peers and of the path to them: the session that has them ends as it should, and no other one notices.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, SUBJECT, announce, announce_with};
use muslin_proto_tests::tester::Tester;
use muslin_proto_tests::wire::{self, Open};
use muslin_proto_tests::{tester, wait};
use muslin_sockopt::{Md5Scope, set_md5_key};

use crate::scene::Scene;

/// Waits until what is said of a peer is as wanted.
fn await_status(
    arena: &Arena,
    name: &str,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> Result<serde_json::Value> {
    wait::until(&format!("the status of {name}"), || {
        let status = arena.status_of(name)?;
        Ok(if wanted(&status) { Ok(status) } else { Err(format!("{status:#}")) })
    })
    .with_context(|| arena.log())
}

fn last_error(status: &serde_json::Value) -> &str {
    status["lastError"]["text"].as_str().unwrap_or_default()
}

#[test]
fn fault_10_a_session_that_is_cut_by_a_reset_is_back_within_five_seconds() -> Result<()> {
    let arena = Arena::new()?;
    let mut b = arena.establish(Peer::B)?;
    let mut active = arena.accept()?;
    // Each cut makes the pause longer: the third comes back soon still.
    for cut in 0..3 {
        active.establish(&Peer::Active.open()).with_context(|| arena.log())?;
        let prefix = format!("10.66.{cut}.0/24");
        active.send(&announce(Peer::Active, &[&prefix]))?;
        b.await_route(&prefix).with_context(|| arena.log())?;
        active.abort()?;
        let cut = Instant::now();
        b.await_withdrawal(&prefix).with_context(|| arena.log())?;
        active = arena.accept()?;
        ensure!(cut.elapsed() < Duration::from_secs(5), "back after {:?}", cut.elapsed());
    }
    Ok(())
}

/// A's OPEN with graceful restart: 20 s, IPv4 unicast, forwarding kept.
fn graceful(peer: Peer) -> Open {
    let restart = wire::capability(64, &[0x00, 20, 0, 1, 1, 0x80]);
    let list = [wire::common_capabilities(peer.asn()), vec![restart]].concat();
    Open { hold_time: 3, ..peer.open() }.with_parameters(wire::parameters(&[wire::capabilities(&list)]))
}

#[test]
fn fault_11_a_peer_that_vanished_and_comes_back_replaces_its_half_open_connection() -> Result<()> {
    let arena = Arena::new()?;
    let mut b = arena.establish(Peer::B)?;
    let mut old = arena.establish_with(Peer::A, &graceful(Peer::A))?;
    old.send(&announce(Peer::A, &["10.66.0.0/24"]))?;
    b.await_route("10.66.0.0/24").with_context(|| arena.log())?;
    // Two KEEPALIVEs later the connections are no collision of one start any more.
    for _ in 0..2 {
        old.await_kind(wire::KEEPALIVE)?;
        old.send(&wire::keepalive())?;
    }
    let mut new =
        arena.establish_with(Peer::A, &graceful(Peer::A)).context("while the old one is half open")?;
    old.expect_end()?;
    new.send(&announce(Peer::A, &["10.66.1.0/24"]))?;
    b.await_route("10.66.1.0/24").with_context(|| arena.log())?;
    ensure!(b.has("10.66.0.0/24"), "the route was not kept over the restart");
    Ok(())
}

#[test]
fn fault_13_a_thousand_resets_leave_memory_flat_and_others_undisturbed() -> Result<()> {
    let mut scene = Scene::new()?;
    let storm = |count: u32| -> Result<()> {
        for _ in 0..count {
            // Before the last reset is seen, the next connection may collide with what it ended: then it is tried again.
            let mut a = wait::until("a session", || {
                Ok(scene.arena.establish(Peer::A).map_err(|error| format!("{error:#}")))
            })?;
            a.send(&announce(Peer::A, &["10.66.0.0/24"]))?;
            a.abort()?;
        }
        Ok(())
    };
    scene.a.send(&announce(Peer::A, &["10.66.0.0/24"]))?;
    scene.b.await_route("10.66.0.0/24")?;
    // The session of the scene is in the way of the storm's first one.
    let a = std::mem::replace(&mut scene.a, scene.arena.connect(Peer::Stranger)?);
    a.abort()?;
    storm(200)?;
    let before = scene.arena.footprint()?.resident;
    storm(800)?;
    let grown = scene.arena.footprint()?.resident.saturating_sub(before);
    ensure!(grown < 4 << 20, "800 resets cost {grown} octets");
    scene.a = wait::until("the storm is over", || {
        Ok(scene.arena.establish(Peer::A).map_err(|error| format!("{error:#}")))
    })?;
    scene.a_is_heard()?;
    let status = scene.arena.status(Peer::B)?;
    ensure!(status["messages"]["lost"] == 0, "B was reset: {status:#}");
    Ok(())
}

#[test]
fn fault_15_a_wrong_as_is_named_and_others_are_undisturbed() -> Result<()> {
    let mut scene = Scene::new()?;
    let mut internal = scene.arena.meet(Peer::Internal)?;
    internal.send(&Open::new(65099, Peer::Internal.address(), 90).message())?;
    internal.expect_notification(2, 2, None).with_context(|| scene.arena.log())?;
    let status = await_status(&scene.arena, "internal", |status| last_error(status).contains("65099"))?;
    ensure!(status["lastError"]["remedy"].is_string(), "{status:#}");
    scene.a_is_heard()
}

fn secret(name: &str, password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: kube-system\nstringData:\n  password: {password}\n"
    )
}

fn keyed(name: &str) -> String {
    format!("password:\n  secretKeyRef:\n    name: {name}\n    namespace: kube-system\n")
}

/// A connection of a peer that signs with this key.
fn connect_signed(arena: &Arena, peer: Peer, key: &str) -> Result<Tester> {
    let key = key.to_owned();
    arena.connect_with(peer, move |socket| {
        set_md5_key(socket, Md5Scope::Host(IpAddr::V4(SUBJECT)), key.as_bytes())
    })
}

#[test]
fn fault_15_a_wrong_key_is_silence_and_the_status_says_what_to_look_at() -> Result<()> {
    let mut scene = Scene::with(&[(Peer::Active, &keyed("key"))])?;
    // With the password comes the first attempt. The tester's listener has no key and drops it.
    scene.arena.write("key", &secret("key", "right"))?;
    let about_md5 = |status: &serde_json::Value| {
        status["lastError"]["remedy"].as_str().is_some_and(|remedy| remedy.contains("MD5"))
    };
    await_status(&scene.arena, "active", about_md5)?;
    scene.a_is_heard()
}

#[test]
fn fault_37_a_key_that_both_sides_change_within_the_hold_time_resets_nothing() -> Result<()> {
    rotation(Peer::A, "a", |arena| arena.reconfigure(Peer::A, Some(&keyed("key"))))
}

#[test]
fn fault_37_the_key_of_a_listen_range_changes_under_its_sessions() -> Result<()> {
    rotation(Peer::Stranger, "range/192.0.2.9", |arena| {
        arena.write(
            "range",
            "apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata:\n  name: range\nspec:\n  \
             listenRange: 192.0.2.8/29\n  peerASN: external\n  families: [IPv4, IPv6]\n  filters: [all]\n  \
             password:\n    secretKeyRef:\n      name: key\n      namespace: kube-system\n",
        )
    })
}

/// A session of a peer with a key that changes on both sides, ours first.
fn rotation(peer: Peer, name: &str, configure: impl FnOnce(&Arena) -> Result<()>) -> Result<()> {
    let arena = Arena::new()?;
    arena.write("key", &secret("key", "old"))?;
    configure(&arena)?;
    let mut b = arena.establish(Peer::B)?;
    let mut signed = wait::until("a signed connection", || {
        let attempt = || -> Result<Tester> {
            let mut tester = connect_signed(&arena, peer, "old")?;
            tester.establish(&Open { hold_time: 9, ..peer.open() })?;
            Ok(tester)
        };
        Ok(attempt().map_err(|error| format!("{error:#}")))
    })
    .with_context(|| arena.log())?;
    signed.send(&announce(peer, &["10.66.0.0/24"]))?;
    b.await_route("10.66.0.0/24").with_context(|| arena.log())?;

    arena.write("key", &secret("key", "new"))?;
    // The new key is in force when the listener wants it of others; the session has had it since that moment.
    wait::until("the new key", || {
        Ok(connect_signed(&arena, peer, "new").map(drop).map_err(|error| format!("{error:#}")))
    })
    .with_context(|| arena.log())?;
    set_md5_key(&signed.stream()?, Md5Scope::Host(IpAddr::V4(SUBJECT)), b"new")?;
    signed.send(&announce(peer, &["10.66.1.0/24"]))?;
    b.await_route("10.66.1.0/24").with_context(|| arena.log())?;
    let status = arena.status_of(name)?;
    let messages = &status["messages"];
    ensure!(messages["established"] == 1 && messages["lost"] == 0, "{status:#}");
    Ok(())
}

#[test]
fn rfc2385_1_who_signs_with_another_key_or_not_at_all_is_not_answered() -> Result<()> {
    let arena = Arena::new()?;
    arena.write("key", &secret("key", "right"))?;
    arena.reconfigure(Peer::A, Some(&keyed("key")))?;
    wait::until("the key is wanted", || {
        Ok(connect_signed(&arena, Peer::A, "right").map(drop).map_err(|error| format!("{error:#}")))
    })?;
    ensure!(arena.connect(Peer::A).is_err(), "answered without a key");
    ensure!(connect_signed(&arena, Peer::A, "wrong").is_err(), "answered with another key");
    arena.establish(Peer::B).map(drop)
}

#[test]
fn fault_16_a_surplus_that_is_discarded_costs_nobody_a_session() -> Result<()> {
    let mut scene = Scene::with(&[(Peer::A, "maxPrefixes: 2\nmaxPrefixesAction: Discard")])?;
    scene.a.send(&announce(Peer::A, &["10.66.0.0/24", "10.66.1.0/24", "10.66.2.0/24"]))?;
    scene.b.await_route("10.66.1.0/24").with_context(|| scene.arena.log())?;
    let status = await_status(&scene.arena, "a", |status| status["refused"]["prefix-limit"] == 1)?;
    ensure!(status["established"] == true, "{status:#}");
    ensure!(!scene.b.has("10.66.2.0/24"), "the surplus was passed on");
    // Raised, the rest is asked for.
    scene.arena.reconfigure(Peer::A, Some("maxPrefixes: 20\nmaxPrefixesAction: Discard"))?;
    scene.a.await_kind(wire::ROUTE_REFRESH).with_context(|| scene.arena.log())?;
    scene.a.send(&announce(Peer::A, &["10.66.2.0/24"]))?;
    scene.b.await_route("10.66.2.0/24").map(drop).with_context(|| scene.arena.log())
}

#[test]
fn fault_16_a_peer_over_its_limit_is_let_in_after_the_pause_and_not_before() -> Result<()> {
    let mut scene = Scene::with(&[(Peer::A, "maxPrefixes: 2\nmaxPrefixesRestart: 3s")])?;
    scene.a.send(&announce(Peer::A, &["10.66.0.0/24", "10.66.1.0/24", "10.66.2.0/24"]))?;
    scene.a.expect_notification(6, 1, None).with_context(|| scene.arena.log())?;
    let began = Instant::now();
    let mut early = scene.arena.connect(Peer::A)?;
    early.expect_notification(6, 5, None).context("while the pause lasts")?;
    scene.a = scene.arena.establish(Peer::A)?;
    ensure!(began.elapsed() > Duration::from_millis(2500), "let in after {:?}", began.elapsed());
    scene.a_is_heard()
}

/// UPDATEs of B's for many prefixes, each with communities of its own, so that they do not share a message.
fn load(count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|number| {
            let prefix = format!("10.{}.{}.0/24", 100 + number / 256, number % 256);
            let communities: Vec<u32> = (0..16).map(|extra| number << 8 | extra).collect();
            announce_with(Peer::B, &[wire::communities(&communities)], &[&prefix])
        })
        .collect()
}

#[test]
fn fault_40_a_peer_that_reads_nothing_is_given_up_and_delays_nobody() -> Result<()> {
    let arena = Arena::with(&[(Peer::A, "holdTime: 3s\nsendHoldTime: 4s")])?;
    let (mut b, mut internal) = (arena.establish(Peer::B)?, arena.establish(Peer::Internal)?);
    let small = |socket: &socket2::Socket| socket.set_recv_buffer_size(4096);
    let mut stuck = arena.connect_with(Peer::A, small)?;
    stuck.establish(&Open { hold_time: 3, ..Peer::A.open() }).with_context(|| arena.log())?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let (mut sender, over) = (stuck.stream()?, &over);
        // It is alive and sends, it only does not read.
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) && sender.write_all(&wire::keepalive()).is_ok() {
                thread::park_timeout(Duration::from_millis(500));
            }
        });
        let result = stuck_peer_is_given_up(&arena, &mut b, &mut internal);
        over.store(true, Ordering::Relaxed);
        result
    })
}

fn stuck_peer_is_given_up(arena: &Arena, b: &mut Tester, internal: &mut Tester) -> Result<()> {
    b.send(&load(8000))?;
    let began = Instant::now();
    internal.await_table("everything", |table| table.len() >= 8000).with_context(|| arena.log())?;
    b.send(&announce(Peer::B, &["10.66.0.0/24"]))?;
    internal.await_route("10.66.0.0/24").with_context(|| arena.log())?;
    let early = arena.status(Peer::A)?;
    let busy = early["octetsQueued"].as_u64().unwrap_or_default();
    ensure!(busy > 0 && early["established"] == true, "not stuck after {:?}: {early:#}", began.elapsed());
    let status = await_status(arena, "a", |status| last_error(status).contains("took nothing"))?;
    ensure!(last_error(&status).contains("8/0") || last_error(&status).contains("send hold"), "{status:#}");
    let others = [arena.status(Peer::B)?, arena.status(Peer::Internal)?];
    ensure!(others.iter().all(|other| other["messages"]["lost"] == 0), "{others:#?}");
    Ok(())
}

#[test]
fn rfc9687_1_messages_that_leave_now_and_then_keep_a_slow_peer() -> Result<()> {
    let arena = Arena::with(&[(Peer::A, "holdTime: 3s\nsendHoldTime: 3s")])?;
    let mut a = arena.establish_with(Peer::A, &Open { hold_time: 3, ..Peer::A.open() })?;
    // Twice the send hold time with KEEPALIVEs alone, which we read.
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        let message: tester::Message = a.await_kind(wire::KEEPALIVE).with_context(|| arena.log())?;
        ensure!(message.body.is_empty());
        a.send(&wire::keepalive())?;
    }
    Ok(())
}
