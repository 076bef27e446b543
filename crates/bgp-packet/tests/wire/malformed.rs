//! Thirty messages that crashed or reset real daemons. Each names what it did elsewhere.

use muslin_bgp_packet::frame::{MAX_LENGTH, peek};
use muslin_bgp_packet::{
    AsWidth, AttributeContext, Capability, Notification, Open, PeerKind, RouteRefresh, Treatment, UpdateView,
};

use crate::octets::*;
use crate::open::{capability, decode, parameter, with_parameters};

fn refusal(body: &[u8]) -> (u8, u8) {
    let Notification { code, subcode, .. } = Open::decode(body).unwrap_err();
    (code, subcode)
}

#[test]
fn a4_01_extended_parameters_cut_in_their_length() {
    for cut in [&[255, 255][..], &[255, 255, 0], &[255, 255, 0, 9], &[255, 255, 0, 3, 2, 0]] {
        assert_eq!(refusal(&with_parameters(cut)), (2, 0), "CVE-2022-40302 {cut:?}");
    }
}

#[test]
fn a4_02_an_open_that_ends_before_the_extended_header() {
    assert_eq!(refusal(&with_parameters(&[255])), (2, 0), "CVE-2022-43681");
    let inside = [&[4, 2, 0][..], &[255, 0]].concat();
    assert_eq!(refusal(&with_parameters(&inside)), (2, 4), "CVE-2022-40318");
}

#[test]
fn a4_03_a_capability_of_the_wrong_length() {
    for length in [0, 1, 3, 5] {
        let caps = capability(65, &vec![1; length]);
        assert_eq!(refusal(&with_parameters(&parameter(&caps))), (2, 0), "CVE-2022-36440");
    }
    let open = decode(&capability(2, &[0; 3]));
    assert!(matches!(open.capabilities[..], [Capability::Unknown { code: 2, .. }]), "CVE-2022-37032");
}

#[test]
fn a4_04_an_empty_as_capability_takes_nothing_from_the_next_one() {
    let caps = [capability(65, &[]), capability(1, &[0, 1, 0, 1])].concat();
    assert_eq!(refusal(&with_parameters(&parameter(&caps))), (2, 0), "GHSA-gjrg-jjr3-56cm");
}

#[test]
fn a4_05_a_software_version_of_the_wrong_inner_length() {
    let long = [&[65][..], &[b'x'; 65]].concat();
    for value in [&[][..], &[0], &[9, b'x'], &[1, b'x', b'y'], &long] {
        let open = decode(&capability(75, value));
        assert!(matches!(open.capabilities[..], [Capability::Unknown { code: 75, .. }]), "CVE-2025-43971");
    }
}

#[test]
fn a4_06_names_that_overrun_their_capability() {
    for value in [&[][..], &[1], &[9, b'x'], &[1, b'x'], &[1, b'x', 9, b'y'], &[0, 0, 0]] {
        let open = decode(&capability(73, value));
        assert!(matches!(open.capabilities[..], [Capability::Unknown { code: 73, .. }]), "GoBGP 3.10 panics");
    }
}

#[test]
fn a4_07_an_unknown_message_type() {
    let mut octets = [0xFF; 19];
    octets[16..].copy_from_slice(&[0, 19, 99]);
    let notification = peek(&octets, MAX_LENGTH).unwrap_err();
    assert_eq!((notification.code, notification.subcode), (1, 3), "CVE-2023-46565");
}

#[test]
fn a4_08_an_unrecognized_well_known_attribute() {
    let (_, treatment) = receive_with(&attribute(WELL_KNOWN, 99, &[1]));
    assert_eq!(treatment, Treatment::TreatAsWithdraw, "CVE-2026-41642");
}

#[test]
fn a4_09_an_origin_with_wrong_flags() {
    let body = announcing(&[attribute(TRANSITIVE, 1, &[0]), as_path(), next_hop()].concat());
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::TreatAsWithdraw);
}

#[test]
fn a4_10_a_next_hop_of_the_wrong_length() {
    for length in [0, 3, 5, 16] {
        let wrong = attribute(WELL_KNOWN, 3, &vec![1; length]);
        let body = announcing(&[origin(), as_path(), wrong].concat());
        assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::TreatAsWithdraw, "CVE-2026-30405");
    }
}

#[test]
fn a4_11_an_as4_path_before_its_as_path() {
    let as4 = attribute(TRANSITIVE, 17, &[2, 1, 0, 1, 0, 0]);
    let path = attribute(WELL_KNOWN, 2, &[2, 1, 0x5B, 0xA0]);
    let body = announcing(&[as4.clone(), origin(), path, next_hop()].concat());
    let (parsed, treatment) = receive(session(OLD), &body);
    assert_eq!((parsed.attributes.as_path.to_string().as_str(), treatment), ("65536", Treatment::None));
    let without = announcing(&[as4, origin(), next_hop()].concat());
    assert_eq!(receive(session(OLD), &without).1, Treatment::TreatAsWithdraw, "CVE-2026-41643");
}

#[test]
fn a4_12_an_empty_as_path_from_a_confederation_peer() {
    let context = AttributeContext { as_width: AsWidth::Four, peer: PeerKind::Confederation };
    let body = announcing(&[origin(), attribute(WELL_KNOWN, 2, &[]), next_hop()].concat());
    assert_eq!(receive(session(context), &body).1, Treatment::TreatAsWithdraw, "GHSA-frrj-87jh-2772");
}

#[test]
fn a4_13_inconsistent_attribute_lengths() {
    for length in 0..=255_u8 {
        let wrong = [&[0xC0, 8, length][..], &[0; 16]].concat();
        let (_, treatment) = receive(session(EXTERNAL), &announcing(&[mandatory(), wrong].concat()));
        assert!(treatment <= Treatment::TreatAsWithdraw, "CVE-2026-42285 length {length}: {treatment}");
    }
}

#[test]
fn a4_14_an_as_path_of_more_than_2048_ases() {
    let segment = [&[2, 255][..], &[0, 0, 0xFD, 0xE9].repeat(255)].concat();
    let path = attribute(WELL_KNOWN, 2, &segment.repeat(16));
    let body = announcing(&[origin(), path, next_hop()].concat());
    let (parsed, treatment) = receive(session(EXTERNAL), &body);
    assert_eq!((parsed.attributes.as_path.length(), treatment), (4080, Treatment::None), "CVE-2026-49943");
}

#[test]
fn a4_15_an_otc_of_1024_octets() {
    let (parsed, treatment) = receive_with(&attribute(TRANSITIVE, 35, &[0; 1024]));
    assert_eq!((parsed.attributes.otc, treatment), (None, Treatment::TreatAsWithdraw));
}

#[test]
fn a4_16_garbage_in_attribute_28() {
    let (parsed, treatment) = receive_with(&attribute(TRANSITIVE, 28, &[0xFF; 7]));
    assert_eq!(treatment, Treatment::AttributeDiscard, "CVE-2023-4481");
    assert!(parsed.attributes.unknown.is_empty());
}

#[test]
fn a4_17_tunnel_encapsulation_of_nothing_or_garbage() {
    for value in [&[][..], &[0, 0], &[0, 15, 0, 1], &[0xFF; 9]] {
        let (_, treatment) = receive_with(&attribute(TRANSITIVE, 23, value));
        assert_eq!(treatment, Treatment::AttributeDiscard, "CVE-2023-38802 {value:02x?}");
    }
    let (parsed, treatment) = receive_with(&attribute(TRANSITIVE, 23, &[0, 15, 0, 1, 7]));
    assert_eq!((parsed.attributes.unknown.len(), treatment), (1, Treatment::None));
}

#[test]
fn a4_18_attribute_lengths_around_the_end_of_the_attributes() {
    let whole = [mandatory(), attribute(TRANSITIVE, 8, &[0; 8])].concat();
    for total in 0..whole.len() {
        let length = u16::try_from(total).unwrap().to_be_bytes();
        let body = [&[0, 0], &length[..], &whole].concat();
        let (_, treatment) = receive(session(EXTERNAL), &body);
        let code = reset(&treatment).map(|(code, _)| code);
        assert!(code.is_none_or(|code| code == 3), "CVE-2023-38283 total {total}: {treatment}");
    }
}

#[test]
fn a4_19_attributes_of_one_octet() {
    for type_code in [22, 26, 40] {
        let (parsed, treatment) = receive_with(&attribute(TRANSITIVE, type_code, &[1]));
        assert!(treatment <= Treatment::TreatAsWithdraw, "CVE-2023-31490 type {type_code}");
        assert!(parsed.attributes.unknown.is_empty());
    }
    let (_, treatment) = receive_with(&attribute(TRANSITIVE, 17, &[1]));
    assert_eq!(treatment, Treatment::AttributeDiscard, "AS4_PATH between 4-octet speakers");
}

#[test]
fn a4_20_mp_reach_of_two_or_three_octets() {
    for value in [&[0, 1][..], &[0, 2, 1]] {
        let body = update(&[], &[attribute(NON_TRANSITIVE, 14, value), mandatory()].concat(), &[]);
        let (_, treatment) = receive(session(EXTERNAL), &body);
        assert!(treatment > Treatment::TreatAsWithdraw, "CVE-2023-46752: {treatment}");
    }
}

#[test]
fn a4_21_an_update_of_nothing_but_an_unknown_attribute() {
    let body = update(&[], &attribute(TRANSITIVE, 99, &[1]), &[]);
    let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
    assert_eq!(view.end_of_rib(), None);
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::None, "CVE-2023-46753");
}

#[test]
fn a4_22_prefixes_without_attributes_and_end_of_rib_with_wrong_ones() {
    let unreach = attribute(NON_TRANSITIVE, 15, &[0, 2, 1]);
    assert_eq!(
        receive(session(EXTERNAL), &announcing(&unreach)).1,
        Treatment::TreatAsWithdraw,
        "CVE-2023-47234"
    );
    assert_eq!(receive(session(EXTERNAL), &announcing(&[])).1, Treatment::TreatAsWithdraw, "CVE-2023-41358");
    let body = update(&[], &[unreach, attribute(WELL_KNOWN, 1, &[])].concat(), &[]);
    assert_eq!(UpdateView::parse(session(EXTERNAL), &body).unwrap().end_of_rib(), None);
    assert_eq!(reset(&receive(session(EXTERNAL), &body).1), Some((3, 5)), "CVE-2023-47235");
}

#[test]
fn a4_23_flow_specifications_and_labels_of_any_length_are_not_looked_at() {
    for safi in [4, 128, 133, 134] {
        for nlri in [&[][..], &[0], &[0xFF, 0xFF, 1], &[24, 0]] {
            let value = [&[0, 1, safi, 0, 0][..], nlri].concat();
            let reach = attribute(NON_TRANSITIVE, 14, &value);
            let body = announcing(&[reach, mandatory()].concat());
            assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::None, "CVE-2023-38406");
            let unreach = attribute(NON_TRANSITIVE, 15, &[&[0, 1, safi][..], nlri].concat());
            assert_eq!(receive(session(EXTERNAL), &update(&[], &unreach, &[])).1, Treatment::None);
        }
    }
}

#[test]
fn a4_24_outbound_filters_of_the_wrong_length() {
    assert!(RouteRefresh::decode(&[0, 1, 0, 1, 1, 64, 0xFF, 0xFF]).is_ok(), "CVE-2023-41360");
}

#[test]
fn a4_25_a_notification_without_data() {
    assert_eq!(Notification::decode(&[6, 2]).unwrap().communication(), None);
    assert!(Notification::decode(&[]).is_err());
}

#[test]
fn a4_26_a_segment_identifier_with_an_impossible_transposition() {
    let tlv = [5, 0, 4, 0, 1, 0, 200];
    let (_, treatment) = receive_with(&attribute(TRANSITIVE, 40, &tlv));
    assert_eq!(treatment, Treatment::None, "passed on: we do not interpret it");
    let (_, treatment) = receive_with(&attribute(TRANSITIVE, 40, &tlv[..6]));
    assert_eq!(treatment, Treatment::AttributeDiscard, "FRR issue 22042");
}

#[test]
fn a4_27_prefix_lengths_beyond_the_family() {
    for length in 33..=255 {
        let body = update(&[], &mandatory(), &[&[length][..], &[1; 40]].concat());
        assert_eq!(reset(&receive(session(EXTERNAL), &body).1), Some((3, 10)), "CVE-2026-48686");
    }
}

#[test]
fn a4_28_an_extended_length_of_more_than_255() {
    let communities = attribute(TRANSITIVE, 8, &[7; 260]);
    let (parsed, treatment) = receive_with(&communities);
    assert_eq!((parsed.attributes.communities.len(), treatment), (1, Treatment::None), "CVE-2026-48685");
    let (parsed, _) = receive_with(&[communities, attribute(NON_TRANSITIVE, 4, &[0, 0, 0, 9])].concat());
    assert_eq!(parsed.attributes.med, Some(9));
}

#[test]
fn a4_29_attribute_255_without_value() {
    let (parsed, treatment) = receive_with(&attribute(TRANSITIVE, 255, &[]));
    assert_eq!(treatment, Treatment::AttributeDiscard, "CVE-2019-5892");
    assert_eq!(parsed.attributes.as_path.to_string(), "65001");
}

#[test]
fn a4_30_long_paths_sets_and_confederation_segments_from_outside() {
    let with_path = |path: &[u8]| {
        receive(
            session(EXTERNAL),
            &announcing(&[origin(), attribute(WELL_KNOWN, 2, path), next_hop()].concat()),
        )
    };
    let long = [&[2, 250][..], &[0, 0, 0xFD, 0xE9].repeat(250)].concat();
    assert_eq!(with_path(&long).1, Treatment::None);
    assert_eq!(with_path(&[1, 1, 0, 0, 0xFD, 0xE9]).1, Treatment::None);
    for kind in [3, 4] {
        assert_eq!(with_path(&[kind, 1, 0, 0, 0xFD, 0xE9]).1, Treatment::TreatAsWithdraw);
    }
}
