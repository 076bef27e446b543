//! Messages as the kernel writes and reads them (little-endian captures), and bytes that nobody wrote.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::constants::*;
use super::link::{parse_address, parse_link, parse_router};
use super::message::{MessageBuffer, attributes, messages};
use super::nexthop::{self, Content, GroupWrite, NextHopMessage};
use super::refusal::parse_error;
use super::route::{self, HopMessage, Owner, RouteMessage, RouteWrite, Target, Write};
use crate::config::Resilience;
use crate::path::{Family, Hop, Path};

const OWNER: Owner = Owner { protocol: 77, table: RT_TABLE_MAIN };

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn encoded(write: impl FnOnce(&mut MessageBuffer)) -> Vec<u8> {
    let mut buffer = MessageBuffer::default();
    write(&mut buffer);
    buffer.bytes().to_vec()
}

fn write_route(prefix: &str, target: Target) -> Vec<u8> {
    let route = RouteWrite { prefix: net(prefix), metric: 77, source: None, target };
    encoded(|buffer| route::encode_write(buffer, OWNER, Write::Add, &route, 0, 1))
}

/// What the kernel would read from our own message.
fn reread(bytes: &[u8]) -> RouteMessage {
    RouteMessage::parse(messages(bytes).next().unwrap().body).unwrap()
}

fn hop(gateway: &str, interface: u32) -> Hop {
    Hop::new(Some(address(gateway)), interface, false, Family::V4)
}

#[test]
#[cfg(target_endian = "little")]
fn a_route_over_an_object_is_sixty_bytes() {
    let bytes = write_route("10.244.2.0/24", Target::Object(7));
    let expected = [
        60, 0, 0, 0, 24, 0, 0x01, 0x06, 1, 0, 0, 0, 0, 0, 0,
        0, // RTM_NEWROUTE, request create exclusive
        2, 24, 0, 0, 0, 77, 0, 1, 0, 0, 0, 0, // struct rtmsg
        8, 0, 1, 0, 10, 244, 2, 0, // RTA_DST
        8, 0, 15, 0, 254, 0, 0, 0, // RTA_TABLE
        8, 0, 6, 0, 77, 0, 0, 0, // RTA_PRIORITY
        8, 0, 30, 0, 7, 0, 0, 0, // RTA_NH_ID
    ];
    assert_eq!(bytes, expected);
}

#[test]
#[cfg(target_endian = "little")]
fn a_deletion_names_protocol_and_metric_and_nothing_of_the_way() {
    let bytes = encoded(|buffer| route::encode_delete(buffer, OWNER, net("10.244.2.0/24"), 77, NLM_F_ACK, 2));
    let expected = [
        52, 0, 0, 0, 25, 0, 0x05, 0x00, 2, 0, 0, 0, 0, 0, 0, 0, // RTM_DELROUTE, request acknowledge
        2, 24, 0, 0, 0, 77, 255, 0, 0, 0, 0, 0, // any scope, any type
        8, 0, 1, 0, 10, 244, 2, 0, //
        8, 0, 15, 0, 254, 0, 0, 0, //
        8, 0, 6, 0, 77, 0, 0, 0,
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn plain_paths_survive_the_way_to_the_kernel() {
    let onlink = Hop { onlink: true, ..hop("192.0.2.1", 2) };
    let paths = [
        Path::Blackhole,
        Path::unicast([(hop("10.0.0.2", 2), 1)], None),
        Path::unicast([(hop("10.0.0.2", 2), 1), (hop("10.0.1.2", 3), 200)], None),
        // RFC 8950: the next hop of another family.
        Path::unicast([(hop("fe80::2", 2), 1)], None),
        Path::unicast([(hop("fe80::2", 2), 1), (hop("10.0.1.2", 3), 2)], None),
        Path::unicast([(onlink.clone(), 1)], None),
        Path::unicast([(onlink, 1), (hop("10.0.1.2", 3), 1)], None),
        Path::unicast([(Hop::new(None, 2, false, Family::V4), 1)], None),
    ];
    for path in paths {
        let message = reread(&write_route("10.1.0.0/16", Target::Inline(path.clone().into())));
        assert_eq!((message.prefix, message.protocol, message.metric), (net("10.1.0.0/16"), 77, 77));
        assert_eq!(message.path(), Some(path));
    }
}

#[test]
fn the_source_address_is_part_of_a_path() {
    let source = Some(address("10.0.0.1"));
    let path = Path::unicast([(hop("10.0.0.2", 2), 1)], source);
    let target = Target::Inline(path.clone().into());
    let route = RouteWrite { prefix: net("10.1.0.0/16"), metric: 77, source, target };
    let bytes = encoded(|buffer| route::encode_write(buffer, OWNER, Write::Replace, &route, 0, 1));
    assert_eq!(reread(&bytes).path(), Some(path));
}

#[test]
#[cfg(target_endian = "little")]
fn a_default_route_of_a_router_advertisement_is_read() {
    let body = [
        10, 0, 0, 0, 254, 9, 0, 1, 0, 0, 0, 0, // struct rtmsg: no RTA_DST in ::/0
        8, 0, 15, 0, 254, 0, 0, 0, // RTA_TABLE
        8, 0, 6, 0, 0, 4, 0, 0, // RTA_PRIORITY 1024
        12, 0, 8, 0, 8, 0, 2, 0, 220, 5, 0, 0, // RTA_METRICS { RTAX_MTU 1500 }
        20, 0, 5, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // RTA_GATEWAY
        8, 0, 4, 0, 3, 0, 0, 0, // RTA_OIF
        5, 0, 20, 0, 0, 0, 0, 0, // RTA_PREF, not of interest
    ];
    let route = RouteMessage::parse(&body).unwrap();
    assert_eq!(route.prefix, net("::/0"));
    assert_eq!((route.protocol, route.metric, route.mtu), (9, 1024, Some(1500)));
    let gateway = Some(address("fe80::1"));
    assert_eq!(route.hops[..], [HopMessage { gateway, interface: 3, weight: 1, flags: 0 }]);
}

#[test]
fn cached_copies_and_other_families_are_not_routes() {
    let mut body = vec![2, 32, 0, 0, 254, 0, 0, 1];
    body.extend(RTM_F_CLONED.to_ne_bytes());
    assert_eq!(RouteMessage::parse(&body), None);
    assert_eq!(RouteMessage::parse(&[7, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]), None);
    assert_eq!(RouteMessage::parse(&[2, 33, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]), None, "33 bits of IPv4");
}

#[test]
#[cfg(target_endian = "little")]
fn a_next_hop_object_leaves_its_id_to_the_kernel() {
    let bytes = encoded(|buffer| nexthop::encode_single(buffer, 77, &hop("10.0.0.2", 2), NLM_F_ECHO, 3));
    let expected = [
        40, 0, 0, 0, 104, 0, 0x09, 0x04, 3, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWNEXTHOP, request echo create
        2, 0, 77, 0, 0, 0, 0, 0, // struct nhmsg
        8, 0, 5, 0, 2, 0, 0, 0, // NHA_OIF
        8, 0, 6, 0, 10, 0, 0, 2, // NHA_GATEWAY
    ];
    assert_eq!(bytes, expected);
}

#[test]
#[cfg(target_endian = "little")]
fn a_resilient_group_carries_its_buckets_and_timer() {
    let resilience = Some(Resilience { buckets: 256, idle: Duration::from_mins(1) });
    let group = GroupWrite { id: Some(9), members: &[(1, 1), (2, 4)], resilience };
    let bytes = encoded(|buffer| nexthop::encode_group(buffer, 77, group, 0, 4));
    let expected = [
        80, 0, 0, 0, 104, 0, 0x01, 0x05, 4, 0, 0, 0, 0, 0, 0,
        0, // RTM_NEWNEXTHOP, request replace create
        0, 0, 77, 0, 0, 0, 0, 0, //
        8, 0, 1, 0, 9, 0, 0, 0, // NHA_ID
        20, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, // NHA_GROUP, weights less one
        6, 0, 3, 0, 1, 0, 0, 0, // NHA_GROUP_TYPE resilient
        20, 0, 12, 0x80, 6, 0, 1, 0, 0, 1, 0, 0, 8, 0, 2, 0, 0x70, 0x17, 0, 0, // NHA_RES_GROUP
    ];
    assert_eq!(bytes, expected);
    let message = NextHopMessage::parse(messages(&bytes).next().unwrap().body).unwrap();
    assert_eq!((message.id, message.protocol), (9, 77));
    assert_eq!(message.content, Content::Group([(1, 1), (2, 4)].into_iter().collect()));
}

#[test]
fn a_refusal_has_the_kernels_words_whether_the_message_is_quoted_or_not() {
    let words = b"Nexthop has invalid gateway\0";
    let error = |flags: u16, quoted: &[u8]| {
        encoded(|buffer| {
            let errno = (-101_i32).to_ne_bytes();
            let fixed = [&errno[..], quoted].concat();
            buffer.message(NLMSG_ERROR, flags | NLM_F_ACK_TLVS, 5, &fixed, |buffer| {
                buffer.attribute(NLMSGERR_ATTR_MSG, words);
                buffer.attribute_u32(NLMSGERR_ATTR_OFFS, 36);
            });
        })
    };
    let mut quoted = 40_u32.to_ne_bytes().to_vec();
    quoted.resize(40, 0);
    for bytes in [error(NLM_F_CAPPED, &quoted[..16]), error(0, &quoted)] {
        let refusal = parse_error(&messages(&bytes).next().unwrap()).unwrap_err();
        assert_eq!(refusal.errno, 101);
        assert_eq!(refusal.message.as_deref(), Some("Nexthop has invalid gateway"));
        assert_eq!(refusal.offset, Some(36));
        assert_eq!(
            refusal.to_string(),
            "Nexthop has invalid gateway (Network is unreachable (os error 101))"
        );
    }
    let acknowledged = encoded(|buffer| buffer.message(NLMSG_ERROR, 0, 5, &[0; 20], |_| {}));
    assert_eq!(parse_error(&messages(&acknowledged).next().unwrap()), Ok(()));
}

#[test]
fn flags_are_added_to_one_message_of_many() {
    let bytes = encoded(|buffer| {
        buffer.message(1, NLM_F_REQUEST, 1, &[], |_| {});
        let second = buffer.bytes().len();
        buffer.message(2, NLM_F_REQUEST, 2, &[], |_| {});
        buffer.add_flags(second, NLM_F_ACK);
    });
    let flags: Vec<_> = messages(&bytes).map(|message| message.flags).collect();
    assert_eq!(flags, [NLM_F_REQUEST, NLM_F_REQUEST | NLM_F_ACK]);
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for message in messages(&bytes) {
            let _ = parse_error(&message);
        }
        let _ = attributes(&bytes).count();
        let _ = RouteMessage::parse(&bytes).and_then(|route| route.path());
        let _ = NextHopMessage::parse(&bytes);
        let _ = (parse_link(&bytes), parse_address(&bytes), parse_router(&bytes));
    }

    /// As above, but with a head that lets the reader get to the attributes.
    #[test]
    fn no_attributes_make_a_reader_panic(
        family in prop_oneof![Just(2_u8), Just(10)],
        kinds in prop::collection::vec((0..32_u16, prop::collection::vec(any::<u8>(), 0..24)), 0..6),
    ) {
        let tail = encoded(|buffer| kinds.iter().for_each(|(kind, value)| buffer.attribute(*kind, value)));
        let body = |fixed: usize| {
            let mut body = vec![0; fixed];
            body[0] = family;
            body.extend(&tail);
            body
        };
        let _ = RouteMessage::parse(&body(12)).and_then(|route| route.path());
        let _ = NextHopMessage::parse(&body(8));
        let _ = (parse_link(&body(16)), parse_address(&body(8)), parse_router(&body(12)));
    }
}
