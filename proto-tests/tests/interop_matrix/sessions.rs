//! How sessions come about, and what keeps others out of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_proto_tests::daemon::Daemon;
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::kernel;
use muslin_proto_tests::setup::{Role, Session, Setup};
use muslin_proto_tests::wait;

use crate::pair::Pair;
use crate::record::Verdict;

fn exchanges(candidate: &Candidate, asns: (u32, u32)) -> Result<Verdict> {
    Pair::of(candidate, asns, |ours| ours, |theirs| theirs)?.exchange()?;
    Ok(Verdict::WORKS)
}

pub(crate) fn external(candidate: &Candidate) -> Result<Verdict> {
    exchanges(candidate, (65001, 65002))
}

pub(crate) fn internal(candidate: &Candidate) -> Result<Verdict> {
    exchanges(candidate, (65001, 65001))
}

pub(crate) fn four_octet_as(candidate: &Candidate) -> Result<Verdict> {
    exchanges(candidate, (4_200_000_001, 4_200_000_002))
}

/// Ours expects another AS than theirs: it says so on the wire and to its operator, and never exchanges a route.
pub(crate) fn wrong_as(candidate: &Candidate) -> Result<Verdict> {
    let expects_another = |mut setup: Setup| {
        for session in &mut setup.sessions {
            session.peer.asn = 65003;
        }
        setup
    };
    let mut pair = Pair::of(candidate, (65001, 65002), expects_another, |theirs| theirs)?;
    pair.await_fault("both sessions name the fault", |line| line.contains("2/2") || line.contains("65002"))?;
    ensure!(pair.ours.daemon.established()? == 0 && pair.theirs.daemon.established()? == 0);
    let sent = &pair.ours.setup.announcements;
    let received = pair.theirs.daemon.received()?;
    ensure!(received.iter().all(|route| !sent.iter().any(|own| own.prefix == route.prefix)));
    Ok(Verdict::WORKS)
}

/// A peer that hangs is given up after the hold time, its routes go, and it is welcome when it wakes.
pub(crate) fn hangs(candidate: &Candidate) -> Result<Verdict> {
    let short = |setup: Setup| Setup { hold_time: 3, ..setup };
    let mut pair = Pair::of(candidate, (65001, 65002), short, short)?;
    pair.ours.await_routes(&pair.theirs.expected_at_peer())?;
    pair.theirs.daemon.process().freeze()?;
    let frozen = Instant::now();
    wait::until("both sessions are given up", || {
        let established = pair.ours.daemon.established()?;
        Ok(if established == 0 { Ok(()) } else { Err(format!("{established} established")) })
    })?;
    let took = frozen.elapsed();
    // Their last KEEPALIVE may have come up to a second before; a second is for a machine under load.
    ensure!(took > Duration::from_secs(1) && took < Duration::from_secs(6), "given up after {took:?}");
    pair.await_nothing().context("its routes are gone")?;
    pair.theirs.daemon.process().thaw()?;
    pair.ours.await_routes(&pair.theirs.expected_at_peer()).context("after it woke up")?;
    pair.theirs.await_routes(&pair.ours.expected_at_peer()).context("after it woke up")?;
    Ok(Verdict::WORKS)
}

/// First without a key at ours: the kernel has to drop what theirs signs; then with it.
pub(crate) fn md5(candidate: &Candidate) -> Result<Verdict> {
    let key = |setup: Setup| setup.with(|features| features.password = Some("first-key".to_owned()));
    let mut pair = Pair::of(candidate, (65001, 65002), |setup| setup, key)?;
    let both = [&pair.link.left, &pair.link.right];
    kernel::await_counter(&both, &["TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure"])?;
    ensure!(pair.ours.daemon.established()? == 0, "a session without its key");
    pair.ours.setup = key(pair.ours.setup);
    pair.ours.daemon.reload(&pair.ours.setup)?;
    pair.exchange()?;
    Ok(Verdict::WORKS)
}

/// A new key on both sides while they run: the sessions come back with it.
pub(crate) fn md5_rotation(candidate: &Candidate) -> Result<Verdict> {
    let key = |text: &'static str| {
        move |setup: Setup| setup.with(|features| features.password = Some(text.to_owned()))
    };
    let mut pair = Pair::of(candidate, (65001, 65002), key("first-key"), key("first-key"))?;
    pair.both_have_all()?;
    pair.ours.setup = key("second-key")(pair.ours.setup);
    pair.theirs.setup = key("second-key")(pair.theirs.setup);
    pair.ours.daemon.reload(&pair.ours.setup)?;
    pair.theirs.daemon.reload(&pair.theirs.setup)?;
    // It reads its configuration again, but goes on with the key that it had.
    let keeps_the_key = candidate.kind == Kind::GoBgp;
    if keeps_the_key {
        pair.theirs.daemon.crash(&pair.link.right)?;
    }
    wait::until("every session is established once more", || {
        let peers = pair.ours.daemon.peers()?;
        let counts: Vec<u64> =
            peers.iter().filter_map(|peer| peer["messages"]["established"].as_u64()).collect();
        Ok(if counts.iter().all(|count| *count >= 2) { Ok(()) } else { Err(format!("{counts:?}")) })
    })?;
    pair.exchange().context("with the second key")?;
    Ok(if keeps_the_key {
        Verdict::works_but("theirs had to be started again to take the new key; ours ran on")
    } else {
        Verdict::WORKS
    })
}

/// First theirs is an ordinary neighbour, whose packets ours has to drop; then both use it.
pub(crate) fn gtsm(candidate: &Candidate) -> Result<Verdict> {
    let secure = |setup: Setup| setup.with(|features| features.ttl_security = true);
    let mut pair = Pair::of(candidate, (65001, 65002), secure, secure)?;
    pair.exchange()?;
    drop(pair);
    let mut pair = Pair::of(candidate, (65001, 65002), secure, |setup| setup)?;
    kernel::await_counter(&[&pair.link.left], &["TCPMinTTLDrop"])?;
    ensure!(pair.ours.daemon.established()? == 0, "a session with a neighbour that sends a low TTL");
    Ok(Verdict::WORKS)
}

fn ranged(setup: Setup) -> Result<Setup> {
    let ranges: [IpNet; 2] = ["192.0.2.0/24".parse()?, "fd99::/64".parse()?];
    let session = |session: &Session| {
        let range = ranges[usize::from(session.transport == Family::Ipv6Unicast)];
        session.clone().with(|features| features.range = Some(range))
    };
    Ok(Setup { sessions: setup.sessions.iter().map(session).collect(), ..setup })
}

pub(crate) fn in_our_range(candidate: &Candidate) -> Result<Verdict> {
    let ours = |setup: Setup| ranged(setup.clone()).unwrap_or(setup);
    Pair::of(candidate, (65001, 65002), ours, |theirs| theirs)?.exchange()?;
    Ok(Verdict::WORKS)
}

pub(crate) fn in_their_range(candidate: &Candidate) -> Result<Verdict> {
    // ExaBGP leaves connections out of an IPv6 range alone.
    let only_ipv4 = candidate.kind == Kind::ExaBgp;
    let some = |mut setup: Setup| {
        setup.sessions.retain(|session| !(only_ipv4 && session.transport == Family::Ipv6Unicast));
        setup.announcements.retain(|announcement| !(only_ipv4 && announcement.prefix.addr().is_ipv6()));
        setup
    };
    let theirs = |setup: Setup| some(ranged(setup.clone()).unwrap_or(setup));
    let mut pair = Pair::of(candidate, (65001, 65002), some, theirs)?;
    pair.ours.await_established()?;
    pair.theirs.await_routes(&pair.ours.expected_at_peer())?;
    if candidate.kind == Kind::ExaBgp {
        return Ok(Verdict::works_but(
            "IPv4 only: it does not answer connections out of an IPv6 range; it is sent routes",
        ));
    }
    pair.both_have_all()?;
    Ok(Verdict::WORKS)
}

/// Provider and customer exchange routes; two providers do not come together, and both say why.
pub(crate) fn roles(candidate: &Candidate) -> Result<Verdict> {
    let role = |role: Role| move |setup: Setup| setup.with(|features| features.role = Some(role));
    let mut pair = Pair::of(candidate, (65001, 65002), role(Role::Provider), role(Role::Customer))?;
    pair.needs_capability("role")?;
    pair.both_have_all()?;
    drop(pair);
    let mut pair = Pair::of(candidate, (65001, 65002), role(Role::Provider), role(Role::Provider))?;
    pair.await_fault("a role mismatch on both sessions", |line| line.contains("2/11"))?;
    ensure!(pair.ours.daemon.established()? == 0, "two providers");
    Ok(Verdict::WORKS)
}
