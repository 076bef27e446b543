//! What must hold of a network that has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_speaker::rib::{Page, RouteFilter, RouteState, RouteView};
use muslin_bgp_speaker::{Answer, Query, Speaker};

use crate::model::who_knows;
use crate::network::link;
use crate::topology::Guarding;
use crate::world::{World, address, host_of, owner_of};

/// Everything that does not hold, in words.
pub(crate) fn violations(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let tables: Vec<_> = (0..world.originated.len()).map(|host| loc_rib(world, host)).collect();
    sessions_are_as_wanted(world, &mut found);
    both_ends_hold_the_same(world, &mut found);
    for (host, routes) in tables.iter().enumerate() {
        nothing_is_stale(world, host, routes, &mut found);
        blocks_have_one_owner(world, host, routes, &mut found);
        the_kernel_has_what_is_best(world, host, routes, &mut found);
    }
    forwarding_ends_at_an_originator(world, &mut found);
    who_can_know_knows(world, &tables, &mut found);
    found
}

/// A session is up where both sides want it, over one connection, and nowhere else.
fn sessions_are_as_wanted(world: &World, found: &mut Vec<String>) {
    for peering in &world.topology.peerings {
        let wanted = peering.sides.iter().all(|side| !side.absent);
        for end in 0..2 {
            let [host, other] = [peering.ends[end], peering.ends[1 - end]];
            let peers = speaker(world, host).peers(world.network.now);
            let peer = peers.iter().find(|peer| peer.address == address(other));
            let up = peer.is_some_and(|peer| peer.established);
            if up != wanted {
                let why = peer.and_then(|peer| peer.last_error.as_ref()).map(|error| &error.text);
                found.push(format!("session of {host} with {other}: up {up}, wanted {wanted}; {why:?}"));
            }
            let whole = peer.is_none_or(|peer| {
                peer.families.iter().all(|family| !family.negotiated || family.end_of_rib_received)
            });
            if up && !whole {
                found.push(format!("{host} never got End-of-RIB from {other}"));
            }
        }
        let connections = world.network.whole_connections(link(peering.ends[0], peering.ends[1]));
        if connections != usize::from(wanted) {
            found.push(format!("{connections} connections on {:?}, wanted {wanted}", peering.ends));
        }
    }
}

/// What one speaker thinks that it has sent is what the other one holds.
fn both_ends_hold_the_same(world: &World, found: &mut Vec<String>) {
    for peering in world.topology.peerings.iter().filter(|p| p.sides.iter().all(|side| !side.absent)) {
        for end in 0..2 {
            let [from, to] = [peering.ends[end], peering.ends[1 - end]];
            let (Some(there), Some(here)) = (world.key_of(from, to), world.key_of(to, from)) else {
                continue;
            };
            let filter = everything();
            let sent =
                routes(speaker(world, from), &Query::AdjRibOut { peer: there, filter: filter.clone() });
            let held = routes(speaker(world, to), &Query::AdjRibIn { peer: here, filter });
            let (sent, held): (BTreeSet<_>, BTreeSet<_>) =
                (sent.iter().map(on_the_wire).collect(), held.iter().map(on_the_wire).collect());
            for lost in sent.difference(&held) {
                found.push(format!("{to} does not hold what {from} sent: {lost}"));
            }
            for stray in held.difference(&sent) {
                found.push(format!("{to} holds what {from} does not send: {stray}"));
            }
        }
    }
}

/// A route in what both sides see of it.
fn on_the_wire(route: &RouteView) -> String {
    let mut communities = route.communities.clone();
    communities.sort();
    format!(
        "{} id {:?} via {:?} {} [{}] med {:?} pref {:?} {communities:?} originator {:?} clusters {:?}",
        route.prefix,
        route.path_id,
        route.next_hop,
        route.origin,
        route.as_path,
        route.med,
        route.local_pref,
        route.originator_id,
        route.cluster_list
    )
}

/// No route outlives its origin or its session.
fn nothing_is_stale(world: &World, host: usize, routes: &[RouteView], found: &mut Vec<String>) {
    for route in routes {
        let prefix = route.prefix;
        if route.stale || is_marked(route) {
            found.push(format!("{host} keeps a stale {prefix} of {:?}", route.peer));
        }
        let origin = origin_as(route).unwrap_or(world.topology.asns[host]);
        let originated = match route.peer {
            None => world.originated[host].contains_key(&prefix),
            Some(_) => world.originators(prefix).any(|originator| world.topology.asns[originator] == origin),
        };
        if !originated {
            found.push(format!("{host} has {prefix} of AS {origin}, which nobody originates any more"));
        }
    }
}

/// A node uses nobody's route to a block but its owner's.
fn blocks_have_one_owner(world: &World, host: usize, routes: &[RouteView], found: &mut Vec<String>) {
    if world.topology.guarding == Guarding::None || !world.topology.is_node(host) {
        return;
    }
    let learned = routes.iter().filter(|route| route.peer.is_some() && is_usable(route));
    for route in learned {
        let Some(owner) = owner_of(route.prefix).filter(|owner| world.topology.is_node(*owner)) else {
            continue;
        };
        if owner == host || origin_as(route) != Some(world.topology.asns[owner]) {
            found.push(format!(
                "{host} uses {} of node {owner} with AS path [{}]",
                route.prefix, route.as_path
            ));
        }
    }
}

/// The changes for the kernel, added up, are the best routes.
fn the_kernel_has_what_is_best(world: &World, host: usize, routes: &[RouteView], found: &mut Vec<String>) {
    let mut wanted: BTreeMap<IpNet, BTreeSet<IpAddr>> = BTreeMap::new();
    let own: BTreeSet<IpNet> =
        routes.iter().filter(|route| route.peer.is_none()).map(|route| route.prefix).collect();
    let selected = routes
        .iter()
        .filter(|route| matches!(route.state, RouteState::Best | RouteState::Multipath))
        .filter(|route| !own.contains(&route.prefix));
    for route in selected {
        wanted.entry(route.prefix).or_default().extend(route.next_hop);
    }
    let fib: BTreeMap<IpNet, BTreeSet<IpAddr>> = world.network.hosts[host]
        .fib
        .iter()
        .map(|(prefix, route)| (*prefix, route.next_hops.iter().map(|hop| hop.gateway).collect()))
        .collect();
    if fib != wanted {
        found.push(format!("the kernel of {host} has {fib:?}, best are {wanted:?}"));
    }
    let destinations: BTreeSet<_> = routes.iter().map(|route| route.prefix).collect();
    for prefix in destinations {
        let of_prefix = || routes.iter().filter(|route| route.prefix == prefix);
        let best = of_prefix().filter(|route| route.state == RouteState::Best).count();
        let usable = of_prefix().any(is_usable);
        if best != usize::from(usable) {
            found.push(format!("{host} has {best} best routes to {prefix}, usable: {usable}"));
        }
    }
}

/// Whoever follows the kernels' routes comes to an originator, on every branch.
fn forwarding_ends_at_an_originator(world: &World, found: &mut Vec<String>) {
    for (start, host) in world.network.hosts.iter().enumerate() {
        for prefix in host.fib.keys() {
            if let Err(error) = follow(world, *prefix, start, &mut Vec::new()) {
                found.push(format!("packets for {prefix} from {start}: {error}"));
            }
        }
    }
}

fn follow(world: &World, prefix: IpNet, at: usize, way: &mut Vec<usize>) -> Result<(), String> {
    if way.contains(&at) {
        return Err(format!("loop {way:?}, {at}"));
    }
    if world.originated[at].contains_key(&prefix) {
        return Ok(());
    }
    let Some(route) = world.network.hosts[at].fib.get(&prefix) else {
        return Err(format!("no route at {at} after {way:?}"));
    };
    way.push(at);
    for hop in &route.next_hops {
        let next = host_of(hop.gateway).ok_or_else(|| format!("{} is nobody", hop.gateway))?;
        follow(world, prefix, next, way)?;
    }
    way.pop();
    Ok(())
}

/// Everybody whom policy and peerings let know a prefix knows it, and nobody else.
fn who_can_know_knows(world: &World, tables: &[Vec<RouteView>], found: &mut Vec<String>) {
    let prefixes: BTreeSet<IpNet> =
        world.originated.iter().flat_map(|originated| originated.keys().copied()).collect();
    for prefix in prefixes {
        let is_stolen =
            owner_of(prefix).is_some_and(|owner| world.originators(prefix).any(|host| host != owner));
        if is_stolen {
            continue;
        }
        let knows =
            |host: &usize| tables[*host].iter().any(|route| route.prefix == prefix && is_usable(route));
        let known: BTreeSet<usize> = (0..tables.len()).filter(knows).collect();
        let wanted = who_knows(world, prefix);
        if known != wanted {
            found.push(format!("{prefix} is known to {known:?}, should be to {wanted:?}"));
        }
    }
}

/// What must hold of long-lived stale routes at any time (RFC 9494 §4.3): they are used only where there is no
/// other route, and go nowhere where they would be taken for good ones.
pub(crate) fn stale_routes_out_of_place(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for (host, node) in world.network.hosts.iter().enumerate() {
        if node.speaker.is_none() {
            continue;
        }
        let routes = loc_rib(world, host);
        for best in routes.iter().filter(|route| route.state == RouteState::Best && is_marked(route)) {
            let better = routes
                .iter()
                .find(|route| route.prefix == best.prefix && is_usable(route) && !is_marked(route));
            if let Some(better) = better {
                found.push(format!("{host} prefers a stale {} to that of {:?}", best.prefix, better.peer));
            }
        }
    }
    for peering in &world.topology.peerings {
        for [from, to] in [peering.ends, [peering.ends[1], peering.ends[0]]] {
            if peering.restart.and(peering.long_lived).is_some() {
                continue;
            }
            let Some(peer) = world.key_of(to, from) else { continue };
            let held = Query::AdjRibIn { peer, filter: everything() };
            for route in routes(speaker(world, to), &held).iter().filter(|route| is_marked(route)) {
                found.push(format!("{to} was sent a stale {} by {from}", route.prefix));
            }
        }
    }
    found
}

/// What is left of stale routes when a speaker has been away for longer than any stale time.
pub(crate) fn stale_routes_at(world: &World, away: usize) -> Vec<String> {
    let there = (0..world.originated.len()).filter(|host| *host != away);
    let stale = there.flat_map(|host| {
        let routes = loc_rib(world, host).into_iter();
        routes.filter(|route| route.stale || is_marked(route)).map(move |route| (host, route.prefix))
    });
    stale.map(|(host, prefix)| format!("{host} keeps a stale {prefix} while {away} is away")).collect()
}

fn is_marked(route: &RouteView) -> bool {
    route.communities.iter().any(|community| community == "llgr-stale")
}

fn is_usable(route: &RouteView) -> bool {
    matches!(route.state, RouteState::Best | RouteState::Multipath | RouteState::Usable)
}

/// The AS that a route began in, if it has passed one.
fn origin_as(route: &RouteView) -> Option<u32> {
    route.as_path.split_whitespace().next_back()?.parse().ok()
}

fn loc_rib(world: &World, host: usize) -> Vec<RouteView> {
    routes(speaker(world, host), &Query::LocRib(everything()))
}

fn routes(speaker: &Speaker, query: &Query) -> Vec<RouteView> {
    match speaker.query(query) {
        Answer::Routes(Page { routes, next: None }) => routes,
        other => panic!("not a whole table: {other:?}"),
    }
}

fn everything() -> RouteFilter {
    RouteFilter { limit: usize::MAX, ..RouteFilter::default() }
}

fn speaker(world: &World, host: usize) -> &Speaker {
    world.network.hosts[host].speaker.as_ref().expect("every speaker is on when the network is at rest")
}
