//! Malformed attributes: RFC 7606, attribute by attribute.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{self, Arena, Peer, announce_with};
use muslin_proto_tests::wire::{
    self, OPTIONAL, TRANSITIVE, as_path, attribute, mp_reach, next_hop, origin, prefix, prefixes, raw_update,
    segments, update,
};

use crate::scene::{P4, P6, Scene, announce_v6};

fn mandatory() -> Vec<Vec<u8>> {
    vec![origin(0), as_path(&[Peer::A.asn()]), next_hop(Peer::A.address())]
}

/// The mandatory attributes with one of them replaced.
fn instead(index: usize, other: Vec<u8>) -> Vec<u8> {
    let mut attributes = mandatory();
    attributes[index] = other;
    update(&[], &attributes, &[P4])
}

/// The mandatory attributes without one of them.
fn without(index: usize) -> Vec<u8> {
    let mut attributes = mandatory();
    attributes.remove(index);
    update(&[], &attributes, &[P4])
}

#[test]
fn rfc7606_1_malformed_attributes_withdraw_the_route() -> Result<()> {
    let mut scene = Scene::new()?;
    let asn = Peer::A.asn().to_be_bytes();
    let both = OPTIONAL | TRANSITIVE;
    let more = |attribute: Vec<u8>| announce_with(Peer::A, &[attribute], &[P4]);
    for (what, message) in [
        ("ORIGIN of two octets", instead(0, attribute(TRANSITIVE, 1, &[0, 0]))),
        ("ORIGIN of none", instead(0, attribute(TRANSITIVE, 1, &[]))),
        ("ORIGIN 3", instead(0, attribute(TRANSITIVE, 1, &[3]))),
        ("AS_PATH segment of type 9", instead(1, attribute(TRANSITIVE, 2, &[&[9, 1][..], &asn].concat()))),
        (
            "AS_PATH segment that overruns",
            instead(1, attribute(TRANSITIVE, 2, &[&[2, 2][..], &asn].concat())),
        ),
        (
            "AS_PATH segment of length zero",
            instead(1, attribute(TRANSITIVE, 2, &[&[2, 0, 2, 1][..], &asn].concat())),
        ),
        (
            "AS_PATH with an octet left over",
            instead(1, attribute(TRANSITIVE, 2, &[&[2, 1][..], &asn, &[2]].concat())),
        ),
        ("NEXT_HOP of three octets", instead(2, attribute(TRANSITIVE, 3, &[192, 0, 2]))),
        ("NEXT_HOP of five octets", instead(2, attribute(TRANSITIVE, 3, &[192, 0, 2, 1, 0]))),
        ("MED of three octets", more(attribute(OPTIONAL, 4, &[0, 0, 1]))),
        ("COMMUNITIES of three octets", more(attribute(both, 8, &[0, 0, 1]))),
        ("COMMUNITIES of none", more(attribute(both, 8, &[]))),
        ("EXTENDED COMMUNITIES of seven octets", more(attribute(both, 16, &[0; 7]))),
        ("IPv6 EXTENDED COMMUNITIES of 19 octets", more(attribute(both, 25, &[0; 19]))),
        ("LARGE_COMMUNITY of eleven octets", more(attribute(both, 32, &[0; 11]))),
    ] {
        scene.is_treated_as_withdrawal(what, P4, &message)?;
    }
    Ok(())
}

/// RFC 7606 §3.c: flags that contradict the type.
#[test]
fn rfc7606_1_wrong_flags_withdraw_the_route() -> Result<()> {
    let mut scene = Scene::new()?;
    let path = segments(&[(2, &[Peer::A.asn()])]);
    for (what, message) in [
        ("ORIGIN optional", instead(0, attribute(OPTIONAL | TRANSITIVE, 1, &[0]))),
        ("ORIGIN not transitive", instead(0, attribute(0, 1, &[0]))),
        ("AS_PATH optional", instead(1, attribute(OPTIONAL | TRANSITIVE, 2, &path))),
        ("NEXT_HOP optional", instead(2, attribute(OPTIONAL, 3, &Peer::A.address().octets()))),
        ("MED transitive", announce_with(Peer::A, &[attribute(OPTIONAL | TRANSITIVE, 4, &[0; 4])], &[P4])),
        ("COMMUNITIES well-known", announce_with(Peer::A, &[attribute(TRANSITIVE, 8, &[0, 1, 0, 1])], &[P4])),
    ] {
        scene.is_treated_as_withdrawal(what, P4, &message)?;
    }
    Ok(())
}

#[test]
fn rfc7606_2_a_missing_mandatory_attribute_withdraws_the_route() -> Result<()> {
    let mut scene = Scene::new()?;
    for (what, index) in [("ORIGIN", 0), ("AS_PATH", 1), ("NEXT_HOP", 2)] {
        scene.is_treated_as_withdrawal(what, P4, &without(index))?;
    }
    let reach = mp_reach(arena::TESTER_V6, &[P6]);
    scene.is_treated_as_withdrawal("AS_PATH in IPv6", P6, &update(&[], &[reach.clone(), origin(0)], &[]))?;
    let path = as_path(&[Peer::A.asn()]);
    scene.is_treated_as_withdrawal("ORIGIN in IPv6", P6, &update(&[], &[reach, path], &[]))
}

#[test]
fn rfc7606_3_attributes_of_little_weight_are_discarded_and_the_route_is_kept() -> Result<()> {
    let mut scene = Scene::new()?;
    let both = OPTIONAL | TRANSITIVE;
    for (what, bad, kind) in [
        ("ATOMIC_AGGREGATE of one octet", attribute(TRANSITIVE, 6, &[1]), 6),
        ("AGGREGATOR of five octets", attribute(both, 7, &[0; 5]), 7),
        ("AGGREGATOR of six octets from a new speaker", attribute(both, 7, &[0xfd, 0xe9, 10, 0, 0, 1]), 7),
        ("AGGREGATOR with AS 0", attribute(both, 7, &[0, 0, 0, 0, 10, 0, 0, 1]), 7),
        ("AS4_PATH from a new speaker", attribute(both, 17, &segments(&[(2, &[65077])])), 17),
        ("AS4_AGGREGATOR of three octets", attribute(both, 18, &[0; 3]), 18),
    ] {
        let route = scene.is_accepted(what, &announce_with(Peer::A, &[bad], &[P4]))?;
        ensure!(!route.attributes.contains_key(&kind), "{what} was passed on: {route:?}");
        ensure!(route.as_path == [65000, 65001], "{what}: {route:?}");
    }
    Ok(())
}

#[test]
fn rfc7606_4_internal_attributes_from_outside_are_discarded_even_when_malformed() -> Result<()> {
    let mut scene = Scene::new()?;
    for (what, bad) in [
        ("LOCAL_PREF", attribute(TRANSITIVE, 5, &[0, 0, 0, 9])),
        ("LOCAL_PREF of three octets", attribute(TRANSITIVE, 5, &[0, 0, 9])),
        ("ORIGINATOR_ID of three octets", attribute(OPTIONAL, 9, &[1, 2, 3])),
        ("CLUSTER_LIST of three octets", attribute(OPTIONAL, 10, &[1, 2, 3])),
    ] {
        let route = scene.is_accepted(what, &announce_with(Peer::A, &[bad], &[P4]))?;
        ensure!([5, 9, 10].iter().all(|kind| !route.attributes.contains_key(kind)), "{what}: {route:?}");
    }
    Ok(())
}

#[test]
fn rfc7606_4_internal_attributes_from_inside_withdraw_the_route_when_malformed() -> Result<()> {
    let arena = Arena::new()?;
    let (mut internal, mut b) = (arena.establish(Peer::Internal)?, arena.establish(Peer::B)?);
    let from_inside = |preference: Vec<u8>, further: &[Vec<u8>]| {
        let mut attributes = vec![origin(0), as_path(&[]), next_hop(Peer::Internal.address()), preference];
        attributes.extend(further.iter().cloned());
        update(&[], &attributes, &[P4])
    };
    let right = wire::local_pref(100);
    for (what, message) in [
        ("LOCAL_PREF of three octets", from_inside(attribute(TRANSITIVE, 5, &[0, 0, 9]), &[])),
        ("ORIGINATOR_ID of three octets", from_inside(right.clone(), &[attribute(OPTIONAL, 9, &[1, 2, 3])])),
        ("CLUSTER_LIST of three octets", from_inside(right.clone(), &[attribute(OPTIONAL, 10, &[1, 2, 3])])),
    ] {
        internal.send(&from_inside(right.clone(), &[]))?;
        b.await_route(P4).context(what)?;
        internal.send(&message)?;
        b.await_withdrawal(P4).with_context(|| format!("{what}\n{}", arena.log()))?;
    }
    Ok(())
}

#[test]
fn rfc7606_5_of_an_attribute_that_comes_twice_the_first_counts() -> Result<()> {
    let mut scene = Scene::new()?;
    let first = wire::communities(&[0xfde9_0001]);
    let second = wire::communities(&[0xfde9_0002]);
    let route = scene.is_accepted("twice", &announce_with(Peer::A, &[first, second, origin(2)], &[P4]))?;
    ensure!(route.attributes[&8].1 == [0xfd, 0xe9, 0, 1], "{route:?}");
    ensure!(route.attributes[&1].1 == [0], "{route:?}");
    Ok(())
}

#[test]
fn rfc7606_5_mp_reach_or_mp_unreach_twice_is_3_1() -> Result<()> {
    let mut scene = Scene::new()?;
    let reach = mp_reach(arena::TESTER_V6, &["fd67::/64"]);
    scene.resets("MP_REACH_NLRI twice", &announce_v6(&[reach]), 3, 1)?;
    let unreach = || wire::mp_unreach(&["fd67::/64"]);
    scene.resets("MP_UNREACH_NLRI twice", &update(&[], &[unreach(), unreach()], &[]), 3, 1)
}

#[test]
fn rfc7606_6_an_attribute_that_overruns_withdraws_the_routes_behind_it() -> Result<()> {
    let mut scene = Scene::new()?;
    for (what, tail) in [
        ("a value that overruns", vec![OPTIONAL | TRANSITIVE, 8, 200, 1, 2]),
        ("a type without a length", vec![OPTIONAL | TRANSITIVE, 8]),
        ("flags alone", vec![OPTIONAL]),
        ("half an extended length", vec![OPTIONAL | TRANSITIVE | wire::EXTENDED_LENGTH, 8, 0]),
    ] {
        let attributes = [mandatory().concat(), tail].concat();
        let length = u16::try_from(attributes.len())?.to_be_bytes();
        let message = raw_update(&[], length, &attributes, &prefix(P4));
        scene.is_treated_as_withdrawal(what, P4, &message)?;
    }
    Ok(())
}

/// RFC 7606 §5.2: nothing shows which routes are meant.
#[test]
fn rfc7606_6_an_attribute_that_overruns_without_routes_resets_the_session() -> Result<()> {
    let mut scene = Scene::new()?;
    let attributes = [mandatory().concat(), vec![OPTIONAL | TRANSITIVE, 8, 200, 1, 2]].concat();
    let message = raw_update(&[], u16::try_from(attributes.len())?.to_be_bytes(), &attributes, &[]);
    scene.routes_are_known()?;
    scene.a.send(&message)?;
    let found = scene.a.await_kind(wire::NOTIFICATION).with_context(|| scene.arena.log())?;
    ensure!(found.body[0] == 3, "{found:?}");
    scene.b.await_withdrawal(P4)
}

#[test]
fn rfc7606_7_lengths_beyond_the_message_are_3_1_and_impossible_prefixes_3_10() -> Result<()> {
    let mut scene = Scene::new()?;
    let good = mandatory().concat();
    let length = u16::try_from(good.len())?.to_be_bytes();
    let nlri = |octets: &[u8]| raw_update(&[], length, &good, octets);
    for (what, message, subcode) in [
        ("Withdrawn Routes Length", wire::message(wire::UPDATE, &[0, 200, 0, 0]), 1),
        ("Total Path Attribute Length", raw_update(&[], [1, 0], &good, &prefix(P4)), 1),
        ("a prefix of 33 bits", nlri(&[33, 10, 66, 0, 0, 0]), 10),
        ("a prefix of 255 bits", nlri(&[255, 10, 66, 0]), 10),
        ("a prefix cut off", nlri(&[24, 10, 66]), 10),
        ("a withdrawn prefix of 33 bits", raw_update(&[33, 1, 2, 3, 4, 5], [0, 0], &[], &[]), 10),
    ] {
        scene.resets(what, &message, 3, subcode)?;
    }
    Ok(())
}

/// A reset or the end of the family are both right; that the old route stays is not.
#[test]
fn rfc7606_8_a_malformed_mp_reach_is_never_ignored() -> Result<()> {
    let mut scene = Scene::new()?;
    let global = arena::TESTER_V6.octets();
    let value =
        |length: u8, next_hop: &[u8], nlri: &[u8]| [&[0, 2, 1, length][..], next_hop, &[0], nlri].concat();
    for (what, value) in [
        ("a next hop of five octets", value(5, &global[..5], &prefix(P6))),
        ("a next hop longer than the attribute", value(200, &global, &prefix(P6))),
        ("a prefix of 129 bits", value(16, &global, &[&[129][..], &[0xfd; 17]].concat())),
        ("a prefix cut off", value(16, &global, &[64, 0xfd, 0x66])),
        ("two octets", vec![0, 2]),
        ("three octets", vec![0, 2, 1]),
        ("none", vec![]),
    ] {
        scene.routes_are_known().context(what)?;
        let attributes = [attribute(OPTIONAL, 14, &value), origin(0), as_path(&[Peer::A.asn()])];
        scene.a.send(&update(&[], &attributes, &[]))?;
        scene.b.await_withdrawal(P6).with_context(|| format!("{what}\n{}", scene.arena.log()))?;
        // Whether or not it was reset, A starts anew.
        drop(scene);
        scene = Scene::new()?;
    }
    Ok(())
}

#[test]
fn rfc7606_9_the_strongest_of_several_faults_counts() -> Result<()> {
    let mut scene = Scene::new()?;
    let discard = attribute(TRANSITIVE, 6, &[1]);
    let withdraw = attribute(OPTIONAL, 4, &[0, 0, 1]);
    let both = announce_with(Peer::A, &[discard.clone(), withdraw.clone()], &[P4]);
    scene.is_treated_as_withdrawal("discard and withdraw", P4, &both)?;
    let before = [discard, withdraw, mp_reach(arena::TESTER_V6, &[P6]), origin(0), as_path(&[Peer::A.asn()])];
    scene.is_treated_as_withdrawal("before MP_REACH_NLRI", P6, &update(&[], &before, &[]))?;
    let reset = raw_update(&[], [0, 0], &[], &prefixes(&[P4]).into_iter().chain([99]).collect::<Vec<u8>>());
    scene.resets("withdraw and reset", &reset, 3, 10)
}

/// What brought half of the Internet's vendors down in 2023: garbage that one speaker tolerates, and hands to a
/// neighbour that does not. Here neither may fall: B reads strictly.
#[test]
fn rfc7606_11_no_attribute_with_garbage_in_it_resets_anybody() -> Result<()> {
    let mut scene = Scene::new()?;
    // 14 and 15 say which routes are meant: see the test above.
    for kind in (0..=255).filter(|kind| ![14, 15].contains(kind)) {
        for garbage in [&[][..], &[0xff], &[0xde, 0xad, 0xbe, 0xef, 0x00]] {
            let bad = attribute(OPTIONAL | TRANSITIVE, kind, garbage);
            scene.a.send(&announce_with(Peer::A, &[bad], &[P4]))?;
        }
        if kind % 16 == 0 {
            scene.a_is_heard().with_context(|| format!("up to type {kind}"))?;
        }
    }
    scene.a_is_heard()
}
