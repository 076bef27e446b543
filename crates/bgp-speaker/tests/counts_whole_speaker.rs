//! How many instructions a prefix takes through a whole speaker without its sockets, held to `counts_whole_speaker.json`:
//! from octets of a peer to those of a hundred others and to changes for the kernel.
#![cfg_attr(debug_assertions, allow(dead_code, unused_imports, reason = "only a release is counted"))]
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "support/rib.rs"]
mod rib_support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::BytesMut;
use ipnet::Ipv4Net;
use muslin_bgp_packet::frame::encode_keepalive;
use muslin_bgp_packet::{
    AsPath, AsWidth, Asn, Capability, Family, NextHop, Nlri, Open, PathAttributes, UpdateEncoder,
};
use muslin_bgp_speaker::Speaker;
use muslin_bgp_speaker::config::{ConnectMode, PeerConfig, Policy, RemoteAs, SessionConfig, SpeakerConfig};
use muslin_bgp_speaker::session::ConnId;
use muslin_bgp_speaker::speaker::{Input, Output};
use muslin_counts::{Paths, tell_times, timed};

use rib_support::{OWN_ADDRESS, OWN_AS, OnLink, address};

/// Prefixes of the table.
const PREFIXES: u32 = 12_000;
/// Prefixes that share a set of attributes.
const SHARING: u32 = 6;
/// The peer that sends them.
const FEEDER: u16 = 1;
/// Peers that are told of them, of one group.
const SINKS: std::ops::Range<u16> = 10..110;
/// What a read brings.
const CHUNK: usize = 8 * 1024;
/// What a batch for the kernel has.
const BATCH: usize = 4096;

fn asn(index: u16) -> Asn {
    Asn(65000 + u32::from(index))
}

fn conn(index: u16) -> ConnId {
    ConnId::accepted(index.into())
}

/// A speaker with an established session with each peer.
fn speaker(now: Instant) -> Speaker {
    let peers = std::iter::once(FEEDER).chain(SINKS).map(|index| {
        let session = SessionConfig {
            connect: ConnectMode::Passive,
            families: vec![Family::Ipv4Unicast],
            ..SessionConfig::external(RemoteAs::External)
                .with_policies(Policy::accept_all("in"), Policy::accept_all("out"))
        };
        PeerConfig::new(address(index).into(), session)
    });
    let config = SpeakerConfig { peers: peers.collect(), ..SpeakerConfig::new(OWN_AS, OWN_ADDRESS) };
    let mut speaker = Speaker::new(now, config, Box::new(OnLink)).unwrap();
    for index in std::iter::once(FEEDER).chain(SINKS) {
        let remote = SocketAddr::new(address(index).into(), 40_000);
        let local = SocketAddr::new(OWN_ADDRESS.into(), 179);
        speaker.handle_input(now, Input::ConnectionOpened { conn: conn(index), remote, local });
        let family = Capability::Multiprotocol(Family::Ipv4Unicast.into());
        let mut octets = BytesMut::new();
        Open::new(asn(index), 90, address(index), [family]).encode(&mut octets);
        encode_keepalive(&mut octets);
        speaker.handle_input(now, Input::Received { conn: conn(index), octets });
    }
    tell(&mut speaker, now);
    speaker
}

/// UPDATEs of the feeder, in chunks as they are read.
fn table() -> Vec<BytesMut> {
    let encoder = UpdateEncoder::new(4096);
    let next_hop = NextHop::new(address(FEEDER).into());
    let mut stream = BytesMut::new();
    for set in 0..PREFIXES / SHARING {
        let path: Vec<_> =
            std::iter::once(asn(FEEDER)).chain((0..2 + set % 4).map(|hop| Asn(1000 + set + hop))).collect();
        let attributes = PathAttributes {
            as_path: AsPath::from_sequence(&path),
            med: Some(set),
            ..PathAttributes::default()
        };
        let routes = (set * SHARING..(set + 1) * SHARING).map(|number| {
            Nlri::new(Ipv4Net::new(Ipv4Addr::from_bits((20 << 24) + (number << 8)), 24).unwrap())
        });
        let mut block = BytesMut::new();
        attributes.encode_canonical(AsWidth::Four, &mut block);
        encoder.announce(&mut stream, &block, &next_hop, routes).unwrap();
    }
    stream.chunks(CHUNK).map(BytesMut::from).collect()
}

/// Octets of a peer into messages, and those into the tables.
#[inline(never)]
fn receive(speaker: &mut Speaker, now: Instant, chunks: Vec<BytesMut>) {
    for octets in chunks {
        speaker.handle_input(now, Input::Received { conn: conn(FEEDER), octets });
    }
}

/// What changed, encoded once and handed to each of the peers; returns the octets for all of them.
#[inline(never)]
fn tell(speaker: &mut Speaker, mut now: Instant) -> usize {
    let mut sent = 0;
    loop {
        let more = speaker.advance(now);
        let before = sent;
        while let Some(output) = speaker.poll_output() {
            if let Output::Send { conn, octets } = output {
                sent += octets.len();
                speaker.handle_input(now, Input::Written { conn, octets: octets.len() });
            }
        }
        if !more && sent == before {
            // After many small writes comes a moment of rest.
            match speaker.poll_timeout().filter(|_| speaker.rests()) {
                Some(rested) => now = rested,
                None => return sent,
            }
        }
    }
}

/// Changes for the kernel; returns how many.
#[inline(never)]
fn drain(speaker: &mut Speaker) -> usize {
    let (mut batch, mut drained) = (Vec::new(), 0);
    loop {
        batch.clear();
        speaker.fib_changes(BATCH, &mut batch);
        if batch.is_empty() {
            return drained;
        }
        drained += batch.len();
    }
}

/// What valgrind watches.
#[test]
fn whole_speaker() {
    let now = Instant::now();
    let mut speaker = speaker(now);
    let chunks = table();
    timed("receive", || receive(&mut speaker, now, chunks));
    let sent = timed("tell", || tell(&mut speaker, now));
    assert!(sent / SINKS.len() > 4 * PREFIXES as usize, "{sent} octets");
    assert_eq!(timed("drain", || drain(&mut speaker)), PREFIXES as usize);
    tell_times(PREFIXES);
}

// The development profile counts other things: checks, and calls that a release has none of.
#[cfg(not(debug_assertions))]
#[test]
fn a_whole_speaker_takes_no_more_instructions_than_its_budgets() {
    let functions = &["receive", "tell", "drain"];
    let paths = Paths { module: module_path!(), test: "whole_speaker", functions, items: PREFIXES };
    paths.check(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counts_whole_speaker.json"));
}
