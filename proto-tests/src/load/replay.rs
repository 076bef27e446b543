//! A real table as a feeder's: the routes of an MRT dump.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, ensure};
use ipnet::IpNet;

use super::feed::{Feed, announce};
use super::prefixes::{Prefix, Prefixes};
use super::sink::numbers;
use crate::mrt::{self, Record, Route};
use crate::wire;

/// Attributes that the feeder writes anew.
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MP_REACH_NLRI: u8 = 14;

/// Prefixes with equal attributes.
struct Set {
    attributes: Vec<u8>,
    path: Vec<u32>,
    prefixes: Vec<Prefix>,
}

/// The IPv4 routes of the peer that has most of them in a dump (`TABLE_DUMP_V2`), as a neighbour with this AS and next
/// hop announces them. Routes that no speaker takes are left out: the default, loopback, multicast.
///
/// # Errors
/// When it is no dump, or has no such routes.
pub fn replay(dump: &[u8], asn: u32, next_hop: u32) -> Result<(Prefixes, Feed)> {
    let records = mrt::read(dump).map_err(|error| anyhow!("{error}"))?;
    let routes = || {
        records.iter().filter_map(|record| match record {
            Record::Routes(routes) => prefix_of(routes.prefix).map(|prefix| (prefix, &routes.routes)),
            _ => None,
        })
    };
    let mut counts: HashMap<u16, usize> = HashMap::new();
    routes().flat_map(|(_, routes)| routes).for_each(|route| *counts.entry(route.peer).or_default() += 1);
    let (peer, _) = counts.into_iter().max_by_key(|(_, count)| *count).context("no IPv4 routes are in it")?;

    let (mut sets, mut places): (Vec<Set>, HashMap<Vec<u8>, usize>) = (Vec::new(), HashMap::new());
    for (prefix, routes) in routes() {
        let Some(route) = routes.iter().find(|route| route.peer == peer) else { continue };
        let (attributes, path) = announced(route, asn, next_hop)?;
        let place = *places.entry(attributes).or_insert_with_key(|attributes| {
            sets.push(Set { attributes: attributes.clone(), path, prefixes: Vec::new() });
            sets.len() - 1
        });
        sets[place].prefixes.push(prefix);
    }
    let list: Vec<Prefix> = sets.iter().flat_map(|set| set.prefixes.iter().copied()).collect();
    let prefixes = Prefixes::listed(list);
    let (mut octets, mut set_of, mut updates, mut next) = (Vec::new(), Vec::new(), 0, 0);
    for (number, set) in sets.iter().enumerate() {
        let numbers = next..next + set.prefixes.len() as u32;
        next = numbers.end;
        set_of.extend(numbers.clone().map(|_| number as u32));
        updates += announce(&mut octets, &set.attributes, &prefixes, numbers);
    }
    octets.extend(wire::end_of_rib());
    let paths = sets.into_iter().map(|set| set.path).collect();
    Ok((prefixes, Feed { octets: octets.into(), updates, paths, set_of }))
}

fn prefix_of(prefix: IpNet) -> Option<Prefix> {
    let IpNet::V4(prefix) = prefix else { return None };
    let routed = !matches!(prefix.addr().octets()[0], 0 | 127 | 224..);
    routed.then(|| Prefix { address: prefix.addr().to_bits(), length: prefix.prefix_len() })
}

/// Attributes as the feeder sends them, and the path that is in them.
fn announced(route: &Route, asn: u32, next_hop: u32) -> Result<(Vec<u8>, Vec<u32>)> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut segments: &[u8] = &[];
    let mut rest = &route.attributes[..];
    while let [flags, kind, following @ ..] = rest {
        let header = if flags & wire::EXTENDED_LENGTH == 0 { 3 } else { 4 };
        let length = match (header, following) {
            (3, [length, ..]) => usize::from(*length),
            (_, [high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(anyhow!("an attribute without length")),
        };
        let (attribute, behind) =
            rest.split_at_checked(header + length).context("an attribute is cut off")?;
        match *kind {
            AS_PATH => segments = &attribute[header..],
            NEXT_HOP | MP_REACH_NLRI => {}
            kind if kind < AS_PATH => before.extend_from_slice(attribute),
            _ => after.extend_from_slice(attribute),
        }
        rest = behind;
    }
    ensure!(!before.is_empty(), "a route without ORIGIN");
    let path: Vec<u32> = std::iter::once(asn).chain(numbers(segments)).collect();
    let own = [&[2, 1][..], &asn.to_be_bytes(), segments].concat();
    let as_path = wire::attribute(wire::TRANSITIVE, AS_PATH, &own);
    Ok(([before, as_path, wire::next_hop(next_hop.into()), after].concat(), path))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::{Expected, Relation, Sink, best_of};
    use super::*;
    use crate::mrt::{Shape, generate};

    #[test]
    fn a_dump_is_announced_as_a_neighbour_would() {
        let dump = generate(Shape {
            seed: 1,
            ipv4: 2000,
            ipv6: 100,
            peer_asn: 64_500,
            peer: Ipv4Addr::new(10, 0, 0, 9),
            peer_v6: Ipv6Addr::LOCALHOST,
        });
        let (prefixes, feed) = replay(&dump, 65001, 0x0a00_0001).unwrap();
        assert!((1800..=2000).contains(&prefixes.count()), "{}", prefixes.count());
        assert!(feed.paths.iter().all(|path| path[..2] == [65001, 64_500]));
        assert!(feed.updates >= feed.paths.len() as u64 && feed.paths.len() < 1000);

        let mut sink = Sink::new(Relation::Copied, prefixes);
        sink.expect(Expected { marks: best_of(&[&feed]), own: 0..0 });
        let mut rest = &feed.octets[..];
        while rest.len() >= 19 {
            let length = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
            sink.take(&rest[19..length]).unwrap();
            rest = &rest[length..];
        }
        assert_eq!((sink.wrong(), sink.example()), (0, None));
    }

    #[test]
    fn what_is_no_dump_is_refused() {
        assert!(replay(&[1, 2, 3], 65001, 1).unwrap_err().to_string().contains("octet 0"));
        assert!(replay(&[], 65001, 1).unwrap_err().to_string().contains("no IPv4 routes"));
    }
}
