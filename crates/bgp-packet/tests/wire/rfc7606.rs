//! RFC 7606: what each fault leads to.

use muslin_bgp_packet::{
    Asn, AttributeContext, DecodeContext, Family, FamilySet, PeerKind, Treatment, UpdateError, UpdateView,
};

use crate::octets::*;

/// Types, flags, a well-formed value, and an internal or external peer that may send it.
fn known_attributes() -> Vec<(u8, u8, Vec<u8>, AttributeContext)> {
    vec![
        (1, WELL_KNOWN, vec![0], EXTERNAL),
        (2, WELL_KNOWN, vec![2, 1, 0, 0, 0xFD, 0xE9], EXTERNAL),
        (3, WELL_KNOWN, vec![192, 0, 2, 1], EXTERNAL),
        (4, NON_TRANSITIVE, vec![0; 4], EXTERNAL),
        (5, WELL_KNOWN, vec![0; 4], INTERNAL),
        (8, TRANSITIVE, vec![1; 8], EXTERNAL),
        (9, NON_TRANSITIVE, vec![10, 0, 0, 1], INTERNAL),
        (10, NON_TRANSITIVE, vec![10; 8], INTERNAL),
        (16, TRANSITIVE, vec![0; 16], EXTERNAL),
        (25, TRANSITIVE, vec![0; 40], EXTERNAL),
        (32, TRANSITIVE, vec![0; 24], EXTERNAL),
        (35, TRANSITIVE, vec![0, 0, 0, 1], EXTERNAL),
    ]
}

/// A route with all mandatory attributes, that of `type_code` being this one.
fn with(context: AttributeContext, type_code: u8, wrong: Vec<u8>) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mandatory = [(1, origin()), (2, as_path()), (3, next_hop()), (5, attribute(WELL_KNOWN, 5, &[0; 4]))];
    for (code, octets) in mandatory {
        let needed = code != 5 || context.peer == PeerKind::Internal;
        if code != type_code && needed {
            attributes.extend_from_slice(&octets);
        }
    }
    // In front of what must still be understood: the cursor has to be right after it.
    announcing(&[wrong, attributes].concat())
}

#[test]
fn well_formed_attributes_are_no_fault() {
    for (type_code, flags, value, context) in known_attributes() {
        let body = with(context, type_code, attribute(flags, type_code, &value));
        let (parsed, treatment) = receive(session(context), &body);
        assert_eq!((treatment, parsed.faults), (Treatment::None, vec![]), "type {type_code}");
    }
}

#[test]
fn rfc7606_1_a_wrong_length_withdraws_the_route_and_the_rest_is_still_read() {
    for (type_code, flags, value, context) in known_attributes() {
        for length in [value.len() - 1, value.len() + 1] {
            let mut wrong = value.clone();
            wrong.resize(length, 1);
            let body = with(context, type_code, attribute(flags, type_code, &wrong));
            let (parsed, treatment) = receive(session(context), &body);
            assert_eq!(treatment, Treatment::TreatAsWithdraw, "type {type_code} length {length}");
            assert_eq!(parsed.faults.len(), 1, "type {type_code} length {length}: {:?}", parsed.faults);
            let view = UpdateView::parse(session(context), &body).unwrap();
            assert_eq!(view.missing(parsed.absent), muslin_bgp_packet::Absent::empty());
        }
    }
}

#[test]
fn rfc7606_1_an_empty_value_withdraws_the_route() {
    for (type_code, flags, _, context) in known_attributes() {
        let body = with(context, type_code, attribute(flags, type_code, &[]));
        let (_, treatment) = receive(session(context), &body);
        // An AS_PATH may be empty (RFC 4271 §5.1.2).
        let expected = if type_code == 2 { Treatment::None } else { Treatment::TreatAsWithdraw };
        assert_eq!(treatment, expected, "type {type_code}");
    }
}

#[test]
fn rfc7606_1_conflicting_flags_withdraw_the_route() {
    for (type_code, flags, value, context) in known_attributes() {
        for wrong in [0x00, 0x40, 0x80, 0xC0].into_iter().filter(|wrong| *wrong != flags) {
            let body = with(context, type_code, attribute(wrong, type_code, &value));
            let (parsed, treatment) = receive(session(context), &body);
            assert_eq!(treatment, Treatment::TreatAsWithdraw, "type {type_code} flags {wrong:#x}");
            assert_eq!(parsed.faults[0].error, UpdateError::AttributeFlags);
        }
    }
}

#[test]
fn rfc4271_18_low_flag_bits_and_needless_long_lengths_are_tolerated() {
    for (type_code, flags, value, context) in known_attributes() {
        let mut long = vec![flags | 0x1F, type_code, 0, u8::try_from(value.len()).unwrap()];
        long.extend_from_slice(&value);
        let (_, treatment) = receive(session(context), &with(context, type_code, long));
        assert_eq!(treatment, Treatment::None, "type {type_code}");
    }
}

#[test]
fn rfc7606_1_an_undefined_origin_withdraws_the_route() {
    for value in 3..=255 {
        let body = with(EXTERNAL, 1, attribute(WELL_KNOWN, 1, &[value]));
        let (parsed, treatment) = receive(session(EXTERNAL), &body);
        assert_eq!(treatment, Treatment::TreatAsWithdraw);
        assert_eq!(parsed.faults[0].error, UpdateError::InvalidOrigin);
    }
}

#[test]
fn rfc7606_2_a_missing_mandatory_attribute_withdraws_the_route() {
    let all = [origin(), as_path(), next_hop()];
    for missing in 0..3 {
        let attributes: Vec<u8> = all
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != missing)
            .flat_map(|(_, octets)| octets.clone())
            .collect();
        let (_, treatment) = receive(session(EXTERNAL), &announcing(&attributes));
        assert_eq!(treatment, Treatment::TreatAsWithdraw, "without {}", missing + 1);
        let (_, treatment) =
            receive(session(EXTERNAL), &update(&[], &[mp_reach(), attributes].concat(), &[]));
        let expected = if missing == 2 { Treatment::None } else { Treatment::TreatAsWithdraw };
        assert_eq!(treatment, expected, "MP_REACH_NLRI without {}", missing + 1);
    }
}

#[test]
fn rfc7606_2_local_pref_is_mandatory_from_internal_peers() {
    let (_, treatment) = receive(session(INTERNAL), &announcing(&mandatory()));
    assert_eq!(treatment, Treatment::TreatAsWithdraw);
}

#[test]
fn rfc7606_2_a_withdraw_needs_no_attributes_and_a_stray_one_is_no_fault() {
    let (_, treatment) = receive(session(INTERNAL), &update(&PREFIX, &[], &[]));
    assert_eq!(treatment, Treatment::None);
    let (_, treatment) = receive(session(INTERNAL), &update(&PREFIX, &origin(), &[]));
    assert_eq!(treatment, Treatment::None);
}

fn assert_only_the_attribute_is_lost(wrong: &[u8]) {
    let (parsed, treatment) = receive_with(wrong);
    assert_eq!(treatment, Treatment::AttributeDiscard, "{wrong:02x?}");
    assert_eq!(parsed.attributes.aggregator, None);
    assert!(!parsed.attributes.atomic_aggregate);
    assert_eq!(parsed.attributes.as_path.to_string(), "65001");
}

#[test]
fn rfc7606_3_bad_aggregator_length_is_discarded() {
    for length in [0, 1, 6, 7, 9] {
        assert_only_the_attribute_is_lost(&attribute(TRANSITIVE, 7, &vec![1; length]));
    }
}

#[test]
fn rfc7606_3_aggregator_as_zero_is_discarded() {
    assert_only_the_attribute_is_lost(&attribute(TRANSITIVE, 7, &[0, 0, 0, 0, 10, 0, 0, 1]));
}

#[test]
fn rfc7606_3_bad_atomic_aggregate_is_discarded() {
    assert_only_the_attribute_is_lost(&attribute(WELL_KNOWN, 6, &[0]));
}

#[test]
fn rfc7606_3_bad_as4_attributes_are_discarded() {
    let mandatory = [origin(), attribute(WELL_KNOWN, 2, &[2, 1, 0x5B, 0xA0]), next_hop()].concat();
    for wrong in [
        attribute(TRANSITIVE, 17, &[]),
        attribute(TRANSITIVE, 17, &[2]),
        attribute(TRANSITIVE, 17, &[2, 2, 0, 1, 0, 0]),
        attribute(TRANSITIVE, 17, &[9, 1, 0, 1, 0, 0]),
        attribute(TRANSITIVE, 17, &[2, 1, 0, 0, 0, 0]),
        attribute(TRANSITIVE, 18, &[0, 1, 0, 0, 10, 0, 0]),
        attribute(TRANSITIVE, 18, &[0, 0, 0, 0, 10, 0, 0, 1]),
    ] {
        let (parsed, treatment) = receive(session(OLD), &announcing(&[mandatory.clone(), wrong].concat()));
        assert_eq!(treatment, Treatment::AttributeDiscard);
        assert_eq!(parsed.attributes.as_path.first(), Some(Asn::TRANS));
    }
}

#[test]
fn rfc7606_4_internal_attributes_from_external_peers_are_discarded_even_if_malformed() {
    for type_code in [5, 9, 10] {
        for flags in [WELL_KNOWN, NON_TRANSITIVE] {
            for length in [0, 3, 4, 5] {
                let (parsed, treatment) = receive_with(&attribute(flags, type_code, &vec![10; length]));
                assert_eq!(treatment, Treatment::AttributeDiscard);
                let attributes = parsed.attributes;
                assert_eq!((attributes.local_pref, attributes.originator_id), (None, None));
                assert!(attributes.cluster_list.is_empty());
            }
        }
    }
}

#[test]
fn rfc7606_5_of_a_repeated_attribute_the_first_counts() {
    let (parsed, treatment) = receive_with(&attribute(WELL_KNOWN, 1, &[2]));
    assert_eq!(treatment, Treatment::AttributeDiscard);
    assert_eq!(parsed.attributes.origin, muslin_bgp_packet::Origin::Igp);
}

#[test]
fn rfc7606_5_repeated_multiprotocol_attributes_reset_the_session() {
    for twice in [mp_reach(), attribute(NON_TRANSITIVE, 15, &[0, 2, 1])] {
        let body = update(&[], &[twice.clone(), mandatory(), twice].concat(), &[]);
        assert_eq!(reset(&receive(session(EXTERNAL), &body).1), Some((3, 1)));
    }
}

#[test]
fn rfc7606_6_an_attribute_beyond_the_attributes_withdraws_the_routes_behind_them() {
    let overruns: [&[u8]; 6] = [
        &[0xC0],
        &[0xC0, 8],
        &[0xD0, 8, 0],
        &[0xC0, 8, 5, 1, 2, 3, 4],
        &[0xD0, 8, 0xFF, 0xFF, 1],
        &[0xC0, 99, 1],
    ];
    for overrun in overruns {
        let body = announcing(&[mandatory(), overrun.to_vec()].concat());
        let (parsed, treatment) = receive(session(EXTERNAL), &body);
        assert_eq!(treatment, Treatment::TreatAsWithdraw, "{overrun:02x?}");
        assert_eq!(parsed.attributes.as_path.to_string(), "65001");
        let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
        assert_eq!(view.fault().map(|fault| fault.offset), Some(mandatory().len()));
        let prefixes: Vec<_> = view.announced().iter().map(|nlri| nlri.prefix.to_string()).collect();
        assert_eq!(prefixes, ["10.1.0.0/16"]);
    }
}

#[test]
fn rfc7606_6_without_routes_to_withdraw_the_session_is_reset() {
    for wrong in [vec![0xC0, 8, 5, 1], attribute(TRANSITIVE, 8, &[1, 2, 3])] {
        for withdrawn in [&[][..], &PREFIX] {
            let body = update(withdrawn, &[mandatory(), wrong.clone()].concat(), &[]);
            let (_, treatment) = receive(session(EXTERNAL), &body);
            assert_eq!(reset(&treatment).map(|(code, _)| code), Some(3), "{wrong:02x?}");
        }
    }
}

#[test]
fn rfc7606_6_the_reset_returns_the_attribute() {
    let wrong = attribute(TRANSITIVE, 8, &[1, 2, 3]);
    let unreach = attribute(NON_TRANSITIVE, 15, &[0, 2, 1]);
    let body = update(&[], &[origin(), unreach, as_path(), wrong.clone()].concat(), &[]);
    let (_, Treatment::SessionReset(notification)) = receive(session(EXTERNAL), &body) else {
        panic!("no reset")
    };
    assert_eq!((notification.subcode, notification.data.to_vec()), (5, wrong));
}

#[test]
fn rfc7606_6_a_discarded_attribute_of_no_route_resets_nothing() {
    let body = update(&[], &attribute(TRANSITIVE, 7, &[1]), &[]);
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::AttributeDiscard);
}

#[test]
fn rfc7606_7_lengths_beyond_the_message_reset_the_session() {
    for body in [
        &[0, 1, 0, 0][..],
        &[0, 3, 8, 10, 0],
        &[0, 0, 0, 1],
        &[0, 0, 0xFF, 0xFF, 0x40, 1, 1, 0],
        &[0, 0, 0],
        &[0xFF, 0xFF],
        &[],
    ] {
        assert_eq!(reset(&receive(session(EXTERNAL), body).1), Some((3, 1)), "{body:02x?}");
    }
}

#[test]
fn rfc7606_7_wrong_prefixes_reset_the_session() {
    for wrong in [&[33, 1, 2, 3, 4, 5][..], &[16, 10], &[32], &[255; 40]] {
        for body in [update(wrong, &[], &[]), update(&[], &mandatory(), wrong)] {
            let (_, treatment) = receive(session(EXTERNAL), &body);
            assert_eq!(reset(&treatment), Some((3, 10)), "{wrong:02x?}");
        }
    }
}

#[test]
fn rfc7606_8_a_wrong_multiprotocol_attribute_disables_its_family() {
    let ipv6_next_hop = [0x20; 16];
    let wrong_values: [Vec<u8>; 6] = [
        [&[0, 2, 1, 15][..], &ipv6_next_hop[..15], &[0, 0]].concat(),
        [&[0, 2, 1, 4, 192, 0, 2, 1, 0, 0][..]].concat(),
        [&[0, 2, 1, 16][..], &ipv6_next_hop, &[0, 129]].concat(),
        [&[0, 2, 1, 16][..], &ipv6_next_hop, &[0, 64, 0x20]].concat(),
        [&[0, 2, 1, 16][..], &ipv6_next_hop].concat(),
        [&[0, 2, 1, 255][..], &ipv6_next_hop].concat(),
    ];
    for value in &wrong_values {
        let wrong = attribute(NON_TRANSITIVE, 14, value);
        let body = announcing(&[wrong.clone(), mandatory()].concat());
        let (_, treatment) = receive(session(EXTERNAL), &body);
        assert_eq!(treatment, Treatment::DisableFamily(Family::Ipv6Unicast.into()), "{value:02x?}");
        let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
        assert_eq!((view.announced().len(), view.mp_reach().is_none()), (1, true));

        let only = DecodeContext { families: FamilySet::from(Family::Ipv6Unicast), ..session(EXTERNAL) };
        let (_, treatment) = receive(only, &body);
        let Treatment::SessionReset(notification) = treatment else { panic!("{treatment}") };
        assert_eq!((notification.code, notification.subcode, notification.data.to_vec()), (3, 9, wrong));
    }
    let unreach = attribute(NON_TRANSITIVE, 15, &[0, 2, 1, 129]);
    let (_, treatment) = receive(session(EXTERNAL), &update(&[], &unreach, &[]));
    assert_eq!(treatment, Treatment::DisableFamily(Family::Ipv6Unicast.into()));
}

#[test]
fn rfc7606_8_without_a_family_the_session_is_reset() {
    for type_code in [14, 15] {
        for length in 0..3 {
            let body = update(&[], &attribute(NON_TRANSITIVE, type_code, &vec![0; length]), &[]);
            assert_eq!(reset(&receive(session(EXTERNAL), &body).1), Some((3, 9)));
        }
    }
}

#[test]
fn rfc7606_8_a_cut_multiprotocol_attribute_resets_the_session() {
    for type_code in [14, 15] {
        let body = announcing(&[mandatory(), vec![0x80, type_code, 200, 0, 2, 1]].concat());
        assert_eq!(reset(&receive(session(EXTERNAL), &body).1), Some((3, 1)));
    }
}

#[test]
fn rfc7606_9_the_strongest_of_several_faults_wins() {
    let discard = attribute(TRANSITIVE, 7, &[1]);
    let withdraw = attribute(TRANSITIVE, 8, &[1]);
    let disable = attribute(NON_TRANSITIVE, 14, &[0, 2, 1, 3]);
    for (wrong, expected) in [
        (vec![&discard], Treatment::AttributeDiscard),
        (vec![&withdraw, &discard], Treatment::TreatAsWithdraw),
        (vec![&discard, &withdraw], Treatment::TreatAsWithdraw),
        (vec![&disable, &withdraw], Treatment::DisableFamily(Family::Ipv6Unicast.into())),
        (vec![&withdraw, &disable], Treatment::DisableFamily(Family::Ipv6Unicast.into())),
    ] {
        let attributes: Vec<u8> = wrong.into_iter().cloned().chain([mandatory()]).flatten().collect();
        let body = announcing(&attributes);
        let (parsed, treatment) = receive(session(EXTERNAL), &body);
        assert_eq!(treatment, expected);
        let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
        let withdraws = view.withdraws_announcements(parsed.absent, &parsed.faults);
        assert_eq!(withdraws, parsed.treatment() == Treatment::TreatAsWithdraw);
    }
}

#[test]
fn rfc7606_9_a_wrong_attribute_before_mp_reach_leaves_its_prefixes_readable() {
    let body = update(&[], &[attribute(WELL_KNOWN, 1, &[0, 0]), mp_reach(), as_path()].concat(), &[]);
    let (_, treatment) = receive(session(EXTERNAL), &body);
    assert_eq!(treatment, Treatment::TreatAsWithdraw);
    let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
    let prefixes: Vec<_> = view.mp_reach().unwrap().nlri.iter().map(|nlri| nlri.prefix.to_string()).collect();
    assert_eq!(prefixes, ["2001:db8:1::/48"]);
}

#[test]
fn rfc7606_3c_wrong_flags_of_mp_reach_withdraw_its_prefixes() {
    let mut wrong = mp_reach();
    wrong[0] = TRANSITIVE;
    let body = update(&[], &[wrong, origin(), as_path()].concat(), &[]);
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::TreatAsWithdraw);
    assert!(UpdateView::parse(session(EXTERNAL), &body).unwrap().mp_reach().is_some());
}

#[test]
fn rfc7606_10_mp_reach_is_found_in_any_place_beside_ipv4_prefixes() {
    let parts = [origin(), as_path(), next_hop(), mp_reach()];
    for first in 0..parts.len() {
        let mut parts = parts.to_vec();
        parts.rotate_left(first);
        let body = announcing(&parts.concat());
        let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
        assert_eq!((view.announced().len(), view.mp_reach().unwrap().nlri.len()), (1, 1));
        assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::None);
    }
}

#[test]
fn rfc7606_11_no_attribute_of_any_type_resets_a_session_that_announces_routes() {
    for type_code in (0..=255).filter(|code| !matches!(code, 14 | 15)) {
        for flags in [0x00, 0x40, 0x80, 0xC0, 0xE0] {
            for length in [0, 1, 2, 3, 4, 5, 8, 255, 1024] {
                for fill in [0x00, 0xFF] {
                    let garbage = attribute(flags, type_code, &vec![fill; length]);
                    let (parsed, treatment) = receive_with(&garbage);
                    assert!(
                        treatment <= Treatment::TreatAsWithdraw,
                        "type {type_code} flags {flags:#x} length {length}: {treatment}"
                    );
                    assert!(parsed.faults.iter().all(|fault| !fault.reason.is_empty()));
                }
            }
        }
    }
}

#[test]
fn rfc7606_11_garbage_that_reset_other_daemons_is_not_passed_on() {
    for type_code in [0, 11, 12, 13, 22, 23, 26, 28, 30, 31, 40, 128, 129, 241, 242, 243, 255] {
        for value in [&[][..], &[0], &[0, 0xFF, 0xFF]] {
            let (parsed, treatment) = receive_with(&attribute(TRANSITIVE, type_code, value));
            assert!(treatment >= Treatment::AttributeDiscard, "type {type_code} {value:02x?}");
            assert!(parsed.attributes.unknown.is_empty());
        }
    }
}
