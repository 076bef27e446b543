//! Dumps read back, whatever is in them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::wire;

fn shape(ipv4: usize, ipv6: usize) -> Shape {
    Shape {
        seed: 7,
        ipv4,
        ipv6,
        peer_asn: 65001,
        peer: Ipv4Addr::new(192, 0, 2, 1),
        peer_v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    }
}

fn routes(records: &[Record]) -> Vec<&Routes> {
    let routes = |record: &'_ Record| matches!(record, Record::Routes(_));
    records
        .iter()
        .filter(|record| routes(record))
        .map(|record| match record {
            Record::Routes(routes) => routes,
            Record::Peers(_) | Record::Other { .. } => unreachable!("filtered"),
        })
        .collect()
}

#[test]
fn a_generated_dump_reads_back_with_as_many_distinct_prefixes_as_were_asked_for() {
    let records = read(&generate(shape(2_000, 300))).unwrap();
    let Record::Peers(peers) = &records[0] else { panic!("{:?}", records[0]) };
    assert_eq!(peers.peers[0].asn, 65001);
    let routes = routes(&records);
    let prefixes: BTreeSet<_> = routes.iter().map(|routes| routes.prefix).collect();
    assert_eq!(prefixes.iter().filter(|prefix| matches!(prefix, IpNet::V4(_))).count(), 2_000);
    assert_eq!(prefixes.len(), 2_300);
    let slash_24 = routes.iter().filter(|routes| routes.prefix.prefix_len() == 24).count();
    assert!((1_000..1_400).contains(&slash_24), "three fifths are /24: {slash_24}");
    let sets: BTreeSet<_> = routes.iter().map(|routes| &routes.routes[0].attributes).collect();
    assert!((200..700).contains(&sets.len()), "about six prefixes share attributes: {}", sets.len());
    assert_eq!(generate(shape(50, 5)), generate(shape(50, 5)), "equal seeds, equal tables");
}

#[test]
fn path_identifiers_are_read() {
    let mut body = vec![0, 0, 0, 9, 24, 192, 0, 2, 0, 2];
    for path_id in [1, 2] {
        body.extend([0, 0, 0, 0, 0, 5, 0, 0, 0, path_id, 0, 4, 0x40, 1, 1, 0]);
    }
    let mut dump = vec![0, 0, 0, 0, 0, 13, 0, 8, 0, 0, 0, body.len() as u8];
    dump.extend(body);
    let records = read(&dump).unwrap();
    let [routes] = routes(&records)[..] else { panic!("{records:?}") };
    assert_eq!((routes.sequence, routes.prefix.to_string()), (9, "192.0.2.0/24".to_owned()));
    let ids: Vec<_> = routes.routes.iter().map(|route| (route.path_id, route.originated)).collect();
    assert_eq!(ids, [(Some(1), 5), (Some(2), 5)]);
}

#[test]
fn updates_carry_every_prefix_with_the_next_hops_that_were_asked_for() {
    let records = read(&generate(shape(500, 100))).unwrap();
    let next_hops = (Ipv4Addr::new(10, 0, 0, 9), Ipv6Addr::LOCALHOST);
    let octets = updates(&records, 0, next_hops);
    let mut stream = bytes::BytesMut::from(&octets[..]);
    let context = muslin_bgp_packet::DecodeContext::new(
        muslin_bgp_packet::PeerKind::External,
        muslin_bgp_packet::FamilySet::ALL,
    );
    let (mut prefixes, mut ends) = (BTreeSet::new(), 0);
    while let Some(frame) = muslin_bgp_packet::next_frame(&mut stream, 4096).unwrap() {
        let view = muslin_bgp_packet::UpdateView::parse(context, &frame.body).unwrap();
        ends += usize::from(view.end_of_rib().is_some());
        let mut scratch = Vec::new();
        let block = view.attribute_block().contiguous(&mut scratch);
        let parsed = muslin_bgp_packet::parse_attributes(context.attributes, block);
        assert_eq!(parsed.faults, [], "what is generated is right");
        if !view.announced().is_empty() {
            assert_eq!(parsed.attributes.next_hop, Some(next_hops.0));
        }
        prefixes.extend(view.announced().iter().map(|nlri| IpNet::V4(nlri.prefix)));
        if let Some(reach) = view.mp_reach() {
            assert_eq!(reach.next_hop.global, IpAddr::V6(next_hops.1));
            prefixes.extend(reach.nlri.iter().map(|nlri| nlri.prefix));
        }
    }
    assert_eq!(ends, 2);
    assert_eq!(prefixes, routes(&records).iter().map(|routes| routes.prefix).collect());
    assert_eq!(octets[18], wire::UPDATE);
}

#[test]
fn a_dump_that_is_cut_off_says_where() {
    let dump = generate(shape(3, 0));
    let error = read(&dump[..dump.len() - 1]).unwrap_err();
    assert_eq!(error.what, "it is shorter than its header says");
    assert!(dump.len() > error.offset && error.offset > 0);
}

proptest! {
    #[test]
    fn no_octets_make_the_reader_panic(octets in prop::collection::vec(any::<u8>(), 0..200), subtype in 0_u8..12) {
        let _any = read(&octets);
        let mut dump = vec![0, 0, 0, 0, 0, 13, 0, subtype, 0, 0, 0, octets.len() as u8];
        dump.extend(octets);
        if let Ok(records) = read(&dump) {
            updates(&records, 0, (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST));
        }
    }
}
