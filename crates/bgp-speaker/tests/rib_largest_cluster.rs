//! The largest cluster of `docs/sizing.md`, of which a machine holds a reflector or a node and not all: a pair of reflectors
//! with 15,000 clients, and what each of these has of them. No sockets and no clock: what is held to a bound is memory, messages and octets.
//!
//! One test in a process of its own, so that the resident set is that of the RIBs.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "support/resident.rs"]
mod resident;
#[path = "support/rib.rs"]
mod rib_support;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ipnet::Ipv4Net;
use muslin_bgp_packet::{AsWidth, NextHop, Nlri, PathAttributes, PeerKind, UpdateEncoder, next_frame};
use muslin_bgp_speaker::config::ReflectorRole;
use muslin_bgp_speaker::rib::{PeerIndex, PeerLoss, PeerView, Pull, Rib, UpdateOutcome};

use resident::resident;
use rib_support::{address, rib, view};

const NODES: u16 = 15_000;
/// Whose stream is kept and read by a RIB of its own.
const NODE: u16 = 7;
/// So many nodes are measured that what an allocator had left over does not count.
const KEPT: usize = 2;
const REFLECTORS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 255, 1, 1), Ipv4Addr::new(10, 255, 1, 2)];
/// Memory of a reflector, in octets: its clients, their blocks, and what is shared by all who are told of them.
const REFLECTOR: u64 = 28 << 20;
/// Of a node: every other one's block, by each of the reflectors.
const LEARNED: u64 = 11 << 20;
/// Octets that a node is sent of each other one.
const ONE: usize = 62;

/// The UPDATE of a node's block.
fn announcement(index: u16) -> Bytes {
    let attributes = PathAttributes { local_pref: Some(100), ..PathAttributes::default() };
    let (mut block, mut out) = (BytesMut::new(), BytesMut::new());
    attributes.encode_canonical(AsWidth::Four, &mut block);
    let first = Ipv4Addr::from_bits((20 << 24) + (u32::from(index) << 8));
    let route = Nlri::new(Ipv4Net::new(first, 24).unwrap());
    let next_hop = NextHop::new(address(index).into());
    UpdateEncoder::new(4096).announce(&mut out, &block, &next_hop, [route]).unwrap();
    next_frame(&mut out, 4096).unwrap().unwrap().body
}

/// What the clients were sent until nobody has anything to read.
#[derive(Default)]
struct Sent {
    /// To each.
    octets: Vec<usize>,
    /// Where what was sent lies in memory: what all share is there once.
    buffers: HashSet<*const u8>,
    /// To [`NODE`].
    stream: Vec<Bytes>,
}

fn read(rib: &mut Rib) -> Sent {
    let mut sent = Sent { octets: vec![0; usize::from(NODES)], ..Sent::default() };
    let (mut ready, mut out) = (Vec::new(), Vec::new());
    loop {
        rib.poll_ready(&mut ready);
        if ready.is_empty() {
            return sent;
        }
        for index in ready.drain(..) {
            while rib.pull(index, 1 << 16, &mut out) == Pull::More {}
            sent.octets[usize::from(index.0)] += out.iter().map(Bytes::len).sum::<usize>();
            sent.buffers.extend(out.iter().map(|octets| octets.as_ptr()));
            if index == PeerIndex(NODE) {
                sent.stream.append(&mut out);
            }
            out.clear();
        }
    }
}

/// A reflector with all nodes as clients, once all know all, and what the clients were sent.
fn reflector(now: Instant, router_id: Ipv4Addr) -> (Rib, Sent) {
    let mut rib = rib(now, router_id);
    for index in 0..NODES {
        rib.peer_up(now, PeerIndex(index), view(index, PeerKind::Internal));
    }
    read(&mut rib);
    for index in 0..NODES {
        let outcome = rib.update(now, PeerIndex(index), &announcement(index));
        assert!(matches!(outcome, UpdateOutcome::Accepted(_)), "{outcome:?}");
    }
    rib.drain_fib(usize::MAX >> 1, &mut Vec::new());
    let sent = read(&mut rib);
    (rib, sent)
}

/// A node that heard both reflectors, and programmed a route to every other one.
fn node(now: Instant, streams: &[Vec<u8>]) -> Rib {
    let mut node = rib(now, address(NODE));
    let mut routes = HashSet::new();
    for ((stream, id), index) in streams.iter().zip(REFLECTORS).zip(0..) {
        let internal = view(index, PeerKind::Internal);
        let peer = PeerView { id, address: id.into(), reflector: ReflectorRole::NonClient, ..internal };
        node.peer_up(now, PeerIndex(index), peer);
        let mut stream: BytesMut = stream.as_slice().into();
        let (mut updates, mut changes) = (0, Vec::new());
        while let Some(frame) = next_frame(&mut stream, 4096).unwrap() {
            node.update(now, PeerIndex(index), &frame.body);
            updates += 1;
        }
        assert_eq!(updates, NODES - 1);
        node.drain_fib(usize::MAX >> 1, &mut changes);
        routes.extend(changes.iter().map(|change| change.prefix));
    }
    assert_eq!(routes.len(), usize::from(NODES) - 1);
    node
}

#[test]
fn reflectors_and_nodes_of_the_largest_cluster_take_what_the_page_about_sizing_says() {
    let now = Instant::now();
    let empty = resident();
    let (mut first, sent) = reflector(now, REFLECTORS[0]);
    let reflector_memory = resident() - empty;
    println!("reflector: {} KiB, {} octets to each client", reflector_memory >> 10, sent.octets[0]);
    assert!(reflector_memory < REFLECTOR, "{reflector_memory} octets");
    let everything = ONE * usize::from(NODES - 1);
    assert!(sent.octets.iter().all(|octets| *octets == everything), "{everything} octets for each client");
    let stream = sent.stream;
    // Not dropped: its memory would be taken for the nodes.
    let (_second, sent) = reflector(now, REFLECTORS[1]);
    let streams = [stream, sent.stream].map(|stream| stream.concat());

    let before = resident();
    let nodes: Vec<Rib> = (0..KEPT).map(|_| node(now, &streams)).collect();
    let node_memory = (resident() - before) / nodes.len() as u64;
    println!("node: {} KiB, {:?}", node_memory >> 10, nodes[0].summary());
    assert!(node_memory < LEARNED, "{node_memory} octets");

    first.peer_down(now, PeerIndex(0), PeerLoss::Flush);
    while first.advance(now, 4096) {}
    let gone = read(&mut first);
    assert_eq!(gone.buffers.len(), 1, "one message for all");
    assert_eq!(gone.octets.iter().filter(|octets| **octets > 0).count(), usize::from(NODES) - 1);
}
