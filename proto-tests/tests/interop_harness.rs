//! The harness tests itself: daemons of others, put together in pairs, have to pass what ours has to pass; and a
//! wrong expectation has to fail.

use std::collections::BTreeSet;

use anyhow::Result;
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::peering::{Link, Side, exchange};

fn pair(left: Kind, right: Kind, left_asn: u32, right_asn: u32) -> Result<()> {
    let link = Link::new(left_asn, right_asn)?;
    let mut a = Side::new(left.installed().start(&link.left, &link.left_setup())?, link.left_setup());
    let mut b = Side::new(right.installed().start(&link.right, &link.right_setup())?, link.right_setup());
    exchange(&mut a, &mut b)
}

#[test]
fn frr_and_bird_exchange_routes() -> Result<()> {
    pair(Kind::Frr, Kind::Bird, 65001, 4_200_000_002)
}

#[test]
fn gobgp_and_openbgpd_exchange_routes() -> Result<()> {
    pair(Kind::GoBgp, Kind::OpenBgpd, 4_200_000_001, 65002)
}

#[test]
fn exabgp_and_bird_exchange_routes() -> Result<()> {
    pair(Kind::ExaBgp, Kind::Bird, 65001, 65002)
}

#[test]
fn every_daemon_tells_its_version() -> Result<()> {
    let all = Candidate::all()?;
    let versions = all.iter().map(Candidate::version).collect::<Result<BTreeSet<_>>>()?;
    assert_eq!(versions.len(), all.len(), "{versions:?}");
    Ok(())
}
