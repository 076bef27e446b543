//! Live reflectors with scripted clients around them: RFC 4456.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::tester::Route;
use muslin_proto_tests::wire::{self, OPTIONAL, PARTIAL, TRANSITIVE};

use crate::fabric::{Fabric, announce, host};

const P: &str = "10.66.0.0/24";
/// A next hop that is nobody's in the session: a third host of the link.
const THIRD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

fn value(route: &Route, attribute: u8) -> Option<&[u8]> {
    route.attributes.get(&attribute).map(|(_, value)| value.as_slice())
}

#[test]
fn rfc4456_1_clients_reach_everybody_and_others_reach_clients() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let (mut client, mut sibling) = (fabric.peer(1, 0)?, fabric.peer(2, 0)?);
    let (mut other, mut stranger) = (fabric.peer(33, 0)?, fabric.peer(34, 0)?);
    other.send(&announce(33, &[], &["10.33.0.0/24"]))?;
    client.await_route("10.33.0.0/24").with_context(|| fabric.log())?;
    sibling.await_route("10.33.0.0/24")?;
    client.send(&announce(1, &[], &[P]))?;
    // What came before it would have been sent before it.
    for peer in [&mut sibling, &mut other, &mut stranger] {
        let route = peer.await_route(P).with_context(|| fabric.log())?;
        ensure!(value(&route, 9) == Some(&host(1).octets()), "ORIGINATOR_ID: {route:?}");
        ensure!(value(&route, 10) == Some(&[10, 0, 0, 9]), "CLUSTER_LIST: {route:?}");
        ensure!(route.next_hop == IpAddr::from(host(1)), "the next hop was touched: {route:?}");
    }
    ensure!(!stranger.has("10.33.0.0/24"), "a route went between two that are no clients");
    // A route that follows is heard, and the client's own was not before it.
    other.send(&announce(33, &[], &["10.34.0.0/24"]))?;
    client.await_route("10.34.0.0/24")?;
    ensure!(!client.has(P), "a client was sent its own route");
    Ok(())
}

/// Attributes but the two of reflection, by type, with the Partial bit where RFC 4271 §5 wants it.
#[test]
fn rfc4456_1_a_reflected_route_keeps_every_other_attribute() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let (mut client, mut other) = (fabric.peer(1, 0)?, fabric.peer(33, 0)?);
    let attributes = [
        wire::origin(2),
        wire::as_path(&[65010, 65011]),
        wire::next_hop(THIRD),
        wire::med(77),
        wire::local_pref(250),
        wire::communities(&[0xfde8_0001, 0xffff_ff01]),
        wire::attribute(OPTIONAL | TRANSITIVE, 16, &[0, 2, 0xfd, 0xe8, 0, 0, 0, 7]),
        wire::attribute(OPTIONAL | TRANSITIVE, 32, &[0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 0, 0, 0, 2]),
        wire::attribute(OPTIONAL | TRANSITIVE, 200, &[1, 2, 3]),
    ];
    client.send(&wire::update(&[], &attributes, &[P]))?;
    let route = other.await_route(P).with_context(|| fabric.log())?;
    ensure!(route.next_hop == IpAddr::from(THIRD), "the next hop was touched: {route:?}");
    ensure!(route.as_path == [65010, 65011], "{route:?}");
    for sent in &attributes {
        let (flags, kind, sent) = (sent[0], sent[1], &sent[3..]);
        ensure!(value(&route, kind) == Some(sent), "attribute {kind}: sent {sent:02x?}, found {route:?}");
        let partial = if kind == 200 { PARTIAL } else { 0 };
        ensure!(route.attributes[&kind].0 & 0xe0 == flags | partial, "flags of {kind}: {route:?}");
    }
    let added: Vec<_> =
        route.attributes.keys().filter(|kind| attributes.iter().all(|sent| sent[1] != **kind)).collect();
    ensure!(added == [&9, &10], "added: {added:?}");
    Ok(())
}

#[test]
fn rfc4456_1_a_route_that_comes_back_is_not_used_and_takes_away_what_was_there() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let (mut client, mut other) = (fabric.peer(1, 0)?, fabric.peer(33, 0)?);
    let (own, cluster) = (fabric.reflectors[0].address, Ipv4Addr::new(10, 0, 0, 9));
    let far = Ipv4Addr::new(10, 0, 0, 8);
    for looped in [
        vec![wire::originator_id(own), wire::cluster_list(&[far])],
        vec![wire::originator_id(host(3)), wire::cluster_list(&[far, cluster])],
    ] {
        client.send(&announce(1, &[], &[P]))?;
        other.await_route(P).with_context(|| fabric.log())?;
        client.send(&announce(1, &looped, &[P]))?;
        other.await_withdrawal(P).with_context(|| fabric.log())?;
    }
    // One that passed others only is sent on, the originator kept and the list grown at its head.
    client.send(&announce(1, &[wire::originator_id(host(3)), wire::cluster_list(&[far])], &[P]))?;
    let route = other.await_route(P).with_context(|| fabric.log())?;
    ensure!(value(&route, 9) == Some(&host(3).octets()), "{route:?}");
    ensure!(value(&route, 10) == Some(&[cluster.octets(), far.octets()].concat()), "{route:?}");
    Ok(())
}

/// RFC 4456 §9: the originator stands for the identifier, then the shorter list wins.
#[test]
fn rfc4456_1_the_originator_decides_before_the_cluster_list_and_it_before_the_peer() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let mut peers = [fabric.peer(1, 0)?, fabric.peer(2, 0)?];
    let mut watcher = fabric.peer(33, 0)?;
    let lists: Vec<Vec<u8>> =
        (1..=3).map(|length| wire::cluster_list(&vec![Ipv4Addr::new(10, 0, 0, 8); length])).collect();
    let from = |number| wire::originator_id(host(number));
    // Of the first, the second peer; then the winner's address.
    let cases = [
        (vec![from(20), lists[0].clone()], vec![from(10), lists[2].clone()], host(2)),
        (vec![from(20), lists[2].clone()], vec![from(20), lists[1].clone()], host(2)),
        (vec![from(20), lists[1].clone()], vec![from(20), lists[1].clone()], host(1)),
    ];
    for (first, second, winner) in cases {
        peers[0].send(&announce(1, &first, &[P]))?;
        peers[1].send(&announce(2, &second, &[P]))?;
        watcher
            .await_table("the winner", |table| {
                let route = P.parse().ok().and_then(|prefix| table.get(&prefix));
                route.is_some_and(|route| route.next_hop == IpAddr::from(winner))
            })
            .with_context(|| fabric.log())?;
        peers[0].send(&wire::update(&[P], &[], &[]))?;
        peers[1].send(&wire::update(&[P], &[], &[]))?;
        watcher.await_withdrawal(P)?;
    }
    Ok(())
}

/// Both reflectors of a cluster refuse what the other one reflects, so a client that one has lost is reached through the
/// other; and when the route goes, nobody brings it back.
#[test]
fn rfc4456_2_two_reflectors_of_one_cluster_lose_nothing_and_echo_nothing() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9", "10.0.0.9"])?;
    let (mut first, mut second) = (fabric.peer(1, 0)?, fabric.peer(1, 1)?);
    let (mut at_first, mut at_second) = (fabric.peer(2, 0)?, fabric.peer(2, 1)?);
    first.send(&announce(1, &[], &[P]))?;
    second.send(&announce(1, &[], &[P]))?;
    at_first.await_route(P).with_context(|| fabric.log())?;
    at_second.await_route(P).with_context(|| fabric.log())?;
    drop(first);
    at_first.await_withdrawal(P).with_context(|| fabric.log())?;
    // Whoever has both reflectors still has the route, and hears no more about it.
    let mut marker = fabric.peer(3, 1)?;
    marker.send(&announce(3, &[], &["10.99.0.0/24"]))?;
    at_second.await_route("10.99.0.0/24")?;
    ensure!(at_second.has(P), "the other reflector forgot the route");
    second.send(&wire::update(&[P], &[], &[]))?;
    at_second.await_withdrawal(P).with_context(|| fabric.log())?;
    marker.send(&announce(3, &[], &["10.98.0.0/24"]))?;
    at_second.await_route("10.98.0.0/24")?;
    ensure!(!at_first.has(P) && !at_second.has(P), "the route came back");
    Ok(())
}

/// With clusters of their own the reflectors help each other out.
#[test]
fn rfc4456_2_a_client_lost_by_one_reflector_is_reached_by_way_of_another_cluster() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.8", "10.0.0.9"])?;
    let (mut first, mut second) = (fabric.peer(1, 0)?, fabric.peer(1, 1)?);
    let mut watcher = fabric.peer(2, 0)?;
    first.send(&announce(1, &[], &[P]))?;
    second.send(&announce(1, &[], &[P]))?;
    let lists = |list: &'static [[u8; 4]]| {
        move |table: &std::collections::BTreeMap<_, Route>| {
            let route = P.parse().ok().and_then(|prefix: ipnet::IpNet| table.get(&prefix));
            route.is_some_and(|route| value(route, 10) == Some(&list.concat()))
        }
    };
    watcher.await_table("direct", lists(&[[10, 0, 0, 8]])).with_context(|| fabric.log())?;
    drop(first);
    watcher.await_table("around", lists(&[[10, 0, 0, 8], [10, 0, 0, 9]])).with_context(|| fabric.log())?;
    second.send(&wire::update(&[P], &[], &[]))?;
    watcher.await_withdrawal(P).with_context(|| fabric.log())?;
    ensure!(watcher.table().is_empty(), "{:?}", watcher.table());
    Ok(())
}

/// RFC 4456 §8: both attributes are non-transitive, and mean nothing elsewhere.
#[test]
fn rfc4271_17_a_reflected_route_leaves_the_as_without_the_marks_of_reflection() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let (mut client, mut outside) = (fabric.peer(1, 0)?, fabric.outsider(65, 0)?);
    let reflected = [wire::originator_id(host(3)), wire::cluster_list(&[Ipv4Addr::new(10, 0, 0, 8)])];
    client.send(&announce(1, &reflected, &[P]))?;
    let route = outside.await_route(P).with_context(|| fabric.log())?;
    let internal: Vec<_> =
        [5, 9, 10].into_iter().filter(|kind| route.attributes.contains_key(kind)).collect();
    ensure!(internal.is_empty() && route.as_path == [65000], "{route:?}");
    Ok(())
}

/// What comes from outside goes to every internal peer, once, and is nobody's reflection.
#[test]
fn rfc4271_17_an_external_route_is_passed_on_by_a_reflector_without_its_marks() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let (mut client, mut other, mut outside) =
        (fabric.peer(1, 0)?, fabric.peer(33, 0)?, fabric.outsider(65, 0)?);
    let attributes = [wire::origin(0), wire::as_path(&[65100]), wire::next_hop(host(65))];
    outside.send(&wire::update(&[], &attributes, &[P]))?;
    for peer in [&mut client, &mut other] {
        let route = peer.await_route(P).with_context(|| fabric.log())?;
        ensure!(value(&route, 9).is_none() && value(&route, 10).is_none(), "{route:?}");
        ensure!(value(&route, 5) == Some(&[0, 0, 0, 100]), "LOCAL_PREF: {route:?}");
    }
    Ok(())
}

/// RFC 4271 §9.2: the two attributes of reflection make a full message too long, so the route is withdrawn.
#[test]
fn rfc4271_22_a_route_that_no_longer_fits_when_reflected_is_withdrawn() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let (mut client, mut other) = (fabric.peer(1, 0)?, fabric.peer(33, 0)?);
    client.send(&announce(1, &[], &[P]))?;
    other.await_route(P).with_context(|| fabric.log())?;
    // As many communities as a message of 4096 octets takes.
    let room = 4096 - announce(1, &[wire::communities(&[0; 100])], &[P]).len() + 400;
    let communities: Vec<u32> = (0..room as u32 / 4).map(|number| 0xfde8_0000 + number).collect();
    let full = announce(1, &[wire::communities(&communities)], &[P]);
    ensure!((4093..=4096).contains(&full.len()), "{} octets", full.len());
    client.send(&full)?;
    other.await_withdrawal(P).with_context(|| fabric.log())?;
    // Both are heard as before, and one that fits is back.
    client.send(&announce(1, &[wire::communities(&communities[..900])], &[P]))?;
    other.await_route(P).with_context(|| fabric.log()).map(drop)
}
