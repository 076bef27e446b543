//! How much memory a table takes: a full one from one peer, sent on to another one, and the same from a second.
//!
//! One test in a process of its own, so that the resident set is that of the RIB.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "support/resident.rs"]
mod resident;
#[path = "support/rib.rs"]
mod rib_support;

use std::net::Ipv4Addr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ipnet::Ipv4Net;
use muslin_bgp_packet::{
    AsPath, AsWidth, Asn, Community, NextHop, Nlri, PathAttributes, PeerKind, UpdateEncoder, next_frame,
};
use muslin_bgp_speaker::rib::{PeerIndex, PeerLoss, Pull, Rib, UpdateOutcome};

use resident::resident;
use rib_support::{OWN_ADDRESS, address, rib, view};

/// Prefixes of the table; without optimisation a fifth of a full one is enough to see the slope.
const PREFIXES: u32 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
/// Prefixes that share a set of attributes, as in the Internet's table.
const SHARING: u32 = 6;
/// Octets a prefix: 110 MB for a million with everything that is sent on, 24 MB and its own sets of
/// attributes for each further peer.
const FIRST_PEER: u64 = 110;
const FURTHER_PEER: u64 = 24 + 26;
/// What does not grow with the table, in octets.
const FIXED: u64 = 3 << 20;

/// The table of a peer as UPDATE bodies, one a set of attributes.
fn table(index: u16) -> impl Iterator<Item = Bytes> {
    let encoder = UpdateEncoder::new(4096);
    let neighbour = view(index, PeerKind::External).asn;
    let next_hop = NextHop::new(address(index).into());
    (0..PREFIXES / SHARING).map(move |set| {
        let hops: Vec<_> =
            (0..2 + set % 4).map(|hop| Asn(1000 + set.rotate_left(8 * hop) % 400_000)).collect();
        let asns: Vec<_> = std::iter::once(neighbour).chain(hops).collect();
        let attributes = PathAttributes {
            as_path: AsPath::from_sequence(&asns),
            communities: (0..set % 6).map(|number| Community(set << 4 | number)).collect(),
            med: (set % 4 == 0).then_some(set),
            ..PathAttributes::default()
        };
        let routes = (set * SHARING..(set + 1) * SHARING).map(|number| {
            let address = Ipv4Addr::from_bits((20 << 24) + (number << 8));
            Nlri::new(Ipv4Net::new(address, 24).unwrap())
        });
        let (mut block, mut out) = (BytesMut::new(), BytesMut::new());
        attributes.encode_canonical(AsWidth::Four, &mut block);
        encoder.announce(&mut out, &block, &next_hop, routes).unwrap();
        next_frame(&mut out, 4096).unwrap().unwrap().body
    })
}

/// Feeds the table of a peer while the sink reads and the kernel's changes are taken.
fn feed(rib: &mut Rib, now: Instant, index: u16) -> usize {
    let (mut out, mut changes) = (Vec::new(), Vec::new());
    let mut octets = 0;
    let mut read = |rib: &mut Rib| loop {
        let pull = rib.pull(PeerIndex(9), 1 << 16, &mut out);
        octets += out.drain(..).map(|messages| messages.len()).sum::<usize>();
        if pull == Pull::Drained {
            break;
        }
    };
    for (number, body) in table(index).enumerate() {
        let outcome = rib.update(now, PeerIndex(index), &body);
        assert!(matches!(outcome, UpdateOutcome::Accepted(_)), "{outcome:?}");
        if number % 256 == 0 {
            read(rib);
            rib.drain_fib(usize::from(u16::MAX), &mut changes);
            changes.clear();
        }
    }
    read(rib);
    octets
}

#[test]
fn a_full_table_stays_within_its_budget() {
    let now = Instant::now();
    let mut rib = rib(now, OWN_ADDRESS);
    for index in [1, 2, 9] {
        rib.peer_up(now, PeerIndex(index), view(index, PeerKind::External));
    }
    let empty = resident();
    let begun = Instant::now();
    let octets = feed(&mut rib, now, 1);
    let one = resident() - empty;
    println!(
        "{PREFIXES} prefixes: {} octets each, {octets} sent, {:?}",
        one / u64::from(PREFIXES),
        begun.elapsed()
    );
    let begun = Instant::now();
    feed(&mut rib, now, 2);
    let two = resident() - empty - one;
    println!("second peer: {} octets each, {:?}", two / u64::from(PREFIXES), begun.elapsed());
    let summary = rib.summary();
    println!("{summary:?}");
    assert_eq!(summary.paths, 2 * (PREFIXES / SHARING * SHARING) as usize);
    assert!(one < FIXED + FIRST_PEER * u64::from(PREFIXES), "{} octets a prefix", one / u64::from(PREFIXES));
    assert!(
        two < FIXED + FURTHER_PEER * u64::from(PREFIXES),
        "{} octets a prefix",
        two / u64::from(PREFIXES)
    );

    let begun = Instant::now();
    for index in [1, 2] {
        rib.peer_down(now, PeerIndex(index), PeerLoss::Flush);
    }
    let (mut out, mut changes) = (Vec::new(), Vec::new());
    while rib.advance(now, 4096) {
        while rib.pull(PeerIndex(9), 1 << 20, &mut out) == Pull::More {}
        out.clear();
        rib.drain_fib(usize::from(u16::MAX), &mut changes);
        changes.clear();
    }
    while rib.pull(PeerIndex(9), 1 << 20, &mut out) == Pull::More {}
    rib.drain_fib(usize::MAX >> 1, &mut changes);
    rib.poll_ready(&mut Vec::new());
    println!("both lost: {:?}", begun.elapsed());
    assert_eq!((rib.summary().destinations, rib.summary().attributes), (0, 0));
}
