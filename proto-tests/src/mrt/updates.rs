//! A peer's routes as the UPDATEs that it would send.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Record, Route};
use crate::wire;

/// Type codes of attributes that are written anew.
const NEXT_HOP: u8 = 3;
const MP_REACH_NLRI: u8 = 14;

/// Octets of attributes and prefixes that one UPDATE may have, with some to spare.
const ROOM: usize = 3900;

/// UPDATEs with all routes of the peer at that place, with these next hops in place of its own, and an
/// End-of-RIB of both families. Routes with equal attributes share messages. Routes with path identifiers are
/// sent without; of several of one prefix the first counts.
pub fn updates(records: &[Record], peer: u16, next_hops: (Ipv4Addr, Ipv6Addr)) -> Vec<u8> {
    let mut groups: BTreeMap<(bool, Vec<u8>), Vec<Vec<u8>>> = BTreeMap::new();
    for record in records {
        let Record::Routes(routes) = record else { continue };
        let Some(route) = routes.routes.iter().find(|route| route.peer == peer) else { continue };
        let ipv6 = matches!(routes.prefix, IpNet::V6(_));
        groups.entry((ipv6, without_next_hop(route))).or_default().push(prefix(routes.prefix));
    }
    let mut octets = Vec::new();
    for ((ipv6, attributes), prefixes) in &groups {
        for nlri in chunks(prefixes, ROOM.saturating_sub(attributes.len())) {
            let attributes = if *ipv6 {
                let mut reach = vec![0, 2, 1, 16];
                reach.extend(next_hops.1.octets());
                reach.push(0);
                reach.extend(&nlri);
                let reach = wire::attribute(wire::OPTIONAL | wire::EXTENDED_LENGTH, MP_REACH_NLRI, &reach);
                [reach.as_slice(), attributes.as_slice()].concat()
            } else {
                [attributes.as_slice(), &wire::next_hop(next_hops.0)].concat()
            };
            // Within the room of a message.
            let length = (attributes.len() as u16).to_be_bytes();
            octets.extend(wire::raw_update(&[], length, &attributes, if *ipv6 { &[] } else { &nlri }));
        }
    }
    octets.extend(wire::update(&[], &[], &[]));
    octets.extend(wire::update(&[], &[wire::mp_unreach(&[])], &[]));
    octets
}

fn prefix(prefix: IpNet) -> Vec<u8> {
    let octets = match prefix.addr() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = prefix.prefix_len();
    [length].into_iter().chain(octets.into_iter().take(usize::from(length).div_ceil(8))).collect()
}

/// As many prefixes at a time as there is room for.
fn chunks(prefixes: &[Vec<u8>], room: usize) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for prefix in prefixes {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() + prefix.len() <= room => chunk.extend(prefix),
            _ => chunks.push(prefix.clone()),
        }
    }
    chunks
}

/// The attributes of a route but for its next hops. What cannot be read is left as it is.
fn without_next_hop(route: &Route) -> Vec<u8> {
    let mut rest = &route.attributes[..];
    let mut kept = Vec::new();
    while let [flags, kind, ..] = *rest {
        let long = flags & wire::EXTENDED_LENGTH != 0;
        let length = match (long, &rest[2..]) {
            (false, [length, ..]) => 3 + usize::from(*length),
            (true, [high, low, ..]) => 4 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => break,
        };
        let Some((attribute, left)) = rest.split_at_checked(length) else { break };
        if !matches!(kind, NEXT_HOP | MP_REACH_NLRI) {
            kept.extend(attribute);
        }
        rest = left;
    }
    kept.extend(rest);
    kept
}
