//! Several paths of one prefix: RFC 7911, and what it is for in RFC 4456.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::tester::Route;
use muslin_proto_tests::wire::{self, OPEN};

use crate::fabric::{Fabric, announce, host};

const P: &str = "10.66.0.0/24";
/// Send/Receive of the capability.
const RECEIVE: u8 = 1;
/// See [`RECEIVE`].
const SEND: u8 = 2;
/// See [`RECEIVE`].
const BOTH: u8 = 3;

/// An UPDATE with path identifiers.
fn announce_paths(number: u8, paths: &[(u32, &str)], med: u32) -> Vec<u8> {
    let attributes = [
        wire::origin(0),
        wire::as_path(&[]),
        wire::next_hop(host(number)),
        wire::med(med),
        wire::local_pref(100),
    ]
    .concat();
    // A few dozen octets.
    let length = (attributes.len() as u16).to_be_bytes();
    wire::raw_update(&[], length, &attributes, &wire::paths(paths))
}

fn withdraw_paths(paths: &[(u32, &str)]) -> Vec<u8> {
    wire::raw_update(&wire::paths(paths), [0, 0], &[], &[])
}

fn meds(paths: &BTreeMap<u32, Route>) -> BTreeSet<u32> {
    let med =
        |route: &Route| route.attributes.get(&4).and_then(|(_, value)| value.as_slice().try_into().ok());
    paths.values().filter_map(med).map(u32::from_be_bytes).collect()
}

/// Every identifier, zero too, is a path of its own; one that is used again replaces; one that is withdrawn goes alone.
#[test]
fn rfc7911_1_an_identifier_is_a_path() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let mut sender = fabric.peer_with(1, 0, &[wire::add_path(SEND)])?;
    let mut receiver = fabric.peer_with(2, 0, &[wire::add_path(RECEIVE)])?;
    receiver.use_path_ids();
    let mut heard = |wanted: &[u32]| {
        let wanted: BTreeSet<u32> = wanted.iter().copied().collect();
        receiver
            .await_paths(P, |paths| paths.len() == wanted.len() && meds(paths) == wanted)
            .with_context(|| fabric.log())
    };
    for (id, med) in [(0, 10), (1, 11), (u32::MAX, 12)] {
        sender.send(&announce_paths(1, &[(id, P)], med))?;
    }
    let before = heard(&[10, 11, 12])?;
    sender.send(&announce_paths(1, &[(1, P)], 21))?;
    let replaced = heard(&[10, 12, 21])?;
    ensure!(before.keys().eq(replaced.keys()), "a path that is replaced keeps its identifier");
    sender.send(&withdraw_paths(&[(1, P)]))?;
    heard(&[10, 12])?;
    sender.send(&withdraw_paths(&[(7, P), (0, P)]))?;
    heard(&[12])?;
    sender.send(&announce_paths(1, &[(5, P), (6, P)], 30))?;
    receiver.await_paths(P, |paths| paths.len() == 3).with_context(|| fabric.log())?;
    drop(sender);
    receiver.await_paths(P, BTreeMap::is_empty).with_context(|| fabric.log()).map(drop)
}

/// What is agreed on is one direction at a time, and only where one side sends and the other receives.
#[test]
fn rfc7911_2_identifiers_are_written_only_where_both_sides_agreed() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let mut source = fabric.peer(3, 0)?;
    source.send(&announce(3, &[], &["10.3.0.0/24"]))?;
    // What the peer says of itself; whether it writes identifiers, and whether it is written some.
    for (said, writes, reads) in [(SEND, true, false), (RECEIVE, false, true), (BOTH, true, true)] {
        let mut peer = fabric.peer_with(1, 0, &[wire::add_path(said)])?;
        if reads {
            peer.use_path_ids();
        }
        let route = peer.await_route("10.3.0.0/24").with_context(|| format!("{said}: {}", fabric.log()))?;
        ensure!(route.next_hop == IpAddr::from(host(3)), "{said}: {route:?}");
        let message = if writes { announce_paths(1, &[(9, P)], 1) } else { announce(1, &[], &[P]) };
        peer.send(&message)?;
        source.await_route(P).with_context(|| format!("{said}: {}", fabric.log()))?;
        drop(peer);
        source.await_withdrawal(P)?;
    }
    Ok(())
}

#[test]
fn rfc7911_2_a_send_receive_value_that_is_none_counts_for_nothing() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let mut source = fabric.peer(3, 0)?;
    source.send(&announce(3, &[], &["10.3.0.0/24"]))?;
    for wrong in [0, 4, 255] {
        let mut peer = fabric.peer_with(1, 0, &[wire::add_path(wrong)])?;
        peer.await_route("10.3.0.0/24").with_context(|| format!("{wrong}: {}", fabric.log()))?;
        peer.send(&announce(1, &[], &[P]))?;
        source.await_route(P).with_context(|| format!("{wrong}: {}", fabric.log()))?;
        drop(peer);
        source.await_withdrawal(P)?;
    }
    // A tuple beside a wrong one still counts.
    let both = wire::capability(69, &[0, 2, 1, 4, 0, 1, 1, RECEIVE]);
    let mut peer = fabric.peer_with(1, 0, &[both])?;
    peer.use_path_ids();
    peer.await_route("10.3.0.0/24").with_context(|| fabric.log()).map(drop)
}

/// A session that offers to send several and to receive several says so in one capability for its families.
#[test]
fn rfc7911_2_the_open_says_what_is_configured() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.9"])?;
    let open = fabric.meet(1, 0)?.expect(OPEN)?;
    let wanted = wire::capability(69, &[0, 1, 1, BOTH]);
    let found = open.body.windows(wanted.len()).any(|octets| octets == wanted);
    ensure!(found, "{:02x?}", open.body);
    Ok(())
}

/// Without ADD-PATH a reflector's clients see one of two equal paths; with it, both, also behind a second reflector.
#[test]
fn rfc4456_2_equal_paths_stay_apart_where_several_may_be_sent() -> Result<()> {
    let fabric = Fabric::new(&["10.0.0.8", "10.0.0.9"])?;
    let (mut one, mut other) = (fabric.peer(1, 0)?, fabric.peer(2, 0)?);
    let mut plain = fabric.peer(4, 1)?;
    let mut several = fabric.peer_with(3, 1, &[wire::add_path(RECEIVE)])?;
    several.use_path_ids();
    one.send(&announce(1, &[], &[P]))?;
    other.send(&announce(2, &[], &[P]))?;
    let paths = several.await_paths(P, |paths| paths.len() == 2).with_context(|| fabric.log())?;
    let next_hops: BTreeSet<_> = paths.values().map(|route| route.next_hop).collect();
    ensure!(next_hops == [host(1), host(2)].map(IpAddr::from).into(), "{paths:#?}");
    let best = plain.await_route(P).with_context(|| fabric.log())?;
    ensure!(best.next_hop == IpAddr::from(host(1)), "{best:?}");
    drop(one);
    let left = several.await_paths(P, |paths| paths.len() == 1).with_context(|| fabric.log())?;
    ensure!(
        paths.contains_key(left.keys().next().context("one")?),
        "the path that stays keeps its identifier"
    );
    Ok(())
}
