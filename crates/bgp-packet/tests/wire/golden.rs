//! Whole messages, compared octet by octet with `golden/*.hex`, both ways.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use ipnet::{Ipv4Net, Ipv6Net};
use muslin_bgp_packet::frame::{self, MAX_LENGTH};
use muslin_bgp_packet::{
    AFI_IPV6, AddPathFamily, AddPathMode, AfiSafi, Aggregator, AsPath, AsWidth, Asn, Capability, Cease,
    Community, DecodeContext, ExtendedCommunity, ExtendedNextHop, Family, FamilySet, GracefulFamily,
    GracefulRestart, LargeCommunity, LongLivedFamily, MessageType, NextHop, Nlri, Notification, Open, Origin,
    PathAttributes, RefreshSubtype, Role, RouteRefresh, Treatment, UnknownAttribute, UpdateEncoder,
    UpdateView,
};

use crate::octets::{EXTERNAL, INTERNAL, OLD, receive, session};

macro_rules! golden {
    ($name:literal) => {
        octets(include_str!(concat!("../../golden/", $name, ".hex")))
    };
}

fn octets(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The body of the one message that `golden` is.
fn body(golden: &[u8], kind: MessageType) -> bytes::Bytes {
    let mut stream = BytesMut::from(golden);
    let frame = frame::next_frame(&mut stream, MAX_LENGTH).unwrap().unwrap();
    assert_eq!((frame.kind, stream.len()), (kind, 0));
    frame.body
}

fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

fn assert_open(golden: &[u8], expected: &Open) {
    assert_eq!(Open::decode(&body(golden, MessageType::Open)).as_ref(), Ok(expected));
    assert_eq!(written(|out| expected.encode(out)), golden);
}

#[test]
fn keepalive() {
    let golden = golden!("keepalive");
    assert!(body(&golden, MessageType::Keepalive).is_empty());
    assert_eq!(written(frame::encode_keepalive), golden);
}

#[test]
fn open_without_capabilities() {
    let id = Ipv4Addr::new(10, 0, 0, 1);
    let open = Open { asn: Asn(64512), hold_time: 180, id, capabilities: vec![] };
    assert_open(&golden!("open_without_capabilities"), &open);
}

#[test]
fn open_with_every_capability() {
    let ipv4 = AfiSafi::from(Family::Ipv4Unicast);
    let ipv6 = AfiSafi::from(Family::Ipv6Unicast);
    let open = Open::new(
        Asn(4_200_000_001),
        90,
        Ipv4Addr::new(10, 0, 0, 1),
        [
            Capability::Multiprotocol(ipv4),
            Capability::Multiprotocol(ipv6),
            Capability::RouteRefresh,
            Capability::ExtendedNextHop(vec![ExtendedNextHop { family: ipv4, next_hop_afi: AFI_IPV6 }]),
            Capability::ExtendedMessage,
            Capability::Role(Role::Peer),
            Capability::GracefulRestart(GracefulRestart {
                restarted: false,
                notification: true,
                restart_time: 120,
                families: vec![
                    GracefulFamily { family: ipv4, forwarding_kept: true },
                    GracefulFamily { family: ipv6, forwarding_kept: false },
                ],
            }),
            Capability::AddPath(vec![
                AddPathFamily { family: ipv4, mode: AddPathMode::Both },
                AddPathFamily { family: ipv6, mode: AddPathMode::Receive },
            ]),
            Capability::EnhancedRouteRefresh,
            Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
                family: ipv4,
                forwarding_kept: true,
                stale_time: 3600,
            }]),
            Capability::Fqdn { host: "n1".into(), domain: "lab".into() },
            Capability::SoftwareVersion("muslin".into()),
            Capability::Unknown { code: 128, value: bytes::Bytes::new() },
        ],
    );
    assert_open(&golden!("open_capabilities"), &open);
}

#[test]
fn open_with_extended_parameters() {
    let families = (1..50).map(|safi| Capability::Multiprotocol(AfiSafi { afi: 1, safi }));
    let open = Open::new(Asn(65001), 90, Ipv4Addr::new(10, 0, 0, 2), families);
    assert_open(&golden!("open_extended_parameters"), &open);
}

fn attributes() -> PathAttributes {
    PathAttributes {
        origin: Origin::Igp,
        as_path: AsPath::from_sequence(&[Asn(65001), Asn(65002)]),
        ..PathAttributes::default()
    }
}

const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn canonical(attributes: &PathAttributes, width: AsWidth) -> Vec<u8> {
    written(|out| attributes.encode_canonical(width, out))
}

fn ipv4(texts: &[&str]) -> Vec<Nlri<Ipv4Net>> {
    texts.iter().map(|text| Nlri::new(text.parse().unwrap())).collect()
}

fn ipv6(texts: &[&str]) -> Vec<Nlri<Ipv6Net>> {
    texts.iter().map(|text| Nlri::new(text.parse().unwrap())).collect()
}

/// Encodes and decodes an announcement of IPv4 prefixes in the message's own field.
fn assert_announces(golden: &[u8], context: DecodeContext, sent: &PathAttributes, routes: &[Nlri<Ipv4Net>]) {
    let attributes = canonical(sent, context.attributes.as_width);
    let next_hop = NextHop::new(NEXT_HOP.into());
    let encoded = written(|out| {
        UpdateEncoder::new(MAX_LENGTH).announce(out, &attributes, &next_hop, routes.iter().copied()).unwrap();
    });
    assert_eq!(encoded, golden);

    let body = body(golden, MessageType::Update);
    let (parsed, treatment) = receive(context, &body);
    assert_eq!((treatment, parsed.faults), (Treatment::None, vec![]));
    assert_eq!(parsed.attributes, PathAttributes { next_hop: Some(NEXT_HOP), ..sent.clone() });
    let view = UpdateView::parse(context, &body).unwrap();
    assert!(view.announced().iter().eq(routes.iter().copied()));
    assert_eq!((view.end_of_rib(), view.withdrawn().len()), (None, 0));
}

#[test]
fn update_ipv4() {
    let routes = ipv4(&["10.1.0.0/16", "10.2.128.0/17"]);
    assert_announces(&golden!("update_ipv4"), session(EXTERNAL), &attributes(), &routes);
}

#[test]
fn update_add_path() {
    let context = DecodeContext { add_path: FamilySet::from(Family::Ipv4Unicast), ..session(EXTERNAL) };
    let prefix = "10.1.0.0/16".parse().unwrap();
    let routes = [1, 0].map(|id| Nlri { prefix, path_id: Some(id) });
    assert_announces(&golden!("update_add_path"), context, &attributes(), &routes);
}

#[test]
fn update_every_attribute() {
    let mut path = vec![2, 2, 0, 0, 0xFD, 0xE9];
    path.extend_from_slice(&4_200_000_000_u32.to_be_bytes());
    path.extend_from_slice(&[1, 2, 0, 0, 0xFD, 0xEB, 0, 0, 0xFD, 0xEC]);
    let sent = PathAttributes {
        origin: Origin::Incomplete,
        as_path: AsPath::decode(&path, AsWidth::Four, INTERNAL.peer).unwrap(),
        next_hop: None,
        med: Some(50),
        local_pref: Some(200),
        atomic_aggregate: true,
        aggregator: Some(Aggregator { asn: Asn(4_200_000_000), address: Ipv4Addr::new(10, 0, 0, 9) }),
        communities: vec![Community::new(65000, 1), Community::NO_EXPORT],
        extended_communities: vec![ExtendedCommunity([0, 2, 0xFD, 0xE8, 0, 0, 0, 7])],
        large_communities: vec![LargeCommunity { global: Asn(65001), local1: 1, local2: 2 }],
        originator_id: Some(Ipv4Addr::new(10, 0, 0, 7)),
        cluster_list: vec![Ipv4Addr::new(10, 0, 0, 8), Ipv4Addr::new(10, 0, 0, 6)],
        otc: Some(Asn(65001)),
        unknown: vec![UnknownAttribute { type_code: 99, value: Box::new([0xDE, 0xAD]) }],
    };
    assert_eq!(sent.as_path.to_string(), "65001 4200000000 {65003,65004}");
    assert_announces(&golden!("update_every_attribute"), session(INTERNAL), &sent, &ipv4(&["10.1.0.0/16"]));
}

#[test]
fn update_two_octet_as() {
    let sent = PathAttributes {
        as_path: AsPath::from_sequence(&[Asn(65001), Asn(4_200_000_000)]),
        aggregator: Some(Aggregator { asn: Asn(4_200_000_000), address: Ipv4Addr::new(10, 0, 0, 9) }),
        ..attributes()
    };
    assert_announces(&golden!("update_two_octet_as"), session(OLD), &sent, &ipv4(&["10.1.0.0/16"]));
}

#[test]
fn update_ipv6() {
    let golden = golden!("update_ipv6");
    let next_hop =
        NextHop { global: "2001:db8::1".parse().unwrap(), link_local: Some("fe80::1".parse().unwrap()) };
    let routes = ipv6(&["2001:db8:1::/48"]);
    let sent = canonical(&attributes(), AsWidth::Four);
    let encoder = UpdateEncoder::new(MAX_LENGTH);
    assert_eq!(written(|out| encoder.announce(out, &sent, &next_hop, routes.clone()).unwrap()), golden);

    let body = body(&golden, MessageType::Update);
    let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
    let reach = view.mp_reach().unwrap();
    assert_eq!(reach.next_hop, next_hop);
    assert_eq!(
        reach.nlri.iter().map(|nlri| nlri.prefix.to_string()).collect::<Vec<_>>(),
        ["2001:db8:1::/48"]
    );
    assert_eq!(view.attribute_block().runs(), [&sent[..]], "one run, taken from the message itself");
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::None);
}

#[test]
fn update_ipv4_by_ipv6() {
    let golden = golden!("update_ipv4_by_ipv6");
    let next_hop = NextHop::new(IpAddr::V6("2001:db8::1".parse().unwrap()));
    let sent = canonical(&attributes(), AsWidth::Four);
    let encoder = UpdateEncoder::new(MAX_LENGTH);
    let routes = ipv4(&["10.1.0.0/16"]);
    assert_eq!(written(|out| encoder.announce(out, &sent, &next_hop, routes).unwrap()), golden);

    let negotiated =
        DecodeContext { extended_next_hop: FamilySet::from(Family::Ipv4Unicast), ..session(EXTERNAL) };
    let body = body(&golden, MessageType::Update);
    let view = UpdateView::parse(negotiated, &body).unwrap();
    assert_eq!(view.mp_reach().map(|reach| (reach.next_hop, reach.nlri.len())), Some((next_hop, 1)));
    assert_eq!(receive(session(EXTERNAL), &body).1, Treatment::DisableFamily(Family::Ipv4Unicast.into()));
}

#[test]
fn update_withdraws() {
    let encoder = UpdateEncoder::new(MAX_LENGTH);
    let golden4 = golden!("update_ipv4_withdraw");
    let routes = ipv4(&["10.1.0.0/16", "0.0.0.0/0"]);
    assert_eq!(written(|out| encoder.withdraw(out, routes.clone())), golden4);
    let body4 = body(&golden4, MessageType::Update);
    let view = UpdateView::parse(session(EXTERNAL), &body4).unwrap();
    assert!(view.withdrawn().iter().eq(routes));
    assert_eq!((view.is_reachable(), view.end_of_rib()), (false, None));

    let golden6 = golden!("update_ipv6_withdraw");
    assert_eq!(written(|out| encoder.withdraw(out, ipv6(&["2001:db8:1::/48", "::/0"]))), golden6);
    let body6 = body(&golden6, MessageType::Update);
    let view = UpdateView::parse(session(EXTERNAL), &body6).unwrap();
    let withdrawn: Vec<_> =
        view.mp_unreach().unwrap().nlri.iter().map(|nlri| nlri.prefix.to_string()).collect();
    assert_eq!(withdrawn, ["2001:db8:1::/48", "::/0"]);
    assert_eq!((view.is_reachable(), view.end_of_rib()), (false, None));
}

#[test]
fn end_of_rib() {
    for (golden, family) in
        [(golden!("end_of_rib_ipv4"), Family::Ipv4Unicast), (golden!("end_of_rib_ipv6"), Family::Ipv6Unicast)]
    {
        assert_eq!(written(|out| UpdateEncoder::end_of_rib(family, out)), golden);
        let body = body(&golden, MessageType::Update);
        let view = UpdateView::parse(session(EXTERNAL), &body).unwrap();
        assert_eq!(view.end_of_rib(), Some(family.into()));
    }
}

#[test]
fn notifications() {
    let shutdown = Notification::cease_with_text(Cease::AdministrativeShutdown, "maintenance");
    for (golden, expected) in [
        (golden!("notification_bad_peer_as"), Notification::bad_peer_as()),
        (golden!("notification_shutdown_text"), shutdown),
        (
            golden!("notification_hard_reset"),
            Notification::hard_reset(&Notification::cease(Cease::AdministrativeReset)),
        ),
    ] {
        assert_eq!(written(|out| expected.encode(out)), golden);
        assert_eq!(Notification::decode(&body(&golden, MessageType::Notification)), Ok(expected));
    }
}

#[test]
fn route_refreshes() {
    for (golden, family, subtype) in [
        (golden!("route_refresh"), Family::Ipv6Unicast, RefreshSubtype::Request),
        (golden!("route_refresh_begin"), Family::Ipv4Unicast, RefreshSubtype::Begin),
        (golden!("route_refresh_end"), Family::Ipv4Unicast, RefreshSubtype::End),
    ] {
        let expected = RouteRefresh { afi_safi: family.into(), subtype };
        assert_eq!(written(|out| expected.encode(out)), golden);
        assert_eq!(RouteRefresh::decode(&body(&golden, MessageType::RouteRefresh)), Ok(expected));
    }
}

#[test]
fn attributes_in_another_order_mean_the_same() {
    let golden = golden!("update_every_attribute");
    let body = body(&golden, MessageType::Update);
    let (expected, _) = receive(session(INTERNAL), &body);
    let view = UpdateView::parse(session(INTERNAL), &body).unwrap();
    let block = view.attribute_block().contiguous(&mut Vec::new()).to_vec();
    // Each attribute has a short header, so it ends where its length says.
    let mut attributes = Vec::new();
    let mut rest = &block[..];
    while !rest.is_empty() {
        let (first, after) = rest.split_at(3 + usize::from(rest[2]));
        attributes.push(first.to_vec());
        rest = after;
    }
    attributes.reverse();
    let (reversed, treatment) = receive(session(INTERNAL), &crate::octets::announcing(&attributes.concat()));
    assert_eq!((reversed.attributes, treatment), (expected.attributes, Treatment::None));
}
