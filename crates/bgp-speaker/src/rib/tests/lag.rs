//! Members that join late or read slowly.

use bytes::Bytes;
use muslin_bgp_packet::{Family, RefreshSubtype};

use super::support::{World, path, view};
use crate::config::ReflectorRole;
use crate::rib::{PeerIndex, PeerView, Pull};

fn client(index: u16) -> PeerView {
    PeerView { reflector: ReflectorRole::Client, ..view(index, 65000) }
}

fn prefix(number: u32) -> String {
    format!("{}.{}.{}.0/24", 20 + number / 65536, number / 256 % 256, number % 256)
}

fn announce(world: &mut World, from: PeerIndex, numbers: std::ops::Range<u32>, med: u32) {
    let prefixes: Vec<_> = numbers.map(prefix).collect();
    let mut attributes = path(&[65200]);
    attributes.med = Some(med);
    for some in prefixes.chunks(500) {
        let some: Vec<_> = some.iter().map(String::as_str).collect();
        let next_hop = super::support::own_next_hop(from, super::support::net(some[0]));
        world.announce_via(from, &some, &attributes, next_hop);
    }
}

#[test]
fn end_of_rib_comes_once_per_family_even_when_there_is_nothing() {
    let mut world = World::new();
    let peer = world.up(0, client(0));
    world.settle();
    assert_eq!(world.receivers[&peer].end_of_rib, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
    assert_eq!(world.receivers[&peer].messages, 2);
}

#[test]
fn a_late_joiner_gets_everything_before_end_of_rib() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let early = world.up(1, client(1));
    announce(&mut world, feeder, 0..1000, 0);
    world.settle();
    let late = world.up(2, client(2));
    // In small pieces, while the table goes on changing.
    let mut number = 0;
    while world.receivers[&late].end_of_rib.is_empty() {
        world.read_some(late, 1);
        announce(&mut world, feeder, number..number + 10, 1);
        number += 10;
    }
    assert_eq!(world.receivers[&late].routes.len(), 1000);
    world.settle();
    assert_eq!(world.receivers[&late].routes, world.receivers[&early].routes);
    let changed = world.receivers[&late].routes.values().filter(|heard| heard.attributes.med == Some(1));
    assert_eq!(changed.count() as u32, number);
}

#[test]
fn the_first_of_a_group_gets_everything_before_end_of_rib() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    announce(&mut world, feeder, 0..1000, 0);
    world.settle();
    // An external peer: its group is made now, and its table is empty.
    let late = world.up(2, view(2, 65002));
    while world.receivers[&late].end_of_rib.is_empty() {
        world.read_some(late, 1);
    }
    assert_eq!(world.receivers[&late].routes.len(), 1000);
}

#[test]
fn a_slow_member_gets_the_latest_state_and_not_what_happened_meanwhile() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let quick = world.up(1, client(1));
    let slow = world.up(2, client(2));
    announce(&mut world, feeder, 0..500, 0);
    world.settle();
    let before = world.receivers[&slow].announced;
    // Far more than the journal keeps.
    for round in 1..20 {
        announce(&mut world, feeder, 0..500, round);
        world.read(quick);
    }
    world.withdraw(feeder, &[&prefix(7), &prefix(8)]);
    world.read(quick);
    world.settle();
    assert_eq!(world.receivers[&slow].routes, world.receivers[&quick].routes);
    assert_eq!(world.receivers[&slow].routes.len(), 498);
    let announced = world.receivers[&slow].announced - before;
    assert!(announced < 3 * 500, "{announced} announcements for 500 routes");
}

#[test]
fn a_stalled_member_does_not_hold_up_another_one() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let quick = world.up(1, client(1));
    world.up(2, client(2));
    announce(&mut world, feeder, 0..100, 0);
    world.read(quick);
    assert_eq!(world.receivers[&quick].routes.len(), 100);
    let mut ready = Vec::new();
    announce(&mut world, feeder, 100..200, 0);
    world.rib.poll_ready(&mut ready);
    assert!(ready.contains(&quick));
    world.read(quick);
    assert_eq!(world.receivers[&quick].routes.len(), 200);
}

#[test]
fn only_drained_members_are_named_ready_and_only_when_there_is_something() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let other = world.up(1, client(1));
    let mut ready = Vec::new();
    world.rib.poll_ready(&mut ready);
    assert_eq!(ready, [feeder, other]);
    world.settle();
    ready.clear();
    world.rib.poll_ready(&mut ready);
    assert!(ready.is_empty());
    announce(&mut world, feeder, 0..1, 0);
    world.rib.poll_ready(&mut ready);
    assert_eq!(ready.len(), 2);
    ready.clear();
    world.rib.poll_ready(&mut ready);
    assert!(ready.is_empty(), "they have not read yet");
}

#[test]
fn members_share_the_octets_of_one_encoding() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let (one, other) = (world.up(1, client(1)), world.up(2, client(2)));
    world.settle();
    announce(&mut world, feeder, 0..16, 0);
    let (mut first, mut second): (Vec<Bytes>, Vec<Bytes>) = (Vec::new(), Vec::new());
    assert_eq!(world.rib.pull(one, 1 << 20, &mut first), Pull::Drained);
    assert_eq!(world.rib.pull(other, 1 << 20, &mut second), Pull::Drained);
    assert!(!first.is_empty());
    assert!(first.iter().zip(&second).all(|(first, second)| first.as_ptr() == second.as_ptr()));
}

#[test]
fn what_was_announced_and_withdrawn_unread_is_never_sent() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let other = world.up(1, client(1));
    world.settle();
    announce(&mut world, feeder, 0..10, 0);
    world.withdraw(feeder, &[&prefix(3)]);
    world.settle();
    assert_eq!(world.receivers[&other].announced, 9);
}

#[test]
fn a_refresh_sends_everything_again_between_its_marks() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let peer = world.up(1, PeerView { enhanced_refresh: true, ..client(1) });
    announce(&mut world, feeder, 0..300, 0);
    world.settle();
    let before = world.receivers[&peer].announced;
    world.rib.refresh(peer, Family::Ipv4Unicast);
    world.settle();
    assert_eq!(world.receivers[&peer].announced - before, 300);
    assert_eq!(world.receivers[&peer].refreshes, [RefreshSubtype::Begin, RefreshSubtype::End]);
    assert_eq!(world.receivers[&peer].routes.len(), 300);
    let plain = world.up(2, client(2));
    world.settle();
    world.rib.refresh(plain, Family::Ipv4Unicast);
    world.settle();
    assert_eq!(world.receivers[&plain].announced, 600);
    assert!(world.receivers[&plain].refreshes.is_empty());
}

#[test]
fn a_member_that_missed_too_many_withdrawals_is_refreshed_or_given_up() {
    let mut world = World::new();
    let feeder = world.up(0, client(0));
    let quick = world.up(1, client(1));
    let plain = world.up(2, client(2));
    let enhanced = world.up(3, PeerView { enhanced_refresh: true, ..client(3) });
    world.settle();
    // Ever new prefixes, each gone again: what a stalled member may still have would grow without end.
    for round in 0..20 {
        let numbers = round * 100..(round + 1) * 100;
        announce(&mut world, feeder, numbers.clone(), round);
        world.read(quick);
        let gone: Vec<_> = numbers.map(prefix).collect();
        world.withdraw(feeder, &gone.iter().map(String::as_str).collect::<Vec<_>>());
        world.read(quick);
    }
    world.read(enhanced);
    assert_eq!(world.receivers[&enhanced].routes, world.receivers[&quick].routes);
    assert!(world.rib.summary().destinations < 1000, "withdrawn destinations are freed");
    assert_eq!(world.read_some(plain, 1 << 20), Pull::Overrun);
}
