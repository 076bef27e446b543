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
fn rfc4486_1_a_peer_that_an_operator_resets_is_told_6_4_and_why_and_is_welcome_at_once() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a_is_heard()?;
    scene.arena.command(&["peer", "reset", "a", "--text", "new policy"])?;
    let data: Vec<u8> = [10].into_iter().chain("new policy".bytes()).collect();
    scene.a.expect_notification(6, 4, Some(&data)).with_context(|| scene.arena.log())?;
    scene.arena.establish(Peer::A).map(drop)
}

#[test]
fn rfc9003_1_a_peer_that_an_operator_shuts_down_stays_down_until_it_is_started() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.arena.command(&["peer", "shutdown", "a", "--text", "new disks"])?;
    let data: Vec<u8> = [9].into_iter().chain("new disks".bytes()).collect();
    scene.a.expect_notification(6, 2, Some(&data)).with_context(|| scene.arena.log())?;
    scene.arena.connect(Peer::A)?.expect_end().context("it is down")?;
    let refused = scene.arena.command(&["peer", "refresh", "a"]).expect_err("there is no session");
    ensure!(format!("{refused:#}").contains("no session is established"), "{refused:#}");
    scene.arena.command(&["peer", "start", "a"])?;
    scene.arena.establish(Peer::A).map(drop)
}

#[test]
fn rfc2918_1_an_operator_has_a_peer_asked_for_its_routes_again_and_ours_sent_again() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a_is_heard()?;
    scene.arena.command(&["peer", "refresh", "a"])?;
    let asked = scene.a.await_kind(5)?;
    ensure!(asked.body == [0, 1, 0, 1], "{asked:?}");
    scene.b.await_route("10.255.0.0/24")?;
    scene.arena.command(&["peer", "resend", "b"])?;
    let again = [24, 10, 255, 0];
    while !scene.b.await_kind(2)?.body.windows(4).any(|octets| octets == again) {}
    Ok(())
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
