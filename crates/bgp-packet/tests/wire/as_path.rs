//! AS_PATH: RFC 4271 §5.1.2 and §9.1.2.2, RFC 5065, RFC 6793, RFC 7606 §7.2, RFC 7607.

use muslin_bgp_packet::{AsPath, AsWidth, Asn, PeerKind};

use crate::octets::*;

fn four(octets: &[u8]) -> Result<AsPath, &'static str> {
    AsPath::decode(octets, AsWidth::Four, PeerKind::Internal)
}

fn two(octets: &[u8]) -> AsPath {
    AsPath::decode(octets, AsWidth::Two, PeerKind::Internal).unwrap()
}

fn sequence(asns: &[u32]) -> AsPath {
    AsPath::from_sequence(&asns.iter().copied().map(Asn).collect::<Vec<_>>())
}

#[test]
fn rfc7606_7_2_malformed_paths_are_told_apart() {
    for (octets, reason) in [
        (&[0, 1, 0, 0, 0, 1][..], "a segment of unknown kind"),
        (&[5, 1, 0, 0, 0, 1], "a segment of unknown kind"),
        (&[2, 0], "a segment without an AS"),
        (&[2, 2, 0, 0, 0, 1], "a segment that is longer than the attribute"),
        (&[2, 1, 0, 0, 0, 1, 2], "an octet after the last segment"),
        (&[2, 2, 0, 0, 0, 1, 0, 0, 0, 0], "AS 0"),
    ] {
        assert_eq!(four(octets), Err(reason), "{octets:?}");
    }
}

#[test]
fn rfc4271_20_a_set_counts_one_and_confederation_segments_nothing() {
    let path = two(&[3, 2, 0, 9, 0, 8, 2, 2, 0, 1, 0, 2, 1, 3, 0, 3, 0, 4, 0, 5, 4, 1, 0, 7]);
    assert_eq!(path.to_string(), "(9 8) 1 2 {3,4,5} [7]");
    assert_eq!(path.length(), 3);
    assert_eq!((path.first(), path.neighbor(), path.origin()), (Some(Asn(9)), Some(Asn(1)), None));
    assert_eq!((path.count(Asn(2)), path.contains(Asn(5)), path.contains(Asn(6))), (1, true, false));
}

#[test]
fn the_origin_is_the_last_as_of_a_sequence() {
    assert_eq!(sequence(&[1, 2, 3]).origin(), Some(Asn(3)));
    assert_eq!(two(&[2, 1, 0, 1, 1, 1, 0, 2]).origin(), None);
    assert_eq!(AsPath::empty().origin(), None);
}

#[test]
fn a_path_that_starts_with_a_set_has_no_first_as() {
    let path = two(&[1, 2, 0, 1, 0, 2]);
    assert_eq!((path.first(), path.neighbor()), (None, None));
}

#[test]
fn rfc4271_17_prepending_fills_a_segment_and_then_begins_another() {
    assert_eq!(AsPath::empty().prepended(Asn(7), 1).to_string(), "7");
    assert_eq!(sequence(&[1]).prepended(Asn(7), 2).to_string(), "7 7 1");
    assert_eq!(two(&[1, 1, 0, 1]).prepended(Asn(7), 1).to_string(), "7 {1}");
    let full = sequence(&[1; 255]);
    for (times, expected) in [(0, vec![255]), (1, vec![1, 255]), (255, vec![255, 255])] {
        let path = full.prepended(Asn(7), times);
        let lengths: Vec<_> = path.segments().map(|segment| segment.len()).collect();
        assert_eq!(lengths, expected, "{times} times");
        assert_eq!(path.count(Asn(7)), usize::from(times));
    }
    let nearly_full = sequence(&[1; 254]).prepended(Asn(7), 3);
    assert_eq!(nearly_full.segments().map(|segment| segment.len()).collect::<Vec<_>>(), [2, 255]);
}

#[test]
fn rfc5065_confederation_segments_are_added_and_removed() {
    let path = sequence(&[1]).prepended_in_confederation(Asn(9), 1).prepended_in_confederation(Asn(8), 1);
    assert_eq!(path.to_string(), "(8 9) 1");
    assert_eq!(path.without_confederation(), sequence(&[1]));
}

fn merged(as_path: &[u8], as4_path: &AsPath) -> String {
    two(as_path).merged_with_as4(as4_path).to_string()
}

#[test]
fn rfc6793_1_what_the_as_path_has_more_is_put_before_the_as4_path() {
    let as4 = sequence(&[70000, 3]);
    assert_eq!(merged(&[2, 2, 0x5B, 0xA0, 0, 3], &as4), "70000 3");
    assert_eq!(merged(&[2, 4, 0, 1, 0, 2, 0x5B, 0xA0, 0, 3], &as4), "1 2 70000 3");
    assert_eq!(merged(&[2, 1, 0, 1, 2, 3, 0, 2, 0x5B, 0xA0, 0, 3], &as4), "1 2 70000 3");
    assert_eq!(merged(&[1, 2, 0, 1, 0, 9, 2, 2, 0x5B, 0xA0, 0, 3], &as4), "{1,9} 70000 3");
    assert_eq!(merged(&[3, 1, 0, 9, 2, 2, 0x5B, 0xA0, 0, 3], &as4), "(9) 70000 3");
}

#[test]
fn rfc6793_1_an_as4_path_that_is_longer_is_ignored() {
    assert_eq!(merged(&[2, 1, 0x5B, 0xA0], &sequence(&[70000, 3])), "23456");
}

#[test]
fn rfc6793_1_merging_never_makes_a_segment_of_more_than_255() {
    let old = [&[2, 255][..], &[0, 1].repeat(255), &[2, 1, 0, 1]].concat();
    let path = two(&old).merged_with_as4(&sequence(&[70000; 200]));
    assert_eq!(path.segments().map(|segment| segment.len()).collect::<Vec<_>>(), [56, 200]);
    let path = two(&old).merged_with_as4(&sequence(&[70000; 254]));
    assert_eq!(path.segments().map(|segment| segment.len()).collect::<Vec<_>>(), [2, 254]);
    let path = two(&old).merged_with_as4(&sequence(&[70000; 1]));
    assert_eq!(path.segments().map(|segment| segment.len()).collect::<Vec<_>>(), [255, 1]);
}

fn from_old_speaker(attributes: &[Vec<u8>]) -> muslin_bgp_packet::PathAttributes {
    let path = attribute(WELL_KNOWN, 2, &[2, 2, 0, 1, 0x5B, 0xA0]);
    let body = announcing(&[vec![origin(), path, next_hop()], attributes.to_vec()].concat().concat());
    receive(session(OLD), &body).0.attributes
}

#[test]
fn rfc6793_1_as4_aggregator_counts_only_with_as_trans() {
    let aggregator = |asn: [u8; 2]| attribute(TRANSITIVE, 7, &[&asn[..], &[10, 0, 0, 1]].concat());
    let as4_aggregator = attribute(TRANSITIVE, 18, &[0, 1, 0, 0, 10, 0, 0, 2]);
    let as4_path = attribute(TRANSITIVE, 17, &[2, 1, 0, 1, 0, 0]);

    let used = from_old_speaker(&[aggregator([0x5B, 0xA0]), as4_aggregator.clone(), as4_path.clone()]);
    assert_eq!(used.aggregator.map(|aggregator| aggregator.asn), Some(Asn(65536)));
    assert_eq!(used.as_path.to_string(), "1 65536");

    let outdated = from_old_speaker(&[aggregator([0, 9]), as4_aggregator, as4_path.clone()]);
    assert_eq!(outdated.aggregator.map(|aggregator| aggregator.asn), Some(Asn(9)));
    assert_eq!(outdated.as_path.to_string(), "1 23456");

    let path_alone = from_old_speaker(&[aggregator([0, 9]), as4_path]);
    assert_eq!(path_alone.as_path.to_string(), "1 65536");
}

#[test]
fn rfc6793_1_confederation_segments_in_an_as4_path_are_dropped() {
    let as4_path = attribute(TRANSITIVE, 17, &[3, 1, 0, 0, 0, 9, 2, 1, 0, 1, 0, 0]);
    assert_eq!(from_old_speaker(&[as4_path]).as_path.to_string(), "1 65536");
}

#[test]
fn rfc6793_1_as4_attributes_between_4_octet_speakers_are_discarded() {
    for wrong in [
        attribute(TRANSITIVE, 17, &[2, 1, 0, 1, 0, 0]),
        attribute(TRANSITIVE, 18, &[0, 1, 0, 0, 10, 0, 0, 2]),
    ] {
        let (parsed, treatment) = receive_with(&wrong);
        assert_eq!(treatment, muslin_bgp_packet::Treatment::AttributeDiscard);
        assert_eq!(parsed.attributes.as_path.to_string(), "65001");
    }
}
