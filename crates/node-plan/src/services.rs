//! Service addresses that this node announces, and those that it does not, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_speaker::config::{OriginatedRoute, RouteSource};
use muslin_cluster::kubernetes::{Field, Node, Service, ServiceType, TrafficPolicy};
use muslin_cluster::resources::ServiceAddress;
use muslin_cluster::{ClusterState, Kind};

use crate::advertisement::{Advertisements, Askers, Origination, Routes, selects};
use crate::blocks::Ownership;
use crate::causes::{Caused, Subject, Withheld, host};
use crate::endpoints::{EndpointIndex, Endpoints, Readiness};
use crate::settings::Settings;

/// Nodes with this label, whatever its value, take no traffic from outside for Services.
const EXCLUDED_NODE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The Services of a cluster as one node sees them.
pub(crate) struct Services<'a> {
    pub(crate) state: &'a ClusterState,
    pub(crate) settings: &'a Settings,
    pub(crate) ownership: &'a Ownership,
    pub(crate) advertisements: &'a Advertisements<'a>,
    /// What is announced for as long as an endpoint here serves, be it ending.
    pub(crate) held: &'a BTreeSet<IpNet>,
}

/// What became of Services beside the routes that are announced.
#[derive(Debug, Default)]
pub(crate) struct ServiceRoutes {
    /// What is not announced, with the reason.
    pub(crate) withheld: Vec<Withheld>,
    /// Addresses whose endpoint here is ending while another node has one that is ready.
    pub(crate) ending: BTreeSet<IpNet>,
    /// Addresses with an endpoint here while another node has one that is ready: those of `ending` and more.
    pub(crate) relieved: BTreeSet<IpNet>,
}

/// Whose addresses are announced, and by whom they are asked for.
struct Asked<'a> {
    kind: ServiceAddress,
    address: Field<IpAddr>,
    /// The prefix that each of those who ask wants announced.
    wanted: Vec<(IpNet, Askers)>,
    /// The ranges that the address must be in; none if any will do.
    ranges: Option<&'a [Caused<IpNet>]>,
}

impl Services<'_> {
    /// Adds what node `name` announces to `routes`; returns what it does not.
    pub(crate) fn announce(
        &self,
        name: &str,
        node: Option<&Node>,
        routes: &mut Origination,
    ) -> ServiceRoutes {
        // The ranges of cluster IPs are announced as they stand: every node can serve each of them.
        if !self.advertisements.governs(Routes::Service(ServiceAddress::ClusterIP)) {
            for range in &self.settings.service_cluster_ips {
                let route = OriginatedRoute::new(range.value, RouteSource::Service, &range.cause);
                routes.add(route, Askers::USUAL);
            }
        }
        let mut withheld = BTreeSet::new();
        let mut reasons = BTreeSet::new();
        let (mut ending, mut relieved) = (BTreeSet::new(), BTreeSet::new());
        let excluded = node.is_some_and(|node| node.labels.get(EXCLUDED_NODE).is_some());
        let node_addresses: BTreeMap<IpAddr, &Arc<str>> = self
            .state
            .nodes
            .iter()
            .flat_map(|(name, node)| node.internal_ips().iter().map(move |ip| (ip.value, name)))
            .collect();
        let endpoints = EndpointIndex::of(self.state, name);
        for (service_name, object) in &self.state.services {
            let service = Subject::new(Kind::Service, service_name, object);
            for Asked { kind, address, wanted, ranges } in self.asked(object) {
                let cause = service.cause(address.path);
                let own = host(address.value);
                let mut behind = endpoints.of_service(service_name, address.value);
                if is_local(object, kind) && behind.is_relieved_here() {
                    relieved.insert(own);
                }
                if is_local(object, kind) && behind.is_ending_here() {
                    ending.insert(own);
                    if self.held.contains(&own) {
                        behind.elsewhere = Readiness::None;
                    }
                }
                let verdict = if ranges.is_some_and(|ranges| !is_within(address.value, ranges)) {
                    Err(outside(kind, ranges.unwrap_or_default()))
                } else if let Some(owner) = node_addresses.get(&address.value) {
                    Err(format!("it is the address of Node {owner}"))
                } else if excluded {
                    Err(format!("the node has the label {EXCLUDED_NODE}"))
                } else {
                    can_serve(object, kind, behind).map_err(ToOwned::to_owned)
                };
                if let Err(reason) = verdict {
                    let reason = once(&mut reasons, &reason);
                    withheld.insert(Withheld { prefix: own, cause, reason });
                    continue;
                }
                for (prefix, askers) in wanted {
                    let conflict = (prefix != own).then(|| self.conflict(prefix, &node_addresses)).flatten();
                    let prefix = if let Some(reason) = conflict {
                        let cause = cause.clone();
                        withheld.insert(Withheld { prefix, cause, reason: reason.into() });
                        own
                    } else {
                        prefix
                    };
                    routes.add(OriginatedRoute::new(prefix, RouteSource::Service, &cause), askers);
                }
            }
        }
        ServiceRoutes { withheld: withheld.into_iter().collect(), ending, relieved }
    }

    /// The addresses of a Service that may be announced one by one. A kind of address that nobody asks for is
    /// left out.
    fn asked(&self, service: &Service) -> Vec<Asked<'_>> {
        if service.kind == ServiceType::ExternalName {
            return Vec::new();
        }
        let of = |kind, address| self.asked_of(service, kind, address);
        let cluster = service.cluster_ips().filter_map(|ip| of(ServiceAddress::ClusterIP, ip));
        let external = service.external_ips().filter_map(|ip| of(ServiceAddress::ExternalIP, ip));
        let balanced = service.load_balancer_ips().filter(|_| service.kind == ServiceType::LoadBalancer);
        let balanced = balanced.filter_map(|ip| of(ServiceAddress::LoadBalancerIP, ip));
        cluster.chain(external).chain(balanced).collect()
    }

    fn asked_of(&self, service: &Service, kind: ServiceAddress, address: Field<IpAddr>) -> Option<Asked<'_>> {
        let configured = match kind {
            ServiceAddress::ClusterIP => None,
            ServiceAddress::ExternalIP => Some(&*self.settings.service_external_ips),
            ServiceAddress::LoadBalancerIP => Some(&*self.settings.service_load_balancer_ips),
        };
        if !self.advertisements.governs(Routes::Service(kind)) {
            // Ranges of cluster IPs are announced whole; the others one by one, if they are within a range.
            let ranges = configured.filter(|ranges| !ranges.is_empty())?;
            let wanted = vec![(host(address.value), Askers::USUAL)];
            return Some(Asked { kind, address, wanted, ranges: Some(ranges) });
        }
        let mut listed = false;
        let asks = self.advertisements.services().filter_map(|(index, written)| {
            let asked = written.service.as_ref().filter(|asked| asked.addresses.contains(&kind))?;
            let is_listed = asked.cidrs.iter().any(|range| range.0.contains(&address.value));
            if !selects(written, service) || !(asked.cidrs.is_empty() || is_listed) {
                return None;
            }
            listed |= is_listed;
            // An aggregate draws traffic for the whole range to every node: not for what only some nodes serve.
            let length = match address.value {
                _ if is_local(service, kind) => None,
                IpAddr::V4(_) => asked.aggregation_length_ipv4,
                IpAddr::V6(_) => asked.aggregation_length_ipv6,
            };
            let host = host(address.value);
            let range = length.and_then(|length| IpNet::new(host.addr(), length).ok());
            let askers = Askers { usual: false, by: BTreeSet::from([index]) };
            Some((range.map_or(host, |range| range.trunc()), askers))
        });
        let wanted: Vec<_> = asks.collect();
        // Whoever may write a Service may claim any external IP, so a range has to be written by somebody else.
        let ranges = match kind {
            ServiceAddress::ExternalIP if !listed => configured,
            ServiceAddress::ExternalIP | ServiceAddress::ClusterIP | ServiceAddress::LoadBalancerIP => None,
        };
        (!wanted.is_empty()).then_some(Asked { kind, address, wanted, ranges })
    }

    /// What a range has in common with addresses that are no Service's.
    fn conflict(&self, range: IpNet, nodes: &BTreeMap<IpAddr, &Arc<str>>) -> Option<String> {
        let node = nodes.range(range.network()..).next().filter(|(address, _)| range.contains(*address));
        if let Some((address, owner)) = node {
            return Some(format!("it contains {address}, the address of Node {owner}"));
        }
        let (block, owner) = self.ownership.overlapping(range)?;
        Some(format!("it overlaps {block} of {}", owner.cause))
    }
}

/// The words, held once however many Services have the same.
fn once(known: &mut BTreeSet<Arc<str>>, words: &str) -> Arc<str> {
    if let Some(known) = known.get(words) {
        return known.clone();
    }
    let words: Arc<str> = words.into();
    known.insert(words.clone());
    words
}

fn is_within(address: IpAddr, ranges: &[Caused<IpNet>]) -> bool {
    ranges.iter().any(|range| range.value.contains(&address))
}

fn outside(kind: ServiceAddress, ranges: &[Caused<IpNet>]) -> String {
    if ranges.is_empty() && kind == ServiceAddress::ExternalIP {
        return "anybody may claim an external IP: list its range in the advertisement's `service.cidrs` or in \
                BGPConfiguration .spec.serviceExternalIPs"
            .to_owned();
    }
    "it is outside the ranges that BGPConfiguration announces for it".to_owned()
}

/// Whether a Service's address is served by those nodes only that have an endpoint.
fn is_local(service: &Service, kind: ServiceAddress) -> bool {
    let policy = match kind {
        ServiceAddress::ClusterIP => service.internal_traffic_policy,
        ServiceAddress::ExternalIP | ServiceAddress::LoadBalancerIP => service.external_traffic_policy,
    };
    policy == Some(TrafficPolicy::Local)
}

/// Whether traffic that this node attracts finds an endpoint. An endpoint that is ending is relied on only while
/// no other is ready anywhere: so a node lets go before its last endpoint ends, and the last one is held.
/// [`Lingering`](crate::Lingering) has it let go a moment later.
fn can_serve(service: &Service, kind: ServiceAddress, endpoints: Endpoints) -> Result<(), &'static str> {
    let (here, anywhere) = (endpoints.here, endpoints.anywhere());
    if is_local(service, kind) {
        if here == Readiness::None || here < anywhere {
            return Err(match kind {
                ServiceAddress::ClusterIP => {
                    "internalTrafficPolicy is Local and no endpoint on this node is ready"
                }
                ServiceAddress::ExternalIP | ServiceAddress::LoadBalancerIP => {
                    "externalTrafficPolicy is Local and no endpoint on this node is ready"
                }
            });
        }
    } else if anywhere == Readiness::None {
        return Err("no endpoint is ready");
    }
    Ok(())
}
