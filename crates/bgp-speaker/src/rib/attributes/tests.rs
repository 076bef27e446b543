use std::net::IpAddr;

use muslin_bgp_packet::{AsPath, NextHop};

use super::*;
use crate::rib::next_hops::{NextHopResolver, Resolution, Vicinity};

struct Nowhere;

impl NextHopResolver for Nowhere {
    fn resolve(&self, _: IpAddr, _: Option<u32>) -> Option<Resolution> {
        None
    }

    fn is_local(&self, _: IpAddr) -> bool {
        false
    }
}

fn table() -> Attributes {
    let own = Ipv4Addr::new(10, 0, 0, 1);
    let identity = Identity { asn: Asn(65000), router_id: own, cluster_id: own };
    Attributes::new(identity, NextHops::new(Box::new(Nowhere)))
}

fn path(asns: &[u32]) -> PathAttributes {
    let asns: Vec<_> = asns.iter().copied().map(Asn).collect();
    PathAttributes { as_path: AsPath::from_sequence(&asns), ..PathAttributes::default() }
}

fn over(last: u8) -> NextHopKey {
    NextHopKey::received(NextHop::new(IpAddr::from([10, 0, 0, last])), Vicinity::default())
}

fn block(pieces: &'static [&'static [u8]]) -> RawBlock<'static> {
    RawBlock { context: CANONICAL, next_hop: None, from: Vicinity::default(), pieces }
}

#[test]
fn equal_sets_are_one_row_and_the_next_hop_is_part_of_a_set() {
    let mut attributes = table();
    let one = attributes.acquire(&path(&[65001]), over(2));
    let same = attributes.acquire(&path(&[65001]), over(2));
    let other_path = attributes.acquire(&path(&[65002]), over(2));
    let other_hop = attributes.acquire(&path(&[65001]), over(3));
    assert_eq!(one, same);
    assert_eq!((attributes.len(), attributes.next_hops.len()), (3, 2));
    assert_eq!(attributes.decode(one), path(&[65001]));
    assert_eq!(attributes.next_hop(other_hop), over(3));
    for id in [one, same, other_path, other_hop] {
        attributes.release(id);
    }
    assert_eq!((attributes.len(), attributes.next_hops.len()), (0, 0));
}

#[test]
fn a_block_is_known_again_but_not_in_another_context() {
    let mut attributes = table();
    let id = attributes.acquire(&path(&[65001]), over(2));
    attributes.remember_raw(&block(&[b"abc", b"def"]), id, Absent::NEXT_HOP);
    assert_eq!(attributes.acquire_raw(&block(&[b"abc", b"def"])), Some((id, Absent::NEXT_HOP)));
    assert_eq!(attributes.acquire_raw(&block(&[b"abc", b"deg"])), None);
    assert_eq!(attributes.acquire_raw(&block(&[b"abc"])), None);
    let external = AttributeContext { peer: PeerKind::External, ..CANONICAL };
    assert_eq!(attributes.acquire_raw(&RawBlock { context: external, ..block(&[b"abc", b"def"]) }), None);
    let next_hop = Some(NextHop::new(IpAddr::from([10, 0, 0, 9])));
    assert_eq!(attributes.acquire_raw(&RawBlock { next_hop, ..block(&[b"abc", b"def"]) }), None);
}

#[test]
fn a_block_of_a_freed_set_is_forgotten_though_its_row_lives_again() {
    let mut attributes = table();
    let id = attributes.acquire(&path(&[65001]), over(2));
    attributes.remember_raw(&block(&[b"first"]), id, Absent::empty());
    attributes.remember_raw(&block(&[b"second"]), id, Absent::empty());
    attributes.release(id);
    let reused = attributes.acquire(&path(&[65002]), over(2));
    assert_eq!(id, reused);
    assert_eq!(attributes.acquire_raw(&block(&[b"first"])), None);
    assert_eq!(attributes.acquire_raw(&block(&[b"second"])), None);
}

#[test]
fn another_identity_changes_what_counts_as_a_loop() {
    let mut attributes = table();
    let mut reflected = path(&[65001, 65000]);
    reflected.cluster_list = vec![Ipv4Addr::new(10, 0, 0, 7)];
    let id = attributes.acquire(&reflected, over(2));
    assert_eq!(attributes.row(id).own_as, 1);
    assert!(!attributes.row(id).marks.contains(Marks::OWN_CLUSTER));
    let own = Ipv4Addr::new(10, 0, 0, 7);
    attributes.set_identity(Identity { asn: Asn(65009), router_id: own, cluster_id: own });
    assert_eq!(attributes.row(id).own_as, 0);
    assert!(attributes.row(id).marks.contains(Marks::OWN_CLUSTER));
}
