//! A speaker goes away and comes back, and packets do not notice.

use std::net::{IpAddr, UdpSocket};

use anyhow::{Context, Result, bail, ensure};
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::{Daemon, Refused};
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::route::Route;
use muslin_proto_tests::setup::Features;
use muslin_proto_tests::traffic::Traffic;
use muslin_proto_tests::wait;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::pair::Pair;
use crate::record::Verdict;

/// An address in a prefix that each end originates from the start.
const OURS: [&str; 2] = ["10.1.0.1", "fd00:1::1"];
const THEIRS: [&str; 2] = ["10.2.0.1", "fd00:2::1"];

/// Whether it puts routes into the kernel as it is run here.
fn forwards(candidate: &Candidate) -> bool {
    matches!(candidate.kind, Kind::Bird | Kind::Bird3 | Kind::Frr)
}

fn pair(candidate: &Candidate) -> Result<Pair> {
    let mut pair = Pair::new(candidate, |ours| ours.restarts = true, |theirs| theirs.restarts = true)?;
    for (host, addresses) in [(&pair.link.left, OURS), (&pair.link.right, THEIRS)] {
        for address in addresses {
            let address: IpAddr = address.parse()?;
            host.add_address("lo", address.into())?;
        }
    }
    pair.both_have_all()?;
    Ok(pair)
}

/// Packets to both families' addresses of the other host, once they arrive.
fn traffic(from: &Namespace, to: &Namespace, addresses: [&str; 2]) -> Result<Vec<Traffic>> {
    let mut all = Vec::new();
    for address in addresses {
        let address: IpAddr = address.parse()?;
        wait::until(&format!("a route to {address}"), || {
            // Connecting a datagram socket is a route look-up and no more.
            let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let found = from.run(|| UdpSocket::bind((any, 0))?.connect((address, 9)))?;
            Ok(found.map_err(|error| error.to_string()))
        })?;
        all.push(Traffic::start(from, to, address)?);
    }
    Ok(all)
}

/// At most 50 ms without a way. Two kernels and two daemons have a part in it; who of them lost the few packets that a
/// busy machine loses at times was not found out.
fn hardly_any_lost(traffic: Vec<Traffic>) -> Result<()> {
    for one in traffic {
        let to = one.to();
        let count = one.finish()?;
        ensure!(count.lost <= 25, "{count:?} to {to}");
    }
    Ok(())
}

/// Waits until each of our sessions has been established so often in the life of this process.
fn await_sessions(pair: &Pair, times: u64) -> Result<()> {
    let waited = wait::until("every session", || {
        let peers = pair.ours.daemon.peers()?;
        let counts: Vec<u64> =
            peers.iter().filter_map(|peer| peer["messages"]["established"].as_u64()).collect();
        let all = counts.iter().all(|count| *count >= times)
            && peers.iter().all(|peer| peer["established"] == true);
        Ok(if all { Ok(()) } else { Err(format!("{counts:?}")) })
    });
    waited.with_context(|| pair.theirs.log())
}

/// Whether the last OPEN of every session says so.
fn kept_forwarding(pair: &Pair) -> Result<bool> {
    let peers = pair.ours.daemon.peers()?;
    let kept = |peer: &Value| {
        let theirs = peer["negotiated"]["capabilities"]["theirs"].as_array();
        theirs.into_iter().flatten().filter_map(Value::as_str).any(|words| words.contains("forwarding kept"))
    };
    Ok(peers.iter().all(kept))
}

fn verdict(candidate: &Candidate) -> Verdict {
    if forwards(candidate) {
        Verdict::WORKS
    } else if candidate.kind == Kind::ExaBgp {
        Verdict::works_but("packets counted in our kernel; theirs has neither a kernel nor a table")
    } else {
        Verdict::works_but(
            "packets counted in our kernel; theirs forwards none as it is run here: its table was compared",
        )
    }
}

/// Theirs is killed and stays away. When its restart time is over its routes stay, as last resort and marked so.
pub(crate) fn long_lived(candidate: &Candidate) -> Result<Verdict> {
    let long = |features: &mut Features| {
        features.restarts = true;
        features.long_lived = true;
    };
    let mut pair = Pair::new(candidate, long, long)?;
    pair.needs_capability("long-lived graceful restart")?;
    pair.both_have_all()?;
    pair.theirs.daemon.process().signal(Signal::SIGKILL)?;
    let expected = pair.theirs.expected_at_peer();
    let waited = wait::until("every route marked as stale for long", || {
        let shown = pair.ours.daemon.shown_routes()?;
        let marked = |route: &Route| {
            shown.iter().any(|one| {
                // Our import adds the mark to what was received.
                let words = ["communities", "changes"].map(|name| one[name].as_array().into_iter().flatten());
                one["prefix"] == route.prefix.to_string().as_str()
                    && one["stale"] == true
                    && words.into_iter().flatten().any(|word| word.to_string().contains("llgr-stale"))
            })
        };
        Ok(if expected.iter().all(marked) { Ok(()) } else { Err(format!("{shown:#?}")) })
    });
    waited.with_context(|| pair.ours.log())?;
    Ok(Verdict::WORKS)
}

/// Ours is killed and started again. Both kernels forward, or theirs keeps the routes, all the time.
pub(crate) fn ours_restarts(candidate: &Candidate) -> Result<Verdict> {
    let mut pair = pair(candidate)?;
    pair.needs_capability("graceful restart")?;
    let expected = pair.ours.expected_at_peer();
    let (left, right) = (pair.link.left.clone(), pair.link.right.clone());
    let mut packets = traffic(&left, &right, THEIRS)?;
    if forwards(candidate) {
        packets.extend(traffic(&right, &left, OURS)?);
    }
    pair.ours.daemon.crash(&left)?;
    wait::until("every session", || {
        let found = pair.theirs.daemon.received()?;
        // ExaBGP has no table in which routes could be kept.
        for route in expected.iter().filter(|_| candidate.kind != Kind::ExaBgp) {
            let kept = found.iter().any(|one| one.prefix == route.prefix);
            if !kept {
                bail!("theirs lost {route} meanwhile:\n{}", pair.theirs.log());
            }
        }
        let established = pair.ours.daemon.established()?;
        Ok(if established == 2 { Ok(()) } else { Err(format!("{established} established")) })
    })?;
    pair.both_have_all()?;
    pair.ours.await_ends_of_rib()?;
    hardly_any_lost(packets)?;
    Ok(verdict(candidate))
}

/// Theirs is killed and started again. Ours keeps its routes in the kernel, and packets arrive all the time.
pub(crate) fn theirs_restarts(candidate: &Candidate) -> Result<Verdict> {
    let mut pair = pair(candidate)?;
    pair.needs_capability("graceful restart")?;
    let (left, right) = (pair.link.left.clone(), pair.link.right.clone());
    let mut packets = traffic(&left, &right, THEIRS)?;
    // FRR's zebra takes the routes of a bgpd that is back up anew, which leaves a hole in its own IPv6 table.
    let both_ways = forwards(candidate) && candidate.kind != Kind::Frr;
    if both_ways {
        packets.extend(traffic(&right, &left, OURS)?);
    }
    pair.theirs.daemon.crash(&right)?;
    await_sessions(&pair, 2)?;
    pair.both_have_all()?;
    pair.ours.await_ends_of_rib()?;
    if !kept_forwarding(&pair)? {
        bail!(Refused(
            "its OPEN after the restart says that it did not keep forwarding (F bit clear)".to_owned()
        ));
    }
    hardly_any_lost(packets)?;
    Ok(if forwards(candidate) && !both_ways {
        Verdict::works_but(
            "packets towards theirs counted: up to 50 ms of them may be lost while FRR sends its routes again, and its own zebra \
             replaces IPv6 routes with a hole",
        )
    } else {
        verdict(candidate)
    })
}
