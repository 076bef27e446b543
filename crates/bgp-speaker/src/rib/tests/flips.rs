//! When the source of a route changes, its new source must lose what it had from the old one, and the old one
//! must get what it was not sent before. Every change of source, of every kind of member, in every timing.

use std::sync::Arc;

use super::support::{World, net, path, view};
use crate::config::{OriginatedRoute, Policy, ReflectorRole, RouteSource};
use crate::rib::{PeerIndex, PeerLoss, PeerView};

const PREFIX: &str = "10.50.0.0/16";

/// Who the best path is from: nobody, ourselves, one of three members of one group, or somebody else.
const SOURCES: [Option<u16>; 6] = [None, Some(u16::MAX), Some(0), Some(1), Some(2), Some(9)];

/// When members read, relative to the two changes of source.
#[derive(Clone, Copy, Debug)]
enum Reading {
    AfterEach,
    AtTheEnd,
    OneOfThemAfterEach(u16),
    /// At the end, when the journal does not have the changes any more.
    FromTheTable,
}

fn member(index: u16, internal: bool) -> PeerView {
    if internal {
        PeerView { reflector: ReflectorRole::Client, ..view(index, 65000) }
    } else {
        view(index, 65100 + u32::from(index))
    }
}

fn outsider() -> PeerView {
    // In a group of its own, as its policy differs.
    PeerView { export: Arc::new(Policy::reject_all("nothing")), ..view(9, 65109) }
}

/// Makes the best path come from `to` and from nobody else.
fn flip(world: &mut World, from: Option<u16>, to: Option<u16>, internal: bool) {
    let asns = |index: u16| {
        if internal && index != 9 { vec![65200] } else { vec![65100 + u32::from(index), 65200] }
    };
    // The new path is there before the old one goes, as it mostly is.
    match to {
        Some(u16::MAX) => {
            let route = OriginatedRoute {
                prefix: net(PREFIX),
                source: RouteSource::Pod,
                label: None,
                local_pref: None,
                med: None,
                communities: vec![],
                large_communities: vec![],
                cause: "test".into(),
            };
            world.rib.originate(world.now, &[route]);
        }
        Some(index) => world.announce(PeerIndex(index), &[PREFIX], &path(&asns(index))),
        None => {}
    }
    if from != to {
        match from {
            Some(u16::MAX) => world.rib.originate(world.now, &[]),
            Some(index) => world.withdraw(PeerIndex(index), &[PREFIX]),
            None => {}
        }
    }
}

fn check(world: &World, source: Option<u16>, context: &str) {
    for index in 0..3 {
        let has = world.heard(PeerIndex(index), PREFIX).is_some();
        assert_eq!(has, source.is_some_and(|source| source != index), "member {index}, {context}");
    }
}

fn read(world: &mut World, reading: Reading, at_the_end: bool) {
    if let Reading::FromTheTable = reading {
        // Another member reads so much else that the journal drops what the others have not read.
        for number in 0..12 {
            world.announce(PeerIndex(9), &[&format!("10.60.{number}.0/24")], &path(&[65109, 65300 + number]));
        }
        world.read(PeerIndex(3));
        for number in 0..12 {
            world.withdraw(PeerIndex(9), &[&format!("10.60.{number}.0/24")]);
        }
        world.read(PeerIndex(3));
    }
    for index in 0..3 {
        let reads = match reading {
            Reading::AfterEach => true,
            Reading::AtTheEnd | Reading::FromTheTable => at_the_end,
            Reading::OneOfThemAfterEach(one) => at_the_end || one == index,
        };
        if reads {
            world.read(PeerIndex(index));
        }
    }
}

#[test]
fn every_change_of_source_leaves_every_member_with_the_others_route() {
    let readings = [
        Reading::AfterEach,
        Reading::AtTheEnd,
        Reading::OneOfThemAfterEach(0),
        Reading::OneOfThemAfterEach(1),
        Reading::OneOfThemAfterEach(2),
        Reading::FromTheTable,
    ];
    for internal in [false, true] {
        for reading in readings {
            for first in SOURCES {
                for second in SOURCES {
                    for third in SOURCES {
                        let context = format!("{first:?} {second:?} {third:?} {reading:?} {internal}");
                        let mut world = World::new();
                        for index in 0..4 {
                            world.up(index, member(index, internal));
                        }
                        world.up(9, outsider());
                        world.settle();
                        flip(&mut world, None, first, internal);
                        read(&mut world, reading, false);
                        flip(&mut world, first, second, internal);
                        read(&mut world, reading, false);
                        flip(&mut world, second, third, internal);
                        read(&mut world, reading, true);
                        check(&world, third, &context);
                    }
                }
            }
        }
    }
}

#[test]
fn a_source_that_comes_back_is_still_not_sent_its_own_route() {
    let mut world = World::new();
    for index in 0..3 {
        world.up(index, member(index, true));
    }
    world.announce(PeerIndex(0), &[PREFIX], &path(&[65200]));
    world.settle();
    world.down(PeerIndex(0), PeerLoss::RetainStale);
    world.up(0, member(0, true));
    world.settle();
    check(&world, Some(0), "stale route of a peer that came back");
    world.announce(PeerIndex(1), &[PREFIX], &path(&[]));
    world.settle();
    check(&world, Some(1), "another source");
}

#[test]
fn a_lost_source_is_forgotten_by_all_others() {
    let mut world = World::new();
    for index in 0..3 {
        world.up(index, member(index, true));
    }
    world.announce(PeerIndex(0), &[PREFIX], &path(&[65200]));
    world.settle();
    check(&world, Some(0), "before");
    world.down(PeerIndex(0), PeerLoss::Flush);
    world.settle();
    assert!(world.heard(PeerIndex(1), PREFIX).is_none());
    assert!(world.heard(PeerIndex(2), PREFIX).is_none());
}
