//! A reflector with many clients encodes each change once, and all clients are handed the same octets.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "support/rib.rs"]
mod rib_support;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ipnet::Ipv4Net;
use muslin_bgp_packet::{
    AsWidth, DecodeContext, FamilySet, MessageType, NextHop, Nlri, PathAttributes, PeerKind, UpdateEncoder,
    UpdateView, next_frame,
};
use muslin_bgp_speaker::rib::{PeerIndex, PeerLoss, Pull, Rib};

use rib_support::{OWN_ADDRESS, address, rib, view};

const CLIENTS: u16 = if cfg!(debug_assertions) { 300 } else { 1000 };
/// Prefixes of a client.
const PREFIXES: u32 = 8;

/// The UPDATE that announces a client's prefixes.
fn announcement(index: u16) -> Bytes {
    let attributes = PathAttributes { local_pref: Some(100), ..PathAttributes::default() };
    let (mut block, mut out) = (BytesMut::new(), BytesMut::new());
    attributes.encode_canonical(AsWidth::Four, &mut block);
    let routes = (0..PREFIXES).map(|number| {
        let address = Ipv4Addr::from_bits((20 << 24) + ((u32::from(index) * PREFIXES + number) << 6));
        Nlri::new(Ipv4Net::new(address, 26).unwrap())
    });
    let next_hop = NextHop::new(address(index).into());
    UpdateEncoder::new(4096).announce(&mut out, &block, &next_hop, routes).unwrap();
    next_frame(&mut out, 4096).unwrap().unwrap().body
}

/// What every client is sent until nobody has anything to read.
fn read_all(rib: &mut Rib) -> HashMap<PeerIndex, Vec<Bytes>> {
    let mut sent: HashMap<PeerIndex, Vec<Bytes>> = HashMap::new();
    loop {
        let mut ready = Vec::new();
        rib.poll_ready(&mut ready);
        if ready.is_empty() {
            return sent;
        }
        for index in ready {
            let out = sent.entry(index).or_default();
            while rib.pull(index, 1 << 16, out) == Pull::More {}
        }
    }
}

fn announced_and_withdrawn(messages: &[Bytes]) -> (usize, usize) {
    let context = DecodeContext::new(PeerKind::Internal, FamilySet::ALL);
    let mut stream: BytesMut = messages.concat().as_slice().into();
    let mut counts = (0, 0);
    while let Some(frame) = next_frame(&mut stream, 4096).unwrap() {
        assert_eq!(frame.kind, MessageType::Update);
        let update = UpdateView::parse(context, &frame.body).unwrap();
        counts.0 += update.announced().len();
        counts.1 += update.withdrawn().len();
    }
    counts
}

/// Octets that were encoded: of buffers that overlap, because a client's own part is cut out, the union.
fn encoded(sent: &HashMap<PeerIndex, Vec<Bytes>>) -> usize {
    let mut ranges: Vec<_> = sent.values().flatten().map(|octets| octets.as_ptr_range()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut end = std::ptr::null();
    let mut octets = 0;
    for range in ranges {
        let start = range.start.max(end);
        octets += (range.end as usize).saturating_sub(start as usize);
        end = end.max(range.end);
    }
    octets
}

#[test]
fn each_change_is_encoded_once_for_all_clients() {
    let now = Instant::now();
    let mut rib = rib(now, OWN_ADDRESS);
    for index in 0..CLIENTS {
        rib.peer_up(now, PeerIndex(index), view(index, PeerKind::Internal));
    }
    read_all(&mut rib);

    let begun = Instant::now();
    for index in 0..CLIENTS {
        rib.update(now, PeerIndex(index), &announcement(index));
    }
    let sent = read_all(&mut rib);
    println!("{CLIENTS} clients in {:?}", begun.elapsed());
    assert_eq!(sent.len(), usize::from(CLIENTS));
    let others = usize::from(CLIENTS - 1) * PREFIXES as usize;
    for index in [0, 1, CLIENTS / 2, CLIENTS - 1] {
        assert_eq!(announced_and_withdrawn(&sent[&PeerIndex(index)]), (others, 0), "client {index}");
    }
    // What one client was sent, and its own part that was cut out.
    let one: usize = sent[&PeerIndex(0)].iter().map(Bytes::len).sum();
    assert!(encoded(&sent) < one + 4096, "{} octets encoded for {one}", encoded(&sent));

    let begun = Instant::now();
    rib.peer_down(now, PeerIndex(7), PeerLoss::Flush);
    while rib.advance(now, 4096) {}
    let sent = read_all(&mut rib);
    println!("one lost in {:?}", begun.elapsed());
    assert_eq!(announced_and_withdrawn(&sent[&PeerIndex(0)]), (0, PREFIXES as usize));
    let shared: HashSet<_> = sent.values().flatten().map(|octets| octets.as_ptr()).collect();
    assert_eq!(shared.len(), 1, "one message for all");

    let begun = Instant::now();
    rib.peer_up(now, PeerIndex(7), view(7, PeerKind::Internal));
    let sent = read_all(&mut rib);
    println!("one joins in {:?}", begun.elapsed());
    assert_eq!(announced_and_withdrawn(&sent[&PeerIndex(7)]), (others, 0));
}
