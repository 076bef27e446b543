//! How many instructions a prefix takes on its way through the codec and the tables, held to `counts_hot_paths.json`.
#![cfg_attr(debug_assertions, allow(dead_code, unused_imports, reason = "only a release is counted"))]
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "support/rib.rs"]
mod rib_support;

use std::net::Ipv4Addr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ipnet::Ipv4Net;
use muslin_bgp_packet::{
    AsPath, AsWidth, Asn, Community, DecodeContext, FamilyNlri, FamilySet, NextHop, Nlri, PathAttributes,
    PeerKind, UpdateEncoder, UpdateView, next_frame, parse_attributes,
};
use muslin_bgp_speaker::rib::{PeerIndex, PeerLoss, Pull, Rib};
use muslin_counts::{Paths, tell_times, timed};

use rib_support::{OWN_ADDRESS, address, rib, view};

/// Prefixes of the table.
const PREFIXES: u32 = 12_000;
/// Prefixes that share a set of attributes.
const SHARING: u32 = 6;
/// Who is sent what the others announce.
const SINK: PeerIndex = PeerIndex(9);

/// UPDATEs of a peer.
#[inline(never)]
fn encode(index: u16) -> Vec<Bytes> {
    let encoder = UpdateEncoder::new(4096);
    let neighbour = view(index, PeerKind::External).asn;
    let next_hop = NextHop::new(address(index).into());
    let mut bodies = Vec::new();
    for set in 0..PREFIXES / SHARING {
        // The second peer's paths are shorter for every other set.
        let hops = 2 + (set + u32::from(index)) % 2 + set % 3;
        let asns: Vec<_> =
            std::iter::once(neighbour).chain((0..hops).map(|hop| Asn(1000 + set + hop))).collect();
        let attributes = PathAttributes {
            as_path: AsPath::from_sequence(&asns),
            communities: (0..set % 6).map(|number| Community(set << 4 | number)).collect(),
            med: (set % 4 == 0).then_some(set),
            ..PathAttributes::default()
        };
        let routes = (set * SHARING..(set + 1) * SHARING).map(|number| {
            Nlri::new(Ipv4Net::new(Ipv4Addr::from_bits((20 << 24) + (number << 8)), 24).unwrap())
        });
        let (mut block, mut out) = (BytesMut::new(), BytesMut::new());
        attributes.encode_canonical(AsWidth::Four, &mut block);
        encoder.announce(&mut out, &block, &next_hop, routes).unwrap();
        bodies.push(next_frame(&mut out, 4096).unwrap().unwrap().body);
    }
    bodies
}

/// Messages into prefixes and attributes, with nothing done to them.
#[inline(never)]
fn decode(bodies: &[Bytes]) -> usize {
    let context = DecodeContext::new(PeerKind::External, FamilySet::ALL);
    let mut scratch = Vec::new();
    let mut seen = 0;
    for body in bodies {
        let view = UpdateView::parse(context, body).unwrap();
        let parsed = parse_attributes(context.attributes, view.attribute_block().contiguous(&mut scratch));
        seen += parsed.attributes.communities.len();
        seen += FamilyNlri::Ipv4(view.announced())
            .iter()
            .map(|nlri| usize::from(nlri.prefix.prefix_len()))
            .sum::<usize>();
    }
    seen
}

/// New attributes interned, new destinations, elections with one candidate.
#[inline(never)]
fn learn(rib: &mut Rib, now: Instant, bodies: &[Bytes]) {
    for body in bodies {
        drop(rib.update(now, PeerIndex(1), body));
    }
}

/// Changes selected, packed and encoded.
#[inline(never)]
fn send(rib: &mut Rib) -> usize {
    let mut out = Vec::new();
    while rib.pull(SINK, 1 << 20, &mut out) == Pull::More {}
    out.iter().map(Bytes::len).sum()
}

/// A second path to every destination, which wins every other time.
#[inline(never)]
fn elect(rib: &mut Rib, now: Instant, bodies: &[Bytes]) {
    for body in bodies {
        drop(rib.update(now, PeerIndex(2), body));
    }
}

/// Both peers are lost: everything is withdrawn, and then forgotten.
#[inline(never)]
fn lose(rib: &mut Rib, now: Instant) -> usize {
    for index in [1, 2] {
        rib.peer_down(now, PeerIndex(index), PeerLoss::Flush);
    }
    let (mut octets, mut ready) = (0, Vec::new());
    while rib.advance(now, 4096) {
        octets += send(rib);
    }
    octets += send(rib);
    rib.poll_ready(&mut ready);
    octets + ready.len()
}

/// What valgrind watches.
#[test]
fn hot_paths() {
    let now = Instant::now();
    let mut rib = rib(now, OWN_ADDRESS);
    for index in [1, 2, 9] {
        rib.peer_up(now, PeerIndex(index), view(index, PeerKind::External));
    }
    let (first, second) = timed("encode", || (encode(1), encode(2)));
    assert!(timed("decode", || decode(&first)) > 0);
    timed("learn", || learn(&mut rib, now, &first));
    assert!(timed("send", || send(&mut rib)) > 0);
    timed("elect", || elect(&mut rib, now, &second));
    assert!(timed("send", || send(&mut rib)) > 0);
    assert_eq!(rib.summary().paths, 2 * PREFIXES as usize);
    assert!(timed("lose", || lose(&mut rib, now)) > 0);
    assert_eq!((rib.summary().destinations, rib.summary().attributes), (0, 0));
    tell_times(PREFIXES);
}

// The development profile counts other things: checks, and calls that a release has none of.
#[cfg(not(debug_assertions))]
#[test]
fn hot_paths_take_no_more_instructions_than_their_budgets() {
    let functions = &["encode", "decode", "learn", "send", "elect", "lose"];
    let paths = Paths { module: module_path!(), test: "hot_paths", functions, items: PREFIXES };
    paths.check(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counts_hot_paths.json"));
}
