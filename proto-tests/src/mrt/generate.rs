//! Tables that look like the Internet's: lengths of prefixes and paths, shared attributes, communities.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{PEER_INDEX_TABLE, RIB_IPV4_UNICAST, RIB_IPV6_UNICAST, TABLE_DUMP_V2};
use crate::wire;

/// What a generated table is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Equal seeds give equal tables.
    pub seed: u64,
    /// IPv4 prefixes.
    pub ipv4: usize,
    /// IPv6 prefixes.
    pub ipv6: usize,
    /// The peer that all routes are of.
    pub peer_asn: u32,
    /// Its IPv4 address and identifier.
    pub peer: Ipv4Addr,
    /// Its IPv6 address, for next hops.
    pub peer_v6: Ipv6Addr,
}

/// Lengths of IPv4 prefixes with their share in thousandths, about as in the Internet's table.
const IPV4_LENGTHS: [(u8, u32); 13] = [
    (24, 600),
    (23, 95),
    (22, 110),
    (21, 50),
    (20, 45),
    (19, 30),
    (18, 15),
    (17, 10),
    (16, 30),
    (15, 5),
    (14, 4),
    (13, 3),
    (12, 3),
];

/// The same for IPv6.
const IPV6_LENGTHS: [(u8, u32); 8] =
    [(48, 480), (32, 130), (44, 120), (40, 110), (36, 60), (29, 50), (46, 30), (42, 20)];

/// Prefixes that share attributes, on average.
const SHARE: u32 = 6;

/// A dump of one peer's table; prefixes are distinct and in the order of a dump.
pub fn generate(shape: Shape) -> Vec<u8> {
    let mut random = Random(shape.seed | 1);
    let mut dump = peer_index(shape);
    let mut sequence = 0;
    let mut attributes = Vec::new();
    for (address, length) in prefixes(&mut random, &IPV4_LENGTHS, shape.ipv4, 32) {
        if attributes.is_empty() || random.below(SHARE) == 0 {
            attributes = self::attributes(&mut random, shape, &wire::next_hop(shape.peer));
        }
        let address = (address as u32).to_be_bytes();
        rib(RIB_IPV4_UNICAST, sequence, length, &address, &attributes, &mut dump);
        sequence += 1;
    }
    attributes.clear();
    for (address, length) in prefixes(&mut random, &IPV6_LENGTHS, shape.ipv6, 128) {
        if attributes.is_empty() || random.below(SHARE) == 0 {
            // RFC 6396 §4.3.4: only the next hop and its length.
            let next_hop: Vec<u8> = [16].into_iter().chain(shape.peer_v6.octets()).collect();
            let reach = wire::attribute(wire::OPTIONAL, 14, &next_hop);
            attributes = self::attributes(&mut random, shape, &reach);
        }
        rib(RIB_IPV6_UNICAST, sequence, length, &address.to_be_bytes(), &attributes, &mut dump);
        sequence += 1;
    }
    dump
}

/// Distinct prefixes in order.
fn prefixes(random: &mut Random, lengths: &[(u8, u32)], count: usize, width: u8) -> BTreeSet<(u128, u8)> {
    let total: u32 = lengths.iter().map(|(_, share)| share).sum();
    let mut prefixes = BTreeSet::new();
    while prefixes.len() < count {
        let mut ticket = random.below(total);
        let drawn = lengths.iter().find(|(_, share)| {
            let won = ticket < *share;
            ticket = ticket.saturating_sub(*share);
            won
        });
        let Some((length, _)) = drawn else { continue };
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        let address = if width == 32 {
            // 1.0.0.0 to 126.255.255.255 has neither martians but 10/8 nor private ranges.
            let first = match 1 + random.below(126) {
                10 => 11,
                first => first,
            };
            u128::from(first) << 24 | bits & 0x00ff_ffff
        } else {
            // 2a00::/8 is given out to networks.
            0x2a << 120 | bits >> 8
        };
        let host = u32::from(width - length);
        prefixes.insert((address >> host << host, *length));
    }
    prefixes
}

/// Attributes in the order of their types.
fn attributes(random: &mut Random, shape: Shape, next_hop: &[u8]) -> Vec<u8> {
    // Four hops on average, sometimes with a prepended origin.
    let hops = 1 + random.below(4) + random.below(4);
    let mut path = vec![shape.peer_asn];
    path.extend((0..hops).map(|_| {
        if random.below(3) == 0 { 196_608 + random.below(80_000) } else { 1_000 + random.below(60_000) }
    }));
    if random.below(6) == 0 {
        let origin = path[path.len() - 1];
        path.extend((0..=random.below(3)).map(|_| origin));
    }
    let origin = if random.below(12) == 0 { 2 } else { 0 };
    let mut attributes = [wire::origin(origin), wire::as_path(&path)].concat();
    let multiprotocol = next_hop.get(1) == Some(&14);
    if !multiprotocol {
        attributes.extend(next_hop);
    }
    if random.below(4) == 0 {
        attributes.extend(wire::med(random.below(500)));
    }
    let communities: Vec<u32> =
        (0..random.below(9)).map(|_| (1_000 + random.below(60_000)) << 16 | random.below(65_000)).collect();
    if !communities.is_empty() {
        attributes.extend(wire::communities(&communities));
    }
    if multiprotocol {
        attributes.extend(next_hop);
    }
    attributes
}

fn peer_index(shape: Shape) -> Vec<u8> {
    let mut body = shape.peer.octets().to_vec();
    // No view name, one peer with an IPv4 address and a four-octet AS.
    body.extend([0, 0, 0, 1, 2]);
    body.extend(shape.peer.octets());
    body.extend(shape.peer.octets());
    body.extend(shape.peer_asn.to_be_bytes());
    let mut dump = Vec::new();
    record(PEER_INDEX_TABLE, &body, &mut dump);
    dump
}

fn rib(subtype: u16, sequence: u32, length: u8, address: &[u8], attributes: &[u8], dump: &mut Vec<u8>) {
    let mut body = sequence.to_be_bytes().to_vec();
    body.push(length);
    body.extend(&address[..usize::from(length).div_ceil(8)]);
    // One route of the first peer, received at no particular time.
    body.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    // A few hundred octets at most.
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    record(subtype, &body, dump);
}

fn record(subtype: u16, body: &[u8], dump: &mut Vec<u8>) {
    dump.extend(0_u32.to_be_bytes());
    dump.extend(TABLE_DUMP_V2.to_be_bytes());
    dump.extend(subtype.to_be_bytes());
    dump.extend((body.len() as u32).to_be_bytes());
    dump.extend(body);
}

/// xorshift64*: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }
}
