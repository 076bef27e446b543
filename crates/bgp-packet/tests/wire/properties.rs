//! Whatever is encoded is decoded to the same, and whatever arrives is survived.

use std::net::{IpAddr, Ipv4Addr};

use bytes::{Bytes, BytesMut};
use ipnet::{Ipv4Net, Ipv6Net};
use muslin_bgp_packet::frame::{HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, next_frame};
use muslin_bgp_packet::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::octets::{receive, session};

fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![1_u32..70_000, 1..=u32::MAX].prop_map(Asn)
}

fn afi_safi() -> impl Strategy<Value = AfiSafi> {
    prop_oneof![
        Just(Family::Ipv4Unicast.into()),
        Just(Family::Ipv6Unicast.into()),
        (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| AfiSafi { afi, safi }),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Provider), Just(Role::RouteServer), Just(Role::Customer), Just(Role::Peer)]
}

fn capability() -> impl Strategy<Value = Capability> {
    let graceful = (any::<bool>(), any::<bool>(), 0_u16..4096, vec((afi_safi(), any::<bool>()), 0..8))
        .prop_map(|(restarted, notification, restart_time, families)| GracefulRestart {
            restarted,
            notification,
            restart_time,
            families: families
                .into_iter()
                .map(|(family, forwarding_kept)| GracefulFamily { family, forwarding_kept })
                .collect(),
        });
    let mode = prop_oneof![Just(AddPathMode::Receive), Just(AddPathMode::Send), Just(AddPathMode::Both)];
    let add_path = (afi_safi(), mode).prop_map(|(family, mode)| AddPathFamily { family, mode });
    let next_hop = (afi_safi(), any::<u16>())
        .prop_map(|(family, next_hop_afi)| ExtendedNextHop { family, next_hop_afi });
    let long_lived =
        (afi_safi(), any::<bool>(), 0_u32..1 << 24).prop_map(|(family, forwarding_kept, stale_time)| {
            LongLivedFamily { family, forwarding_kept, stale_time }
        });
    prop_oneof![
        afi_safi().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        vec(next_hop, 0..8).prop_map(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        graceful.prop_map(Capability::GracefulRestart),
        vec(add_path, 0..8).prop_map(Capability::AddPath),
        Just(Capability::EnhancedRouteRefresh),
        vec(long_lived, 0..8).prop_map(Capability::LongLivedGracefulRestart),
        ("[a-zé]{0,20}", "[a-z.]{0,20}").prop_map(|(host, domain)| Capability::Fqdn { host, domain }),
        "[a-z]{1,64}".prop_map(Capability::SoftwareVersion),
        (128_u8..=255, vec(any::<u8>(), 0..40))
            .prop_map(|(code, value)| Capability::Unknown { code, value: value.into() }),
    ]
}

fn open() -> impl Strategy<Value = Open> {
    let hold_time = prop_oneof![Just(0_u16), 3..=u16::MAX];
    (asn(), hold_time, 1_u32.., vec(capability(), 0..20), option::of(role())).prop_map(
        |(asn, hold_time, id, mut capabilities, role)| {
            capabilities.extend(role.map(Capability::Role));
            Open::new(asn, hold_time, id.into(), capabilities)
        },
    )
}

/// Segments as (kind, ASes); confederation segments only where the peer may send them.
fn as_path(context: AttributeContext) -> impl Strategy<Value = AsPath> {
    let kinds: &[u8] = match (context.peer, context.as_width) {
        (PeerKind::Internal, AsWidth::Four) => &[1, 2, 3, 4],
        _ => &[1, 2],
    };
    vec((proptest::sample::select(kinds), vec(asn(), 1..20)), 0..4).prop_map(move |segments| {
        let octets: Vec<u8> = segments
            .into_iter()
            .flat_map(|(kind, asns)| {
                let asns: Vec<u8> = asns.into_iter().flat_map(|asn| asn.0.to_be_bytes()).collect();
                [&[kind, u8::try_from(asns.len() / 4).unwrap()][..], &asns].concat()
            })
            .collect();
        AsPath::decode(&octets, AsWidth::Four, context.peer).unwrap()
    })
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

fn attributes(context: AttributeContext) -> impl Strategy<Value = PathAttributes> {
    let is_internal = context.peer == PeerKind::Internal;
    let address = any::<Ipv4Addr>;
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    let aggregator = (asn(), address()).prop_map(|(asn, address)| Aggregator { asn, address });
    let large = (asn(), any::<u32>(), any::<u32>()).prop_map(|(global, local1, local2)| LargeCommunity {
        global,
        local1,
        local2,
    });
    let unknown = (50_u8..=99, vec(any::<u8>(), 0..300))
        .prop_map(|(type_code, value)| UnknownAttribute { type_code, value: value.into() });
    let numbers = (option::of(any::<u32>()), any::<u32>(), any::<bool>(), option::of(aggregator));
    let sets = (
        vec(any::<u32>().prop_map(Community), 0..80),
        vec(any::<[u8; 8]>().prop_map(ExtendedCommunity), 0..5),
        vec(large, 0..30),
    );
    let reflection = (option::of(address()), vec(address(), 0..4));
    (origin, as_path(context), numbers, sets, reflection, option::of(asn()), vec(unknown, 0..3)).prop_map(
        move |(origin, as_path, numbers, sets, (originator_id, cluster_list), otc, unknown)| {
            let (med, local_pref, atomic_aggregate, aggregator) = numbers;
            let (communities, extended_communities, large_communities) = sets;
            let mut unknown = unknown;
            unknown.sort_unstable();
            unknown.dedup_by_key(|unknown| unknown.type_code);
            PathAttributes {
                origin,
                as_path,
                next_hop: None,
                med,
                local_pref: is_internal.then_some(local_pref),
                atomic_aggregate,
                aggregator,
                communities: sorted(communities),
                extended_communities: sorted(extended_communities),
                large_communities: sorted(large_communities),
                originator_id: originator_id.filter(|_| is_internal),
                cluster_list: if is_internal { cluster_list } else { Vec::new() },
                otc,
                unknown,
            }
        },
    )
}

fn context() -> impl Strategy<Value = AttributeContext> {
    let width = prop_oneof![Just(AsWidth::Two), Just(AsWidth::Four)];
    let peer = prop_oneof![Just(PeerKind::Internal), Just(PeerKind::External)];
    (width, peer).prop_map(|(as_width, peer)| AttributeContext { as_width, peer })
}

fn decode_context() -> impl Strategy<Value = DecodeContext> {
    let peers = prop_oneof![
        context(),
        Just(AttributeContext { as_width: AsWidth::Four, peer: PeerKind::Confederation })
    ];
    let set = || vec(prop_oneof![Just(Family::Ipv4Unicast), Just(Family::Ipv6Unicast)], 0..3);
    (peers, set(), set(), set()).prop_map(|(attributes, families, add_path, extended)| DecodeContext {
        attributes,
        families: families.into_iter().collect(),
        add_path: add_path.into_iter().collect(),
        extended_next_hop: extended.into_iter().collect(),
    })
}

fn ipv4() -> impl Strategy<Value = Vec<Nlri<Ipv4Net>>> {
    let nlri = (any::<u32>(), 0_u8..=32)
        .prop_map(|(bits, length)| Nlri::new(Ipv4Net::new(bits.into(), length).unwrap().trunc()));
    vec(nlri, 1..1500)
}

fn ipv6() -> impl Strategy<Value = Vec<Nlri<Ipv6Net>>> {
    let nlri = (any::<u128>(), 0_u8..=128)
        .prop_map(|(bits, length)| Nlri::new(Ipv6Net::new(bits.into(), length).unwrap().trunc()));
    vec(nlri, 1..600)
}

fn frames(mut wire: BytesMut, max: usize) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    while let Some(frame) = next_frame(&mut wire, max).unwrap() {
        bodies.push(frame.body);
    }
    assert!(wire.is_empty());
    bodies
}

/// Octets that look like messages often enough to get past the first check.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => 0_u8..40, 1 => Just(0xFF), 1 => any::<u8>()], 0..200)
}

proptest! {
    #[test]
    fn an_open_is_read_as_it_was_written(open in open()) {
        let mut wire = BytesMut::new();
        open.encode(&mut wire);
        prop_assert!(wire.len() <= MAX_LENGTH);
        prop_assert_eq!(Open::decode(&wire[HEADER_LENGTH..]), Ok(open));
    }

    #[test]
    fn a_notification_is_read_as_it_was_written(code: u8, subcode: u8, data in vec(any::<u8>(), 0..300)) {
        let sent = Notification::new(code, subcode).with_data(&data);
        let mut wire = BytesMut::new();
        sent.encode(&mut wire);
        prop_assert_eq!(Notification::decode(&wire[HEADER_LENGTH..]), Ok(sent));
    }

    #[test]
    fn attributes_are_read_as_they_were_written(
        (context, sent) in context().prop_flat_map(|context| (Just(context), attributes(context)))
    ) {
        let mut wire = BytesMut::new();
        sent.encode_canonical(context.as_width, &mut wire);
        let parsed = parse_attributes(context, &wire);
        prop_assert_eq!(&parsed.faults, &[]);
        prop_assert_eq!(parsed.absent, Absent::NEXT_HOP);
        prop_assert_eq!(parsed.attributes, sent);
    }

    #[test]
    fn ipv4_routes_are_read_as_they_were_packed(
        (context, sent) in context().prop_flat_map(|context| (Just(context), attributes(context))),
        routes in ipv4(),
        next_hop: Ipv4Addr,
        extended: bool,
    ) {
        let max = if extended { MAX_EXTENDED_LENGTH } else { MAX_LENGTH };
        let mut block = BytesMut::new();
        sent.encode_canonical(context.as_width, &mut block);
        let mut wire = BytesMut::new();
        let next_hop = NextHop::new(IpAddr::V4(next_hop));
        UpdateEncoder::new(max).announce(&mut wire, &block, &next_hop, routes.iter().copied()).unwrap();
        let mut read = Vec::new();
        for body in frames(wire, max) {
            let (parsed, treatment) = receive(session(context), &body);
            prop_assert_eq!(treatment, Treatment::None);
            prop_assert_eq!(parsed.attributes.next_hop.map(IpAddr::V4), Some(next_hop.global));
            prop_assert_eq!(PathAttributes { next_hop: None, ..parsed.attributes }, sent.clone());
            read.extend(UpdateView::parse(session(context), &body).unwrap().announced());
        }
        prop_assert_eq!(read, routes);
    }

    #[test]
    fn ipv6_routes_are_read_as_they_were_packed(
        (context, sent) in context().prop_flat_map(|context| (Just(context), attributes(context))),
        routes in ipv6(),
        global in 1_u128..,
    ) {
        let mut block = BytesMut::new();
        sent.encode_canonical(context.as_width, &mut block);
        let mut wire = BytesMut::new();
        let next_hop = NextHop::new(IpAddr::V6(global.into()));
        UpdateEncoder::new(MAX_LENGTH).announce(&mut wire, &block, &next_hop, routes.iter().copied()).unwrap();
        let mut read = Vec::new();
        for body in frames(wire, MAX_LENGTH) {
            prop_assert_eq!(receive(session(context), &body).1, Treatment::None);
            let view = UpdateView::parse(session(context), &body).unwrap();
            prop_assert_eq!(view.attribute_block().runs(), [&block[..]]);
            let reach = view.mp_reach().unwrap();
            prop_assert_eq!(reach.next_hop, next_hop);
            let FamilyNlri::Ipv6(field) = reach.nlri else { panic!("another family") };
            read.extend(field);
        }
        prop_assert_eq!(read, routes);
    }

    #[test]
    fn any_octets_of_any_message_are_survived(octets in octets(), context in decode_context()) {
        let _ = Open::decode(&octets);
        let _ = Notification::decode(&octets).map(|notification| notification.to_string());
        let _ = RouteRefresh::decode(&octets);
        let _ = next_frame(&mut BytesMut::from(&octets[..]), MAX_LENGTH);
        let (parsed, treatment) = receive(context, &octets);
        prop_assert!(parsed.treatment() <= Treatment::TreatAsWithdraw);
        prop_assert!(treatment >= parsed.treatment() || parsed.treatment() == Treatment::None);
        let _ = parse_attributes(context.attributes, &octets);
    }

    #[test]
    fn a_changed_octet_of_an_update_is_survived_and_the_view_stays_within_it(
        sent in attributes(AttributeContext { as_width: AsWidth::Four, peer: PeerKind::Internal }),
        context in decode_context(),
        at: proptest::sample::Index,
        octet: u8,
    ) {
        let mut block = BytesMut::new();
        sent.encode_canonical(AsWidth::Four, &mut block);
        let mut body = crate::octets::update(&[8, 10], &[crate::octets::mp_reach(), block.to_vec()].concat(), &[8, 11]);
        let at = at.index(body.len());
        body[at] = octet;
        let _ = receive(context, &body);
        if let Ok(view) = UpdateView::parse(context, &body) {
            let range = body.as_ptr_range();
            for run in view.attribute_block().runs() {
                prop_assert!(range.contains(&run.as_ptr()) && run.as_ptr_range().end <= range.end);
            }
            prop_assert_eq!(view.announced().iter().count(), view.announced().len());
        }
    }
}
