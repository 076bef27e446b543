//! Waiting for the kernels' routes in several namespaces at once: on netlink events, with a word in between.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use muslin_netns::{Namespace, Route, RouteKind};

use crate::LabError;
use crate::blueprint::Expected;
use crate::progress::Step;

/// The main routing table.
const MAIN: u32 = 254;
/// How often the waiting thread looks whether a process has died.
const LOOK: Duration = Duration::from_millis(200);

/// What must come true of a namespace's routes.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// Each of these is there, with exactly these gateways.
    Present(Vec<Expected>),
    /// None of these prefixes is there.
    Absent(Vec<Expected>),
}

/// One namespace to watch.
pub(crate) struct Watch {
    pub(crate) namespace: Namespace,
    pub(crate) goal: Goal,
}

impl Goal {
    fn len(&self) -> usize {
        match self {
            Self::Present(routes) | Self::Absent(routes) => routes.len(),
        }
    }

    /// What is not yet so; empty when the goal is reached.
    fn missing(&self, routes: &[Route]) -> Vec<String> {
        match self {
            Self::Present(expected) => expected.iter().filter_map(|route| fault(route, routes)).collect(),
            Self::Absent(expected) => {
                let there = |route: &&Expected| gateways(route.prefix, routes).is_some();
                let word = |route: &Expected| format!("the end of the route to {}", route.prefix);
                expected.iter().filter(there).map(word).collect()
            }
        }
    }
}

/// What is wrong with the kernel's route for this expectation; `None` if nothing is.
pub(crate) fn fault(expected: &Expected, routes: &[Route]) -> Option<String> {
    let Expected { prefix, gateways: wanted, subject } = expected;
    match gateways(*prefix, routes) {
        None => Some(format!("a route to {prefix} ({subject})")),
        Some(found) if found != *wanted => Some(format!(
            "{prefix} ({subject}) by way of {}, found {}",
            list(wanted.iter()),
            list(found.iter())
        )),
        Some(_) => None,
    }
}

/// Gateways of the best route to exactly this prefix.
fn gateways(prefix: IpNet, routes: &[Route]) -> Option<BTreeSet<IpAddr>> {
    let unicast = |route: &&Route| route.kind == RouteKind::Unicast && route.table == MAIN;
    let matching = routes.iter().filter(unicast).filter(|route| route.prefix == prefix);
    let metric = matching.clone().map(|route| route.metric).min()?;
    // The IPv6 of older kernels shows one route per next hop.
    let best = matching.filter(|route| route.metric == metric);
    Some(best.flat_map(|route| &route.next_hops).filter_map(|hop| hop.gateway).collect())
}

/// Gateways of the longest match for an address.
pub(crate) fn route_to(address: IpAddr, routes: &[Route]) -> Option<BTreeSet<IpAddr>> {
    let unicast = |route: &&Route| route.kind == RouteKind::Unicast && route.table == MAIN;
    let covering = routes.iter().filter(unicast).filter(|route| route.prefix.contains(&address));
    let longest = covering.max_by_key(|route| route.prefix.prefix_len())?.prefix;
    gateways(longest, routes)
}

pub(crate) fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

/// How many routes are waited for.
pub(crate) fn count(watches: &[Watch]) -> usize {
    watches.iter().map(|watch| watch.goal.len()).sum()
}

/// Waits until all goals are reached; the moment at which the last one was.
///
/// `look` is called every now and then and may end the waiting, since a process has died.
pub(crate) fn await_all(
    watches: Vec<Watch>,
    patience: Duration,
    step: &mut Step,
    mut look: impl FnMut() -> Result<(), LabError>,
) -> Result<Instant, LabError> {
    let begun = Instant::now();
    let missing: Arc<Vec<Mutex<Vec<String>>>> = Arc::new(watches.iter().map(|_| Mutex::default()).collect());
    let names: Vec<String> = watches.iter().map(|watch| watch.namespace.name().to_owned()).collect();
    let total = watches.len();
    let (sender, receiver) = channel();
    for (index, Watch { namespace, goal }) in watches.into_iter().enumerate() {
        let (sender, missing) = (sender.clone(), Arc::clone(&missing));
        // Left alone if this function returns early; it ends by itself when patience does.
        std::thread::spawn(move || {
            let reached = namespace.await_routes(patience, |routes| {
                let now = goal.missing(routes);
                let reached = now.is_empty();
                *missing[index].lock().unwrap_or_else(PoisonError::into_inner) = now;
                reached
            });
            drop(sender.send((reached, Instant::now())));
        });
    }
    drop(sender);
    let still = || {
        let lists = names.iter().zip(missing.iter()).map(|(name, missing)| {
            let missing = missing.lock().unwrap_or_else(PoisonError::into_inner);
            (name, missing.first().cloned(), missing.len())
        });
        let lists = lists.filter_map(|(name, first, count)| {
            first.map(|first| match count {
                1 => format!("{name}: {first}"),
                _ => format!("{name}: {first} and {} more", count - 1),
            })
        });
        lists.collect::<Vec<_>>().join("; ")
    };
    let (mut reached, mut last) = (0, begun);
    while reached < total {
        match receiver.recv_timeout(LOOK) {
            Ok((Ok(true), moment)) => {
                reached += 1;
                last = last.max(moment);
            }
            Ok((Ok(false), _)) => {
                look()?;
                return Err(LabError::Timeout {
                    what: "routes in the kernels".to_owned(),
                    missing: still(),
                    waited: begun.elapsed(),
                });
            }
            Ok((Err(error), _)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {
                look()?;
                step.still(still);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_netns::NextHop;

    fn route(prefix: &str, metric: u32, gateway: &str) -> Route {
        let hop = NextHop { gateway: Some(gateway.parse().unwrap()), interface: 2, weight: 1 };
        let prefix = prefix.parse().unwrap();
        Route { prefix, table: MAIN, protocol: 77, metric, kind: RouteKind::Unicast, next_hops: vec![hop] }
    }

    fn expected(prefix: &str, gateways: &[&str]) -> Expected {
        Expected {
            prefix: prefix.parse().unwrap(),
            gateways: gateways.iter().map(|gateway| gateway.parse().unwrap()).collect(),
            subject: "pods of n2".to_owned(),
        }
    }

    #[test]
    fn a_wrong_gateway_is_named_beside_the_right_one() {
        let routes = [route("10.244.2.0/24", 0, "172.30.1.9")];
        let fault = fault(&expected("10.244.2.0/24", &["172.30.1.1"]), &routes);
        assert_eq!(
            fault.as_deref(),
            Some("10.244.2.0/24 (pods of n2) by way of 172.30.1.1, found 172.30.1.9")
        );
    }

    #[test]
    fn one_route_per_next_hop_counts_as_one_multipath_route() {
        let routes = [route("fd44:0:0:2::/64", 20, "fd30::1"), route("fd44:0:0:2::/64", 20, "fd31::1")];
        assert_eq!(fault(&expected("fd44:0:0:2::/64", &["fd30::1", "fd31::1"]), &routes), None);
        assert!(fault(&expected("fd44:0:0:2::/64", &["fd30::1"]), &routes).is_some());
    }

    #[test]
    fn only_the_best_metric_forwards() {
        let routes = [route("10.244.2.0/24", 20, "172.30.1.1"), route("10.244.2.0/24", 100, "172.30.1.9")];
        assert_eq!(fault(&expected("10.244.2.0/24", &["172.30.1.1"]), &routes), None);
    }

    #[test]
    fn the_longest_match_decides_where_an_address_goes() {
        let routes = [route("10.96.0.0/16", 0, "172.30.1.2"), route("10.96.0.10/32", 0, "172.30.2.2")];
        let to = |address: &str| route_to(address.parse().unwrap(), &routes);
        assert_eq!(to("10.96.0.10"), Some(["172.30.2.2".parse().unwrap()].into()));
        assert_eq!(to("10.96.0.11"), Some(["172.30.1.2".parse().unwrap()].into()));
        assert_eq!(to("192.0.2.1"), None);
    }

    #[test]
    fn a_goal_of_absence_is_reached_when_the_last_prefix_is_gone() {
        let goal = Goal::Absent(vec![expected("10.244.2.0/24", &[]), expected("10.244.3.0/24", &[])]);
        assert_eq!(goal.missing(&[route("10.244.2.0/24", 0, "172.30.1.1")]).len(), 1);
        assert!(goal.missing(&[]).is_empty());
    }
}
