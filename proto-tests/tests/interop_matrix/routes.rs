//! What routes carry, and how often they are sent.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use muslin_bgp_packet::Family;
use muslin_proto_tests::daemon::{Daemon, Refused};
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::peering::Link;
use muslin_proto_tests::route::{Announcement, Route};
use muslin_proto_tests::setup::{Features, Session, Setup};
use muslin_proto_tests::wait;

use crate::pair::Pair;
use crate::record::Verdict;

/// IPv4 and IPv6 over one IPv6 session, with IPv6 next hops for both.
pub(crate) fn extended_next_hop(candidate: &Candidate) -> Result<Verdict> {
    let one = |setup: Setup| {
        let peer = setup.sessions[0].peer;
        let session = Session { families: Family::ALL.into(), ..Session::new(peer, Family::Ipv6Unicast) };
        Setup { sessions: vec![session.with(|features| features.extended_next_hop = true)], ..setup }
    };
    // No IPv4 address that could be a next hop.
    let link = Link::with(65001, 65002, &[Family::Ipv6Unicast])?;
    let mut pair = Pair::on(link, candidate, one, one)?;
    pair.needs_capability("extended next hop")?;
    pair.both_have_all()?;
    Ok(Verdict::WORKS)
}

/// A route that fits no ordinary message, both ways.
pub(crate) fn extended_messages(candidate: &Candidate) -> Result<Verdict> {
    let long = |setup: Setup| setup.with(|features| features.extended_messages = true);
    let mut pair = Pair::of(candidate, (65001, 65002), long, long)?;
    pair.needs_capability("extended message")?;
    let communities: BTreeSet<_> = (0..1200).map(|number| (64512, number)).collect();
    let route = |prefix: &str| -> Result<Announcement> {
        Ok(Announcement { communities: communities.clone(), ..Announcement::plain(prefix.parse()?) })
    };
    pair.ours.announce(route("10.1.99.0/24")?)?;
    pair.theirs.announce(route("10.2.99.0/24")?)?;
    await_marked("10.2.99.0/24", || pair.ours.daemon.received())?;
    await_marked("10.1.99.0/24", || pair.theirs.daemon.received())?;
    ensure!(pair.ours.daemon.established()? == 2, "a session was lost on the way");
    Ok(Verdict::WORKS)
}

/// Some of the communities are enough: not every client shows all of them, and they come in one message or not at all.
fn await_marked(prefix: &str, mut received: impl FnMut() -> Result<BTreeSet<Route>>) -> Result<()> {
    wait::until(&format!("{prefix} with many communities"), || {
        let routes = received()?;
        let marked = |route: &Route| route.prefix.to_string() == prefix && route.communities.len() > 30;
        Ok(if routes.iter().any(marked) { Ok(()) } else { Err(format!("{} routes", routes.len())) })
    })
}

/// Theirs asks and gets everything again; the request was seen on every session.
pub(crate) fn refresh(candidate: &Candidate) -> Result<Verdict> {
    let mut pair = Pair::new(candidate, |_| {}, |_| {})?;
    pair.both_have_all()?;
    pair.theirs.daemon.refresh()?;
    if candidate.kind == Kind::GoBgp {
        pair.theirs.announce(Announcement::plain("10.2.50.0/24".parse()?))?;
        pair.both_have_all()?;
        ensure!(refreshes(&pair)?.iter().any(|count| *count > 0), Refused(EVALUATES_AGAIN.to_owned()));
    }
    wait::until("a request to refresh on every session", || {
        let counts = refreshes(&pair)?;
        Ok(if counts.iter().all(|count| *count >= 1) { Ok(()) } else { Err(format!("{counts:?}")) })
    })?;
    pair.both_have_all()?;
    Ok(Verdict::WORKS)
}

const EVALUATES_AGAIN: &str =
    "its `neighbor softresetin` sends no ROUTE-REFRESH: it evaluates again what it kept";

fn refreshes(pair: &Pair) -> Result<Vec<u64>> {
    let peers = pair.ours.daemon.peers()?;
    Ok(peers.iter().filter_map(|peer| peer["messages"]["received"]["refresh"].as_u64()).collect())
}

/// Theirs asks, and the answer stands between its marks (RFC 7313), which theirs counts.
pub(crate) fn enhanced_refresh(candidate: &Candidate) -> Result<Verdict> {
    let enhanced = |features: &mut Features| features.enhanced_refresh = true;
    let mut pair = Pair::new(candidate, enhanced, enhanced)?;
    pair.needs_capability("enhanced route refresh")?;
    pair.both_have_all()?;
    pair.theirs.daemon.refresh()?;
    let waited = wait::until("both marks on every session", || {
        let marks = pair.theirs.daemon.refreshes()?;
        Ok(if marks.iter().all(|count| *count >= 2) { Ok(()) } else { Err(format!("{marks:?}")) })
    });
    waited.with_context(|| pair.theirs.daemon.said().unwrap_or_default())?;
    pair.both_have_all()?;
    ensure!(pair.ours.daemon.established()? == 2, "a session was lost on the way");
    Ok(Verdict::WORKS)
}
