//! Messages that crashed or reset daemons in the field: nobody's speaker may fall, and nobody else's session.
//!
//! Those about OPEN are in `open`; what RFC 7606 answers exactly is in `malformed`.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, announce_with};
use muslin_proto_tests::wire::{
    self, OPTIONAL, ROUTE_REFRESH, TRANSITIVE, UPDATE, as_path, attribute, next_hop, origin, prefix,
    raw_update, segments, update,
};

use crate::scene::{P4, Scene, announce_v6};

const BOTH: u8 = OPTIONAL | TRANSITIVE;

#[test]
fn crash_8_an_unrecognised_well_known_attribute() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.survives("well-known 199", &announce_with(Peer::A, &[attribute(TRANSITIVE, 199, &[1])], &[P4]))
}

#[test]
fn crash_11_as4_path_before_as_path_on_a_two_octet_session() -> Result<()> {
    let arena = Arena::new()?;
    let mut a = arena.establish_with(Peer::A, &Peer::A.open().with_parameters(vec![0]))?;
    let mut b = arena.establish(Peer::B)?;
    let path = attribute(TRANSITIVE, 2, &[2, 2, 0xfd, 0xe9, 0x5b, 0xa0]);
    let as4 = attribute(BOTH, 17, &segments(&[(2, &[4_200_000_001])]));
    a.send(&update(&[], &[as4, origin(0), path, next_hop(Peer::A.address())], &[P4]))?;
    let route = b.await_route(P4).with_context(|| arena.log())?;
    // RFC 6793 §4.2.3: the leading numbers of AS_PATH, then AS4_PATH.
    ensure!(route.as_path == [65000, 65001, 4_200_000_001], "{route:?}");
    Ok(())
}

#[test]
fn crash_12_an_empty_as_path_from_outside() -> Result<()> {
    let mut scene = Scene::new()?;
    let message = update(&[], &[origin(0), as_path(&[]), next_hop(Peer::A.address())], &[P4]);
    scene.survives("empty AS_PATH", &message)
}

#[test]
fn crash_14_an_as_path_of_thousands() -> Result<()> {
    let mut scene = Scene::new()?;
    let many: Vec<u32> = (0..255).map(|number| 100_000 + number).collect();
    let path = segments(&[(2, &many), (2, &many), (2, &many), (2, &many[..200])]);
    let attributes = [origin(0), attribute(TRANSITIVE, 2, &path), next_hop(Peer::A.address())];
    scene.survives("965 ASes", &update(&[], &attributes, &[P4]))
}

#[test]
fn crash_15_to_19_attributes_that_other_encoders_got_wrong() -> Result<()> {
    let mut scene = Scene::new()?;
    for (what, kind, value) in [
        ("15: only-to-customer of 1,024 octets", 35, vec![0; 1024]),
        ("15: only-to-customer of one octet", 35, vec![1]),
        ("16: entropy label", 28, vec![0xff; 40]),
        ("17: tunnel encapsulation of nothing", 23, vec![]),
        ("17: tunnel encapsulation", 23, vec![0, 15, 0xff, 0xff, 1]),
        ("19: AS4_PATH of one octet", 17, vec![2]),
        ("19: PMSI tunnel of one octet", 22, vec![1]),
        ("19: AIGP of one octet", 26, vec![1]),
        ("19: prefix SID of one octet", 40, vec![1]),
        ("26: prefix SID with a wild transposition", 40, vec![5, 0, 34, 0, 1, 0, 30, 0xff, 0xff, 0xff]),
        ("29: attribute 255 of length zero", 255, vec![]),
    ] {
        scene.a.send(&announce_with(Peer::A, &[attribute(BOTH, kind, &value)], &[P4]))?;
        scene.a_is_heard().with_context(|| format!("{what}\n{}", scene.arena.log()))?;
    }
    Ok(())
}

#[test]
fn crash_21_an_unknown_attribute_and_no_route() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.a.send(&update(&[], &[attribute(BOTH, 200, &[1])], &[]))?;
    scene.a_is_heard()
}

#[test]
fn crash_22_routes_without_attributes_and_an_end_of_rib_with_broken_ones() -> Result<()> {
    let mut scene = Scene::new()?;
    let bare = raw_update(&[], [0, 0], &[], &prefix(P4));
    scene.is_treated_as_withdrawal("attribute length 0", P4, &bare)?;
    let unreach = wire::mp_unreach(&["fd67::/64"]);
    let message = update(&[], std::slice::from_ref(&unreach), &[P4]);
    scene.is_treated_as_withdrawal("MP_UNREACH_NLRI and a bare route", P4, &message)?;
    let end = attribute(OPTIONAL, 15, &[0, 2, 1]);
    scene.survives(
        "End-of-RIB with a broken ORIGIN",
        &update(&[], &[end, attribute(TRANSITIVE, 1, &[9, 9])], &[]),
    )
}

#[test]
fn crash_23_flowspec_that_nobody_negotiated() -> Result<()> {
    let mut scene = Scene::new()?;
    for nlri in [vec![0], vec![0xf0, 0xff, 1], vec![3, 1, 32, 10]] {
        let reach = attribute(OPTIONAL, 14, &[&[0, 1, 133, 0, 0][..], &nlri].concat());
        scene.a.send(&announce_with(Peer::A, &[reach], &[P4]))?;
        scene.a_is_heard()?;
    }
    Ok(())
}

#[test]
fn crash_24_a_route_refresh_with_filters_that_lie() -> Result<()> {
    let mut scene = Scene::new()?;
    for tail in [&[1, 64, 0xff, 0xff][..], &[1, 64, 0, 1], &[2, 128, 0, 0, 0x40]] {
        let message = wire::message(ROUTE_REFRESH, &[&[0, 1, 0, 1][..], tail].concat());
        scene.survives("ORF", &message)?;
    }
    Ok(())
}

#[test]
fn crash_25_notifications_without_what_their_code_promises() -> Result<()> {
    let arena = Arena::new()?;
    for body in [&[6, 1][..], &[1, 2], &[2, 7], &[0, 0], &[255, 255, 1], &[6, 2, 255]] {
        let mut a = arena.establish(Peer::A)?;
        a.send(&wire::message(wire::NOTIFICATION, body))?;
        a.expect_end().with_context(|| format!("{body:?}\n{}", arena.log()))?;
    }
    arena.establish(Peer::A).map(drop).with_context(|| arena.log())
}

#[test]
fn crash_28_a_long_attribute_whose_length_is_read_in_eight_bits() -> Result<()> {
    let mut scene = Scene::new()?;
    // 0x0104 octets; who reads four finds ORIGIN 7 next.
    let mut value = vec![0; 0x104];
    value[4..8].copy_from_slice(&[TRANSITIVE, 1, 1, 7]);
    let route = scene.is_accepted("long", &announce_with(Peer::A, &[attribute(BOTH, 200, &value)], &[P4]))?;
    ensure!(route.attributes.get(&200).is_some_and(|(_, kept)| *kept == value), "{route:?}");
    Ok(())
}

#[test]
fn crash_30_long_paths_sets_and_confederation_segments_from_outside() -> Result<()> {
    let mut scene = Scene::new()?;
    let asn = Peer::A.asn();
    let message = |path: &[(u8, &[u32])]| {
        let attributes = [origin(0), attribute(TRANSITIVE, 2, &segments(path)), next_hop(Peer::A.address())];
        update(&[], &attributes, &[P4])
    };
    let repeated: Vec<u32> = std::iter::repeat_n(asn, 251).collect();
    scene.is_accepted("251 times", &message(&[(2, &repeated)]))?;
    // RFC 5065 §5: a confederation segment from a peer outside the confederation is malformed.
    scene.is_treated_as_withdrawal("confederation", P4, &message(&[(3, &[asn]), (2, &[asn])]))?;
    scene.survives("a set first", &message(&[(1, &[asn, 65100])]))
}

/// FRR issue 22358: each malformed message must cost the sender more than it costs the speaker.
#[test]
fn crash_cycle_of_quick_resets_leaves_others_alone() -> Result<()> {
    let mut scene = Scene::new()?;
    for _ in 0..30 {
        // Refused while it is held off, or welcomed: both are right.
        if let Ok(mut a) = scene.arena.connect(Peer::A) {
            a.send_if_open(&Peer::A.open().message());
            a.send_if_open(&wire::keepalive());
            a.send_if_open(&wire::message(UPDATE, &[0, 200, 0, 0]));
        }
    }
    let mut internal = scene.arena.establish(Peer::Internal)?;
    internal.send(&muslin_proto_tests::arena::announce(Peer::Internal, &["10.88.0.0/24"]))?;
    scene.b.await_route("10.88.0.0/24").map(drop).with_context(|| scene.arena.log())
}

#[test]
fn crash_27_prefix_lengths_in_the_other_family() -> Result<()> {
    let mut scene = Scene::new()?;
    for length in [33_u8, 64, 128, 129, 255] {
        let octets = [&[length][..], &[0xfd; 32][..usize::from(length.div_ceil(8)).min(32)]].concat();
        let good = [origin(0), as_path(&[Peer::A.asn()]), next_hop(Peer::A.address())].concat();
        let message = raw_update(&[], u16::try_from(good.len())?.to_be_bytes(), &good, &octets);
        scene.survives("IPv4", &message)?;
    }
    scene.a.send(&announce_v6(&[]))?;
    scene.b.await_route(crate::scene::P6).map(drop)
}
