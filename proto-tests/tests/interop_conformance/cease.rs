//! Cease: RFC 4486 and RFC 9003.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, announce};

use crate::scene::Scene;

#[test]
fn rfc4486_1_more_prefixes_than_allowed_is_6_1() -> Result<()> {
    let mut scene = Scene::with(&[(Peer::A, "maxPrefixes: 2")])?;
    scene.a.send(&announce(Peer::A, &["10.66.0.0/24", "10.66.1.0/24"]))?;
    scene.b.await_route("10.66.1.0/24")?;
    scene.a.send(&announce(Peer::A, &["10.66.2.0/24"]))?;
    scene.a.expect_notification(6, 1, None).with_context(|| scene.arena.log())?;
    scene.b.await_withdrawal("10.66.0.0/24")
}

#[test]
fn rfc4486_1_a_peer_that_is_shut_down_is_told_6_2_and_why() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.arena.reconfigure(Peer::A, Some("shutdown: moving racks"))?;
    let text = "moving racks";
    let data: Vec<u8> = [12].into_iter().chain(text.bytes()).collect();
    scene.a.expect_notification(6, 2, Some(&data)).with_context(|| scene.arena.log())?;
    // And it comes back when that ends.
    scene.arena.reconfigure(Peer::A, Some(""))?;
    muslin_proto_tests::wait::until("the peer is welcome again", || {
        Ok(scene.arena.establish(Peer::A).map(drop).map_err(|error| format!("{error:#}")))
    })
}

#[test]
fn rfc4486_1_a_peer_that_is_removed_is_told_6_3_and_nobody_else_is_disturbed() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a_is_heard()?;
    scene.arena.reconfigure(Peer::A, None)?;
    scene.a.expect_notification(6, 3, None).with_context(|| scene.arena.log())?;
    scene.b.await_withdrawal("10.255.0.0/24")?;
    let mut internal = scene.arena.establish(Peer::Internal)?;
    internal.send(&announce(Peer::Internal, &["10.66.0.0/24"]))?;
    scene.b.await_route("10.66.0.0/24").map(drop)
}

#[test]
fn rfc9003_1_a_shutdown_text_that_lies_about_its_length_ends_the_session_and_no_more() -> Result<()> {
    let arena = Arena::new()?;
    for data in [&[][..], &[200, b'x'][..], &[2, 0xff, 0xfe][..], &[0][..]] {
        let mut a = arena.establish(Peer::A)?;
        let body: Vec<u8> = [6, 2].into_iter().chain(data.iter().copied()).collect();
        a.send(&muslin_proto_tests::wire::message(3, &body))?;
        a.expect_end().with_context(|| format!("{data:?}\n{}", arena.log()))?;
    }
    ensure!(arena.establish(Peer::A).is_ok(), "{}", arena.log());
    Ok(())
}
