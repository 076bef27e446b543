//! A kernel's routes, compared with what is expected of them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use muslin_netns::{Namespace, Route, RouteKind};

use crate::LabError;
use crate::blueprint::Expected;

/// The main routing table.
const MAIN: u32 = 254;

/// Global addresses of the link-local addresses in the lab.
///
/// A BGP speaker may install the link-local address that came with a next hop (RFC 2545 §3); it is the same neighbour.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkLocals(HashMap<IpAddr, IpAddr>);

impl LinkLocals {
    /// Notes that the neighbour with `global` on `link` of `namespace` has a link-local address too.
    ///
    /// It follows from the link's hardware address (RFC 4291, appendix A), so it is known before the kernel gives it.
    pub(crate) fn note(&mut self, namespace: &Namespace, link: &str, global: IpAddr) -> Result<(), LabError> {
        let links = namespace.links()?;
        let hardware = links.iter().find(|found| found.name == link).map(|found| &*found.hardware_address);
        if let Some(&[a, b, c, d, e, f]) = hardware {
            let group = |high: u8, low: u8| u16::from_be_bytes([high, low]);
            let host = [group(a ^ 2, b), group(c, 0xff), group(0xfe, d), group(e, f)];
            let local = Ipv6Addr::new(0xfe80, 0, 0, 0, host[0], host[1], host[2], host[3]);
            self.0.insert(local.into(), global);
        }
        Ok(())
    }

    fn global(&self, gateway: IpAddr) -> IpAddr {
        self.0.get(&gateway).copied().unwrap_or(gateway)
    }
}

/// The routes of a namespace's main table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelRoutes<'a> {
    routes: &'a [Route],
    link_locals: &'a LinkLocals,
}

impl<'a> KernelRoutes<'a> {
    pub(crate) fn new(routes: &'a [Route], link_locals: &'a LinkLocals) -> Self {
        Self { routes, link_locals }
    }

    /// What is wrong with the route for this expectation; `None` if nothing is.
    pub(crate) fn fault(&self, expected: &Expected) -> Option<String> {
        let Expected { prefix, gateways: wanted, subject } = expected;
        match self.gateways(*prefix) {
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
    pub(crate) fn gateways(&self, prefix: IpNet) -> Option<BTreeSet<IpAddr>> {
        let matching = self.unicast().filter(|route| route.prefix == prefix);
        let metric = matching.clone().map(|route| route.metric).min()?;
        // The IPv6 of older kernels shows one route per next hop.
        let best = matching.filter(|route| route.metric == metric);
        let gateways = best.flat_map(|route| &route.next_hops).filter_map(|hop| hop.gateway);
        Some(gateways.map(|gateway| self.link_locals.global(gateway)).collect())
    }

    /// Gateways of the longest match for an address.
    pub(crate) fn route_to(&self, address: IpAddr) -> Option<BTreeSet<IpAddr>> {
        let covering = self.unicast().filter(|route| route.prefix.contains(&address));
        self.gateways(covering.max_by_key(|route| route.prefix.prefix_len())?.prefix)
    }

    fn unicast(&self) -> impl Iterator<Item = &'a Route> + Clone {
        self.routes.iter().filter(|route| route.kind == RouteKind::Unicast && route.table == MAIN)
    }
}

pub(crate) fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
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

    fn fault_in(expected: &Expected, routes: &[Route]) -> Option<String> {
        KernelRoutes::new(routes, &LinkLocals::default()).fault(expected)
    }

    #[test]
    fn a_wrong_gateway_is_named_beside_the_right_one() {
        let routes = [route("10.244.2.0/24", 0, "172.30.1.9")];
        let fault = fault_in(&expected("10.244.2.0/24", &["172.30.1.1"]), &routes);
        assert_eq!(
            fault.as_deref(),
            Some("10.244.2.0/24 (pods of n2) by way of 172.30.1.1, found 172.30.1.9")
        );
    }

    #[test]
    fn one_route_per_next_hop_counts_as_one_multipath_route() {
        let routes = [route("fd44:0:0:2::/64", 20, "fd30::1"), route("fd44:0:0:2::/64", 20, "fd31::1")];
        assert_eq!(fault_in(&expected("fd44:0:0:2::/64", &["fd30::1", "fd31::1"]), &routes), None);
        assert!(fault_in(&expected("fd44:0:0:2::/64", &["fd30::1"]), &routes).is_some());
    }

    #[test]
    fn only_the_best_metric_forwards() {
        let routes = [route("10.244.2.0/24", 20, "172.30.1.1"), route("10.244.2.0/24", 100, "172.30.1.9")];
        assert_eq!(fault_in(&expected("10.244.2.0/24", &["172.30.1.1"]), &routes), None);
    }

    #[test]
    fn the_longest_match_decides_where_an_address_goes() {
        let routes = [route("10.96.0.0/16", 0, "172.30.1.2"), route("10.96.0.10/32", 0, "172.30.2.2")];
        let to = |address: &str| {
            KernelRoutes::new(&routes, &LinkLocals::default()).route_to(address.parse().unwrap())
        };
        assert_eq!(to("10.96.0.10"), Some(["172.30.2.2".parse().unwrap()].into()));
        assert_eq!(to("10.96.0.11"), Some(["172.30.1.2".parse().unwrap()].into()));
        assert_eq!(to("192.0.2.1"), None);
    }

    #[test]
    fn a_link_local_gateway_is_the_neighbour_that_has_it() {
        let routes = [route("fd44:0:0:2::/64", 0, "fe80::1:2")];
        let link_locals = LinkLocals([("fe80::1:2".parse().unwrap(), "fd30::2".parse().unwrap())].into());
        let table = KernelRoutes::new(&routes, &link_locals);
        assert_eq!(table.fault(&expected("fd44:0:0:2::/64", &["fd30::2"])), None);
    }
}
