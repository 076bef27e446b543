//! Sessions by where they run and what the kernel does for them: on a cable without addresses, in a VRF, signed.

use std::process::{Command, Stdio};

use anyhow::Result;
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use muslin_proto_tests::cables::Cables;
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::peering::Link;
use muslin_proto_tests::setup::{Interface, Neighbour, Session, Setup};

use crate::pair::Pair;
use crate::record::Verdict;

/// One session with both families between the link-local addresses of a cable that has no others.
pub(crate) fn unnumbered(candidate: &Candidate) -> Result<Verdict> {
    let advertises = matches!(candidate.kind, Kind::Bird | Kind::Bird3 | Kind::Frr);
    let over = |peer: Neighbour| {
        move |setup: Setup| {
            let end = setup.sessions[0].peer;
            let session = Session { families: Family::ALL.into(), ..Session::new(end, Family::Ipv6Unicast) };
            let session = session.with(|features| {
                features.interface = Some(Interface { name: "eth0", peer });
                features.extended_next_hop = true;
            });
            Setup { sessions: vec![session], ..setup }
        }
    };
    let mut link = Link::with(65001, 65002, &[])?;
    link.left_end.v6 = Cables::link_local(&link.left, "eth0")?;
    link.right_end.v6 = Cables::link_local(&link.right, "eth0")?;
    let ours = if advertises { Neighbour::Discovered } else { Neighbour::Told };
    let mut pair = Pair::on(link, candidate, over(ours), over(Neighbour::Told))?;
    pair.needs_capability("extended next hop")?;
    pair.both_have_all()?;
    Ok(if advertises {
        Verdict::WORKS
    } else {
        Verdict::works_but("it does not advertise itself as a router: ours was told its link-local address")
    })
}

/// Our end of the link is in a VRF, and so is our speaker's session.
pub(crate) fn vrf(candidate: &Candidate) -> Result<Verdict> {
    let link = Link::with(65001, 65002, &[])?;
    let make = [
        ["link", "add", "blue", "type", "vrf", "table", "10"].as_slice(),
        &["link", "set", "blue", "up"],
        &["link", "set", "eth0", "master", "blue"],
    ];
    for words in make {
        if let Err(said) = ip(&link.left, words)? {
            return Ok(Verdict::Skipped { reason: format!("this kernel has no VRF: {said}") });
        }
    }
    // A link that changes its master loses addresses.
    for (host, end) in [(&link.left, link.left_end), (&link.right, link.right_end)] {
        host.add_address("eth0", IpNet::new(end.v4.into(), 24)?)?;
        host.add_address("eth0", IpNet::new(end.v6.into(), 64)?)?;
    }
    let bound = |setup: Setup| setup.with(|features| features.vrf = Some("blue"));
    Pair::on(link, candidate, bound, |theirs| theirs)?.exchange()?;
    Ok(Verdict::WORKS)
}

fn ip(host: &Namespace, words: &[&str]) -> Result<Result<(), String>> {
    let mut command = Command::new("ip");
    let child = host.spawn(command.args(words).stderr(Stdio::piped()))?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

/// Both sign with TCP-AO.
pub(crate) fn ao(candidate: &Candidate) -> Result<Verdict> {
    if !muslin_sockopt::has_tcp_ao() {
        return Ok(Verdict::Skipped { reason: "this kernel has no TCP-AO".to_owned() });
    }
    let signed = |setup: Setup| setup.with(|features| features.ao_key = Some("a-shared-key".to_owned()));
    Pair::of(candidate, (65001, 65002), signed, signed)?.exchange()?;
    Ok(Verdict::WORKS)
}
