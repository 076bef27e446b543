//! A reflector: what it adds to a route, what it leaves alone, and how several paths reach its clients.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use muslin_bgp_packet::{FamilySet, NextHop, Origin, PathAttributes};

use super::support::{OWN_AS, OWN_ID, World, announcement, ip, net, own_next_hop, path, view, withdrawal};
use crate::config::{PeerKey, ReflectorRole};
use crate::rib::{AddPathSend, PeerIndex, PeerRules, PeerView};

const PREFIX: &str = "10.96.0.0/16";
const PREFIX6: &str = "fd96::/112";

fn client(index: u16) -> PeerView {
    PeerView { reflector: ReflectorRole::Client, ..view(index, OWN_AS.0) }
}

/// A client that takes several paths.
fn follower(index: u16, paths: u16) -> PeerView {
    PeerView { add_path_send: AddPathSend { families: FamilySet::ALL, paths }, ..client(index) }
}

/// A client that sends several paths.
fn reflector(index: u16) -> PeerView {
    let mut view = view(index, OWN_AS.0);
    view.decode.add_path = FamilySet::ALL;
    view
}

/// Path identifiers that a peer holds, by the originator of the path.
fn identifiers(world: &World, peer: PeerIndex) -> BTreeMap<Ipv4Addr, u32> {
    let routes = world.receivers[&peer].routes.iter();
    routes.map(|((_, id), heard)| (heard.attributes.originator_id.unwrap(), *id)).collect()
}

#[test]
fn rfc4456_1_nothing_but_the_two_attributes_of_reflection_is_added() {
    let mut world = World::new();
    let from = world.up(0, client(0));
    let to = world.up(1, view(1, OWN_AS.0));
    let mut attributes = path(&[65001, 65002]);
    attributes.origin = Origin::Incomplete;
    attributes.med = Some(7);
    attributes.local_pref = Some(321);
    world.announce(from, &[PREFIX, PREFIX6], &attributes);
    world.settle();
    let expected = PathAttributes {
        originator_id: Some(world.views[&from].id),
        cluster_list: vec![OWN_ID],
        ..attributes
    };
    for prefix in [PREFIX, PREFIX6] {
        let heard = world.heard(to, prefix).unwrap();
        assert_eq!(heard.attributes, expected);
        assert_eq!(heard.next_hop, own_next_hop(from, net(prefix)));
    }
}

/// RFC 2545 §3: a link-local address goes along on its own link only; the global one is never touched.
#[test]
fn rfc4456_1_a_next_hop_of_two_addresses_is_reflected_as_far_as_its_link_reaches() {
    let mut world = World::new();
    let from = world.up(0, client(0));
    let beside = world.up(1, client(1));
    let elsewhere = world.up(2, PeerView { interface: Some(99), ..client(2) });
    let (global, link_local) = (ip("fd00::64"), "fe80::64".parse().unwrap());
    let sent = NextHop { global, link_local: Some(link_local) };
    world.announce_via(from, &[PREFIX6], &path(&[]), sent);
    world.settle();
    assert_eq!(world.heard(beside, PREFIX6).unwrap().next_hop, sent);
    assert_eq!(world.heard(elsewhere, PREFIX6).unwrap().next_hop, NextHop::new(global));
}

#[test]
fn rfc4456_1_a_new_cluster_is_told_without_a_withdrawal() {
    let mut world = World::new();
    let from = world.up(0, client(0));
    let to = world.up(1, client(1));
    let outside = world.up(2, view(2, 65001));
    world.announce(from, &[PREFIX], &path(&[]));
    world.settle();
    let before = world.receivers[&outside].messages;
    let cluster = Ipv4Addr::new(7, 7, 7, 7);
    world.rib.set_identity(OWN_AS, OWN_ID, Some(cluster));
    world.settle();
    assert_eq!(world.heard(to, PREFIX).unwrap().attributes.cluster_list, [cluster]);
    assert_eq!(world.receivers[&outside].messages, before, "other ASes see nothing of it");
    // And what passed this cluster before is a loop now.
    let mut looped = path(&[]);
    looped.cluster_list = vec![cluster];
    world.announce(from, &[PREFIX], &looped);
    world.settle();
    assert_eq!(world.heard(to, PREFIX), None);
}

#[test]
fn rfc4456_2_without_its_client_a_reflector_does_not_echo_what_its_twin_says() {
    let mut world = World::new();
    let lost = world.up(0, client(0));
    let twin = world.up(1, view(1, OWN_AS.0));
    let other = world.up(2, client(2));
    world.announce(lost, &[PREFIX], &path(&[]));
    let mut reflected = path(&[]);
    reflected.originator_id = Some(world.views[&lost].id);
    reflected.cluster_list = vec![OWN_ID];
    world.announce_via(twin, &[PREFIX], &reflected, own_next_hop(lost, net(PREFIX)));
    world.settle();
    assert!(world.heard(twin, PREFIX).is_some());
    world.withdraw(lost, &[PREFIX]);
    world.settle();
    // The twin's path passed this cluster: whoever is still reached by the twin has it from there.
    assert_eq!((world.heard(twin, PREFIX), world.heard(other, PREFIX)), (None, None));
}

#[test]
fn rfc7911_1_every_usable_path_is_sent_when_all_are_asked_for() {
    let mut world = World::new();
    let froms: Vec<_> = (0..5).map(|index| world.up(index, client(index))).collect();
    let to = world.up(5, follower(5, u16::MAX));
    for (number, from) in froms.iter().enumerate() {
        let asns = vec![65200; number];
        world.announce(*from, &[PREFIX, PREFIX6], &path(&asns));
    }
    world.settle();
    assert_eq!(world.receivers[&to].routes.len(), 10);
    world.withdraw(froms[0], &[PREFIX]);
    world.settle();
    assert_eq!(world.receivers[&to].routes.len(), 9);
}

#[test]
fn rfc7911_1_identifiers_are_the_same_in_the_next_run() {
    let run = |order: [u16; 4]| {
        let mut world = World::new();
        // Numbers of peers depend on who came first; names do not.
        let names = order.into_iter().enumerate();
        let froms: Vec<_> = names.map(|(index, name)| world.up(index as u16, client(name))).collect();
        let to = world.up(9, follower(9, u16::MAX));
        for from in froms {
            world.announce(from, &[PREFIX], &path(&[]));
        }
        world.settle();
        identifiers(&world, to)
    };
    let first = run([0, 1, 2, 3]);
    assert_eq!(first.len(), 4);
    assert_eq!(first, run([3, 1, 0, 2]));
}

#[test]
fn rfc7911_1_identifiers_of_one_peer_keep_its_paths_apart() {
    let mut world = World::new();
    let from = world.up(0, reflector(0));
    let to = world.up(1, follower(1, u16::MAX));
    let announce = |world: &mut World, ids: &[u32], med: u32| {
        let attributes = PathAttributes { med: Some(med), ..path(&[65001]) };
        let routes: Vec<_> = ids.iter().map(|id| (net(PREFIX), *id)).collect();
        let next_hop = own_next_hop(from, net(PREFIX));
        for body in announcement(&world.views[&from], &attributes, next_hop, &routes) {
            world.feed(from, &body);
        }
    };
    announce(&mut world, &[0, 1, u32::MAX], 1);
    world.settle();
    let held = |world: &World| -> Vec<(u32, u32)> {
        let routes = world.receivers[&to].routes.iter();
        routes.map(|((_, id), heard)| (*id, heard.attributes.med.unwrap())).collect()
    };
    let three = held(&world);
    assert_eq!(three.len(), 3);
    announce(&mut world, &[1], 2);
    world.settle();
    let replaced = held(&world);
    let same = three.iter().zip(&replaced).filter(|(before, now)| before == now).count();
    assert_eq!((replaced.len(), same), (3, 2), "the identifier is used again for the same path");
    for body in withdrawal(&world.views[&from], &[(net(PREFIX), 1)]) {
        world.feed(from, &body);
    }
    world.settle();
    assert_eq!(held(&world).len(), 2);
}

/// Both paths reach the client though their sources' names come to the same number.
#[test]
fn rfc7911_1_two_peers_whose_identifiers_fall_together_are_both_sent() {
    let number = |name: &str| {
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
        hash >> 1
    };
    let mut known: HashMap<u32, String> = HashMap::new();
    let (one, other) = (0_u32..)
        .find_map(|count| {
            let name = format!("range/{count}");
            let found = known.get(&number(&name)).cloned().map(|one| (one, name.clone()));
            known.insert(number(&name), name);
            found
        })
        .unwrap();
    let mut world = World::new();
    let named = |index: u16, name: &str| PeerView { key: PeerKey::new(name), ..client(index) };
    let froms = [world.up(0, named(0, &one)), world.up(1, named(1, &other))];
    let to = world.up(2, follower(2, u16::MAX));
    for from in froms {
        world.announce(from, &[PREFIX], &path(&[]));
    }
    world.settle();
    assert_eq!(identifiers(&world, to).len(), 2);
    for from in froms {
        world.withdraw(from, &[PREFIX]);
        world.settle();
    }
    assert_eq!(identifiers(&world, to).len(), 0);
}

#[test]
fn rfc7911_1_sending_more_paths_sends_the_difference() {
    let mut world = World::new();
    for index in 0..4 {
        let from = world.up(index, client(index));
        world.announce(from, &[PREFIX], &path(&[]));
    }
    let to = world.up(5, follower(5, 2));
    world.settle();
    assert_eq!((identifiers(&world, to).len(), world.receivers[&to].announced), (2, 2));
    let change = |paths| PeerRules { paths, ..PeerRules::of(to, &follower(5, 2)) };
    world.rib.set_rules(&[change(u16::MAX)]);
    world.settle();
    assert_eq!((identifiers(&world, to).len(), world.receivers[&to].announced), (4, 4));
    world.rib.set_rules(&[change(3)]);
    world.settle();
    assert_eq!((identifiers(&world, to).len(), world.receivers[&to].announced), (3, 4));
}

/// Two reflectors bring every path twice: the kernel's set has each neighbour once and loses none for it.
#[test]
fn rfc7911_1_equal_paths_survive_two_reflectors_without_a_double_next_hop() {
    let mut world = World::new();
    let reflectors = [world.up(0, reflector(0)), world.up(1, reflector(1))];
    let announce = |world: &mut World, from: PeerIndex, node: u8| {
        let mut attributes = path(&[]);
        attributes.originator_id = Some(Ipv4Addr::new(10, 0, 0, node));
        attributes.cluster_list = vec![Ipv4Addr::new(9, 9, 9, 9)];
        let next_hop = NextHop::new(Ipv4Addr::new(10, 0, 0, node).into());
        let routes = [(net(PREFIX), u32::from(node))];
        for body in announcement(&world.views[&from], &attributes, next_hop, &routes) {
            world.feed(from, &body);
        }
    };
    for reflector in reflectors {
        // As many as an ECMP set may have here.
        for node in 50..54 {
            announce(&mut world, reflector, node);
        }
    }
    world.settle();
    let gateways = |world: &World| -> Vec<_> {
        world.fib[&net(PREFIX)].next_hops.iter().map(|way| way.gateway.to_string()).collect()
    };
    let all = ["10.0.0.50", "10.0.0.51", "10.0.0.52", "10.0.0.53"];
    assert_eq!(gateways(&world), all);
    world.down(reflectors[0], crate::rib::PeerLoss::Flush);
    world.settle();
    assert_eq!(gateways(&world), all);
}
