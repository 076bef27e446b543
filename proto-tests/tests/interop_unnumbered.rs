//! Sessions over cables without addresses, with FRR at the other end and with ourselves: found by router
//! advertisements, IPv4 over IPv6 next hops into the kernel, and packets that pass.

use std::net::Ipv6Addr;

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::cables::{CABLES, Cables, Frr, LEFT, RIGHT, Speaker};

/// What a peer found on an interface is called.
const NAMES: [&str; 2] = ["tor/eth0", "tor/eth1"];
const BOTH_CABLES: &str = "interfaces: [eth0, eth1], peerASN: external, connectRetry: 1s";

/// The right host's addresses on both cables.
fn right_ends(cables: &Cables) -> Result<[Ipv6Addr; 2]> {
    Ok([Cables::link_local(&cables.right, CABLES[0])?, Cables::link_local(&cables.right, CABLES[1])?])
}

fn ways(ends: [Ipv6Addr; 2]) -> [(&'static str, Ipv6Addr); 2] {
    [(CABLES[0], ends[0]), (CABLES[1], ends[1])]
}

fn sessions(ends: [Ipv6Addr; 2]) -> [(&'static str, Ipv6Addr); 2] {
    [(NAMES[0], ends[0]), (NAMES[1], ends[1])]
}

#[test]
fn rfc8950_2_two_cables_to_frr_are_two_sessions_one_multipath_route_and_packets_pass() -> Result<()> {
    let cables = Cables::new()?;
    let ends = right_ends(&cables)?;
    let frr = Frr::start(&cables.right, RIGHT)?;
    let mut speaker = Speaker::start(&cables.left, LEFT, BOTH_CABLES)?;
    speaker.await_sessions(&sessions(ends)).with_context(|| frr.log())?;
    cables.await_ways(&ways(ends))?;
    cables.await_way_back().with_context(|| frr.ask("show bgp ipv4 unicast").unwrap_or_default())?;
    cables.talk()?;
    // RFC 8950 §4: both sides said that they can.
    let peers = speaker.ask(&["peers"])?;
    for peer in peers.as_array().into_iter().flatten() {
        ensure!(peer["interface"].as_str().is_some_and(|name| CABLES.contains(&name)), "{peer}");
        for side in ["ours", "theirs"] {
            let words = peer["negotiated"]["capabilities"][side].to_string().to_lowercase();
            ensure!(words.contains("next hop"), "{side}: {words}");
        }
    }
    Ok(())
}

#[test]
fn rfc8950_2_a_cable_that_is_cut_leaves_the_other_one() -> Result<()> {
    let cables = Cables::new()?;
    let ends = right_ends(&cables)?;
    let frr = Frr::start(&cables.right, RIGHT)?;
    let mut speaker = Speaker::start(&cables.left, LEFT, BOTH_CABLES)?;
    speaker.await_sessions(&sessions(ends)).with_context(|| frr.log())?;
    cables.await_ways(&ways(ends))?;
    cables.right.set_link(CABLES[0], muslin_netns::LinkState::Down)?;
    cables.await_ways(&ways(ends)[1..])?;
    cables.right.set_link(CABLES[0], muslin_netns::LinkState::Up)?;
    // The kernel makes the same address anew; the neighbour is the one that it was.
    speaker.await_sessions(&sessions(ends)).with_context(|| frr.log())?;
    cables.await_ways(&ways(ends))
}

#[test]
fn rfc8950_2_a_neighbour_with_a_new_address_is_found_anew() -> Result<()> {
    let cables = Cables::new()?;
    let ends = right_ends(&cables)?;
    let frr = Frr::start(&cables.right, RIGHT)?;
    let mut speaker = Speaker::start(&cables.left, LEFT, BOTH_CABLES)?;
    speaker.await_sessions(&sessions(ends)).with_context(|| frr.log())?;
    let new = "fe80::beef".parse()?;
    Cables::renumber(&cables.right, CABLES[0], new)?;
    let ends = [new, ends[1]];
    speaker.await_sessions(&sessions(ends)).with_context(|| frr.log())?;
    cables.await_ways(&ways(ends))?;
    cables.talk()
}

/// Switches often have one link-local address on all ports.
#[test]
fn rfc8950_2_one_link_local_address_on_both_cables_is_two_sessions() -> Result<()> {
    let cables = Cables::new()?;
    let same: Ipv6Addr = "fe80::1".parse()?;
    for cable in CABLES {
        Cables::renumber(&cables.right, cable, same)?;
    }
    let mut there = Speaker::start(&cables.right, RIGHT, BOTH_CABLES)?;
    let mut speaker = Speaker::start(&cables.left, LEFT, BOTH_CABLES)?;
    speaker.await_sessions(&sessions([same, same]))?;
    let left = [Cables::link_local(&cables.left, CABLES[0])?, Cables::link_local(&cables.left, CABLES[1])?];
    there.await_sessions(&sessions(left))?;
    cables.await_ways(&ways([same, same]))?;
    cables.await_way_back()?;
    cables.talk()
}

/// RFC 5082: on a cable nobody is further away than one hop.
#[test]
fn rfc5082_1_an_unnumbered_session_can_be_held_to_one_hop() -> Result<()> {
    let cables = Cables::new()?;
    let ends = right_ends(&cables)?;
    let secure = format!("{BOTH_CABLES}, ttlSecurity: 1");
    let _there = Speaker::start(&cables.right, RIGHT, &secure)?;
    let mut speaker = Speaker::start(&cables.left, LEFT, &secure)?;
    speaker.await_sessions(&sessions(ends))?;
    cables.await_ways(&ways(ends))
}

#[test]
fn a_router_that_does_not_advertise_is_waited_for_by_name() -> Result<()> {
    let cables = Cables::new()?;
    right_ends(&cables)?;
    Cables::link_local(&cables.left, CABLES[0])?;
    let speaker = Speaker::start(&cables.left, LEFT, "interface: eth0, peerASN: external")?;
    muslin_proto_tests::wait::until("the status names what it waits for", || {
        let status = speaker.ask(&["status"])?;
        let said = status["readiness"]["waitingFor"].to_string();
        let wanted = "peer tor/eth0: waiting for a router advertisement on eth0";
        Ok(if said.contains(wanted) { Ok(()) } else { Err(said) })
    })?;
    let awaited = &speaker.ask(&["status"])?["awaited"][0];
    ensure!(
        awaited["interface"] == "eth0" && awaited["remedy"].to_string().contains("neighbor eth0"),
        "{awaited}"
    );
    Ok(())
}

/// The gateway of the default route, a link-local one here, is the peer, and follows the route.
#[test]
fn the_default_gateway_is_the_peer_and_follows_the_route() -> Result<()> {
    let cables = Cables::new()?;
    let ends = right_ends(&cables)?;
    // A router that takes whoever is on its links.
    let range = "listenRange: \"fe80::/10\", peerASN: external, families: [IPv4, IPv6]";
    let _there = Speaker::start(&cables.right, RIGHT, range)?;
    let gateway = "autoDiscovery: {mode: DefaultGateway, addressFamily: IPv6}, families: [IPv4, IPv6], \
                   peerASN: external, connectRetry: 1s";
    let mut speaker = Speaker::start(&cables.left, LEFT, gateway)?;
    speaker.await_sessions(&[])?;
    let default = "::/0".parse()?;
    let named = |end: Ipv6Addr, cable: &str| format!("tor/{end}%{cable}");
    for (cable, end) in CABLES.into_iter().zip(ends) {
        Cables::default_route(&cables.left, end, cable)?;
        speaker.await_sessions(&[(&named(end, cable), end)])?;
        cables.await_ways(&[(cable, end)])?;
        cables.left.remove_route(default)?;
    }
    speaker.await_sessions(&[])
}
