//! OPEN: RFC 4271 §6.2, RFC 5492, RFC 6286, RFC 7607, RFC 9072, and capabilities.

use muslin_bgp_packet::{
    AddPathFamily, AddPathMode, Asn, Capability, ExtendedNextHop, Family, GracefulFamily, GracefulRestart,
    Open, Role,
};

/// The body of an OPEN of AS 65001 whose rest, length included, is `parameters`.
pub(crate) fn with_parameters(parameters: &[u8]) -> Vec<u8> {
    [&[4, 0xFD, 0xE9, 0, 90, 10, 0, 0, 1][..], parameters].concat()
}

pub(crate) fn capability(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, u8::try_from(value.len()).unwrap()][..], value].concat()
}

/// Length of the parameters and one parameter with these capabilities.
pub(crate) fn parameter(capabilities: &[u8]) -> Vec<u8> {
    let length = u8::try_from(capabilities.len()).unwrap();
    [&[length + 2, 2, length][..], capabilities].concat()
}

/// An OPEN with these capabilities.
pub(crate) fn decode(capabilities: &[u8]) -> Open {
    Open::decode(&with_parameters(&parameter(capabilities))).unwrap()
}

fn refusal(body: &[u8]) -> (u8, u8, Vec<u8>) {
    let notification = Open::decode(body).unwrap_err();
    (notification.code, notification.subcode, notification.data.to_vec())
}

fn fixed(version: u8, asn: u16, hold_time: u16, id: [u8; 4]) -> Vec<u8> {
    [&[version][..], &asn.to_be_bytes(), &hold_time.to_be_bytes(), &id, &[0]].concat()
}

#[test]
fn rfc4271_5_another_version_is_refused_with_ours() {
    for version in [0, 3, 5, 255] {
        assert_eq!(refusal(&fixed(version, 65001, 90, [10, 0, 0, 1])), (2, 1, vec![0, 4]));
    }
}

#[test]
fn rfc4271_6_as_zero_is_refused_in_either_field() {
    assert_eq!(refusal(&fixed(4, 0, 90, [10, 0, 0, 1])), (2, 2, vec![]));
    let zero = parameter(&capability(65, &[0; 4]));
    assert_eq!(refusal(&with_parameters(&zero)), (2, 2, vec![]));
}

#[test]
fn rfc4271_6_two_different_as_numbers_are_refused() {
    let other = parameter(&capability(65, &65002_u32.to_be_bytes()));
    assert_eq!(refusal(&with_parameters(&other)), (2, 2, vec![]));
}

#[test]
fn rfc4271_7_identifier_zero_is_refused() {
    assert_eq!(refusal(&fixed(4, 65001, 90, [0; 4])), (2, 3, vec![]));
}

#[test]
fn rfc4271_8_hold_times_of_one_and_two_are_refused() {
    for hold_time in [1, 2] {
        assert_eq!(refusal(&fixed(4, 65001, hold_time, [10, 0, 0, 1])), (2, 6, vec![]));
    }
    for hold_time in [0, 3, 65535] {
        assert_eq!(Open::decode(&fixed(4, 65001, hold_time, [10, 0, 0, 1])).unwrap().hold_time, hold_time);
    }
}

#[test]
fn rfc4271_10_an_unknown_parameter_is_refused() {
    for kind in [0, 1, 3, 254] {
        assert_eq!(refusal(&with_parameters(&[2, kind, 0])), (2, 4, vec![]));
    }
}

#[test]
fn rfc4271_10_parameters_and_capabilities_that_overrun_are_refused() {
    for overrun in [
        &[][..],
        &[1],
        &[1, 2],
        &[2, 2, 1],
        &[3, 2, 1, 65],
        &[4, 2, 2, 65, 4],
        &[4, 2, 1, 2, 0],
        &[0, 0],
        &[2, 2, 0, 9],
    ] {
        assert_eq!(refusal(&with_parameters(overrun)), (2, 0, vec![]), "{overrun:?}");
    }
}

#[test]
fn rfc5492_1_capabilities_may_stand_alone_or_together_unknown_or_twice() {
    let four_octet_as = capability(65, &65001_u32.to_be_bytes());
    let refresh = capability(2, &[]);
    let unknown = capability(128, &[1, 2]);
    let together = [&four_octet_as[..], &refresh, &refresh, &unknown].concat();
    let apart: Vec<u8> = [&four_octet_as, &refresh, &refresh, &unknown]
        .into_iter()
        .flat_map(|capability| [&[2, u8::try_from(capability.len()).unwrap()][..], capability].concat())
        .collect();
    let apart = [&[u8::try_from(apart.len()).unwrap()][..], &apart].concat();
    let open = decode(&together);
    assert_eq!(open, Open::decode(&with_parameters(&apart)).unwrap());
    let expected = [
        Capability::FourOctetAs(Asn(65001)),
        Capability::RouteRefresh,
        Capability::RouteRefresh,
        Capability::Unknown { code: 128, value: vec![1, 2].into() },
    ];
    assert_eq!(open.capabilities, expected);
}

#[test]
fn rfc5492_2_a_peer_without_capabilities_has_ipv4_unicast() {
    let open = Open::decode(&with_parameters(&[0])).unwrap();
    assert!(!open.has_four_octet_as());
    assert_eq!(open.families().collect::<Vec<_>>(), [Family::Ipv4Unicast.into()]);
}

#[test]
fn rfc9072_1_extended_lengths_are_read_even_when_short() {
    let refresh = capability(2, &[]);
    for length in [255, 1] {
        let parameters = [&[length, 255, 0, 5, 2, 0, 2][..], &refresh].concat();
        let open = Open::decode(&with_parameters(&parameters)).unwrap();
        assert_eq!(open.capabilities, [Capability::RouteRefresh]);
    }
}

#[test]
fn rfc7911_2_a_family_with_another_direction_is_left_out() {
    let open = decode(&capability(69, &[0, 1, 1, 0, 0, 1, 1, 4, 0, 2, 1, 3, 0, 1, 1, 255]));
    let expected = AddPathFamily { family: Family::Ipv6Unicast.into(), mode: AddPathMode::Both };
    assert_eq!(open.capabilities, [Capability::AddPath(vec![expected])]);
}

#[test]
fn rfc8950_1_a_capability_of_broken_tuples_means_nothing() {
    let good = ExtendedNextHop { family: Family::Ipv4Unicast.into(), next_hop_afi: 2 };
    assert_eq!(
        decode(&capability(5, &[0, 1, 0, 1, 0, 2])).capabilities,
        [Capability::ExtendedNextHop(vec![good])]
    );
    let broken = decode(&capability(5, &[0, 1, 0, 1, 0, 2, 0]));
    assert!(matches!(broken.capabilities[..], [Capability::Unknown { code: 5, .. }]));
}

#[test]
fn rfc4724_and_rfc8538_flags_and_time_are_told_apart() {
    let open = decode(&capability(64, &[0xCF, 0xFF, 0, 1, 1, 0x80, 0, 2, 1, 0x7F]));
    let family = |family: Family, forwarding_kept| GracefulFamily { family: family.into(), forwarding_kept };
    let expected = GracefulRestart {
        restarted: true,
        notification: true,
        restart_time: 4095,
        families: vec![family(Family::Ipv4Unicast, true), family(Family::Ipv6Unicast, false)],
    };
    assert_eq!(open.capabilities, [Capability::GracefulRestart(expected)]);
}

#[test]
fn rfc9234_1_different_roles_are_refused_and_equal_ones_are_not() {
    let both = |second: u8| parameter(&[capability(9, &[3]), capability(9, &[second])].concat());
    assert_eq!(refusal(&with_parameters(&both(4))), (2, 11, vec![]));
    let open = Open::decode(&with_parameters(&both(3))).unwrap();
    assert_eq!(open.capabilities, [const { Capability::Role(Role::Customer) }; 2]);
}

#[test]
fn rfc9234_1_each_role_has_one_counterpart() {
    for role in [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer] {
        assert_eq!(role.counterpart().counterpart(), role);
    }
    assert_eq!(Role::Customer.counterpart(), Role::Provider);
    assert_eq!(Role::RouteServer.counterpart(), Role::RouteServerClient);
    assert_eq!(Role::Peer.counterpart(), Role::Peer);
}

#[test]
fn an_unknown_role_means_nothing() {
    assert!(matches!(decode(&capability(9, &[5])).capabilities[..], [Capability::Unknown { code: 9, .. }]));
}

#[test]
fn the_data_of_an_unsupported_capability_is_that_capability() {
    let wanted = Capability::Multiprotocol(Family::Ipv6Unicast.into());
    let notification = muslin_bgp_packet::Notification::unsupported_capability(&wanted);
    assert_eq!((notification.subcode, notification.data.to_vec()), (7, vec![1, 4, 0, 2, 0, 1]));
}

#[test]
fn an_open_never_grows_beyond_4096_octets() {
    let fill = Capability::Unknown { code: 200, value: vec![7; 255].into() };
    let open = Open::new(Asn(65001), 90, [10, 0, 0, 1].into(), std::iter::repeat_n(fill, 100));
    let mut wire = bytes::BytesMut::new();
    open.encode(&mut wire);
    assert!((3800..=4096).contains(&wire.len()), "{}", wire.len());
    let read = Open::decode(&wire[19..]).unwrap();
    assert_eq!(read.capabilities[..], open.capabilities[..read.capabilities.len()]);
}
