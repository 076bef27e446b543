//! Filters that change under running sessions.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{EVERYTHING, Peer, announce, announce_with};
use muslin_proto_tests::{wait, wire};

use crate::scene::{P4, Scene};

/// Another prefix than [`P4`].
const OTHER: &str = "10.67.0.0/24";
/// 65001:7.
const MARK: u32 = 65001 << 16 | 7;

#[test]
fn rfc4271_21_a_route_that_a_new_filter_refuses_is_withdrawn_and_comes_back_with_the_old_one() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&announce_with(Peer::A, &[wire::communities(&[MARK])], &[P4]))?;
    scene.a.send(&announce(Peer::A, &[OTHER]))?;
    scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    scene.b.await_route(OTHER)?;

    let refusing = "import: [{communities: ['/^65001:7$/'], action: Reject}, {action: Accept}], \
                    export: [{action: Accept}]";
    scene.arena.set_filter(refusing)?;
    scene.b.await_withdrawal(P4).with_context(|| scene.arena.log())?;
    ensure!(scene.b.has(OTHER), "the other route is refused as well");

    // A sends nothing: what it sent was kept.
    scene.arena.set_filter(EVERYTHING)?;
    scene.b.await_route(P4).with_context(|| scene.arena.log())?;

    scene
        .arena
        .set_filter("import: [{action: Accept}], export: [{asPath: {origin: [65001]}, action: Reject}]")?;
    scene.b.await_withdrawal(P4).with_context(|| scene.arena.log())?;
    scene.b.await_withdrawal(OTHER)?;
    scene.arena.set_filter(EVERYTHING)?;
    scene.b.await_route(OTHER).with_context(|| scene.arena.log())?;
    // Both sessions are the ones that the scene began with.
    scene.a_is_heard()
}

#[test]
fn a_route_that_a_new_filter_changes_is_sent_as_it_is_now() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&announce(Peer::A, &[P4]))?;
    scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    let marking = "import: [{peers: [a], action: Continue, operations: {addCommunities: ['65000:1']}}, {action: Accept}], \
                   export: [{communities: ['65000:1'], action: Accept, operations: {med: 9, prepend: {times: 2}, \
                   linkBandwidth: 1Gbps}}]";
    scene.arena.set_filter(marking)?;
    scene
        .b
        .await_table("the prepended path", |table| {
            table.iter().any(|(prefix, route)| {
                prefix.to_string() == P4 && route.as_path == [65000, 65000, 65000, 65001]
            })
        })
        .with_context(|| scene.arena.log())?;
    let route = scene.b.await_route(P4)?;
    ensure!(route.attributes.get(&4).is_some_and(|(_, value)| *value == [0, 0, 0, 9]), "{route:?}");
    ensure!(route.attributes.get(&8).is_some_and(|(_, value)| *value == [0xfd, 0xe8, 0, 1]), "{route:?}");
    // 1 Gbit/s in octets per second, transitive towards another AS.
    let bandwidth = [&[0x00, 4, 0xfd, 0xe8][..], &125e6_f32.to_be_bytes()].concat();
    ensure!(route.attributes.get(&16).is_some_and(|(_, value)| *value == bandwidth), "{route:?}");
    scene.a_is_heard()
}

#[test]
fn a_filter_that_is_wrong_leaves_the_one_before_in_force() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&announce_with(Peer::A, &[wire::communities(&[MARK])], &[P4]))?;
    scene.b.await_route(P4).with_context(|| scene.arena.log())?;
    scene.arena.set_filter("import: [{communities: ['/65001:(7/'], action: Reject}]")?;
    wait::until("the fault is told", || {
        let log = scene.arena.log();
        Ok(if log.contains("unclosed group at character 7") { Ok(()) } else { Err(log) })
    })?;
    scene.a_is_heard()?;
    ensure!(scene.b.has(P4));
    scene.arena.set_filter("import: [{prefixes: [{cidr: 10.66.0.0/16}], action: Reject}, {action: Accept}], export: [{action: Accept}]")?;
    scene.b.await_withdrawal(P4).with_context(|| scene.arena.log())
}
