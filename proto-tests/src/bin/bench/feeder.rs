//! A peer that has its whole table encoded beforehand and sends it as fast as it is taken.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use muslin_netns::Namespace;
use muslin_proto_tests::tester::Tester;
use muslin_proto_tests::wire::{self, Open};

use crate::kernel;

/// The feeder's AS.
pub(crate) const ASN: u32 = 65001;
/// The feeder's address.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);
/// The candidate's AS.
pub(crate) const CANDIDATE_ASN: u32 = 65000;
/// The candidate's address.
pub(crate) const CANDIDATE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);

/// Next hops that the routes take turns over.
const NEXT_HOPS: u32 = 16;
/// Prefixes that share attributes, as in the Internet's table on average.
const PREFIXES_PER_UPDATE: u32 = 6;

/// All UPDATEs and an End-of-RIB.
pub(crate) fn encode(routes: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    for first in (0..routes).step_by(PREFIXES_PER_UPDATE as usize) {
        let set = first / PREFIXES_PER_UPDATE;
        let next_hop = Ipv4Addr::from(u32::from(ADDRESS) + set % NEXT_HOPS);
        let path: Vec<u32> =
            [ASN].into_iter().chain((0..set % 5).map(|hop| 100_000 + set / 7 + hop)).collect();
        let attributes =
            [wire::origin(0), wire::as_path(&path), wire::next_hop(next_hop), wire::communities(&[set])];
        let nlri: Vec<u8> = (first..routes.min(first + PREFIXES_PER_UPDATE))
            .flat_map(|number| {
                let [a, b, c, _] = kernel::prefix(number).octets();
                [24, a, b, c]
            })
            .collect();
        let attributes = attributes.concat();
        // At most a hundred octets.
        let length = (attributes.len() as u16).to_be_bytes();
        octets.extend(wire::raw_update(&[], length, &attributes, &nlri));
    }
    octets.extend(wire::update(&[], &[], &[]));
    octets
}

/// An established session with the candidate.
pub(crate) fn establish(testers: &Namespace) -> Result<Tester> {
    let stream = testers.run(|| std::net::TcpStream::connect((CANDIDATE, 179)))??;
    let mut tester = Tester::new(stream)?;
    tester.establish(&Open::new(ASN, ADDRESS, 90)).context("session with the candidate")?;
    Ok(tester)
}
