//! Leaving without losing a packet: graceful shutdown (RFC 8326), as a peer sees it.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, announce, announce_with};
use muslin_proto_tests::tester::{Route, Tester};
use muslin_proto_tests::wire::{self, Forwarding, OVER_NOTIFICATION};
use nix::sys::signal::Signal;

const NET: &str = "10.66.0.0/24";
const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

fn is_last_resort(route: &Route) -> bool {
    route.attributes.get(&8).is_some_and(|(_, value)| {
        value.chunks(4).any(|community| community == GRACEFUL_SHUTDOWN.to_be_bytes())
    })
}

fn await_last_resort(tester: &mut Tester, wanted: bool) -> Result<Route> {
    let prefix: ipnet::IpNet = NET.parse()?;
    tester.await_table(&format!("last resort: {wanted}"), |table| {
        table.get(&prefix).is_some_and(|route| is_last_resort(route) == wanted)
    })?;
    tester.table().get(&prefix).cloned().context("just seen")
}

#[test]
fn rfc8326_1_a_drain_marks_every_route_and_stopping_then_says_why() -> Result<()> {
    let mut arena = Arena::new()?;
    let mut a = arena.establish(Peer::A)?;
    let graceful = [wire::graceful_restart(OVER_NOTIFICATION, 60, Forwarding::Kept)];
    let open = Peer::B.open().with_capabilities(Peer::B.asn(), &graceful);
    let mut b = arena.establish_with(Peer::B, &open)?;
    let mut internal = arena.establish(Peer::Internal)?;
    a.send(&announce_with(Peer::A, &[wire::communities(&[0x0001_0001])], &[NET]))?;
    b.await_route(NET)?;
    internal.await_route(NET)?;

    let said = arena.command(&["drain", "--wait", "1s", "--text", "moving racks"])?;
    ensure!(said.contains("moving racks"), "{said}");
    await_last_resort(&mut b, true).with_context(|| arena.log())?;
    let route = await_last_resort(&mut internal, true)?;
    ensure!(route.attributes.get(&5).is_some_and(|(_, value)| **value == [0; 4]), "LOCAL_PREF {route:?}");

    // Who comes later is told the same, and who takes it back takes all of it back.
    let mut late = arena.establish_with(Peer::B, &open)?;
    await_last_resort(&mut late, true)?;
    arena.command(&["undrain"])?;
    let route = await_last_resort(&mut late, false)?;
    ensure!(route.attributes.get(&8).is_some_and(|(_, value)| **value == [0, 1, 0, 1]), "{route:?}");
    await_last_resort(&mut internal, false)?;

    // A drained speaker that is stopped is gone for good, also for peers that would keep its routes.
    arena.command(&["drain", "--wait", "0", "--text", "moving racks"])?;
    arena.restart(Signal::SIGTERM)?;
    let text = b"moving racks";
    let shutdown: Vec<u8> = [&[12][..], text].concat();
    internal.expect_notification(6, 2, Some(&shutdown)).with_context(|| arena.log())?;
    let reset: Vec<u8> = [&[6, 2, 12][..], text].concat();
    late.expect_notification(6, 9, Some(&reset))?;

    // The next process of this machine goes on with the drain.
    let mut a = arena.establish(Peer::A)?;
    let mut b = arena.establish(Peer::B)?;
    a.send(&announce(Peer::A, &[NET]))?;
    await_last_resort(&mut b, true).map(drop).with_context(|| arena.log())
}
