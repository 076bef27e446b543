//! Tables that look like the Internet's, from an MRT dump into a live speaker.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use muslin_proto_tests::{feeder, mrt, wait};

#[test]
fn a_dump_of_a_whole_table_arrives_route_by_route() -> Result<()> {
    let peer_v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    let shape = mrt::Shape {
        seed: 1,
        ipv4: 9_000,
        ipv6: 2_000,
        peer_asn: feeder::ASN,
        peer: Ipv4Addr::LOCALHOST,
        peer_v6,
    };
    let records = mrt::read(&mrt::generate(shape))?;
    let (host, testers) = feeder::hosts()?;
    let speaker = feeder::start_muslin_with(&host, "", "[IPv4, IPv6]")?;
    let mut session = feeder::await_session(&testers, &speaker)?;
    session.send(&mrt::updates(&records, 0, (feeder::ADDRESS, peer_v6)))?;
    wait::until("all routes", || {
        let peer = feeder::peer_status(&speaker)?;
        let received = |family: usize| peer["families"][family]["received"].as_u64().unwrap_or_default();
        let done = (received(0), received(1)) == (9_000, 2_000);
        Ok(if done { Ok(()) } else { Err(format!("{peer:#}")) })
    })
}
