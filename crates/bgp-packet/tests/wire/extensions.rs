//! RFC 4760, RFC 2545, RFC 8950, RFC 4360, RFC 8092, RFC 9234 and unknown attributes.

use std::net::Ipv6Addr;

use muslin_bgp_packet::{
    AfiSafi, Asn, Community, DecodeContext, ExtendedCommunity, Family, FamilySet, NextHop, PathAttributes,
    Treatment, UpdateView,
};

use crate::octets::*;

const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1);

fn reach(afi: u8, next_hops: &[Ipv6Addr], reserved: u8, nlri: &[u8]) -> Vec<u8> {
    let next_hops: Vec<u8> = next_hops.iter().flat_map(Ipv6Addr::octets).collect();
    let value =
        [&[0, afi, 1, u8::try_from(next_hops.len()).unwrap()][..], &next_hops, &[reserved], nlri].concat();
    attribute(NON_TRANSITIVE, 14, &value)
}

#[test]
fn rfc4760_1_routes_of_a_family_that_was_not_negotiated_are_ignored() {
    let ipv4_only = DecodeContext { families: FamilySet::from(Family::Ipv4Unicast), ..session(EXTERNAL) };
    let garbage = attribute(NON_TRANSITIVE, 14, &[0, 99, 1, 200]);
    for ignored in [mp_reach(), garbage] {
        let body = announcing(&[ignored, mandatory()].concat());
        assert_eq!(receive(ipv4_only, &body).1, Treatment::None);
        let view = UpdateView::parse(ipv4_only, &body).unwrap();
        assert_eq!((view.mp_reach().is_none(), view.announced().len()), (true, 1));
    }
    let ipv6_only = DecodeContext { families: FamilySet::from(Family::Ipv6Unicast), ..session(EXTERNAL) };
    let body = update(&PREFIX, &[mp_reach(), mandatory()].concat(), &PREFIX);
    let view = UpdateView::parse(ipv6_only, &body).unwrap();
    assert_eq!((view.withdrawn().len(), view.announced().len(), view.mp_reach().is_some()), (0, 0, true));
    // They are no End-of-RIB either, and a wrong attribute of theirs concerns nobody.
    let ignored = update(&PREFIX, &[], &[]);
    assert_eq!(UpdateView::parse(ipv6_only, &ignored).unwrap().end_of_rib(), None);
    let wrong = announcing(&attribute(TRANSITIVE, 8, &[1]));
    assert_eq!(receive(ipv6_only, &wrong).1, Treatment::TreatAsWithdraw);
}

#[test]
fn rfc4760_1_end_of_rib_of_an_unknown_family_is_told_and_harmless() {
    let body = update(&[], &attribute(NON_TRANSITIVE, 15, &[0, 99, 7]), &[]);
    let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
    assert_eq!(view.end_of_rib(), Some(AfiSafi { afi: 99, safi: 7 }));
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::None);
}

fn next_hop_of(context: DecodeContext, reach: &[u8]) -> Option<NextHop> {
    let body = update(&[], &[reach, &origin()[..], &as_path()].concat(), &[]);
    UpdateView::parse(context, &body).unwrap().mp_reach().map(|reach| reach.next_hop)
}

#[test]
fn rfc4760_2_one_and_two_ipv6_next_hops_are_read() {
    let nlri = [64, 0x20, 1, 0xD, 0xB8, 0, 0, 0, 0];
    let unspecified = Ipv6Addr::UNSPECIFIED;
    for (sent, global, link_local) in [
        (vec![GLOBAL], GLOBAL, None),
        (vec![GLOBAL, LINK_LOCAL], GLOBAL, Some(LINK_LOCAL)),
        (vec![GLOBAL, unspecified], GLOBAL, None),
        (vec![LINK_LOCAL], LINK_LOCAL, None),
        (vec![LINK_LOCAL, LINK_LOCAL], LINK_LOCAL, Some(LINK_LOCAL)),
        (vec![unspecified, LINK_LOCAL], LINK_LOCAL, Some(LINK_LOCAL)),
    ] {
        let read = next_hop_of(session(EXTERNAL), &reach(2, &sent, 0, &nlri));
        assert_eq!(read, Some(NextHop { global: global.into(), link_local }), "{sent:?}");
    }
}

#[test]
fn rfc4760_2_the_reserved_octet_is_ignored() {
    assert!(next_hop_of(session(EXTERNAL), &reach(2, &[GLOBAL], 255, &[0])).is_some());
}

#[test]
fn rfc8950_1_ipv4_routes_by_ipv6_need_the_capability() {
    let negotiated =
        DecodeContext { extended_next_hop: FamilySet::from(Family::Ipv4Unicast), ..session(EXTERNAL) };
    for next_hops in [&[GLOBAL][..], &[GLOBAL, LINK_LOCAL]] {
        let reach = reach(1, next_hops, 0, &PREFIX);
        assert_eq!(next_hop_of(negotiated, &reach).map(|next_hop| next_hop.global), Some(GLOBAL.into()));
        let (_, treatment) = receive(session(EXTERNAL), &update(&[], &[reach, mandatory()].concat(), &[]));
        assert_eq!(treatment, Treatment::DisableFamily(Family::Ipv4Unicast.into()));
    }
}

#[test]
fn rfc4760_ipv4_routes_by_ipv4_may_stand_in_mp_reach() {
    let value = [&[0, 1, 1, 4, 192, 0, 2, 1, 0][..], &PREFIX].concat();
    let read = next_hop_of(session(EXTERNAL), &attribute(NON_TRANSITIVE, 14, &value)).unwrap();
    assert_eq!(read.global.to_string(), "192.0.2.1");
}

#[test]
fn rfc4271_16_impossible_next_hops_are_recognized_without_a_fault() {
    for text in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
        assert!(NextHop::new(text.parse().unwrap()).is_martian(), "{text}");
    }
    for text in ["10.0.0.1", "169.254.1.1", "2001:db8::1", "fe80::1"] {
        assert!(!NextHop::new(text.parse().unwrap()).is_martian(), "{text}");
    }
    let loopback = [origin(), as_path(), attribute(WELL_KNOWN, 3, &[127, 0, 0, 1])].concat();
    assert_eq!(receive(session(EXTERNAL), &announcing(&loopback)).1, Treatment::None);
}

fn with(octets: &[u8]) -> PathAttributes {
    let (parsed, treatment) = receive_with(octets);
    assert_eq!(treatment, Treatment::None);
    parsed.attributes
}

#[test]
fn rfc8092_1_duplicates_are_removed() {
    let one = [0, 0, 0xFD, 0xE9, 0, 0, 0, 1, 0, 0, 0, 2];
    let attributes = with(&attribute(TRANSITIVE, 32, &one.repeat(3)));
    assert_eq!(attributes.large_communities.len(), 1);
    assert_eq!(attributes.large_communities[0].to_string(), "65001:1:2");
    assert_eq!(with(&attribute(TRANSITIVE, 8, &[1; 12])).communities, [Community(0x0101_0101)]);
}

#[test]
fn rfc4360_1_transitive_communities_are_told_apart() {
    let attributes = with(&attribute(TRANSITIVE, 16, &[0x40, 2, 0, 1, 0, 0, 0, 1, 0, 2, 0, 1, 0, 0, 0, 1]));
    let transitive: Vec<_> =
        attributes.extended_communities.into_iter().filter(|community| community.is_transitive()).collect();
    assert_eq!(transitive, [ExtendedCommunity([0, 2, 0, 1, 0, 0, 0, 1])]);
}

#[test]
fn rfc9234_1_otc_has_four_octets() {
    assert_eq!(with(&attribute(TRANSITIVE, 35, &[0, 0, 0xFD, 0xE9])).otc, Some(Asn(65001)));
    for length in [0, 3, 5] {
        let (_, treatment) = receive_with(&attribute(TRANSITIVE, 35, &vec![1; length]));
        assert_eq!(treatment, Treatment::TreatAsWithdraw);
    }
}

#[test]
fn rfc4271_18_unknown_transitive_attributes_are_kept_with_the_partial_bit_and_others_dropped() {
    let value = vec![7; 300];
    let attributes = with(
        &[
            attribute(TRANSITIVE, 200, &value),
            attribute(TRANSITIVE, 99, &[1]),
            attribute(NON_TRANSITIVE, 98, &[2]),
        ]
        .concat(),
    );
    let kept: Vec<_> =
        attributes.unknown.iter().map(|unknown| (unknown.type_code, unknown.value.len())).collect();
    assert_eq!(kept, [(99, 1), (200, 300)]);
    let mut wire = bytes::BytesMut::new();
    attributes.encode_canonical(EXTERNAL.as_width, &mut wire);
    let tail = [&[0xE0, 99, 1, 1, 0xF0, 200, 1, 44][..], &value].concat();
    assert!(wire.ends_with(&tail));
}

#[test]
fn rfc4271_19_a_prefix_may_be_withdrawn_and_announced_at_once() {
    let body = update(&PREFIX, &mandatory(), &PREFIX);
    let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
    assert!(view.withdrawn().iter().eq(view.announced().iter()));
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::None);
}

#[test]
fn the_key_is_the_same_wherever_the_multiprotocol_attributes_stand() {
    let unreach = attribute(NON_TRANSITIVE, 15, &[0, 2, 1]);
    let (origin, path) = (origin(), as_path());
    let key = [&origin[..], &path].concat();
    let reach = mp_reach();
    let empty: &[u8] = &[];
    for attributes in [
        [&reach[..], &unreach, &origin, &path],
        [&origin, &reach, &unreach, &path],
        [&reach, &origin, &unreach, &path],
        [&origin, &path, &reach, &unreach],
        [&unreach, &origin, &path, &reach],
        [&origin, &unreach, &path, &reach],
        [&origin, &path, &reach, empty],
    ] {
        let body = update(&[], &attributes.concat(), &[]);
        let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
        assert_eq!(view.attribute_block().contiguous(&mut vec![9]), key);
        assert_eq!(view.attribute_block().len(), key.len());
    }
}
