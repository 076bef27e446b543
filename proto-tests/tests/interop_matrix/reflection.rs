//! More than two speakers: reflection, several paths for one prefix, and what passes through ours.

use std::collections::BTreeSet;
use std::slice;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_proto_tests::daemon::Daemon;
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::peering::Side;
use muslin_proto_tests::route::{Announcement, Route, compare};
use muslin_proto_tests::setup::{AddPath, Features};
use muslin_proto_tests::wait;

use crate::hub::{Hub, plain};
use crate::record::Verdict;

fn client(features: &mut Features) {
    features.reflector_client = true;
}

fn one(prefix: &str) -> Result<Announcement> {
    Ok(Announcement::plain(prefix.parse()?))
}

/// The routes to one prefix that a speaker has.
fn routes_to<D: Daemon + ?Sized>(side: &mut Side<D>, prefix: IpNet) -> Result<BTreeSet<Route>> {
    Ok(side.daemon.received()?.into_iter().filter(|route| route.prefix == prefix).collect())
}

fn await_route<D: Daemon + ?Sized>(side: &mut Side<D>, expected: &Route) -> Result<()> {
    let expected = BTreeSet::from([expected.clone()]);
    let prefix = expected.iter().next().context("one")?.prefix;
    let waited = wait::until("the route", || Ok(compare(&expected, &routes_to(side, prefix)?)));
    waited.with_context(|| side.log())
}

/// Ours in the middle: a route of theirs reaches another client and the other's reaches theirs, next hops untouched.
pub(crate) fn ours_reflects(candidate: &Candidate) -> Result<Verdict> {
    let mut hub = Hub::new()?;
    let (middle, left, right) = (hub.host(65001)?, hub.host(65001)?, hub.host(65001)?);
    let (from_left, from_right) = (one("10.21.0.0/24")?, one("10.22.0.0/24")?);
    let mut theirs =
        right.theirs(candidate, right.setup(&[(&middle, &plain)], slice::from_ref(&from_right)))?;
    let _middle = middle.ours(middle.setup(&[(&left, &client), (&right, &client)], &[]))?;
    let mut ours = left.ours(left.setup(&[(&middle, &plain)], slice::from_ref(&from_left)))?;
    await_route(&mut theirs, &from_left.as_received(&left.end, &right.end)).context("at theirs")?;
    await_route(&mut ours, &from_right.as_received(&right.end, &left.end)).context("at ours")?;
    theirs.withdraw(from_right.prefix)?;
    wait::until("the withdrawal, reflected", || {
        let left = routes_to(&mut ours, from_right.prefix)?;
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
    })?;
    Ok(Verdict::WORKS)
}

/// Theirs in the middle: a route of one client of ours reaches the other with its originator and a cluster list.
pub(crate) fn theirs_reflects(candidate: &Candidate) -> Result<Verdict> {
    let mut hub = Hub::new()?;
    let (middle, left, right) = (hub.host(65001)?, hub.host(65001)?, hub.host(65001)?);
    let (from_left, from_right) = (one("10.21.0.0/24")?, one("10.22.0.0/24")?);
    let setup = middle.setup(&[(&left, &client), (&right, &client)], &[]);
    let middle_side = middle.theirs(candidate, setup)?;
    let mut one = left.ours(left.setup(&[(&middle, &plain)], slice::from_ref(&from_left)))?;
    let mut other = right.ours(right.setup(&[(&middle, &plain)], slice::from_ref(&from_right)))?;
    await_route(&mut other, &from_left.as_received(&left.end, &right.end))
        .with_context(|| middle_side.log())?;
    await_route(&mut one, &from_right.as_received(&right.end, &left.end))
        .with_context(|| middle_side.log())?;
    let shown = other.daemon.shown_routes()?;
    let reflected = shown.iter().find(|route| route["prefix"] == from_left.prefix.to_string().as_str());
    let reflected = reflected.context("it was just there")?;
    ensure!(reflected["originatorId"] == left.end.v4.to_string().as_str(), "{reflected}");
    ensure!(reflected["clusterList"].as_array().is_some_and(|list| !list.is_empty()), "{reflected}");
    Ok(Verdict::WORKS)
}

fn sends(features: &mut Features) {
    features.add_path = Some(AddPath::Send);
}

fn receives(features: &mut Features) {
    features.add_path = Some(AddPath::Receive);
}

/// Waits until a speaker has the prefix by each of these first two ASes.
fn await_paths<D: Daemon + ?Sized>(side: &mut Side<D>, prefix: IpNet, paths: [[u32; 2]; 2]) -> Result<()> {
    let waited = wait::until("both paths", || {
        let found: BTreeSet<Vec<u32>> =
            routes_to(side, prefix)?.into_iter().map(|route| route.as_path).collect();
        let all = paths.iter().all(|path| found.contains(path.as_slice()));
        Ok(if all && found.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) })
    });
    waited.with_context(|| side.log())
}

/// Two origins of one prefix behind ours; theirs gets both paths, and loses one when it goes.
pub(crate) fn add_path_to_theirs(candidate: &Candidate) -> Result<Verdict> {
    let mut hub = Hub::new()?;
    let (middle, a, b, right) = (hub.host(65010)?, hub.host(65001)?, hub.host(65002)?, hub.host(65003)?);
    let route = one("10.30.0.0/24")?;
    let mut theirs = right.theirs(candidate, right.setup(&[(&middle, &receives)], &[]))?;
    let _middle = middle.ours(middle.setup(&[(&a, &plain), (&b, &plain), (&right, &sends)], &[]))?;
    let _a = a.ours(a.setup(&[(&middle, &plain)], slice::from_ref(&route)))?;
    let mut b = b.ours(b.setup(&[(&middle, &plain)], slice::from_ref(&route)))?;
    await_paths(&mut theirs, route.prefix, [[65010, 65001], [65010, 65002]])?;
    b.withdraw(route.prefix)?;
    wait::until("one path less", || {
        let left = routes_to(&mut theirs, route.prefix)?;
        Ok(if left.len() == 1 { Ok(()) } else { Err(format!("{left:?}")) })
    })?;
    Ok(Verdict::WORKS)
}

/// Two origins of one prefix behind theirs; ours gets both paths.
pub(crate) fn add_path_to_ours(candidate: &Candidate) -> Result<Verdict> {
    if candidate.kind == Kind::ExaBgp {
        return own_paths_to_ours(candidate);
    }
    let mut hub = Hub::new()?;
    let (middle, a, b, right) = (hub.host(65010)?, hub.host(65001)?, hub.host(65002)?, hub.host(65003)?);
    let route = one("10.30.0.0/24")?;
    let setup = middle.setup(&[(&a, &plain), (&b, &plain), (&right, &sends)], &[]);
    let middle_side = middle.theirs(candidate, setup)?;
    let _a = a.ours(a.setup(&[(&middle, &plain)], slice::from_ref(&route)))?;
    let mut b = b.ours(b.setup(&[(&middle, &plain)], slice::from_ref(&route)))?;
    let mut ours = right.ours(right.setup(&[(&middle, &receives)], &[]))?;
    await_paths(&mut ours, route.prefix, [[65010, 65001], [65010, 65002]])
        .with_context(|| middle_side.log())?;
    b.withdraw(route.prefix)?;
    wait::until("one path less", || {
        let left = routes_to(&mut ours, route.prefix)?;
        Ok(if left.len() == 1 { Ok(()) } else { Err(format!("{left:?}")) })
    })?;
    Ok(Verdict::WORKS)
}

/// Theirs passes nothing on, but has two paths of its own.
fn own_paths_to_ours(candidate: &Candidate) -> Result<Verdict> {
    let mut hub = Hub::new()?;
    let (left, right) = (hub.host(65010)?, hub.host(65003)?);
    let mut theirs = left.theirs(candidate, left.setup(&[(&right, &sends)], &[]))?;
    let mut ours = right.ours(right.setup(&[(&left, &receives)], &[]))?;
    let (prefix, paths) = ("10.30.0.0/24".parse()?, [[65010, 65001], [65010, 65002]]);
    for (path, identifier) in paths.iter().zip(1..) {
        theirs.daemon.announce_path(prefix, identifier, path)?;
    }
    await_paths(&mut ours, prefix, paths).with_context(|| theirs.log())?;
    Ok(Verdict::works_but("it passes nothing on: both paths are its own"))
}

/// From theirs through ours to theirs: communities of all kinds are still on the route.
pub(crate) fn communities(candidate: &Candidate) -> Result<Verdict> {
    let mut hub = Hub::new()?;
    let (middle, left, right) = (hub.host(65001)?, hub.host(65002)?, hub.host(65003)?);
    let marked = Announcement {
        communities: [(64512, 1), (64512, 65535)].into(),
        extended_communities: ["rt:64512:7", "ro:64512:8"].map(str::to_owned).into(),
        large_communities: [(4_200_000_001, 1, u32::MAX)].into(),
        ..one("10.40.0.0/24")?
    };
    let _left = left.theirs(candidate, left.setup(&[(&middle, &plain)], slice::from_ref(&marked)))?;
    let mut right_side = right.theirs(candidate, right.setup(&[(&middle, &plain)], &[]))?;
    let mut ours = middle.ours(middle.setup(&[(&left, &plain), (&right, &plain)], &[]))?;
    let at_ours = marked.as_received(&left.end, &middle.end);
    await_route(&mut ours, &at_ours).context("at ours")?;
    // On one link the next hop of an external route may stay what it was (RFC 4271 §5.1.3); MED goes no further.
    let waited = wait::until("the communities", || {
        let found = routes_to(&mut right_side, marked.prefix)?;
        let same = |route: &Route| {
            route.communities == marked.communities
                && route.extended_communities == marked.extended_communities
                && route.large_communities == marked.large_communities
                && route.as_path == [65001, 65002]
        };
        Ok(if found.iter().any(same) { Ok(()) } else { Err(format!("{found:?}")) })
    });
    waited.with_context(|| right_side.log())?;
    Ok(Verdict::WORKS)
}
